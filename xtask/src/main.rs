//! The project's own tasks, called as `cargo xtask NAME`: what a shell script would do badly and `make` can't.
//!
//! Each task is a module with one `run`; this file only reads the command line.

mod cache;
mod check;
mod generate;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kennet's own tasks.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what compilers don't: crate arrows, file headers, sizes, dependency notes.
    Tidy,
    /// Format, lints, tidy and drift: what a change must pass before it is tested.
    Check,
    /// Write the files that are made from code.
    Generate,
    /// Every test suite, or one, and a line that counts at the end.
    Test {
        /// Run only this suite.
        #[arg(long)]
        suite: Option<String>,
    },
    /// List what the tests keep outside the checkout.
    Cache {
        /// Remove all of it.
        #[arg(long)]
        clear: bool,
    },
}

fn main() -> ExitCode {
    let root = root();
    let outcome = match Arguments::parse().task {
        Task::Tidy => tidy::run(&root).map(done),
        Task::Check => check::run(&root).map(done),
        Task::Generate => generate::run(&root, generate::Mode::Write).map(done),
        Task::Test { suite } => test::run(&root, suite.as_deref()),
        Task::Cache { clear } => cache::run(clear).map(done),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// The workspace's folder: xtask is always run by cargo, from its own manifest.
fn root() -> PathBuf {
    // of this run: a target folder that several checkouts share may have this program from another one
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.join("..")
}

#[expect(clippy::print_stderr, reason = "a task talks to the person who called it")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
