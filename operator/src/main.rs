//! `kennet-operator`: the command line around the operator.

use std::process::ExitCode;

use clap::Parser;
use kennet_operator::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(kennet_operator::run(arguments)),
        Err(source) => Err(kennet_operator::StartError::System { what: "start the runtime", source }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// The last line of a pod that does not start becomes its message in Kubernetes, so it is one plain sentence.
#[expect(clippy::print_stderr, reason = "said even when logging has not started")]
fn fail(error: &kennet_operator::StartError) -> ExitCode {
    eprintln!("error: {error}");
    error.exit_code().into()
}
