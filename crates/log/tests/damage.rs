//! What a crash or a bad disk leaves: bytes that never counted are cut, damage is reported, and nothing else is touched.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::common::{NOW, append_numbers, copy_of, files, log_of, numbers, open, settle, small_segments, values};
use kennet_log::fs::Wait;
use kennet_log::{LogConfig, Unavailable};
use kennet_protocol::Offset;

/// A killed broker's directory with 30 records, of which the first ones are in segments.
fn thirty(config: LogConfig, in_segments: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, config);
    append_numbers(&log, 0..in_segments);
    settle(&directory);
    append_numbers(&log, in_segments..30);
    directory.flush();
    copy_of(folder.path())
}

/// A byte in the payload of a batch in the middle.
fn middle(segment: &[u8]) -> usize {
    let batch = segment.len() / 30;
    segment.len() / 2 / batch * batch + batch - 3
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn an_acknowledged_record_is_there_after_a_kill() {
    for config in [small_segments(), LogConfig::default()] {
        for in_segments in [0, 10, 30] {
            let killed = thirty(config.clone(), in_segments);
            let directory = open(killed.path());
            assert_eq!(values(&log_of(&directory, config.clone()), 400), numbers(0..30), "{in_segments} in segments");
        }
    }
}

#[test]
fn bytes_behind_what_the_checkpoint_knows_are_cut_and_come_from_the_journal() {
    for filler in [0_u8, 0xff, 2] {
        let killed = thirty(LogConfig::default(), 20);
        let segment = files(killed.path(), "log").pop().unwrap();
        let whole = fs::read(&segment).unwrap();
        fs::write(&segment, [whole.as_slice(), &[filler; 10_000]].concat()).unwrap();
        // and a segment that nobody knows
        fs::write(segment.with_file_name(format!("{:020}.log", 25)), b"nonsense").unwrap();
        let directory = open(killed.path());
        let log = log_of(&directory, LogConfig::default());
        assert_eq!(fs::read(&segment).unwrap(), whole);
        assert_eq!(values(&log, 1 << 20), numbers(0..30));
        append_numbers(&log, 30..33);
        settle(&directory);
        assert_eq!(values(&log, 1 << 20), numbers(0..33));
    }
}

#[test]
fn a_torn_last_block_of_the_journal_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig::default());
    append_numbers(&log, 0..5);
    directory.flush();
    let before = fs::read(folder.path().join("journal/00000000")).unwrap();
    append_numbers(&log, 5..6);
    directory.flush();
    let after = fs::read(folder.path().join("journal/00000000")).unwrap();
    let changed: Vec<_> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();
    for at in [changed[0], changed[changed.len() / 2], changed[changed.len() - 1]] {
        let killed = copy_of(folder.path());
        flip(&killed.path().join("journal/00000000"), at);
        let directory = open(killed.path());
        assert_eq!(values(&log_of(&directory, LogConfig::default()), 1 << 20), numbers(0..5), "byte {at}");
    }
}

#[test]
fn a_flipped_bit_in_the_middle_of_the_journal_is_damage_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig::default());
    for number in 0..10 {
        append_numbers(&log, number..number + 1);
        directory.flush();
    }
    let killed = copy_of(folder.path());
    let journal = killed.path().join("journal/00000000");
    // in the header of the third block
    flip(&journal, 2 * 4096 + 40);
    let checkpoints = ["checkpoint.0", "checkpoint.1"].map(|name| killed.path().join(name));
    let before = [&checkpoints[..], std::slice::from_ref(&journal)].concat();
    let content = || before.iter().map(|path| fs::read(path).ok()).collect::<Vec<_>>();
    let bytes = content();
    let directory = open(killed.path());
    let reason = directory.failed().unwrap().to_string();
    assert!(reason.contains("journal/00000000 at byte 8192") && reason.contains("is damaged"), "{reason}");
    let log = log_of(&directory, LogConfig::default());
    assert!(log.unavailable().is_some());
    assert!(log.append(&crate::common::batch_at(&["x"], NOW), crate::common::EPOCH, NOW).is_err());
    drop(directory);
    assert!(content() == bytes, "a directory that is damaged is written");
}

#[test]
fn without_a_checkpoint_a_directory_with_a_journal_is_damaged() {
    for is_removed in [false, true] {
        let killed = thirty(LogConfig::default(), 20);
        for name in ["checkpoint.0", "checkpoint.1"] {
            let path = killed.path().join(name);
            if is_removed { fs::remove_file(&path).unwrap() } else { fs::write(&path, [7; 100]).unwrap() }
        }
        let directory = open(killed.path());
        assert!(directory.failed().unwrap().to_string().contains("checkpoint.0 is missing or damaged"));
        assert!(directory.topics_found().unwrap().len() == 1, "what is there is no new directory");
    }
}

#[test]
fn a_bit_that_flips_under_a_running_broker_is_seen_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig::default());
    append_numbers(&log, 0..30);
    settle(&directory);
    let segment = files(folder.path(), "log").pop().unwrap();
    flip(&segment, middle(&fs::read(&segment).unwrap()));
    assert!(log.read(Offset(0), Offset(30), 1 << 20, true, Wait::Allowed).is_err());
    assert!(matches!(log.unavailable(), Some(Unavailable::Offline { .. })));
}

