//! Compaction by Kafka's rules: what goes, what stays and for how long, and what becomes of segments that can't be read.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::hooked::hooked;
use crate::common::{EPOCH, LogConfig, NOW, copy_of, files, log_of, open, open_by, settle};
use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, RealFileSystem, Wait};
use kennet_log::{Compacted, CompactionError, DataDirectory, Limits, PartitionLog, Rules, verify};
use kennet_protocol::record::{Batch, BatchBuilder, Batches};
use kennet_protocol::{Offset, TimestampMs};

const MAP_BYTES: usize = 100_000;

/// Segments of a few batches, compacted whenever there is something to do.
pub(crate) fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        retention_enabled: false,
        compaction_enabled: true,
        dirty_ratio_min: 0.0,
        ..LogConfig::default()
    }
}

pub(crate) fn put_at(log: &Arc<PartitionLog>, key: &str, value: Option<&str>, time: TimestampMs) {
    let mut builder = BatchBuilder::new(time);
    builder.push(time, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    log.append(&Batch::parse(&builder.build().unwrap()).unwrap(), EPOCH, time).unwrap();
}

fn put(log: &Arc<PartitionLog>, key: &str, value: &str) {
    put_at(log, key, Some(value), NOW);
}

/// Fifty records of five keys, and as many of others, so that the first ones are sealed.
fn fill(log: &Arc<PartitionLog>) {
    for number in 0..50 {
        put(log, &format!("key {}", number % 5), &number.to_string());
    }
    for number in 50..60 {
        put(log, &format!("last {number}"), "x");
    }
}

pub(crate) fn compact_at(log: &Arc<PartitionLog>, now: TimestampMs) -> Compacted {
    log.compact(log.durable_end(), now, MAP_BYTES, &mut |_| ControlFlow::Continue(())).unwrap().unwrap()
}

/// Offset, key and value of all records.
pub(crate) fn records(log: &PartitionLog) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    let mut at = log.log_start();
    while at < log.durable_end() {
        let read = log.read(at, log.durable_end(), 1_000, true, Wait::Allowed).unwrap();
        for batch in read.chunks.into_iter().flat_map(Batches::new) {
            for record in batch.unwrap().records(1 << 20).unwrap().map(Result::unwrap) {
                found.push((record.offset.0, text(record.key.unwrap()), record.value.map(text)));
            }
        }
        at = read.next_offset;
    }
    found
}

fn offsets_of(log: &PartitionLog, key: &str) -> Vec<i64> {
    records(log).into_iter().filter(|(_, found, _)| found == key).map(|(offset, ..)| offset).collect()
}

fn damage(path: &Path) -> Vec<Option<String>> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new(path));
    let mut found = Vec::new();
    assert_eq!(verify(&fs, path, |report| found.push(report.damage.clone())).unwrap(), None);
    found
}

#[test]
fn the_newest_record_of_each_key_stays_and_small_segments_become_one() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let done = compact_at(&log, NOW);
    assert!(done.bytes_after < done.bytes_before / 2, "{done:?}");
    assert!(log.cleanable(log.durable_end(), NOW).unwrap().is_none(), "there is nothing left to do");
    (0..10).for_each(|_| put(&log, "key 9", "x"));
    settle(&directory);
    let before = log.summary().segments;
    let done = compact_at(&log, NOW);
    assert!(done.segments_replaced > done.segments_made, "those that became small are put together: {done:?}");
    assert_eq!(log.summary().segments, before - done.segments_replaced + done.segments_made);
    let expected = records(&log);
    for key in 0..5 {
        assert_eq!(offsets_of(&log, &format!("key {key}")), [45 + key], "key {key}");
    }
    assert!(expected.len() < 22, "{expected:?}");
    // a kill, and a clean stop
    for path in [copy_of(folder.path()).keep(), {
        drop(directory);
        folder.path().to_owned()
    }] {
        assert_eq!(damage(&path), [None]);
        let directory = open(&path);
        let log = log_of(&directory, compacted());
        assert_eq!(log.unavailable(), None);
        assert_eq!(records(&log), expected);
        put(&log, "key 1", "again");
        settle(&directory);
        assert_eq!(offsets_of(&log, "key 1"), [46, 70]);
    }
}

