//! Index files are hints: whatever bit of them flips, and whatever end of them is lost, no answer changes and nothing is deleted early.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{EPOCH, NOW, batch_at, copy_of, files, log_id, log_of, open, settle};
use kennet_log::fs::sim::SimulatedDisk;
use kennet_log::fs::{FileSystem, Wait, read_file};
use kennet_log::{DataDirectory, Limits, LogConfig, PartitionLog, Rules};
use kennet_protocol::{Offset, TimestampMs};

const RECORDS: i64 = 48;

/// Segments of a few batches; small `interval`s make several entries of each index.
fn config(interval: u64) -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        index_interval_bytes: interval,
        retention_age: Some(Duration::from_secs(1)),
        ..LogConfig::default()
    }
}

fn append_times(log: &Arc<PartitionLog>, times: &[i64]) {
    for time in times {
        log.append(&batch_at(&["x"], TimestampMs(NOW.0 + time)), EPOCH, NOW).unwrap();
    }
}

/// Times that rise, and times of which the largest of each segment is its third or so.
fn series() -> [Vec<i64>; 2] {
    let rising = (0..RECORDS).map(|at| 100 * at);
    [rising.clone().collect(), rising.map(|time| time + if time % 800 == 200 { 700 } else { 0 }).collect()]
}

fn stopped(times: &[i64], interval: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    append_times(&log_of(&directory, config(interval)), times);
    directory.close();
    folder
}

/// What a log answers: the first offsets at or after each time, the newest record, and the log start after retention at each of some times.
fn answers(path: &Path, interval: u64) -> (Vec<Option<i64>>, Option<i64>, Vec<i64>) {
    let directory = open(path);
    let log = log_of(&directory, config(interval));
    let end = log.durable_end();
    let offset = |found: Option<kennet_log::TimestampOffset>| found.map(|found| found.offset.0);
    let times = (-1..RECORDS).map(|at| TimestampMs(NOW.0 + 100 * at + 50));
    let found = times.map(|time| offset(log.first_at_or_after(time, end).unwrap())).collect();
    let newest = offset(log.newest_timestamp(end).unwrap());
    let mut starts = Vec::new();
    for at in 0..10 {
        log.apply_retention(end, TimestampMs(NOW.0 + 1_000 + 200 * at)).unwrap();
        starts.push(log.log_start().0);
    }
    assert_eq!(log.unavailable(), None);
    (found, newest, starts)
}

/// Retention is what a restart asks first; nothing else has loaded an index then.
fn start_after_retention(path: &Path, interval: u64) -> i64 {
    let directory = open(path);
    let log = log_of(&directory, config(interval));
    log.apply_retention(log.durable_end(), TimestampMs(NOW.0 + 2_450)).unwrap();
    log.log_start().0
}

/// Damages one file at a time of a log that was stopped, and compares what it answers.
fn changes_nothing(extension: &str, interval: u64, damages: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    for times in series() {
        let whole = stopped(&times, interval);
        let expected = answers(copy_of(whole.path()).path(), interval);
        let start = start_after_retention(copy_of(whole.path()).path(), interval);
        assert!(
            start > 0 && expected.2.iter().any(|found| *found < start) && expected.2.iter().any(|found| *found > 0)
        );
        let indexes = files(whole.path(), extension);
        assert!(indexes.len() > 4);
        // those that retention comes to
        for (at, index) in indexes.iter().enumerate().take(3) {
            for damaged in damages(&std::fs::read(index).unwrap()) {
                let what = format!("{extension} {at}, of {interval}: {damaged:?}");
                let copy = copy_of(whole.path());
                std::fs::write(&files(copy.path(), extension)[at], &damaged).unwrap();
                assert_eq!(start_after_retention(copy_of(copy.path()).path(), interval), start, "{what}");
                assert_eq!(answers(copy.path(), interval), expected, "{what}");
            }
        }
    }
}

/// All that one flipped bit in each byte makes of a file.
fn flips(bytes: &[u8]) -> Vec<Vec<u8>> {
    let flipped = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= [0x80, 2, 1, 0x10][at % 4];
        bytes
    };
    (0..bytes.len()).map(flipped).collect()
}

#[test]
fn a_flipped_bit_in_a_time_index_of_one_entry_changes_nothing() {
    changes_nothing("timeindex", 4096, flips);
}

