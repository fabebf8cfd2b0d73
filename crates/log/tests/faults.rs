//! A full volume is waited out, a broken disk is final, and neither loses what was acknowledged.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::world::World;
use crate::common::{EPOCH, NOW, append_numbers, batch_at, log_of, numbers, settle, small_segments, values};
use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, RealFileSystem, Wait};
use kennet_log::{
    Advance, AppendError, DataDirectory, Limits, LogConfig, LogId, PartitionLog, Progress, ReadError, Rules,
    Unavailable,
};
use kennet_protocol::{Offset, PartitionIndex, TimestampMs};

/// Long enough after `NOW` that the volume is looked at again.
const LATER: TimestampMs = TimestampMs(NOW.0 + 10_000);

fn open(disk: &SimulatedDisk) -> DataDirectory {
    let limits = Limits { journal_bytes_max: Some(1 << 20), ..Limits::default() };
    DataDirectory::open(Arc::new(disk.clone()), Path::new("/data"), limits).unwrap()
}

/// Without threads of its own, so that it makes the same calls each time.
fn open_manual(disk: &SimulatedDisk) -> DataDirectory {
    let limits = Limits { journal_bytes_max: Some(1 << 20), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new("/data"), limits, Rules::default()).unwrap()
}

fn try_append(log: &Arc<PartitionLog>, number: usize, now: TimestampMs) -> Result<(), AppendError> {
    log.append(&batch_at(&[&number.to_string()], now), EPOCH, now).map(drop)
}

/// Whatever byte is the one too many, in the middle of a batch, of a roll or of an index.
#[test]
fn a_full_volume_refuses_appends_keeps_what_was_acknowledged_and_recovers() {
    for room in (0..2_000).step_by(37) {
        let disk = SimulatedDisk::new(1);
        let directory = open(&disk);
        let log = log_of(&directory, small_segments());
        append_numbers(&log, 0..5);
        settle(&directory);
        disk.set_capacity(Some(disk.used() + room));
        let mut sent = 5;
        while try_append(&log, sent, NOW).is_ok() {
            settle(&directory);
            sent += 1;
        }
        let refused = try_append(&log, sent, NOW).unwrap_err();
        assert!(matches!(refused, AppendError::DiskFull), "{refused}");
        assert_eq!(directory.failed(), None, "{room} bytes of room");
        assert_eq!(log.durable_end(), log.log_end(), "what was taken is durable: the journal has its space");
        assert_eq!(values(&log, 300), numbers(0..sent), "readers are served all the while");
        disk.set_capacity(None);
        try_append(&log, sent, LATER).unwrap();
        append_numbers(&log, sent + 1..sent + 20);
        settle(&directory);
        assert_eq!(values(&log, 300), numbers(0..sent + 20), "{room} bytes of room");
        drop(directory);
        let directory = open(&disk);
        assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(0..sent + 20));
    }
}

/// A volume says nothing of quotas: whoever tries again later is taken at first, and refused again once the filler has met the quota again.
#[test]
fn a_quota_that_is_used_up_refuses_appends_until_there_is_room_again() {
    for room in (0..2_000).step_by(97) {
        let disk = SimulatedDisk::new(1);
        let directory = open_manual(&disk);
        let log = log_of(&directory, small_segments());
        append_numbers(&log, 0..5);
        settle(&directory);
        disk.set_quota(Some(disk.used() + room));
        let (mut sent, mut now) = (5, NOW);
        for round in 0..4 {
            let before = sent;
            while try_append(&log, sent, now).is_ok() {
                settle(&directory);
                sent += 1;
                assert!(sent < 200, "{room} bytes of room: never refused");
            }
            let refused = try_append(&log, sent, now).unwrap_err();
            assert!(matches!(refused, AppendError::DiskFull), "{refused}");
            assert!(round == 0 || sent > before, "{room} bytes of room: it was not tried again");
            assert_eq!(directory.failed(), None, "{room} bytes of room");
            assert_eq!(log.durable_end(), log.log_end(), "what was taken is durable: the journal has its space");
            assert_eq!(values(&log, 300), numbers(0..sent), "readers are served all the while");
            now = TimestampMs(now.0 + 10_000);
        }
        disk.set_quota(None);
        try_append(&log, sent, now).unwrap();
        append_numbers(&log, sent + 1..sent + 20);
        settle(&directory);
        assert_eq!(values(&log, 300), numbers(0..sent + 20), "{room} bytes of room");
        drop(directory);
        let directory = open(&disk);
        assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(0..sent + 20));
    }
}

