//! What a crash or a bad disk leaves: a torn tail is cut, damage in the middle is reported, and nothing else is touched.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;

use common::{NOW, append_numbers, copy_of, files, log_of, numbers, open, small_segments, values};
use kennet_log::fs::Wait;
use kennet_log::{LogConfig, Unavailable};
use kennet_protocol::Offset;

/// A killed broker's directory with 30 records, and the directory that it is a copy of.
fn thirty(config: LogConfig) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, config);
    append_numbers(&log, 0..30);
    directory.flush();
    copy_of(folder.path())
}

/// A byte in the payload of a batch in the middle.
fn middle(segment: &[u8]) -> usize {
    let batch = segment.len() / 30;
    segment.len() / 2 / batch * batch + batch - 3
}

#[test]
fn an_acknowledged_record_is_there_after_a_kill() {
    for config in [small_segments(), LogConfig::default()] {
        let killed = thirty(config.clone());
        let directory = open(killed.path());
        assert_eq!(values(&log_of(&directory, config), 400), numbers(0..30));
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_nothing_before_it() {
    let killed = thirty(LogConfig::default());
    let segment = files(killed.path(), "log").pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    let batch = whole.len() / 30;
    for length in whole.len() - 2 * batch..whole.len() {
        let copy = copy_of(killed.path());
        let segment = files(copy.path(), "log").pop().unwrap();
        fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length.try_into().unwrap()).unwrap();
        let directory = open(copy.path());
        let log = log_of(&directory, LogConfig::default());
        let left = usize::try_from(log.durable_end().0).unwrap();
        assert_eq!(values(&log, 1 << 20), numbers(0..left));
        assert!((28..30).contains(&left), "{length} bytes left {left} records");
        append_numbers(&log, left..33);
        directory.flush();
        assert_eq!(values(&log, 1 << 20), numbers(0..33));
    }
}

#[test]
fn a_tail_of_zeros_or_old_bytes_is_cut() {
    for filler in [0_u8, 0xff, 2] {
        let killed = thirty(LogConfig::default());
        let segment = files(killed.path(), "log").pop().unwrap();
        let mut bytes = fs::read(&segment).unwrap();
        bytes.extend_from_slice(&[filler; 10_000]);
        fs::write(&segment, bytes).unwrap();
        let directory = open(killed.path());
        assert_eq!(values(&log_of(&directory, LogConfig::default()), 1 << 20), numbers(0..30));
    }
}

#[test]
fn a_flipped_bit_before_good_batches_takes_the_partition_offline_and_cuts_nothing() {
    let killed = thirty(LogConfig::default());
    let segment = files(killed.path(), "log").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = middle(&bytes);
    bytes[at] ^= 4;
    fs::write(&segment, &bytes).unwrap();
    let directory = open(killed.path());
    let log = log_of(&directory, LogConfig::default());
    let Some(Unavailable::Offline { reason }) = log.unavailable() else { panic!("not offline") };
    assert!(reason.contains("damaged at byte"), "{reason}");
    assert_eq!(fs::read(&segment).unwrap(), bytes);
}

#[test]
fn a_bit_that_flips_under_a_running_broker_is_seen_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig::default());
    append_numbers(&log, 0..30);
    directory.flush();
    let segment = files(folder.path(), "log").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = middle(&bytes);
    bytes[at] ^= 4;
    fs::write(&segment, &bytes).unwrap();
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
    let copy = copy_of(folder.path());
    let partition = files(copy.path(), "log")[0].parent().unwrap().to_owned();
    fs::write(partition.join("checkpoint"), b"nonsense").unwrap();
    let directory = open(copy.path());
    assert_eq!(values(&log_of(&directory, small_segments()), 100), numbers(0..60));
}

#[test]
fn a_missing_segment_in_the_middle_is_damage() {
    let killed = thirty(small_segments());
    let segments = files(killed.path(), "log");
    let partition = segments[0].parent().unwrap();
    fs::remove_file(partition.join("checkpoint")).unwrap();
    fs::write(&segments[1], b"").unwrap();
    let directory = open(killed.path());
    let log = log_of(&directory, small_segments());
    assert!(matches!(log.unavailable(), Some(Unavailable::Offline { .. })), "{:?}", log.summary());
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
fn a_flipped_bit_before_the_checkpoint_is_damage_even_without_an_index() {
    let stopped = stopped();
    let segment = files(stopped.path(), "log").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = middle(&bytes);
    bytes[at] ^= 4;
    fs::write(&segment, &bytes).unwrap();
    for file in files(stopped.path(), "index") {
        fs::remove_file(file).unwrap();
    }
    let directory = open(stopped.path());
    let log = log_of(&directory, LogConfig::default());
    assert!(matches!(log.unavailable(), Some(Unavailable::Offline { .. })), "{:?}", log.summary());
    assert_eq!(fs::read(&segment).unwrap(), bytes);
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

fn verified(path: &std::path::Path) -> Vec<kennet_log::PartitionReport> {
    let mut reports = Vec::new();
    let fs = kennet_log::fs::RealFileSystem::new(path);
    kennet_log::verify(&fs, path, |report| reports.push(report.clone())).unwrap();
    reports
}

#[test]
fn verifying_reads_all_and_agrees_with_a_start() {
    let killed = thirty(small_segments());
    let report = verified(killed.path()).pop().unwrap();
    assert_eq!((report.batches, report.records, report.log_end.0), (30, 30, 30));
    assert!(report.segments > 1);
    assert_eq!((report.topic.as_deref(), report.damage, report.unfinished_bytes), (Some("orders"), None, 0));
    let in_use = open(killed.path());
    let fs = kennet_log::fs::RealFileSystem::new(killed.path());
    assert!(matches!(kennet_log::verify(&fs, killed.path(), |_| {}), Err(kennet_log::OpenError::Locked { .. })));
    drop(in_use);
}

#[test]
fn verifying_tells_an_unfinished_append_from_damage_and_changes_nothing() {
    let killed = thirty(LogConfig::default());
    let segment = files(killed.path(), "log").pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() - 5]).unwrap();
    let report = verified(killed.path()).pop().unwrap();
    assert_eq!((report.log_end, report.damage), (Offset(29), None));
    assert!(report.unfinished_bytes > 0);
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
