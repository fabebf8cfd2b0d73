//! A log does what its users count on: order, offsets, look-ups, retention, sequences.

use std::time::Duration;

use crate::common::{
    EPOCH, NOW, append, append_numbers, batch_at, copy_of, files, log_id, log_of, numbers, open, produced, settle,
    small_segments, values, values_from,
};
use kennet_log::fs::Wait;
use kennet_log::{AppendError, LogConfig, PartitionLog, ReadError, Unavailable};
use kennet_protocol::record::{Batch, BatchBuilder, Compression};
use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

#[test]
fn what_is_appended_is_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..100);
    settle(&directory);
    assert_eq!(log.durable_end(), Offset(100));
    for bytes_max in [1, 200, 500, 1 << 20] {
        assert_eq!(values(&log, bytes_max), numbers(0..100), "{bytes_max} bytes a read");
    }
    assert!(files(folder.path(), "log").len() > 3, "the log has rolled");
}

#[test]
fn nothing_is_readable_before_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..10);
    settle(&directory);
    let read = log.read(Offset(4), Offset(6), 1 << 20, true, Wait::Allowed).unwrap();
    assert_eq!(read.next_offset, Offset(6));
}

#[test]
fn a_read_in_the_middle_of_a_batch_gives_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append(&log, &["a", "b", "c"]);
    append(&log, &["d"]);
    settle(&directory);
    let read = log.read(Offset(1), Offset(4), 1, true, Wait::Allowed).unwrap();
    assert_eq!(read.next_offset, Offset(3));
    assert_eq!(values_from(&log, Offset(1), 1), ["b", "c", "d"]);
}

#[test]
fn a_batch_above_the_limit_is_read_only_if_one_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append(&log, &["a"]);
    settle(&directory);
    assert_eq!(log.read(Offset(0), Offset(1), 10, false, Wait::Allowed).unwrap().bytes, 0);
    assert!(log.read(Offset(0), Offset(1), 10, true, Wait::Allowed).unwrap().bytes > 10);
}

#[test]
fn offsets_outside_of_the_log_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..3);
    settle(&directory);
    for offset in [-1, 4] {
        let error = log.read(Offset(offset), Offset(3), 100, true, Wait::Allowed).unwrap_err();
        assert!(matches!(error, ReadError::OutOfRange { .. }), "{offset}: {error}");
    }
    assert_eq!(log.read(Offset(3), Offset(3), 100, true, Wait::Allowed).unwrap().bytes, 0);
}

#[test]
fn a_log_without_records_has_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    settle(&directory);
    assert_eq!(log.log_end(), Offset(0));
    assert_eq!(std::fs::read_dir(folder.path().join("topics")).unwrap().count(), 0);
}

#[test]
fn a_directory_is_used_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    let fs = std::sync::Arc::new(kennet_log::fs::RealFileSystem::new(folder.path()));
    let second = kennet_log::DataDirectory::open(fs, folder.path(), kennet_log::Limits::default());
    assert!(matches!(second, Err(kennet_log::OpenError::Locked { .. })));
}

#[test]
fn the_first_record_at_or_after_a_time_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    for second in 0..60 {
        log.append(&batch_at(&["x", "y"], TimestampMs(NOW.0 + second * 1_000)), EPOCH, NOW).unwrap();
    }
    settle(&directory);
    let at = |time: i64| log.first_at_or_after(TimestampMs(NOW.0 + time), log.durable_end()).unwrap();
    assert_eq!(at(-5).unwrap().offset, Offset(0));
    assert_eq!(at(30_000).unwrap().offset, Offset(60));
    assert_eq!(at(30_001).unwrap().offset, Offset(62));
    assert_eq!(at(59_001), None);
    let newest = log.newest_timestamp(log.durable_end()).unwrap().unwrap();
    assert_eq!((newest.offset, newest.timestamp), (Offset(118), TimestampMs(NOW.0 + 59_000)));
}

#[test]
fn a_look_up_reads_compressed_records_and_gives_up_on_a_bomb() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    for (second, value) in [(0, vec![0; 10]), (10, vec![0; 65 << 20])] {
        let time = |millisecond| TimestampMs(NOW.0 + second * 1_000 + millisecond);
        let mut builder = BatchBuilder::new(time(0)).compression(Compression::Zstd);
        builder.push(time(0), None, Some(&value), &[]);
        builder.push(time(1), None, Some(b"x"), &[]);
        log.append(&Batch::parse(&builder.build().unwrap()).unwrap(), EPOCH, NOW).unwrap();
    }
    settle(&directory);
    let at = |time: i64| log.first_at_or_after(TimestampMs(NOW.0 + time), log.durable_end()).unwrap().unwrap();
    assert_eq!((at(1).offset, at(1).timestamp.0), (Offset(1), NOW.0 + 1));
    assert_eq!(at(10_000).offset, Offset(2), "found before the payload is too long");
    assert_eq!(at(10_001).offset, Offset(2), "the batch's first offset, as its records are not read to the end");
}

