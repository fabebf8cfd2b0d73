//! `make test`: builds by themselves, then the suites two at a time, and one line at the end that counts.
//!
//! A suite is a program that prints `PASS name`, `FAIL name: why` or `SKIP name: why`, a line each; `cargo test` is read by its own summary
//! lines. A suite that ends with an error without a FAIL line counts as one failure, so that nothing is lost silently.
//!
//! Any suite may run beside any other and beside itself in another checkout: ports are found free, folders are temporary, a Kubernetes has
//! namespaces and a cgroup of its own name. What is built for several is built before, because a build takes the time that limits count on.

mod cargo;
mod suite;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use suite::{Count, Failures, Suite};

/// What uses every processor, one after the other.
const ALONE: &[Suite] = &[
    Suite { name: "rust", command: &[], minutes: 20 },
    Suite { name: "prepare", command: &["bash", "tests/prepare/run"], minutes: 40 },
];

/// What mostly waits, in the order in which it is begun: the long ones first, so that the last two end at about the same time.
const TOGETHER: &[Suite] = &[
    Suite { name: "operator", command: &["bash", "tests/operator/run"], minutes: 25 },
    Suite { name: "clients", command: &["bash", "tests/clients/run"], minutes: 20 },
    Suite { name: "demo", command: &["bash", "tests/demo/run"], minutes: 40 },
    Suite { name: "faults", command: &["bash", "tests/faults/run"], minutes: 15 },
    Suite { name: "cluster", command: &["bash", "tests/cluster/run"], minutes: 30 },
    Suite { name: "cli", command: &["bash", "tests/cli/run"], minutes: 10 },
    Suite { name: "chart", command: &["bash", "tests/chart/run"], minutes: 20 },
    Suite { name: "tools", command: &["bash", "tests/tools/run"], minutes: 15 },
    Suite { name: "images", command: &["bash", "tests/images/run"], minutes: 20 },
    Suite { name: "protocol", command: &["bash", "tests/protocol/run"], minutes: 10 },
];

/// How many of them at once. On two processors, what took 1 460 s of suites was over in 730 s; three at once were not tried.
const AT_ONCE: usize = 2;

/// What a suite came to.
struct Row {
    name: &'static str,
    count: Count,
    failures: Failures,
    seconds: u64,
}

/// Runs all suites, or the one of that name.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<ExitCode> {
    let rows = match only {
        Some(name) => vec![one(root, named(name)?)?],
        None => all(root)?,
    };
    Ok(tell(&rows))
}

fn named(name: &str) -> Result<&'static Suite> {
    let suites = || ALONE.iter().chain(TOGETHER);
    match suites().find(|suite| suite.name == name) {
        Some(suite) => Ok(suite),
        None => {
            let names: Vec<_> = suites().map(|suite| suite.name).collect();
            bail!("there is no suite '{name}': expected one of {}", names.join(", "))
        }
    }
}

fn all(root: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for suite in ALONE {
        rows.push(one(root, suite)?);
    }
    rows.extend(together(root, TOGETHER)?);
    Ok(rows)
}

/// Runs the suites in their order, `AT_ONCE` at a time. One that can't be run at all holds no other; its error is told at the end.
fn together(root: &Path, suites: &'static [Suite]) -> Result<Vec<Row>> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(suite) = suites.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = one(root, suite);
                    rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().collect()
}

#[expect(clippy::print_stdout, reason = "people watch how far it is")]
fn one(root: &Path, suite: &'static Suite) -> Result<Row> {
    println!("== {}", suite.name);
    let started = now();
    let (count, failures) = if suite.command.is_empty() { cargo::run(root, suite)? } else { suite.run(root)? };
    Ok(Row { name: suite.name, count, failures, seconds: started.elapsed().as_secs() })
}

#[expect(clippy::print_stdout, reason = "the summary is the task's result")]
fn tell(rows: &[Row]) -> ExitCode {
    let mut total = Count::default();
    println!("\n{:<12} {:>7} {:>7} {:>8} {:>8}", "suite", "passed", "failed", "skipped", "seconds");
    for Row { name, count, seconds, .. } in rows {
        println!("{name:<12} {:>7} {:>7} {:>8} {seconds:>8}", count.passed, count.failed, count.skipped);
        total.add(*count);
    }
    for Row { name, failures, .. } in rows {
        for line in &failures.lines {
            println!("[{name}] {line}");
        }
    }
    if total.failed > 0 {
        println!("the logs are in target/test-logs");
    }
    // whoever reads the counts reads the last line, so nothing follows it
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
