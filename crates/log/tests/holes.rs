//! What was lost of a compacted log is told from what compaction took out: a segment, or whole batches at the end of one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::seeds::step;
use crate::common::{NOW, copy_of, files, log_of, open, open_by, settle};
use crate::compact::{compact_at, compacted, put_at, records};
use kennet_log::fs::{RealFileSystem, Wait};
use kennet_log::{LogConfig, PartitionLog, Rules, Unavailable};
use kennet_protocol::{Offset, TimestampMs};

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Removed,
    LastBatch,
    AllBatches,
}

impl Loss {
    const ALL: [Self; 3] = [Self::Removed, Self::LastBatch, Self::AllBatches];

    fn befall(self, segment: &Path) {
        let length = match self {
            Self::Removed => return std::fs::remove_file(segment).unwrap(),
            Self::LastBatch => {
                let mut last = 0;
                let noted = |position, _: &_| {
                    last = position;
                    Ok(())
                };
                kennet_log::dump(&RealFileSystem::new(segment.parent().unwrap()), segment, noted).unwrap();
                last
            }
            Self::AllBatches => 0,
        };
        std::fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(length).unwrap();
    }
}

fn after(offset: i64) -> TimestampMs {
    TimestampMs(NOW.0 + offset)
}

/// A record each millisecond, of which every third hides an earlier one; the segments lie before or behind a round of compaction.
fn stopped(is_compacted: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log = log_of(&directory, compacted());
    for offset in 0..90 {
        let key = if offset % 3 == 0 { "again".to_owned() } else { format!("once {offset}") };
        put_at(&log, &key, Some("x"), after(offset));
    }
    settle(&directory);
    if is_compacted {
        compact_at(&log, after(90));
    }
    drop(log);
    directory.close();
    folder
}

/// A copy of what was stopped for each loss, or one of so many, that a closed segment may suffer; that the first one is missing, a start sees.
fn each_loss(is_compacted: bool, one_of: usize, mut check: impl FnMut(&Path, &str)) {
    let whole = stopped(is_compacted);
    let count = files(whole.path(), "log").len();
    assert!(count > 5, "{count}");
    for (at, loss) in (0..count - 1).flat_map(|at| Loss::ALL.map(|loss| (at, loss))).skip(1).step_by(one_of) {
        let copy = copy_of(whole.path());
        let segment: PathBuf = files(copy.path(), "log").remove(at);
        loss.befall(&segment);
        check(copy.path(), &format!("{} {loss:?}, compacted: {is_compacted}", segment.display()));
    }
}

fn is_offline(log: &PartitionLog) -> bool {
    matches!(log.unavailable(), Some(Unavailable::Offline { .. }))
}

/// Reads from `from` on in pieces, as a consumer does, until the end or an error.
fn reads_to_the_end(log: &PartitionLog, from: Offset, bytes_max: usize) -> bool {
    let (mut at, end) = (from, log.durable_end());
    while at < end {
        match log.read(at, end, bytes_max, true, Wait::Allowed) {
            Ok(read) => at = read.next_offset,
            Err(_) => return false,
        }
    }
    true
}

#[test]
fn a_reader_never_skips_what_a_compacted_log_lost() {
    each_loss(true, 1, |path, what| {
        for bytes_max in [1, 250, 1 << 20] {
            let directory = open(path);
            let log = log_of(&directory, compacted());
            assert_eq!(log.unavailable(), None, "a start reads no segment");
            assert!(!reads_to_the_end(&log, Offset(0), bytes_max) && is_offline(&log), "{what}, by {bytes_max}");
        }
    });
}