#[test]
fn a_broker_that_sets_timestamps_sets_them_in_the_stored_batch() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { log_append_time: true, ..small_segments() });
    let appended = log.append(&batch_at(&["x"], TimestampMs(5)), EPOCH, NOW).unwrap();
    settle(&directory);
    assert_eq!(appended.log_append_time, Some(NOW));
    assert_eq!(log.newest_timestamp(Offset(1)).unwrap().unwrap().timestamp, NOW);
}

#[test]
fn a_repeated_batch_is_not_appended_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    let batch = produced(9, 0, 0, &["a", "b"]);
    let first = log.append(&batch, EPOCH, NOW).unwrap();
    let second = log.append(&batch, EPOCH, NOW).unwrap();
    assert!(second.duplicate && !first.duplicate);
    assert_eq!((second.base_offset, second.end_offset), (first.base_offset, first.end_offset));
    assert_eq!(log.log_end(), Offset(2));
    let gap = log.append(&produced(9, 0, 5, &["c"]), EPOCH, NOW).unwrap_err();
    assert!(matches!(gap, AppendError::OutOfOrderSequence { found: 5, expected: 2 }));
}

#[test]
fn sequences_are_known_again_after_a_clean_stop_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    let batches: Vec<_> = (0..40).map(|sequence| produced(9, 0, sequence, &["value"])).collect();
    for batch in &batches {
        log.append(batch, EPOCH, NOW).unwrap();
    }
    settle(&directory);
    let killed = copy_of(folder.path());
    directory.close();
    for path in [folder.path().to_owned(), killed.path().to_owned()] {
        let stopped = copy_of(&path);
        let directory = open(stopped.path());
        let log = log_of(&directory, small_segments());
        assert_eq!(log.log_end(), Offset(40));
        for (sequence, batch) in (35..).zip(&batches[35..]) {
            let again = log.append(batch, EPOCH, NOW).unwrap();
            assert!(again.duplicate, "sequence {sequence}");
            assert_eq!(again.base_offset, Offset(sequence));
        }
        assert!(!log.append(&produced(9, 0, 40, &["next"]), EPOCH, NOW).unwrap().duplicate);
    }
}

#[test]
fn leader_epochs_answer_where_they_ended_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    for epoch in [1, 1, 4] {
        log.append(&batch_at(&["x"], NOW), LeaderEpoch(epoch), NOW).unwrap();
    }
    settle(&directory);
    let expected = [
        (1, Some((LeaderEpoch(1), Offset(2)))),
        (2, Some((LeaderEpoch(1), Offset(2)))),
        (4, Some((LeaderEpoch(4), Offset(3)))),
        (5, Some((LeaderEpoch(4), Offset(3)))),
        (6, Some((LeaderEpoch(6), Offset(3)))),
        (7, None),
        (0, Some((LeaderEpoch(0), Offset(0)))),
    ];
    let reopened = copy_of(folder.path());
    let directory_again = open(reopened.path());
    for log in [log, log_of(&directory_again, small_segments())] {
        for (epoch, end) in expected {
            assert_eq!(log.end_of_epoch(LeaderEpoch(epoch), LeaderEpoch(6)), end, "epoch {epoch}");
        }
    }
}

#[test]
fn deleted_records_stay_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..100);
    settle(&directory);
    let segments = files(folder.path(), "log").len();
    assert_eq!(log.delete_records(Offset(55), Offset(100), NOW).unwrap(), Offset(55));
    assert_eq!(log.delete_records(Offset(10), Offset(100), NOW).unwrap(), Offset(55));
    assert!(log.delete_records(Offset(101), Offset(100), NOW).is_err());
    assert!(files(folder.path(), "log").len() < segments);
    let killed = copy_of(folder.path());
    let directory_again = open(killed.path());
    for log in [log, log_of(&directory_again, small_segments())] {
        assert_eq!(log.log_start(), Offset(55));
        assert_eq!(values(&log, 300), numbers(55..100));
        assert!(log.read(Offset(54), Offset(100), 100, true, Wait::Allowed).is_err());
    }
}

#[test]
fn retention_by_size_keeps_at_least_so_many_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let config = LogConfig { retention_bytes: Some(3_000), ..small_segments() };
    let log = log_of(&directory, config);
    append_numbers(&log, 0..200);
    settle(&directory);
    assert!(log.apply_retention(Offset(200), NOW).unwrap() > 0);
    let summary = log.summary();
    assert!((3_000..4_100).contains(&summary.size_bytes), "{summary:?}");
    assert_eq!(values(&log, 300), numbers(usize::try_from(summary.log_start.0).unwrap()..200));
}

