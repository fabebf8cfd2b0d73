//! A killed process loses nothing that it had acknowledged, on the real file system.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests; the child reports through its output")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::common::{LogConfig, append_numbers, log_of, numbers, open, open_on, values};
use kennet_log::fs::RealFileSystem;

const DIRECTORY: &str = "KENNET_TEST_KILL_DIRECTORY";
/// Set when the child's journal is to be written through the page cache.
const BUFFERED: &str = "KENNET_TEST_KILL_BUFFERED";

fn config() -> LogConfig {
    LogConfig { segment_bytes: 20_000, ..LogConfig::default() }
}

/// Not a test by itself: started as a process by the one below, it appends for ever and says how many records are durable.
#[test]
fn child_that_appends() {
    let Some(path) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let is_buffered = std::env::var_os(BUFFERED).is_some();
    let directory = if is_buffered { open_on(Arc::new(RealFileSystem::buffered(&path)), &path) } else { open(&path) };
    let log = log_of(&directory, config());
    let mut end = usize::try_from(log.log_end().0).unwrap();
    loop {
        append_numbers(&log, end..end + 20);
        end += 20;
        directory.flush();
        assert!(!is_buffered || directory.journal_use().is_buffered, "the journal is written through the page cache");
        println!("durable {}", log.durable_end());
    }
}

#[test]
fn an_acknowledged_record_survives_sigkill() {
    lives(8, &[]);
}

/// Where system or device take no direct writes.
#[test]
fn an_acknowledged_record_survives_sigkill_with_a_buffered_journal_as_well() {
    lives(4, &[(BUFFERED, "1")]);
}

fn lives(count: usize, settings: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for life in 0..count {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_that_appends", "--nocapture"])
            .env(DIRECTORY, folder.path())
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reports = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("durable ")?.parse().ok());
        let last: usize = reports.take(5 + 13 * life).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(last > acknowledged, "life {life} appended");
        acknowledged = last;
        let directory = open(folder.path());
        let log = log_of(&directory, config());
        assert_eq!(log.unavailable(), None);
        let end = usize::try_from(log.durable_end().0).unwrap();
        assert!(end >= acknowledged, "life {life}: {acknowledged} were acknowledged, {end} are left");
        assert_eq!(values(&log, 10_000), numbers(0..end));
    }
}
