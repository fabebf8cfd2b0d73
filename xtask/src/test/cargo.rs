//! `cargo test` of the whole workspace, counted by the summary that each test program prints.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::test::suite::{Count, Failures, Suite};

/// How many lives each of the log's tests under power cuts lives through here; a plain `cargo test` takes fewer.
const SEEDS: &str = "2000";

/// Builds and runs all Rust tests.
pub(crate) fn run(root: &Path, suite: &Suite) -> Result<(Count, Failures)> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]).current_dir(root);
    if std::env::var_os("KENNET_TEST_SEEDS").is_none() {
        command.env("KENNET_TEST_SEEDS", SEEDS);
    }
    let mut count = Count::default();
    let outcome = suite.stream(root, command, |line| {
        if let Some(summary) = summary(line) {
            count.add(summary);
        }
    })?;
    if outcome.timed_out || (!outcome.succeeded && count.failed == 0) {
        count.failed += 1;
    }
    Ok((count, outcome.failures))
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; ...`
fn summary(line: &str) -> Option<Count> {
    let counts = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let part = counts.split(['.', ';']).map(str::trim).find(|part| part.ends_with(word))?;
        part.split_whitespace().next()?.parse().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::test::suite::Count;

    #[test]
    fn a_test_programs_summary_is_read() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(summary(line), Some(Count { passed: 5, failed: 2, skipped: 1 }));
        assert_eq!(summary("running 5 tests"), None);
    }
}