#[test]
fn indexes_and_checkpoints_that_are_gone_or_wrong_change_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    append_numbers(&log_of(&directory, small_segments()), 0..60);
    directory.close();
    for (extension, damage) in [("index", true), ("index", false), ("timeindex", true), ("timeindex", false)] {
        let copy = copy_of(folder.path());
        for file in files(copy.path(), extension) {
            if damage { fs::write(&file, [7; 24]).unwrap() } else { fs::remove_file(&file).unwrap() }
        }
        let directory = open(copy.path());
        let log = log_of(&directory, small_segments());
        assert_eq!(values(&log, 100), numbers(0..60), "{extension}, damage: {damage}");
        assert_eq!(log.first_at_or_after(NOW, Offset(60)).unwrap().unwrap().offset, Offset(0));
    }
}

#[test]
fn a_missing_segment_is_damage_when_it_is_opened_or_read() {
    let config = small_segments();
    for which in ["first", "middle", "last"] {
        let killed = thirty(config.clone(), 30);
        let segments = files(killed.path(), "log");
        let at = match which {
            "first" => 0,
            "middle" => 1,
            _ => segments.len() - 1,
        };
        assert!(segments.len() > 2);
        fs::remove_file(&segments[at]).unwrap();
        let directory = open(killed.path());
        let log = log_of(&directory, config.clone());
        assert_eq!(log.unavailable().is_some(), which != "middle", "{which}: {:?}", log.unavailable());
        let mut offset = 0;
        while let Ok(read) = log.read(Offset(offset), Offset(30), 200, true, Wait::Allowed) {
            offset = read.next_offset.0;
        }
        assert!(offset < 30 && matches!(log.unavailable(), Some(Unavailable::Offline { .. })), "{which}");
    }
}

/// A broker that stopped cleanly, so that its checkpoint says how long the log was.
fn stopped() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    append_numbers(&log_of(&directory, LogConfig::default()), 0..30);
    directory.close();
    copy_of(folder.path())
}

#[test]
fn a_log_that_is_shorter_than_its_checkpoint_says_is_damage() {
    for length in [0, 1_000] {
        let stopped = stopped();
        let segment = files(stopped.path(), "log").pop().unwrap();
        fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length).unwrap();
        let directory = open(stopped.path());
        let log = log_of(&directory, LogConfig::default());
        let Some(Unavailable::Offline { reason }) = log.unavailable() else { panic!("{:?}", log.summary()) };
        assert!(reason.contains("its end is missing"), "{reason}");
        assert_eq!(fs::metadata(&segment).unwrap().len(), length);
    }
}

#[test]
fn batches_before_a_roll_are_acknowledged_without_waiting_for_the_next_ones() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig::default());
    for end in 1..200 {
        append_numbers(&log, 0..1);
        log.roll(NOW);
        directory.flush();
        assert_eq!(log.durable_end(), Offset(end));
    }
}

fn verified(path: &Path) -> Vec<kennet_log::PartitionReport> {
    let mut reports = Vec::new();
    let fs: Arc<dyn kennet_log::fs::FileSystem> = Arc::new(kennet_log::fs::RealFileSystem::new(path));
    assert_eq!(kennet_log::verify(&fs, path, |report| reports.push(report.clone())).unwrap(), None);
    reports
}

#[test]
fn verifying_reads_segments_and_journal_and_agrees_with_a_start() {
    for in_segments in [0, 20, 30] {
        let killed = thirty(small_segments(), in_segments);
        let report = verified(killed.path()).pop().unwrap();
        assert_eq!((report.batches, report.records, report.log_end.0), (30, 30, 30), "{in_segments}: {report:?}");
        assert_eq!(report.segments > 1, in_segments > 0);
        assert_eq!((report.topic.as_deref(), report.damage, report.unfinished_bytes), (Some("orders"), None, 0));
        let in_use = open(killed.path());
        let fs: Arc<dyn kennet_log::fs::FileSystem> = Arc::new(kennet_log::fs::RealFileSystem::new(killed.path()));
        assert!(matches!(kennet_log::verify(&fs, killed.path(), |_| {}), Err(kennet_log::OpenError::Locked { .. })));
        drop(in_use);
    }
}

#[test]
fn verifying_tells_bytes_that_never_counted_from_damage_and_changes_nothing() {
    let killed = thirty(LogConfig::default(), 30);
    let segment = files(killed.path(), "log").pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, [whole.as_slice(), b"half a batch"].concat()).unwrap();
    let report = verified(killed.path()).pop().unwrap();
    assert_eq!((report.log_end, report.damage, report.unfinished_bytes), (Offset(30), None, 12));
    // every byte of a batch in the middle, its offset and epoch included, which no checksum covers
    fs::write(&segment, &whole).unwrap();
    let mut places = Vec::new();
    let system = kennet_log::fs::RealFileSystem::new(killed.path());
    kennet_log::dump(&system, &segment, |position, batch| {
        places.push((usize::try_from(position).unwrap(), batch.bytes().len()));
        Ok(())
    })
    .unwrap();
    let (start, length) = places[15];
    for at in start..start + length {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&segment, &bytes).unwrap();
        let report = verified(killed.path()).pop().unwrap();
        let epoch = start + 12..start + 16;
        assert_eq!(report.damage.is_some(), !epoch.contains(&at), "byte {at}: {report:?}");
        assert_eq!(fs::read(&segment).unwrap(), bytes);
    }
}