#[test]
fn a_damaged_segment_is_set_aside_and_the_rest_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { tombstone_retention: Duration::ZERO, ..compacted() });
    fill(&log);
    put_at(&log, "key 0", None, NOW);
    (0..10).for_each(|_| put(&log, "another", "x"));
    settle(&directory);
    drop(log);
    drop(directory);
    let second = files(folder.path(), "log").remove(1);
    let first_offset: i64 = second.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut bytes = std::fs::read(&second).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&second, &bytes).unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { tombstone_retention: Duration::ZERO, ..compacted() });
    let done = compact_at(&log, NOW);
    assert_eq!((done.set_aside, log.summary().set_aside), (1, 1));
    assert!(done.bytes_after < done.bytes_before / 2, "{done:?}");
    assert_eq!(log.unavailable(), None, "only a reader takes it offline");
    assert_eq!(std::fs::read(&second).unwrap(), bytes, "it is left as it is");
    // the segment may have a value of key 0, so its tombstone stays however late it is
    (0..10).for_each(|_| put(&log, "another", "y"));
    settle(&directory);
    compact_at(&log, TimestampMs(NOW.0 + 1_000_000));
    let read = log.read(Offset(60), log.durable_end(), 100, true, Wait::Allowed).unwrap();
    let batch = Batch::parse(&read.chunks[0]).unwrap();
    assert_eq!((batch.header().base_offset, batch.header().record_count), (Offset(60), 1), "the tombstone");
    assert!(log.read(Offset(first_offset), log.durable_end(), 100, true, Wait::Allowed).is_err());
    // when it can be read again, it loses what newer records hide before the tombstone goes
    drop(log);
    drop(directory);
    bytes[70] ^= 1;
    std::fs::write(&second, &bytes).unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { tombstone_retention: Duration::ZERO, ..compacted() });
    assert!(offsets_of(&log, "key 0").len() > 1, "the value that was set aside, and the tombstone");
    compact_at(&log, TimestampMs(NOW.0 + 2_000_000));
    assert_eq!(offsets_of(&log, "key 0"), []);
    assert_eq!(damage(&copy_of(folder.path()).keep()), [None]);
}

#[test]
fn a_tombstone_stays_for_its_time_and_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { tombstone_retention: Duration::from_secs(10), ..compacted() });
    fill(&log);
    put_at(&log, "key 0", None, NOW);
    let more = |name: &str| {
        (0..10).for_each(|_| put(&log, name, "x"));
        settle(&directory);
    };
    let after = |seconds: i64| TimestampMs(NOW.0 + seconds * 1_000);
    more("a");
    compact_at(&log, NOW);
    assert_eq!(offsets_of(&log, "key 0"), [60]);
    more("b");
    compact_at(&log, after(9));
    assert_eq!(offsets_of(&log, "key 0"), [60], "it has a second left");
    more("c");
    compact_at(&log, after(10));
    assert_eq!(offsets_of(&log, "key 0"), []);
    let expected = records(&log);
    let copy = copy_of(folder.path());
    let directory = open(copy.path());
    assert_eq!(records(&log_of(&directory, compacted())), expected);
}

#[test]
fn young_records_are_not_compacted_and_old_ones_must_be() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let config = LogConfig { compaction_lag_min: Duration::from_secs(60), ..compacted() };
    let log = log_of(&directory, config);
    fill(&log);
    settle(&directory);
    let at = |seconds: i64| log.cleanable(log.durable_end(), TimestampMs(NOW.0 + seconds * 1_000)).unwrap();
    assert_eq!(at(59), None);
    assert!(at(61).unwrap().is_due);
    let lazy = LogConfig { dirty_ratio_min: 1.0, ..compacted() };
    log.set_config(lazy.clone());
    assert!(!at(61).unwrap().is_due, "all of it is dirty, and that is not more than all");
    log.set_config(LogConfig { compaction_lag_max: Some(Duration::from_secs(60)), ..lazy });
    assert!(!at(59).unwrap().is_due);
    assert!(at(61).unwrap().is_due);
}

#[test]
fn compaction_stays_below_the_high_watermark() {
    above_the_high_watermark(Rules::default());
}

