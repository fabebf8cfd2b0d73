//! `make test`: every suite one after the other, and one line at the end that counts.
//!
//! A suite is a program that prints `PASS name`, `FAIL name: why` or `SKIP name: why`, a line each; `cargo test` is read by its own summary
//! lines. A suite that ends with an error without a FAIL line counts as one failure, so that nothing is lost silently.

mod cargo;
mod suite;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use suite::{Count, Suite};

/// The suites in their order: the cheap ones first.
const SUITES: &[Suite] = &[
    Suite { name: "rust", command: &[], minutes: 20 },
    Suite { name: "protocol", command: &["bash", "tests/protocol/run"], minutes: 10 },
    Suite { name: "clients", command: &["bash", "tests/clients/run"], minutes: 20 },
    Suite { name: "cli", command: &["bash", "tests/cli/run"], minutes: 10 },
    Suite { name: "tools", command: &["bash", "tests/tools/run"], minutes: 15 },
    Suite { name: "faults", command: &["bash", "tests/faults/run"], minutes: 15 },
    Suite { name: "images", command: &["bash", "tests/images/run"], minutes: 20 },
    Suite { name: "chart", command: &["bash", "tests/chart/run"], minutes: 20 },
    Suite { name: "cluster", command: &["bash", "tests/cluster/run"], minutes: 30 },
    Suite { name: "operator", command: &["bash", "tests/operator/run"], minutes: 25 },
    Suite { name: "demo", command: &["bash", "tests/demo/run"], minutes: 40 },
];

/// Runs all suites, or the one of that name.
#[expect(clippy::print_stdout, reason = "the summary is the task's result")]
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<ExitCode> {
    if let Some(name) = only
        && SUITES.iter().all(|suite| suite.name != name)
    {
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        bail!("there is no suite '{name}': expected one of {}", names.join(", "));
    }
    let mut total = Count::default();
    let mut rows = Vec::new();
    for suite in SUITES.iter().filter(|suite| only.is_none_or(|name| name == suite.name)) {
        println!("== {}", suite.name);
        let started = now();
        let count = if suite.command.is_empty() { cargo::run(root, suite)? } else { suite.run(root)? };
        rows.push((suite.name, count, started.elapsed().as_secs()));
        total.add(count);
    }
    println!("\n{:<12} {:>7} {:>7} {:>8} {:>8}", "suite", "passed", "failed", "skipped", "seconds");
    for (name, count, seconds) in rows {
        println!("{name:<12} {:>7} {:>7} {:>8} {seconds:>8}", count.passed, count.failed, count.skipped);
    }
    if total.failed > 0 {
        println!("the logs are in target/test-logs");
    }
    // whoever reads the counts reads the last line, so nothing follows it
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Between two looks at a suite that was asked to end.
#[expect(clippy::disallowed_methods, reason = "a process that ends wakes nobody here")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}

#[expect(clippy::disallowed_methods, reason = "how long a suite took is told to people only")]
fn now() -> Instant {
    Instant::now()
}
