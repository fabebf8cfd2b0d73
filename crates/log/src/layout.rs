//! Where things lie in a data directory.
//!
//! `topics/<topic id>/name` says which topic a directory belongs to (for people and for recovery reports), and
//! `topics/<topic id>/NNNN/` holds one partition. Names are made from ids and numbers only, never from what a client sent.

use std::io;
use std::path::{Path, PathBuf};

use kennet_protocol::{Offset, PartitionIndex, Uuid};

use crate::fs::FileSystem;

/// Taken by the one process that uses the directory.
pub(crate) const LOCK: &str = "lock";
const TOPICS: &str = "topics";
const TOPIC_NAME: &str = "name";
/// A topic that is being deleted: renamed first, so that a crash half-way leaves no half topic.
const DELETED: &str = ".deleted";
/// Files that compaction writes, until they are whole and durable.
const CLEANED: &str = ".cleaned";
/// A compacted segment that takes the place of others.
const SWAP: &str = ".swap";
/// Entries of a log that could not be opened; see `partition::parked`.
const PARKED: &str = "parked";

pub(crate) fn topics(root: &Path) -> PathBuf {
    root.join(TOPICS)
}

pub(crate) fn topic(root: &Path, topic_id: Uuid) -> PathBuf {
    topics(root).join(topic_id.to_string())
}

pub(crate) fn topic_name(root: &Path, topic_id: Uuid) -> PathBuf {
    topic(root, topic_id).join(TOPIC_NAME)
}

pub(crate) fn deleted_topic(root: &Path, topic_id: Uuid) -> PathBuf {
    topics(root).join(format!("{topic_id}{DELETED}"))
}

pub(crate) fn is_deleted_topic(name: &str) -> bool {
    name.ends_with(DELETED)
}

/// The directory of one partition; four digits sort well and more are fine.
pub(crate) fn partition(root: &Path, topic_id: Uuid, index: PartitionIndex) -> PathBuf {
    topic(root, topic_id).join(format!("{:04}", index.0))
}

/// The file of parked entries.
pub(crate) fn parked(partition: &Path) -> PathBuf {
    partition.join(PARKED)
}

/// What a segment's files end with: batches, offset index, time index.
pub(crate) const SEGMENT_FILES: [&str; 3] = ["log", "index", "timeindex"];

/// The files of a segment, with Kafka's names: twenty digits of the base offset and an extension.
pub(crate) fn segment(partition: &Path, base: Offset, extension: &str) -> PathBuf {
    partition.join(format!("{:020}.{extension}", base.0))
}

/// A file that compaction writes; it counts for nothing.
pub(crate) fn cleaned(partition: &Path, base: Offset, extension: &str) -> PathBuf {
    segment(partition, base, &format!("{extension}{CLEANED}"))
}

/// A segment that takes the place of all segments from its base on that begin before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) length: u64,
}

impl Swap {
    /// Whether it takes the place of the segment with this base.
    pub(crate) fn replaces(&self, base: Offset) -> bool {
        self.base <= base && base < self.end
    }
}

/// The name under which a compacted segment is durable before those that it replaces are removed.
pub(crate) fn swap(partition: &Path, base: Offset, end: Offset) -> PathBuf {
    partition.join(format!("{:020}-{:020}{SWAP}", base.0, end.0))
}

/// What a crash left in a partition's directory: the swaps that compaction had come to, and names of files that count for nothing.
pub(crate) fn remains(fs: &dyn FileSystem, partition: &Path, is_parked: bool) -> io::Result<(Vec<Swap>, Vec<String>)> {
    let (mut swaps, mut remains) = (Vec::new(), Vec::new());
    for entry in fs.list(partition)? {
        if entry.name.ends_with(CLEANED) || (entry.name == PARKED && !is_parked) {
            remains.push(entry.name);
        } else if let Some((base, end)) = swap_range(&entry.name) {
            swaps.push(Swap { base, end, length: entry.length });
        }
    }
    Ok((swaps, remains))
}

fn swap_range(name: &str) -> Option<(Offset, Offset)> {
    let (base, end) = name.strip_suffix(SWAP)?.split_once('-')?;
    Some((offset(base)?, offset(end)?))
}

/// The segments in a partition's directory, by base offset and length, in order.
pub(crate) fn segments(fs: &dyn FileSystem, partition: &Path) -> io::Result<Vec<(Offset, u64)>> {
    let entries = fs.list(partition)?;
    let mut found: Vec<_> =
        entries.into_iter().filter_map(|entry| Some((segment_base(&entry.name)?, entry.length))).collect();
    found.sort_unstable();
    Ok(found)
}

/// The base offset in a `.log` file's name.
pub(crate) fn segment_base(name: &str) -> Option<Offset> {
    offset(name.strip_suffix(".log")?)
}

fn offset(digits: &str) -> Option<Offset> {
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Offset)).flatten()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kennet_protocol::Offset;

    use super::{segment, segment_base};

    #[test]
    fn a_segments_name_gives_its_base_back() {
        let path = segment(Path::new("p"), Offset(42), "log");
        assert_eq!(path.to_str(), Some("p/00000000000000000042.log"));
        assert_eq!(segment_base("00000000000000000042.log"), Some(Offset(42)));
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in ["42.log", "00000000000000000042.index", "+0000000000000000042.log", "99999999999999999999.log"] {
            assert_eq!(segment_base(name), None, "{name}");
        }
    }
}