/// A log of some more than 60 records on a volume that has not a single byte left; and how many they are.
fn full() -> (SimulatedDisk, DataDirectory, Arc<PartitionLog>, usize) {
    let disk = SimulatedDisk::new(1);
    disk.create_directory(Path::new("/data")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    let directory = open(&disk);
    let config = LogConfig { retention_bytes: Some(1_500), ..small_segments() };
    let log = log_of(&directory, config);
    append_numbers(&log, 0..60);
    settle(&directory);
    disk.set_capacity(Some(disk.used()));
    let mut sent = 60;
    while try_append(&log, sent, NOW).is_ok() {
        settle(&directory);
        sent += 1;
    }
    (disk, directory, log, sent)
}

#[test]
fn records_can_be_deleted_from_a_volume_without_a_byte_of_room() {
    let (disk, directory, log, sent) = full();
    let used = disk.used();
    log.delete_records(Offset(40), log.durable_end(), NOW).unwrap();
    assert_eq!(log.log_start(), Offset(40));
    assert!(disk.used() < used, "segments went");
    drop(directory);
    disk.restart();
    let directory = open(&disk);
    assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(40..sent));
}

#[test]
fn retention_makes_room_on_a_volume_without_a_byte_of_room() {
    let (disk, directory, log, sent) = full();
    assert!(log.apply_retention(log.durable_end(), NOW).unwrap() > 0);
    let start = usize::try_from(log.log_start().0).unwrap();
    assert!(start > 0);
    drop(directory);
    disk.restart();
    let directory = open(&disk);
    assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(start..sent));
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
            world.append_some(1 + number % 3);
            world.flush();
            match number % 7 {
                3 => world.directory.fill(),
                5 => world.roll(number % 2),
                6 => world.delete_records(number % 2),
                _ => {}
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
fn a_failed_write_of_the_journal_is_never_tried_again() {
    let disk = SimulatedDisk::new(2);
    let directory = open_manual(&disk);
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..3);
    directory.flush();
    disk.plan(disk.calls() + 1, Trouble::InputOutput);
    try_append(&log, 3, NOW).unwrap();
    directory.flush();
    assert!(matches!(directory.failed(), Some(Unavailable::DirectoryFailed { .. })));
    assert_eq!(log.durable_end(), Offset(3));
    nothing_is_written_any_more(&disk, &directory, &log);
}

#[test]
fn a_failed_sync_of_segments_is_never_tried_again() {
    let life = |broken: Option<u64>| {
        let disk = SimulatedDisk::new(2);
        let directory = open_manual(&disk);
        let log = log_of(&directory, small_segments());
        append_numbers(&log, 0..30);
        directory.flush();
        let first = disk.calls();
        if let Some(call) = broken {
            disk.plan(first + call, Trouble::InputOutput);
        }
        directory.fill();
        if broken.is_some() && directory.failed().is_some() {
            nothing_is_written_any_more(&disk, &directory, &log);
        } else {
            assert!(broken.is_none(), "call {broken:?} failed, and the directory did not");
        }
        disk.calls() - first
    };
    for call in 1..=life(None) {
        life(Some(call));
    }
}

fn nothing_is_written_any_more(disk: &SimulatedDisk, directory: &DataDirectory, log: &Arc<PartitionLog>) {
    let calls = disk.calls();
    assert!(matches!(try_append(log, 3, LATER), Err(AppendError::Unavailable(_))));
    directory.flush();
    directory.fill();
    directory.close();
    assert_eq!(disk.calls(), calls, "nothing is written any more");
}

/// Notes what is reported of logs that can't be used any more, and how often that writes are buffered.
#[derive(Default)]
struct Dropped(Mutex<Vec<LogId>>, AtomicU32);