/// All of the log is durable here, and most of it nowhere else.
pub(crate) fn above_the_high_watermark(rules: Rules) {
    let folder = tempfile::tempdir().unwrap();
    let directory = open_by(rules, folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    log.compact(Offset(20), NOW, MAP_BYTES, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
    let left = records(&log);
    assert!(log.summary().compacted_below <= Offset(20) && log.summary().compacted_below > Offset(0));
    assert_eq!(left.iter().filter(|(offset, ..)| *offset >= 20).count(), 40);
    assert!(left.len() < 60);
}

#[test]
fn without_memory_for_all_keys_it_takes_several_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    (0..40).for_each(|number| put(&log, &format!("unique {number}"), "x"));
    fill(&log);
    settle(&directory);
    let mut rounds = 0;
    loop {
        let round = log.compact(log.durable_end(), NOW, 0, &mut |_| ControlFlow::Continue(())).unwrap();
        rounds += 1;
        if !round.unwrap().is_partial {
            break;
        }
    }
    assert!(rounds > 3, "{rounds}");
    assert_eq!(offsets_of(&log, "key 3"), [148]);
    assert_eq!(offsets_of(&log, "unique 7").len(), 1);
}

#[test]
fn a_full_volume_ends_the_round_and_nothing_else() {
    let disk = SimulatedDisk::new(3);
    let root = Path::new("/data");
    disk.create_directory(root).unwrap();
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    let directory = DataDirectory::open_manual(Arc::new(disk.clone()), root, limits, Rules::default()).unwrap();
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let before = records(&log);
    disk.set_capacity(Some(disk.used() + 1_000));
    let result = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(result, Err(CompactionError::NoRoom { .. })), "{result:?}");
    assert_eq!(directory.failed(), None);
    assert_eq!(records(&log), before);
    disk.set_capacity(None);
    compact_at(&log, NOW);
    assert_eq!(records(&log).len(), 15);
}

#[test]
fn output_that_cannot_be_read_back_is_thrown_away_and_fails_nothing() {
    let disk = SimulatedDisk::new(3);
    let root = Path::new("/data");
    disk.create_directory(root).unwrap();
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    let directory = DataDirectory::open_manual(Arc::new(disk.clone()), root, limits, Rules::default()).unwrap();
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let before = records(&log);
    let partition = root.join("topics").join(log.id().topic_id.to_string()).join("0000");
    let outputs = || {
        let entries = disk.list(&partition).unwrap().into_iter();
        entries.filter(|entry| entry.name.ends_with(".log.cleaned")).map(|entry| partition.join(entry.name))
    };
    let result = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |_| {
        outputs().for_each(|path| disk.make_unreadable(&path));
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(CompactionError::Unverified { .. })), "{result:?}");
    assert_eq!((directory.failed(), log.unavailable()), (None, None));
    assert_eq!((outputs().count(), log.summary().set_aside), (0, 0));
    assert_eq!(records(&log), before);
    compact_at(&log, NOW);
    assert_eq!(records(&log).len(), 15);
}

/// A bit flips in what compaction wrote, once that is on the disk and before it takes the place of what is whole.
pub(crate) fn output_with_a_flipped_bit(rules: Rules) {
    let disk = hooked();
    let root = Path::new("/data");
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    let directory = DataDirectory::open_manual(Arc::new(disk.clone()), root, limits, rules).unwrap();
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let before = records(&log);
    let partition = root.join("topics").join(log.id().topic_id.to_string()).join("0000");
    let output = partition.join(format!("{:020}.log.cleaned", 0));
    let (bad, flipped) = (disk.0.clone(), Arc::new(AtomicBool::new(false)));
    let noted = Arc::clone(&flipped);
    disk.hook(move |what, path| {
        if what == "syncdir" && path == partition && bad.open(&output).is_ok() && !noted.swap(true, Ordering::Relaxed) {
            bad.flip(&output, 40);
        }
        Ok(())
    });
    let result = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |_| ControlFlow::Continue(()));
    assert!(flipped.load(Ordering::Relaxed));
    assert_eq!(records(&log), before, "{result:?}");
    assert!(matches!(result, Err(CompactionError::Unverified { .. })), "{result:?}");
    assert_eq!((directory.failed(), log.unavailable()), (None, None));
    compact_at(&log, NOW);
    assert_eq!(records(&log).len(), 15);
}

#[test]
fn compacted_segments_are_read_back() {
    output_with_a_flipped_bit(Rules::default());
}

