//! The program around the operator: a runtime, and one sentence and a code when it can't go on.
//!
//! Its tests are unit tests that run this very test program as the operator: a test program of its own would need the library built a
//! second time, which is the largest single part of a cold build.

use clap::Parser;
use kennet_contract::ExitCode;

use crate::arguments::Arguments;
use crate::start::{self, StartError};

/// Runs the operator until a signal, with the settings of the command line and the environment.
#[must_use]
pub fn main() -> ExitCode {
    run(Arguments::parse())
}

fn run(arguments: Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(start::run(arguments)),
        Err(source) => Err(StartError::System { what: "start the runtime", source }),
    };
    match result {
        Ok(()) => ExitCode::Success,
        Err(error) => fail(&error),
    }
}

/// The last line of a pod that does not start becomes its message in Kubernetes, so it is one plain sentence.
#[expect(clippy::print_stderr, reason = "said even when logging has not started")]
fn fail(error: &StartError) -> ExitCode {
    eprintln!("error: {error}");
    error.exit_code()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::process::{Command, Output, Stdio};

    use super::*;

    /// Arguments by lines; set for a process that is to be the operator and not a test.
    const ARGUMENTS: &str = "KENNET_TEST_OPERATOR_ARGUMENTS";

    /// The first line of each test here: goes on as the operator in a process that a test has made for that.
    fn go_on_as_operator() {
        let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
        let arguments = Arguments::parse_from(std::iter::once("kennet-operator").chain(arguments.lines()));
        std::process::exit(run(arguments) as i32);
    }

    /// What the operator says at last in a process of its own, which is this program at the test `test`.
    fn fails(test: &str, arguments: &[&str], code: ExitCode) -> String {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = format!("program::tests::{test}");
        command.args(["--exact", &test, "--nocapture"]).env(ARGUMENTS, arguments.join("\n"));
        command.env("KUBECONFIG", "/none/kubeconfig").env_remove("KUBERNETES_SERVICE_HOST");
        command.env_remove("KENNET_PROBES_PORT").env_remove("KENNET_METRICS_PORT").env_remove("KENNET_LOG_FORMAT");
        let Output { status, stderr, .. } = command.stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert_eq!(status.code(), Some(code as i32), "{said}");
        let last = said.lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("error: ") && !last.contains('\u{1b}'), "{said}");
        last
    }

    #[test]
    fn a_port_that_is_taken_is_one_sentence_and_code_5() {
        go_on_as_operator();
        let fails =
            |arguments: &[&str]| fails("a_port_that_is_taken_is_one_sentence_and_code_5", arguments, ExitCode::Port);
        let taken = std::net::TcpListener::bind("[::]:0").or_else(|_| std::net::TcpListener::bind("0.0.0.0:0"));
        let taken = taken.unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let said = [["--probes-port", &port, "--metrics-port", "0"], ["--probes-port", "0", "--metrics-port", &port]]
            .map(|arguments| fails(&arguments).replace(&port, "PORT"));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn no_kubernetes_is_one_sentence_and_code_1() {
        go_on_as_operator();
        let arguments = ["--probes-port", "0", "--metrics-port", "0"];
        insta::assert_snapshot!(fails("no_kubernetes_is_one_sentence_and_code_1", &arguments, ExitCode::Failed));
    }
}