#[test]
fn retention_by_time_also_empties_the_active_segment() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let config = LogConfig { retention_age: Some(Duration::from_secs(60)), ..small_segments() };
    let log = log_of(&directory, config.clone());
    append_numbers(&log, 0..50);
    settle(&directory);
    let soon = TimestampMs(NOW.0 + 59_000);
    assert_eq!(log.apply_retention(Offset(50), soon).unwrap(), 0);
    let later = TimestampMs(NOW.0 + 61_000);
    log.apply_retention(Offset(50), later).unwrap();
    settle(&directory);
    log.apply_retention(Offset(50), later).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset(50), Offset(50)));
    let killed = copy_of(folder.path());
    let directory = open(killed.path());
    let log = log_of(&directory, config);
    assert_eq!((log.log_start(), log.log_end()), (Offset(50), Offset(50)));
    append_numbers(&log, 50..52);
    settle(&directory);
    assert_eq!(values(&log, 300), numbers(50..52));
}

/// Where the topic allows them (`message.timestamp.after.max.ms`), and in logs that were written by others.
#[test]
fn times_at_both_ends_of_the_range_mislead_no_look_up_and_no_retention() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig { retention_age: Some(Duration::from_secs(60)), ..small_segments() };
    let times = [0, i64::MIN, NOW.0, i64::MAX, -1];
    let check = |log: &PartitionLog, what: &str| {
        for (time, expected) in [(0, 0), (1, 2), (NOW.0, 2), (NOW.0 + 1, 3), (i64::MAX, 3)] {
            let found = log.first_at_or_after(TimestampMs(time), log.durable_end()).unwrap();
            assert_eq!(found.map(|found| found.offset), Some(Offset(expected)), "{what}: from {time}");
        }
        let newest = log.newest_timestamp(log.durable_end()).unwrap().unwrap();
        assert_eq!((newest.offset, newest.timestamp), (Offset(3), TimestampMs(i64::MAX)), "{what}");
    };
    let directory = open(folder.path());
    let log = log_of(&directory, config.clone());
    for time in times {
        log.append(&batch_at(&["x"], TimestampMs(time)), EPOCH, NOW).unwrap();
    }
    directory.flush();
    check(&log, "in memory");
    directory.fill();
    check(&log, "in segments");
    let killed = copy_of(folder.path());
    let directory = open(killed.path());
    let log = log_of(&directory, config);
    check(&log, "after a restart");
    // what is in the future is not old, and what has no time never is
    for _ in 0..3 {
        log.apply_retention(Offset(5), TimestampMs(NOW.0 + 3_600_000)).unwrap();
        settle(&directory);
    }
    assert!(log.log_start() <= Offset(3), "{}", log.log_start());
    assert_eq!(log.append(&batch_at(&["y"], NOW), EPOCH, NOW).unwrap().base_offset, Offset(5));
}

#[test]
fn retention_waits_for_the_high_watermark() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { retention_bytes: Some(0), ..small_segments() });
    append_numbers(&log, 0..100);
    settle(&directory);
    log.apply_retention(Offset(20), NOW).unwrap();
    assert!(log.log_start() <= Offset(20));
}

#[test]
fn a_deleted_topic_leaves_nothing_and_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 0..100);
    settle(&directory);
    directory.delete_topic(log_id().topic_id).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("topics")).unwrap().count(), 0);
    let error = log.append(&batch_at(&["x"], NOW), EPOCH, NOW).unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(Unavailable::Deleted)));
    assert_eq!(log_of(&directory, small_segments()).log_end(), Offset(0));
}

#[test]
fn a_segment_is_closed_when_its_first_record_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig { segment_age: Duration::from_secs(10), ..LogConfig::default() });
    for second in [0, 5, 11, 12] {
        log.append(&batch_at(&["x"], TimestampMs(NOW.0 + second * 1_000)), EPOCH, NOW).unwrap();
    }
    settle(&directory);
    assert_eq!(log.summary().segments, 2);
}

#[test]
fn memory_is_charged_by_what_a_batch_keeps_until_it_is_in_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, small_segments());
    let batch = batch_at(&[&"x".repeat(600)], NOW);
    let length = batch.bytes().len();
    log.append(&batch.clone().part_of(length * 2), EPOCH, NOW).unwrap();
    let with_its_request = directory.pending_bytes();
    assert!((length * 2..length * 3).contains(&with_its_request), "{with_its_request} for {length}");
    log.append(&batch.part_of(100_000), EPOCH, NOW).unwrap();
    let of_its_own = directory.pending_bytes() - with_its_request;
    assert!((length..length * 2).contains(&of_its_own), "{of_its_own} for {length}");
    settle(&directory);
    assert_eq!(directory.pending_bytes(), 0);
}

#[test]
fn a_read_keeps_no_memory_for_a_batch_that_it_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, LogConfig::default());
    append(&log, &["small"]);
    append(&log, &[&"x".repeat(50_000)]);
    settle(&directory);
    let mut read = log.read(Offset(0), Offset(2), 20_000, true, Wait::Allowed).unwrap();
    assert_eq!((read.next_offset, read.chunks.len()), (Offset(1), 1));
    let kept = Vec::from(read.chunks.remove(0));
    assert!(kept.capacity() < 1_000, "{} bytes are kept for {}", kept.capacity(), kept.len());
}
