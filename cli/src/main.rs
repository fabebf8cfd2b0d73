//! `kennet`: topics, groups, records, and a cluster on this machine. Called `kubectl-kennet` it is kubectl's plugin.
//!
//! This file only reads the command line and turns the outcome into an exit code; each command has a file of its own.

mod clock;
mod closed_output;
mod command_line;
mod consume;
mod dev;
mod error;
mod groups;
mod management;
mod output;
mod produce;
mod progress;
mod record_json;
mod reset_apply;
mod time;
mod topics;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use kennet_client::{Client, ClientOptions};

use crate::command_line::{Arguments, Command, Connection, Topics};
use crate::error::CliError;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = match read_arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            let code = if problem.use_stderr() {
                kennet_contract::ExitCode::Usage
            } else {
                kennet_contract::ExitCode::Success
            };
            // nobody is left to tell if even this can't be written
            drop(problem.print());
            return code.into();
        }
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
        Err(error) => report(&error),
    }
}

/// The same program under the name that it was called by.
fn read_arguments() -> Result<Arguments, clap::Error> {
    let called = std::env::args_os().next().unwrap_or_default();
    let plugin = std::path::Path::new(&called).file_name().is_some_and(|name| name == "kubectl-kennet");
    let name = if plugin { "kubectl kennet" } else { "kennet" };
    let matches = Arguments::command().bin_name(name).try_get_matches()?;
    Arguments::from_arg_matches(&matches)
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
        Command::ResetApply(options) => reset_apply::run(&connect(connection).await?, &options).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "kennet", &mut text);
            output::write_bytes(&text)
        }
    }
}

async fn connect(connection: &Connection) -> Result<Client, CliError> {
    let mut options = ClientOptions::new(&connection.bootstrap);
    options.operation_timeout = connection.timeout.into();
    options.request_timeout = options.request_timeout.min(options.operation_timeout);
    if options.bootstrap.is_empty() {
        return Err(CliError::Usage("--bootstrap is empty: expected host:port of a broker".to_owned()));
    }
    Ok(Client::connect(options).await?)
}

fn report(error: &CliError) -> ExitCode {
    output::note(&format!("kennet: {error}"));
    error.exit_code().into()
}
