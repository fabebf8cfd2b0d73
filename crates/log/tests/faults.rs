//! A full volume is waited out, a broken disk is final, and neither loses what was acknowledged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};

use common::world::World;
use common::{EPOCH, NOW, append_numbers, batch_at, log_of, numbers, small_segments, values};
use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, RealFileSystem, Wait};
use kennet_log::{
    Advance, AppendError, DataDirectory, Limits, LogConfig, LogId, PartitionLog, Progress, ReadError, Unavailable,
};
use kennet_protocol::{Offset, PartitionIndex, TimestampMs};

/// Long enough after `NOW` that the volume is looked at again.
const LATER: TimestampMs = TimestampMs(NOW.0 + 10_000);

fn open(disk: &SimulatedDisk) -> DataDirectory {
    DataDirectory::open(Arc::new(disk.clone()), Path::new("/data"), Limits::default()).unwrap()
}

fn try_append(log: &Arc<PartitionLog>, number: usize, now: TimestampMs) -> Result<(), AppendError> {
    log.append(&batch_at(&[&number.to_string()], now), EPOCH, now).map(drop)
}

/// Whatever byte is the one too many, in the middle of a batch or of a roll.
#[test]
fn a_full_volume_takes_back_what_is_not_durable_and_recovers() {
    for room in (0..2_000).step_by(37) {
        let disk = SimulatedDisk::new(1);
        let directory = open(&disk);
        let log = log_of(&directory, small_segments());
        append_numbers(&log, 0..5);
        directory.flush();
        disk.set_capacity(Some(disk.used() + room));
        let mut sent = 5;
        while try_append(&log, sent, NOW).is_ok() {
            directory.flush();
            sent += 1;
        }
        let refused = try_append(&log, sent, NOW).unwrap_err();
        assert!(matches!(refused, AppendError::DiskFull), "{refused}");
        assert_eq!(directory.failed().map(|reason| reason.to_string()), None, "{room} bytes of room");
        let durable = usize::try_from(log.durable_end().0).unwrap();
        assert_eq!(log.log_end(), log.durable_end(), "what was not durable is taken back");
        assert_eq!(values(&log, 300), numbers(0..durable), "readers are served all the while");
        assert!(log.generation() > 0, "who waits can see that it was taken back");
        disk.set_capacity(None);
        try_append(&log, durable, LATER).unwrap();
        append_numbers(&log, durable + 1..durable + 20);
        directory.flush();
        assert_eq!(values(&log, 300), numbers(0..durable + 20), "{room} bytes of room");
        drop(directory);
        let directory = open(&disk);
        assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(0..durable + 20));
    }
}

/// A log of 60 records on a volume that has not a single byte left.
fn full() -> (SimulatedDisk, DataDirectory, Arc<PartitionLog>) {
    let disk = SimulatedDisk::new(1);
    disk.create_directory(Path::new("/data")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    let directory = open(&disk);
    let config = LogConfig { retention_bytes: Some(1_500), ..small_segments() };
    let log = log_of(&directory, config);
    append_numbers(&log, 0..60);
    directory.flush();
    disk.set_capacity(Some(disk.used()));
    while try_append(&log, 60, NOW).is_ok() {
        directory.flush();
    }
    (disk, directory, log)
}

#[test]
fn records_can_be_deleted_from_a_volume_without_a_byte_of_room() {
    let (disk, directory, log) = full();
    let used = disk.used();
    log.delete_records(Offset(40), log.durable_end()).unwrap();
    assert_eq!(log.log_start(), Offset(40));
    assert!(disk.used() < used, "segments went");
    drop(directory);
    disk.restart();
    let directory = open(&disk);
    assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(40..60));
}

#[test]
fn retention_makes_room_on_a_volume_without_a_byte_of_room() {
    let (disk, directory, log) = full();
    assert!(log.apply_retention(log.durable_end(), NOW).unwrap() > 0);
    let start = usize::try_from(log.log_start().0).unwrap();
    assert!(start > 0);
    drop(directory);
    disk.restart();
    let directory = open(&disk);
    assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(start..60));
}

