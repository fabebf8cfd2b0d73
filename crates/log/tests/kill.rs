//! A killed process loses nothing that it had acknowledged, on the real file system.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests; the child reports through its output")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::common::{LogConfig, append_numbers, log_of, numbers, open, values};

const DIRECTORY: &str = "KENNET_TEST_KILL_DIRECTORY";

fn config() -> LogConfig {
    LogConfig { segment_bytes: 20_000, ..LogConfig::default() }
}

/// Not a test by itself: started as a process by the one below, it appends for ever and says how many records are durable.
#[test]
fn child_that_appends() {
    let Some(path) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let directory = open(&path);
    let log = log_of(&directory, config());
    let mut end = usize::try_from(log.log_end().0).unwrap();
    loop {
        append_numbers(&log, end..end + 20);
        end += 20;
        directory.flush();
        println!("durable {}", log.durable_end());
    }
}

#[test]
fn an_acknowledged_record_survives_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for life in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_that_appends", "--nocapture"])
            .env(DIRECTORY, folder.path())
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
