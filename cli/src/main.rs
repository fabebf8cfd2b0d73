//! `kennet`: topics, groups, records, and a cluster on this machine. Called `kubectl-kennet` it is kubectl's plugin.
//!
//! This file only reads the command line and turns the outcome into an exit code; each command has a file of its own.

mod advice;
mod clock;
mod closed_output;
mod command_line;
mod consume;
mod deleted;
mod dev;
mod error;
mod groups;
mod invocation;
mod management;
mod output;
mod produce;
mod progress;
mod record_json;
mod reset_apply;
mod time;
mod topics;

use std::process::ExitCode;

use kennet_client::Client;

use crate::command_line::{Arguments, Command, Connection, Topics};
use crate::error::CliError;
use crate::output::{Output, OutputFormat};

fn main() -> ExitCode {
    let arguments = match invocation::read() {
        Ok(arguments) => arguments,
        Err(problem) => return invocation::refuse(&problem).into(),
    };
    let as_json = arguments.output == OutputFormat::Json;
    let report = |error: &CliError| {
        invocation::report(error, as_json);
        error.exit_code().into()
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return report(&CliError::failed("the runtime can't be started", source)),
    };
    let outcome = runtime.block_on(run(arguments));
    // a read of stdin may still be waiting; nothing else is
    runtime.shutdown_background();
    match outcome {
        Ok(()) | Err(CliError::Interrupted | CliError::BrokenPipe) => ExitCode::SUCCESS,
        Err(CliError::Terminated) => ExitCode::from(error::TERMINATED),
        Err(error) => report(&error),
    }
}

async fn run(arguments: Arguments) -> Result<(), CliError> {
    let output = Output::new(arguments.output);
    let connection = &arguments.connection;
    match arguments.command {
        Command::Topics(Topics::List { orphaned, .. }) if orphaned.orphaned => {
            topics::orphaned::run(connection, &output, &orphaned).await
        }
        Command::Topics(command) => topics::run(&connect(connection).await?, &output, command).await,
        Command::Groups(command) => groups::run(&connect(connection).await?, &output, command).await,
        Command::Produce(options) => produce::run(connect(connection).await?, &output, options).await,
        Command::Consume(options) => consume::run(connect(connection).await?, &output, options).await,
        Command::Dev(command) => dev::run(&output, command).await,
        Command::ResetApply(options) => reset_apply::run(&connect(connection).await?, &options, clock::now).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut invocation::visible(), "kennet", &mut text);
            output::write_bytes(&text)
        }
    }
}

async fn connect(connection: &Connection) -> Result<Client, CliError> {
    let mut options = connection.options()?;
    options.operation_timeout = connection.timeout.into();
    options.request_timeout = options.request_timeout.min(options.operation_timeout);
    Ok(Client::connect(options).await?)
}