#[test]
fn a_reader_whose_end_is_older_than_compaction_finds_nothing_and_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    compact_at(&log, NOW);
    let first = log.read(Offset(0), log.durable_end(), 1, true, Wait::Allowed).unwrap();
    assert!(Batch::parse(&first.chunks[0]).unwrap().header().base_offset >= Offset(3), "the first ones are gone");
    // a fetch that had to wait for its turn: when it came, the log ended at 3
    let read = log.read(Offset(0), Offset(3), 1_000, true, Wait::Allowed).unwrap();
    assert_eq!((read.bytes, read.next_offset), (0, Offset(3)));
    assert_eq!(log.unavailable(), None);
}

#[test]
fn a_power_cut_in_a_swap_leaves_no_index_of_what_was_replaced() {
    power_cut_in_a_swap(Rules::default());
}

/// The power fails anywhere in a round that takes the place of many segments.
pub(crate) fn power_cut_in_a_swap(rules: Rules) {
    let root = Path::new("/data");
    let after = |offset: i64| TimestampMs(NOW.0 + offset);
    // each seed loses other changes of the directory
    for (seed, cut) in (0..8).flat_map(|seed| (1..30).map(move |cut| (seed, cut))) {
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(root).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
        let reopen = || DataDirectory::open_manual(Arc::new(disk.clone()), root, limits, rules).unwrap();
        let directory = reopen();
        let log = log_of(&directory, compacted());
        for offset in 0..60 {
            let key = if offset % 5 == 0 { format!("once {offset}") } else { format!("key {}", offset % 3) };
            put_at(&log, &key, Some("x"), after(offset));
        }
        settle(&directory);
        compact_at(&log, NOW);
        (60..70).for_each(|offset| put_at(&log, "key 0", Some("x"), after(offset)));
        settle(&directory);
        disk.plan(disk.calls() + cut, Trouble::PowerOff);
        let _ = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |_| ControlFlow::Continue(()));
        drop((log, directory));
        disk.restart();
        let directory = reopen();
        let log = log_of(&directory, compacted());
        let found = records(&log);
        for offset in 0..70 {
            let expected = found.iter().map(|(found, ..)| *found).find(|found| *found >= offset);
            let first = log.first_at_or_after(after(offset), log.durable_end()).unwrap();
            assert_eq!(first.map(|first| first.offset.0), expected, "seed {seed}, power cut at call {cut}");
        }
    }
}

#[test]
fn a_round_that_panics_does_not_end_compaction_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let panics = || log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |_| panic!("in the middle of a round"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    compact_at(&log, NOW);
    assert_eq!(offsets_of(&log, "key 3"), [48]);
}

#[test]
fn a_round_ends_when_the_topic_is_not_to_be_compacted_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let before = records(&log);
    let mut pace = |_| {
        log.set_config(LogConfig { compaction_enabled: false, ..compacted() });
        ControlFlow::Continue(())
    };
    let result = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut pace);
    assert!(matches!(result, Err(CompactionError::Changed)), "{result:?}");
    assert_eq!(records(&log), before);
    assert_eq!(files(folder.path(), "cleaned"), Vec::<std::path::PathBuf>::new());
    log.set_config(compacted());
    compact_at(&log, NOW);
    assert_eq!(offsets_of(&log, "key 3"), [48]);
}

#[test]
fn all_that_a_round_reads_is_paced() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    fill(&log);
    settle(&directory);
    let mut paced = 0;
    let done = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |bytes| {
        paced += bytes;
        ControlFlow::Continue(())
    });
    let done = done.unwrap().unwrap();
    // to count records, to note keys, to leave out what is hidden; and what is written
    assert!(paced >= 3 * done.bytes_before + done.bytes_after, "{paced}, {done:?}");
}

#[test]
fn a_segment_whose_times_cannot_be_read_is_set_aside_and_the_rest_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    fill(&log_of(&directory, compacted()));
    settle(&directory);
    drop(directory);
    // it opens, and each read of it is an error, as where a disk is bad
    let second = files(folder.path(), "log").remove(1);
    std::fs::remove_file(&second).unwrap();
    std::fs::create_dir(&second).unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { compaction_lag_max: Some(Duration::from_secs(60)), ..compacted() });
    let after = TimestampMs(NOW.0 + 61_000);
    assert!(log.cleanable(log.durable_end(), after).unwrap().unwrap().is_due);
    let done = compact_at(&log, after);
    assert!(done.bytes_after < done.bytes_before / 2, "{done:?}");
    assert_eq!(log.summary().set_aside, 1);
}