#[test]
fn a_reader_that_begins_where_a_segment_is_lost_is_told() {
    let whole = stopped(true);
    let segments = files(whole.path(), "log");
    let base: i64 = segments[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    std::fs::remove_file(&segments[2]).unwrap();
    let directory = open(whole.path());
    let log = log_of(&directory, compacted());
    assert!(log.read(Offset(base), log.durable_end(), 100, false, Wait::Allowed).is_err());
    assert!(is_offline(&log));
}

#[test]
fn a_look_up_by_time_never_skips_what_a_compacted_log_lost() {
    each_loss(true, 1, |path, what| {
        let directory = open(path);
        let log = log_of(&directory, compacted());
        let mut time = 0;
        // each answer is of the first record that is not older
        while let Ok(Some(found)) = log.first_at_or_after(after(time), log.durable_end()) {
            assert!(found.offset.0 - time < 3, "{what}: {found:?} for {time}");
            time = found.offset.0 + 1;
        }
        assert!(is_offline(&log), "{what}");
        drop((log, directory));
        let directory = open(path);
        let log = log_of(&directory, compacted());
        assert!(log.newest_timestamp(log.durable_end()).is_err() && is_offline(&log), "{what}");
    });
}

/// The segments of a log and their lengths.
fn lengths(path: &Path) -> Vec<(PathBuf, u64)> {
    files(path, "log").into_iter().map(|file| (file.clone(), std::fs::metadata(file).unwrap().len())).collect()
}

#[test]
fn compaction_sets_aside_what_does_not_reach_the_next_segment() {
    for is_compacted in [false, true] {
        each_loss(is_compacted, step(), |path, what| {
            let directory = open(path);
            let log = log_of(&directory, compacted());
            (90..120).for_each(|offset| put_at(&log, "again", Some("x"), after(offset)));
            settle(&directory);
            let before = lengths(path);
            let done = compact_at(&log, after(120));
            assert_eq!((done.set_aside, log.summary().set_aside), (1, 1), "{what}");
            assert!(done.segments_made > 0, "the rest is compacted: {what}");
            assert_eq!(log.unavailable(), None, "only a reader takes it offline");
            let kept = lengths(path).into_iter().filter(|found| before.contains(found)).count();
            assert!(kept > 0, "what was set aside is left as it is: {what}");
            assert!(!reads_to_the_end(&log, Offset(0), 250) && is_offline(&log), "{what}");
            drop(log);
            drop(directory);
            let directory = open(path);
            let log = log_of(&directory, compacted());
            assert!(!reads_to_the_end(&log, Offset(0), 1 << 20) && is_offline(&log), "after a restart: {what}");
        });
    }
}

#[test]
fn a_segment_with_the_batches_of_a_later_one_hides_nothing() {
    let whole = stopped(true);
    for at in 1..4 {
        let copy = copy_of(whole.path());
        let segments = files(copy.path(), "log");
        std::fs::copy(&segments[4], &segments[at]).unwrap();
        let directory = open(copy.path());
        let log = log_of(&directory, compacted());
        assert!(!reads_to_the_end(&log, Offset(0), 250) && is_offline(&log), "segment {at}");
    }
}

/// Segments that lost their last batch are compacted, and whoever reads across the loss is told all the same.
pub(crate) fn compaction_behind_a_loss(rules: Rules) {
    let whole = stopped(true);
    for at in 1..4 {
        let copy = copy_of(whole.path());
        Loss::LastBatch.befall(&files(copy.path(), "log")[at]);
        let directory = open_by(rules, copy.path());
        // several segments become one
        let log = log_of(&directory, LogConfig { segment_bytes: 2_000, ..compacted() });
        (90..120).for_each(|offset| put_at(&log, "again", Some("x"), after(offset)));
        settle(&directory);
        compact_at(&log, after(120));
        assert!(!reads_to_the_end(&log, Offset(0), 250) && is_offline(&log), "segment {at}");
    }
}

/// A segment of a compacted log without its last batch, and how the log is read then.
fn last_batch_lost(rules: Rules, ask_all: impl Fn(&PartitionLog)) {
    let whole = stopped(true);
    for at in 1..4 {
        let copy = copy_of(whole.path());
        Loss::LastBatch.befall(&files(copy.path(), "log")[at]);
        let directory = open_by(rules, copy.path());
        let log = log_of(&directory, compacted());
        ask_all(&log);
        assert!(is_offline(&log), "segment {at}");
    }
}

/// Somebody reads across the loss.
pub(crate) fn reader_across_a_loss(rules: Rules) {
    last_batch_lost(rules, |log| {
        reads_to_the_end(log, Offset(0), 250);
    });
}

/// Somebody asks for each record by its time.
pub(crate) fn look_ups_across_a_loss(rules: Rules) {
    last_batch_lost(rules, |log| {
        for offset in 0..90 {
            let _ = log.first_at_or_after(after(offset), log.durable_end());
        }
    });
}

#[test]
fn readers_skip_no_end_of_a_segment() {
    reader_across_a_loss(Rules::default());
    look_ups_across_a_loss(Rules::default());
}

#[test]
fn segments_reach_the_next_one() {
    compaction_behind_a_loss(Rules::default());
}

#[test]
fn what_was_deleted_between_two_segments_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let log: Arc<PartitionLog> = log_of(&directory, compacted());
    let put = |range: std::ops::Range<i64>| range.for_each(|at| put_at(&log, &format!("{at}"), Some("x"), after(at)));
    put(0..30);
    settle(&directory);
    put(30..40);
    directory.flush();
    // the batches are in the tail, and are never in a segment
    log.delete_records(Offset(37), log.durable_end(), after(40)).unwrap();
    put(40..70);
    settle(&directory);
    let done = compact_at(&log, after(70));
    assert_eq!(done.set_aside, 0);
    assert_eq!(records(&log).len(), 33);
    assert_eq!(log.first_at_or_after(NOW, log.durable_end()).unwrap().unwrap().offset, Offset(37));
}
