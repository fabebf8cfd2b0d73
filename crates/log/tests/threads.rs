//! Many threads append to the same logs: the journal has each log's batches in offset order, and what was acknowledged is there once, at its offset.
//!
//! The directory has its real threads and lies on the real file system; the process is killed, so that recovery reads what the journal's thread wrote.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests; the child reports through its output")]

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{LogConfig, NOW, append, log_id, open, values};
use kennet_log::fs::{FileSystem, RealFileSystem, Wait};
use kennet_log::{DataDirectory, LogId, PartitionLog, verify};
use kennet_protocol::{Offset, PartitionIndex};

const DIRECTORY: &str = "KENNET_TEST_THREADS_DIRECTORY";
const LIFE: &str = "KENNET_TEST_THREADS_LIFE";
const LOGS: i32 = 3;
const THREADS: usize = 8;
/// What a thread appends before it waits, so that threads meet in the journal's queue.
const AT_ONCE: usize = 20;
/// What is acknowledged before the process is killed: little enough that in the first life nearly all is still in the journal.
const ACKNOWLEDGED: usize = 3_000;

fn logs(directory: &DataDirectory) -> Vec<Arc<PartitionLog>> {
    let id = |partition| LogId { partition: PartitionIndex(partition), ..log_id() };
    (0..LOGS).map(|log| directory.open_log(&id(log), "orders", LogConfig::default(), NOW)).collect()
}

/// A thread that fails must not be one that is only missing.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Not a test by itself: started as a process by the one below, its threads append for ever and say what is durable.
#[test]
fn child_whose_threads_append() {
    let Some(path) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let life = std::env::var(LIFE).unwrap();
    let directory = open(&path);
    let logs = logs(&directory);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (directory, logs, life) = (&directory, &logs, &life);
            scope.spawn(move || {
                let _abort = AbortOnPanic;
                for round in 0.. {
                    append_some(directory, logs, &format!("{life} {thread}"), round * AT_ONCE, thread);
                }
            });
        }
    });
}

/// Appends to all logs in turn, waits, and says what is acknowledged.
fn append_some(directory: &DataDirectory, logs: &[Arc<PartitionLog>], who: &str, first: usize, thread: usize) {
    let mut sent = Vec::new();
    for number in first..first + AT_ONCE {
        let at = (thread + number) % logs.len();
        let value = format!("{who} {number}");
        let appended = append(&logs[at], &[&value]);
        assert_eq!(appended.end_offset.0, appended.base_offset.0 + 1);
        sent.push((at, appended, value));
    }
    directory.flush();
    for (at, appended, value) in sent {
        assert!(logs[at].durable_end() >= appended.end_offset, "what is flushed is durable");
        println!("acknowledged {at} {} {value}", appended.base_offset);
    }
}

/// Lives until so much is acknowledged; returns all that was: log, offset and value.
fn killed(path: &Path, life: usize) -> Vec<(usize, usize, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "threads::child_whose_threads_append", "--nocapture"])
        .env(DIRECTORY, path)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let parse = |line: String| {
        let mut words = line.strip_prefix("acknowledged ")?.splitn(3, ' ');
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    let found: Vec<_> = lines.by_ref().filter_map(parse).take(ACKNOWLEDGED).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found.len(), ACKNOWLEDGED, "life {life} ended by itself");
    found
}

/// Who reads the journal offline checks that each log's entries follow one another.
fn check_order(path: &Path) {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new(path));
    let mut reports = Vec::new();
    let damage = verify(&fs, path, |report| reports.push(report.clone())).unwrap();
    assert_eq!((damage, reports.len()), (None, usize::try_from(LOGS).unwrap()));
    for report in reports {
        assert_eq!(report.damage, None, "{report:?}");
        assert!(report.batches > 0 && report.log_end > Offset(0), "{report:?}");
    }
}

/// In each log, what a thread appended comes in its order, and nothing twice.
fn check_values(found: &[String]) {
    let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
    for value in found {
        let (who, number) = value.rsplit_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        let before = newest.insert(who, number);
        assert!(before.is_none_or(|before| before < number), "{value} comes behind {before:?}");
    }
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len(), "a record is there twice");
}

#[test]
fn what_many_threads_append_is_journaled_in_offset_order_and_survives_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for life in 0..3 {
        acknowledged.extend(killed(folder.path(), life));
        check_order(folder.path());
        let directory = open(folder.path());
        let found: Vec<_> = logs(&directory).iter().map(|log| values(log, 100_000)).collect();
        for (log, offset, value) in &acknowledged {
            assert_eq!(found[*log].get(*offset), Some(value), "life {life}: log {log}, offset {offset}");
        }
        found.iter().for_each(|found| check_values(found));
    }
}

/// While a pass moves batches from memory to segments, both have some of them: none is counted twice, and none can't be read.
#[test]
fn whoever_looks_while_batches_move_to_segments_finds_each_of_them_once() {
    const BATCHES: usize = 6_000;
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    // several segments in each pass
    let log =
        directory.open_log(&log_id(), "orders", LogConfig { segment_bytes: 100_000, ..LogConfig::default() }, NOW);
    for round in 0..5 {
        for number in 0..BATCHES {
            append(&log, &[&(round * BATCHES + number).to_string()]);
        }
        directory.flush();
        let size = log.summary().size_bytes;
        let is_over = AtomicBool::new(false);
        let (looked, first_look) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (log, is_over) = (&log, &is_over);
            let looks = scope.spawn(move || {
                let mut looks = 0;
                let end = log.log_end();
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(log.summary().size_bytes, size, "look {looks} of round {round}");
                    let from = Offset(end.0 - 1 - (looks * 997) % end.0);
                    let read = log.read(from, end, 1, true, Wait::Allowed).unwrap();
                    assert!(read.next_offset > from, "there is nothing at {from}");
                    looks += 1;
                    let _ = looked.send(());
                }
            });
            // on a busy machine the pass would be over before that
            first_look.recv().unwrap();
            directory.fill();
            is_over.store(true, Ordering::Relaxed);
            looks.join().unwrap();
        });
    }
    assert!(log.summary().segments > 10);
}