impl Progress for Dropped {
    fn durable(&self, _: &[Advance]) {}
    fn room(&self) {}
    fn full(&self, _: bool) {}
    fn dropped(&self, logs: &[Arc<PartitionLog>]) {
        self.0.lock().unwrap().extend(logs.iter().map(|log| log.id().clone()));
    }
    fn failed(&self, _: &str) {}
    fn buffered(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
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
    settle(&directory);
    disk.hold();
    // another log keeps the journal busy, so that ours is still pending when its damage is found
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

#[test]
fn that_the_journal_is_buffered_is_told_once() {
    let disk = SimulatedDisk::new(1);
    let directory = open_manual(&disk);
    let told = Arc::new(Dropped::default());
    directory.set_progress(Arc::downgrade(&(Arc::clone(&told) as Arc<dyn Progress>)));
    let log = log_of(&directory, LogConfig::default());
    append_numbers(&log, 0..1);
    directory.flush();
    assert_eq!(told.1.load(Ordering::Relaxed), 0);
    assert!(!directory.journal_use().is_buffered);
    disk.refuse_direct_writes();
    for number in 1..3 {
        append_numbers(&log, number..number + 1);
        directory.flush();
    }
    assert_eq!(told.1.load(Ordering::Relaxed), 1);
    assert!(directory.journal_use().is_buffered);
}

#[test]
fn how_full_the_journal_is_is_told() {
    let directory = open_manual(&SimulatedDisk::new(1));
    let log = log_of(&directory, LogConfig::default());
    let before = directory.journal_use();
    assert!(before.bytes > 0 && before.used_bytes <= before.bytes, "{before:?}");
    (0..6).for_each(|_| {
        log.append(&batch_at(&[&"x".repeat(20_000)], NOW), EPOCH, NOW).unwrap();
        for _ in 0..4 {
            let _has_room = directory.step_without_filling(true);
        }
    });
    let full = directory.journal_use();
    assert!(full.used_bytes > before.used_bytes && full.used_bytes <= full.bytes, "{before:?}, {full:?}");
    settle(&directory);
    assert!(directory.journal_use().used_bytes < full.used_bytes, "{full:?}");
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
    settle(&directory);
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
                if number % 30 == 0 {
                    settle(&directory);
                }
                directory.flush();
                log.delete_records(Offset(log.durable_end().0 - 5), log.durable_end(), NOW).unwrap();
            }
        }
    });
    assert_eq!(log.unavailable(), None);
}

/// Ends the other thread also when this one panics.
struct OverAtTheEnd<'a>(&'a AtomicBool);

impl Drop for OverAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A disk that others use as well may take so long for one more slot of the journal.
const PATIENCE: Duration = Duration::from_secs(60);

/// The journal has few slots at first, and makes more in the background: an append that comes too early is tried again, as a broker does.
#[expect(clippy::disallowed_methods, reason = "the disk is a real one, and its time too")]
fn append_patiently(directory: &DataDirectory, log: &Arc<PartitionLog>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let since = Instant::now();
        loop {
            match try_append(log, number, NOW) {
                Ok(()) => break,
                Err(AppendError::Busy { .. }) if since.elapsed() < PATIENCE => directory.flush(),
                Err(error) => panic!("{error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Topics come and go while others are written, filled and deleted: the directory goes on, and nothing stays in the journal for ever.
#[test]
fn topics_that_are_deleted_while_they_are_filled_fail_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fs = Arc::new(RealFileSystem::new(folder.path()));
    let limits = Limits { journal_bytes_max: Some(8 << 20), ..Limits::default() };
    let directory = DataDirectory::open(fs, folder.path(), limits).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = OverAtTheEnd(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                directory.fill();
            }
        });
        for topic in 0..150_u128 {
            let id = LogId { topic_id: kennet_protocol::Uuid::from_u128(topic), partition: PartitionIndex(0) };
            let log = directory.open_log(&id, "orders", small_segments(), NOW);
            append_patiently(&directory, &log, 0..20);
            log.delete_records(Offset(0), log.durable_end(), NOW).unwrap();
            directory.flush();
            log.delete_records(Offset(10), log.durable_end(), NOW).unwrap();
            append_patiently(&directory, &log, 20..40);
            directory.delete_topic(id.topic_id).unwrap();
        }
    });
    assert_eq!(directory.failed(), None);
    directory.close();
    drop(directory);
    // after a clean stop a start finds nothing to read and nothing of them
    let fs = Arc::new(RealFileSystem::new(folder.path()));
    let directory = DataDirectory::open(fs, folder.path(), limits).unwrap();
    assert_eq!(directory.topics_found().unwrap().len(), 0);
}