/// EIO at each call of the life of a log: the directory either fails for good, or the call was one that costs only space or time.
#[test]
fn a_broken_disk_is_final_and_what_was_acknowledged_is_there_after_a_restart() {
    let life = |broken: Option<u64>| {
        let mut world = World::new(3, 2);
        if let Some(call) = broken {
            world.disk.plan(call, Trouble::InputOutput);
        }
        for number in 0..30 {
            world.append_round(1 + number % 3);
            if number % 7 == 5 {
                world.roll(number % 2);
            }
            if number % 7 == 6 {
                world.delete_records(number % 2);
            }
        }
        let calls = world.disk.calls();
        world.restart(true, &format!("EIO at call {broken:?}"));
        calls
    };
    let calls = life(None);
    for call in 4..=calls {
        life(Some(call));
    }
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = SimulatedDisk::new(2);
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..3);
    directory.flush();
    // the write, then its sync
    disk.plan(disk.calls() + 2, Trouble::InputOutput);
    try_append(&log, 3, NOW).unwrap();
    directory.flush();
    assert!(matches!(directory.failed(), Some(Unavailable::DirectoryFailed { .. })));
    assert_eq!(log.durable_end(), Offset(3));
    let calls = disk.calls();
    assert!(matches!(try_append(&log, 3, LATER), Err(AppendError::Unavailable(_))));
    directory.flush();
    directory.close();
    assert_eq!(disk.calls(), calls, "nothing is written any more");
}

/// Counts what the flusher reports of logs that it could not write.
#[derive(Default)]
struct Dropped(Mutex<Vec<LogId>>);

impl Progress for Dropped {
    fn durable(&self, _: &[Advance]) {}
    fn taken_back(&self, _: &[Arc<PartitionLog>]) {}
    fn dropped(&self, logs: &[Arc<PartitionLog>]) {
        self.0.lock().unwrap().extend(logs.iter().map(|log| log.id().clone()));
    }
    fn failed(&self, _: &str) {}
    fn complain(&self, _: &str) {}
}

#[test]
fn whoever_waits_for_a_log_that_goes_offline_is_told() {
    let disk = SimulatedDisk::new(1);
    let directory = open(&disk);
    let dropped = Arc::new(Dropped::default());
    directory.set_progress(Arc::downgrade(&(Arc::clone(&dropped) as Arc<dyn Progress>)));
    let log = log_of(&directory, LogConfig::default());
    append_numbers(&log, 0..3);
    directory.flush();
    disk.hold();
    // another log keeps the flusher busy, so that ours is still pending when its damage is found
    let other = LogId { partition: PartitionIndex(1), ..log.id().clone() };
    let other = directory.open_log(&other, "orders", LogConfig::default(), NOW);
    append_numbers(&other, 0..1);
    disk.wait_until_somebody_waits();
    append_numbers(&log, 3..4);
    let path = format!("/data/topics/{}/0000/{:020}.log", log.id().topic_id, 0);
    disk.flip(Path::new(&path), 66);
    let read = log.read(Offset(0), log.durable_end(), 1_000, true, Wait::Allowed);
    assert!(matches!(read, Err(ReadError::Unavailable(Unavailable::Offline { .. }))), "{read:?}");
    disk.release();
    directory.flush();
    assert_eq!(*dropped.0.lock().unwrap(), [log.id().clone()]);
}

/// Readers of a log whose oldest segments are taken away all the time see old records or that they are gone, never damage.
#[test]
fn reading_while_records_are_deleted_finds_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let fs = Arc::new(RealFileSystem::new(folder.path()));
    // so few files may be open that readers open them again and again
    let limits = Limits { open_files_max: 0, ..Limits::default() };
    let directory = DataDirectory::open(fs, folder.path(), limits).unwrap();
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..20);
    directory.flush();
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let log = &log;
            scope.spawn(move || {
                while log.log_start().0 < 1_900 {
                    let from = Offset(log.log_start().0 + reader);
                    match log.read(from, log.durable_end(), 400, true, Wait::Allowed) {
                        Ok(_) | Err(ReadError::OutOfRange { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        for number in 20..2_000 {
            append_numbers(&log, number..number + 1);
            if number % 10 == 0 {
                directory.flush();
                log.delete_records(Offset(log.durable_end().0 - 5), log.durable_end()).unwrap();
            }
        }
    });
    assert_eq!(log.unavailable(), None);
}