#[test]
fn a_flipped_bit_in_a_time_index_of_several_entries_changes_nothing() {
    changes_nothing("timeindex", 100, flips);
}

#[test]
fn a_flipped_bit_in_an_offset_index_changes_nothing() {
    changes_nothing("index", 100, flips);
}

#[test]
fn an_index_that_lost_its_last_entries_changes_nothing() {
    for interval in [100, 200] {
        let cut =
            |size: usize| move |bytes: &[u8]| (0..bytes.len()).step_by(size).map(|at| bytes[..at].to_vec()).collect();
        changes_nothing("timeindex", interval, cut(12));
        changes_nothing("index", interval, cut(8));
    }
}

#[test]
fn retention_believes_no_time_index_that_lost_its_largest_time() {
    // the largest time of each segment is far from the ends of both indexes
    let times: Vec<_> =
        (0..RECORDS).map(|at| [10, 20, 30, 30, 1_000_000, 0, 0, 0][usize::try_from(at % 8).unwrap()]).collect();
    let whole = stopped(&times, 100);
    for index in files(whole.path(), "timeindex") {
        let bytes = std::fs::read(&index).unwrap();
        std::fs::write(&index, &bytes[..bytes.len().min(12)]).unwrap();
    }
    let directory = open(whole.path());
    let log = log_of(&directory, config(100));
    log.apply_retention(log.durable_end(), TimestampMs(NOW.0 + 500_000)).unwrap();
    assert_eq!(log.log_start(), Offset(0));
}

#[test]
fn a_segment_whose_batches_cannot_all_be_read_does_not_expire() {
    let whole = stopped(&series()[0], 4096);
    for index in files(whole.path(), "timeindex") {
        std::fs::remove_file(&index).unwrap();
    }
    let first = files(whole.path(), "log").remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    // the length of the second batch: where the next one lies nobody can say, nor how old it is
    let second = 12 + usize::from(bytes[11]);
    bytes[second + 8] ^= 0x40;
    std::fs::write(&first, &bytes).unwrap();
    let directory = open(whole.path());
    let log = log_of(&directory, config(4096));
    log.apply_retention(log.durable_end(), TimestampMs(NOW.0 + 1_000_000)).unwrap();
    assert_eq!(log.log_start(), Offset(0));
}

#[test]
fn a_wrong_index_is_made_again_once() {
    for (extension, size, at) in [("index", 8, 3), ("index", 8, 7), ("timeindex", 12, 7), ("timeindex", 12, 11)] {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/data");
        disk.create_directory(root).unwrap();
        let reopen = || {
            let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
            let directory = DataDirectory::open_manual(Arc::new(disk.clone()), root, limits, Rules::default()).unwrap();
            let log = log_of(&directory, LogConfig { segment_bytes: 100_000, ..config(400) });
            (directory, log)
        };
        let (directory, log) = reopen();
        for start in (0..1_000).step_by(20) {
            append_times(&log, &(start..start + 20).collect::<Vec<_>>());
            settle(&directory);
        }
        directory.close();
        drop((directory, log));
        let partition = root.join("topics").join(log_id().topic_id.to_string()).join("0000");
        let path = |extension| partition.join(format!("{:020}.{extension}", 0));
        // the entry that a look-up of offset 900 takes; each batch has one record, and each record a time of its own
        let bytes = read_file(&disk, &path(extension), usize::MAX).unwrap().unwrap();
        let offset = |entry: &[u8]| u32::from_be_bytes(entry[if size == 8 { 0 } else { 8 }..][..4].try_into().unwrap());
        let entry = bytes.chunks(size).take_while(|entry| offset(entry) < 900).count() - 1;
        disk.flip(&path(extension), entry * size + at);
        let (_directory, log) = reopen();
        for time in 0..2 {
            let what = format!("{extension} at byte {at}, look-up {time}");
            let read = log.read(Offset(900), Offset(1_000), 1, true, Wait::Allowed).unwrap();
            assert_eq!(read.next_offset, Offset(901), "{what}");
            let found = log.first_at_or_after(TimestampMs(NOW.0 + 900), Offset(1_000)).unwrap();
            assert_eq!(found.unwrap().offset, Offset(900), "{what}");
            // nobody gets past the first batch's length any more, and nobody has to
            if time == 0 {
                disk.flip(&path("log"), 10);
            }
        }
    }
}
