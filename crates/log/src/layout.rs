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

/// The file of parked entries; see `partition::parked`.
pub(crate) fn parked(partition: &Path) -> PathBuf {
    partition.join("parked")
}

/// What a segment's files end with: batches, offset index, time index.
pub(crate) const SEGMENT_FILES: [&str; 3] = ["log", "index", "timeindex"];

/// The files of a segment, with Kafka's names: twenty digits of the base offset and an extension.
pub(crate) fn segment(partition: &Path, base: Offset, extension: &str) -> PathBuf {
    partition.join(format!("{:020}.{extension}", base.0))
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
    let digits = name.strip_suffix(".log")?;
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
