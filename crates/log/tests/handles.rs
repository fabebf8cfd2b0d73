//! Without a file handle for what has to be opened, everything waits, and nothing is lost, failed, offline or set aside.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use crate::common::{EPOCH, LogConfig, NOW, log_id, log_of, numbers, small_segments, values};
use kennet_log::fs::sim::SimulatedDisk;
use kennet_log::fs::{FileSystem, Wait, is_transient};
use kennet_log::{AppendError, CompactionError, DataDirectory, Limits, LogId, PartitionLog, ReadError, Rules};
use kennet_protocol::record::{Batch, BatchBuilder};
use kennet_protocol::{Offset, PartitionIndex};

const ROOT: &str = "/data";
const RECORDS: usize = 60;

/// So few files may be open that each use opens them again.
fn limits() -> Limits {
    Limits { journal_bytes_max: Some(32 << 10), open_files_max: 0, ..Limits::default() }
}

fn open(disk: &SimulatedDisk) -> DataDirectory {
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new(ROOT), limits(), Rules::default()).unwrap()
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    disk.create_directory(Path::new(ROOT)).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}

fn compacted() -> LogConfig {
    LogConfig { compaction_enabled: true, dirty_ratio_min: 0.0, ..small_segments() }
}

/// A log beside the one that is written, whose keys are all the same.
fn compacted_log(directory: &DataDirectory) -> Arc<PartitionLog> {
    directory.open_log(&LogId { partition: PartitionIndex(1), ..log_id() }, "orders", compacted(), NOW)
}

/// Tried again while something waits for the disk, as a broker does.
fn put(directory: &DataDirectory, log: &Arc<PartitionLog>, number: usize) {
    let mut builder = BatchBuilder::new(NOW);
    builder.push(NOW, Some(b"key"), Some(number.to_string().as_bytes()), &[]);
    let batch = Batch::parse(&builder.build().unwrap()).unwrap();
    loop {
        match log.append(&batch, EPOCH, NOW) {
            Ok(_) => return,
            Err(AppendError::Busy { .. }) => {
                directory.flush();
                directory.fill();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn compact(log: &Arc<PartitionLog>) -> Result<(), CompactionError> {
    log.compact(log.durable_end(), NOW, 10_000, &mut |_| ControlFlow::Continue(())).map(drop)
}

/// Two logs that are written, filled, read, compacted and cut while some opens are refused. Returns how many opens there were.
fn life(refused: Option<Range<u64>>) -> u64 {
    let context = format!("opens {refused:?} refused");
    let disk = disk();
    let directory = open(&disk);
    let first = disk.opens();
    if let Some(refused) = refused {
        disk.refuse_opens(first + refused.start..first + refused.end);
    }
    let log = log_of(&directory, small_segments());
    let table = compacted_log(&directory);
    for number in 0..RECORDS {
        put(&directory, &log, number);
        put(&directory, &table, number);
        directory.flush();
        match number % 10 {
            5 => directory.fill(),
            7 => match log.read(Offset(20.min(log.durable_end().0 - 1)), log.durable_end(), 300, true, Wait::Allowed) {
                Ok(_) => {}
                Err(ReadError::Io(error)) if is_transient(&error) => {}
                Err(error) => panic!("{context}: {error}"),
            },
            9 => match compact(&table) {
                Ok(()) | Err(CompactionError::NoHandle(_)) => {}
                Err(error) => panic!("{context}: {error}"),
            },
            _ => {}
        }
    }
    directory.close();
    let opens = disk.opens() - first;
    assert_eq!((directory.failed(), log.unavailable(), table.unavailable()), (None, None, None), "{context}");
    assert_eq!((log.durable_end(), table.summary().set_aside), (log.log_end(), 0), "{context}");
    drop((log, table, directory));
    disk.restart();
    let directory = open(&disk);
    let (log, table) = (log_of(&directory, small_segments()), compacted_log(&directory));
    assert_eq!(values(&log, 300), numbers(0..RECORDS), "{context}");
    compact(&table).unwrap();
    assert_eq!(values(&table, 300).last(), numbers(0..RECORDS).last(), "{context}");
    opens
}

#[test]
fn a_lack_of_handles_is_waited_out_whatever_has_to_be_opened() {
    let opens = life(None);
    assert!(opens > 100, "{opens}");
    for refused in 1..=opens {
        life(Some(refused..refused + 1));
        life(Some(refused..refused + 6));
    }
}

#[test]
fn a_log_that_is_opened_without_a_handle_does_not_go_offline() {
    let disk = disk();
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    crate::common::append_numbers(&log, 0..30);
    crate::common::settle(&directory);
    crate::common::append_numbers(&log, 30..32);
    directory.flush();
    drop((log, directory));
    let mut refused = 1;
    loop {
        disk.restart();
        let directory = open(&disk);
        let first = disk.opens();
        disk.refuse_opens(first + refused..first + refused + 1);
        let log = log_of(&directory, small_segments());
        let opens = disk.opens() - first;
        disk.refuse_opens(0..0);
        assert_eq!((log.unavailable(), values(&log, 300)), (None, numbers(0..32)), "open {refused} refused");
        if refused > opens {
            break;
        }
        refused += 1;
    }
    assert!(refused > 1);
}

#[test]
fn the_threads_go_on_when_there_are_handles_again() {
    let disk = disk();
    let directory = DataDirectory::open(Arc::new(disk.clone()), Path::new(ROOT), limits()).unwrap();
    let log = log_of(&directory, small_segments());
    let first = disk.opens();
    disk.refuse_opens(first..first + 4);
    (0..30).for_each(|number| put(&directory, &log, number));
    directory.flush();
    assert_eq!(log.durable_end(), Offset(30));
    directory.close();
    assert_eq!(directory.failed(), None);
    drop(directory);
    disk.restart();
    assert_eq!(values(&log_of(&open(&disk), small_segments()), 300), numbers(0..30));
}
