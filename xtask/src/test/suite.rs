//! One suite: a program with a time limit whose lines are counted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};

/// What a suite has for undoing what it did, when its time is over.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// A suite of `make test`.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// The program; empty for `cargo test`, which is read differently.
    pub(crate) command: &'static [&'static str],
    /// After so long it is ended and counts as failed.
    pub(crate) minutes: u64,
}

/// How many tests passed, failed, were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn note(&mut self, line: &str) {
        match line.split_whitespace().next() {
            Some("PASS") => self.passed += 1,
            Some("FAIL") => self.failed += 1,
            Some("SKIP") => self.skipped += 1,
            _ => {}
        }
    }
}

/// How many lines about failures a suite says again at the end: the last lines are all that some readers of a log get.
const TOLD_AGAIN: usize = 8;

/// The lines of a suite that say what failed, to be told once more below the counts.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) lines: Vec<String>,
    reason_follows: bool,
}

impl Failures {
    /// Keeps a line that tells of a failure: a `FAIL`, a test of cargo's, a panic's place and the line after it.
    fn note(&mut self, line: &str) {
        let place = line.contains(" panicked at ");
        let failed = line.starts_with("FAIL") || line.ends_with("... FAILED") || place || self.reason_follows;
        self.reason_follows = place;
        if failed && self.lines.len() < TOLD_AGAIN {
            self.lines.push(line.chars().take(500).collect());
        }
    }
}

/// What a program did.
pub(crate) struct Outcome {
    pub(crate) failures: Failures,
    pub(crate) succeeded: bool,
    pub(crate) timed_out: bool,
}

impl Suite {
    /// Runs the suite's program and counts its lines.
    pub(crate) fn run(&self, root: &Path) -> Result<(Count, Failures)> {
        let mut count = Count::default();
        let mut command = Command::new(self.command[0]);
        command.args(&self.command[1..]).current_dir(root);
        let outcome = self.stream(root, command, |line| count.note(line))?;
        if outcome.timed_out || (!outcome.succeeded && count.failed == 0) {
            count.failed += 1;
        }
        // a suite that tested nothing and says nothing is broken
        if count == Count::default() {
            count.failed += 1;
        }
        Ok((count, outcome.failures))
    }

    /// Runs a program in a process group of its own, shows and keeps its lines, and ends the whole group when its time is over.
    #[expect(clippy::print_stdout, reason = "a suite's lines are for people to watch")]
    pub(crate) fn stream(&self, root: &Path, mut command: Command, mut each: impl FnMut(&str)) -> Result<Outcome> {
        let logs = root.join("target/test-logs");
        fs::create_dir_all(&logs)?;
        let mut log = File::create(logs.join(format!("{}.log", self.name)))?;
        let errors = log.try_clone()?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start suite {}", self.name))?;
        let output = child.stdout.take().context("a suite without output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut failures = Failures::default();
        let mut left = Duration::from_secs(self.minutes * 60);
        let timed_out = loop {
            let started = super::now();
            match lines.recv_timeout(left) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    println!("[{}] {line}", self.name);
                    each(&line);
                    failures.note(&line);
                }
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => break true,
            }
            left = left.saturating_sub(started.elapsed());
        };
        if timed_out {
            let line = format!("FAIL: it took longer than {} minutes and was ended", self.minutes);
            println!("[{}] {line}", self.name);
            failures.note(&line);
            end_group(&mut child)?;
        }
        let status = child.wait()?;
        Ok(Outcome { failures, succeeded: status.success(), timed_out })
    }
}

/// Ends a suite and everything in its process group. It is asked first, so that it ends what it started elsewhere: brokers, nodes, mounts.
fn end_group(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    let send = |signal| Command::new("kill").args([signal, "--", &group]).status().context("cannot end a suite");
    send("-TERM")?;
    let asked = super::now();
    while child.try_wait()?.is_none() && asked.elapsed() < CLEAN_UP {
        super::pause();
    }
    // also those that the suite left behind
    send("-KILL")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::{Count, Failures, Suite, TOLD_AGAIN, end_group};

    #[test]
    fn lines_are_counted_by_their_first_word() {
        let mut count = Count::default();
        for line in ["PASS a", "PASS b", "FAIL c: why", "SKIP d: why", "anything else", ""] {
            count.note(line);
        }
        assert_eq!(count, Count { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn what_failed_is_kept_with_its_reason() {
        let mut failures = Failures::default();
        for line in [
            "PASS a",
            "FAIL b: why",
            "test c ... FAILED",
            "thread 'd' panicked at e.rs:1:1:",
            "left is not right",
            "test f ... ok",
        ] {
            failures.note(line);
        }
        let told = ["FAIL b: why", "test c ... FAILED", "thread 'd' panicked at e.rs:1:1:", "left is not right"];
        assert_eq!(failures.lines, told);
        for _ in 0..TOLD_AGAIN {
            failures.note("FAIL again");
        }
        assert_eq!(failures.lines.len(), TOLD_AGAIN);
    }

    #[test]
    fn a_suite_that_is_ended_undoes_what_it_did() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'echo > undone' EXIT; echo ready; while true; do sleep 0.1; done";
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(folder.path()).process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        end_group(&mut child).unwrap();
        assert!(folder.path().join("undone").exists());
    }

    #[test]
    fn a_suite_that_fails_silently_or_tests_nothing_counts_as_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        for command in [&["false"][..], &["true"]] {
            let suite = Suite { name: "silent", command, minutes: 1 };
            assert_eq!(suite.run(folder.path()).unwrap().0, Count { passed: 0, failed: 1, skipped: 0 });
        }
    }
}
