//! `kennet-broker`: the command line around the broker.

use std::io::{BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kennet_broker::{OfflineError, StartError};

#[cfg(target_feature = "crt-static")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Kennet's broker: Kafka's protocol over its own log.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The config file.
    #[arg(long, env = "KENNET_CONFIG", default_value = kennet_contract::paths::CONFIG_FILE)]
    config: PathBuf,
    /// This broker's id, where the file says {id}; without it, the number at the end of POD_NAME.
    #[arg(long, env = "KENNET_BROKER_ID")]
    id: Option<i32>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Read a config file and say what is wrong with it, without starting anything.
    CheckConfig {
        /// The config file.
        file: PathBuf,
        /// The broker's id, where the file says {id}.
        #[arg(long, default_value_t = 0)]
        id: i32,
    },
    /// Read every byte of a data directory that no broker uses, and say what is whole and what is damaged. Changes nothing.
    Verify {
        /// The data directory.
        directory: PathBuf,
    },
    /// Show the batches of a segment (.log), and its records if wanted, or the entries of an index (.index, .timeindex). Changes nothing.
    Dump {
        /// The file.
        file: PathBuf,
        /// Show records too, with keys and values.
        #[arg(long)]
        records: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::CheckConfig { file, id }) => check_config(&file, id),
        Some(Command::Verify { directory }) => {
            return offline(|out| kennet_broker::verify_directory(&directory, out));
        }
        Some(Command::Dump { file, records }) => {
            return offline(|out| kennet_broker::dump_file(&file, records, out));
        }
        None => serve(&arguments.config, arguments.id),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.exit_code()),
    }
}

fn check_config(file: &std::path::Path, id: i32) -> Result<(), StartError> {
    kennet_broker::load(file, Some(id))?;
    // whoever reads may have gone
    let _ = writeln!(std::io::stdout(), "{} is a config that broker {id} can start with", file.display());
    Ok(())
}

/// Runs a command that writes to standard output, which is held only here and not while a broker serves.
fn offline(command: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> Result<(), OfflineError>) -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let result = command(&mut out);
    // whoever reads may have gone
    let _ = out.flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.exit_code()),
    }
}

fn serve(config: &std::path::Path, id: Option<i32>) -> Result<(), StartError> {
    let config = kennet_broker::load(config, id)?;
    let workers = workers(std::thread::available_parallelism().map_or(1, usize::from));
    let mut builder = match workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what: "start the runtime", source })?;
    runtime.block_on(kennet_broker::run(config))
}

/// Workers of the runtime. One needs no work stealing: on two processors it takes a fifth less for a request than two that wake each other, and leaves
/// a processor to the journal, the filler and the kernel.
fn workers(processors: usize) -> usize {
    if processors <= 2 { 1 } else { processors }
}

/// The last line of a pod that does not start becomes its message in Kubernetes, so it is one plain sentence.
#[expect(clippy::print_stderr, reason = "said even when logging has not started")]
fn fail(error: &dyn std::error::Error, code: kennet_contract::ExitCode) -> ExitCode {
    eprintln!("error: {error}");
    code.into()
}
