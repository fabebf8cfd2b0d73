//! Reads that may not wait for the disk: they say so, somebody who may wait answers them, and nothing is taken for damage meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use crate::common::{append_numbers, log_of, settle, small_segments};
use kennet_log::fs::Wait;
use kennet_log::fs::sim::SimulatedDisk;
use kennet_log::{DataDirectory, Limits, PartitionLog, ReadError, ReadLog, Rules};
use kennet_protocol::Offset;

const RECORDS: i64 = 60;

fn open(disk: &SimulatedDisk) -> DataDirectory {
    let limits = Limits { journal_bytes_max: Some(1 << 20), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new("/data"), limits, Rules::default()).unwrap()
}

/// A disk with a log of several segments.
fn settled() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let directory = open(&disk);
    append_numbers(&log_of(&directory, small_segments()), 0..60);
    settle(&directory);
    disk
}

fn read(log: &PartitionLog, from: i64, wait: Wait) -> Result<ReadLog, ReadError> {
    log.read(Offset(from), log.durable_end(), 300, true, wait)
}

fn would_wait(log: &PartitionLog, from: i64) {
    let refused = read(log, from, Wait::Refused);
    assert!(matches!(refused, Err(ReadError::WouldWait { offset }) if offset.0 == from), "{from}: {refused:?}");
    assert_eq!(log.unavailable(), None, "waiting is no damage");
}

#[test]
fn what_is_not_in_memory_is_read_by_waiting() {
    let disk = settled();
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    assert!(log.summary().segments > 2);
    disk.set_cold(true);
    for from in 0..RECORDS {
        would_wait(&log, from);
        let waited = read(&log, from, Wait::Allowed).unwrap();
        assert!(waited.next_offset.0 > from && waited.bytes > 0);
        // the index is in memory now, the batches are not
        would_wait(&log, from);
    }
    disk.set_cold(false);
    for from in 0..RECORDS {
        assert_eq!(read(&log, from, Wait::Refused).unwrap(), read(&log, from, Wait::Allowed).unwrap(), "{from}");
    }
}

/// The index is read or made in one go, which is never in the page cache for sure.
#[test]
fn an_index_that_is_not_in_memory_is_read_by_waiting() {
    let disk = settled();
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    would_wait(&log, 1);
    let waited = read(&log, 1, Wait::Allowed).unwrap();
    assert_eq!(read(&log, 1, Wait::Refused).unwrap(), waited);
}

/// Nor may its name be looked up on the disk.
#[test]
fn a_segment_that_is_not_open_is_opened_by_who_may_wait() {
    let disk = settled();
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    let opens = disk.opens();
    would_wait(&log, 1);
    assert_eq!(disk.opens(), opens, "nothing was opened");
    read(&log, 1, Wait::Allowed).unwrap();
    assert!(disk.opens() > opens);
}

#[test]
fn what_is_only_in_the_journal_is_read_without_waiting() {
    let disk = settled();
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 60..70);
    directory.flush();
    disk.set_cold(true);
    for from in RECORDS..70 {
        assert!(read(&log, from, Wait::Refused).unwrap().next_offset.0 > from);
    }
    would_wait(&log, RECORDS - 1);
}
