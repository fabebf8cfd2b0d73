//! Reads every byte of a data directory's logs and says what it found, without changing any.
//!
//! Invariant: nothing is written but the lock file, so it is safe on a copy, a snapshot or a directory that a broker refuses. It trusts
//! neither checkpoints nor indexes: what it calls whole was read and checked. Repairing is nobody's task here.

use std::io;
use std::path::{Path, PathBuf};

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, PartitionIndex, Uuid};

use crate::error::OpenError;
use crate::fs::{FileSystem, read_file};
use crate::layout;
use crate::recovery::{LOG_START_BYTES, decode_log_start};
use crate::scan::{BatchScan, any_batch_after};

/// A topic's name is at most 249 bytes.
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// One partition, read from its first byte to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The topic's name, as the directory has it.
    pub topic: Option<String>,
    /// The partition's index.
    pub partition: PartitionIndex,
    /// Segments.
    pub segments: usize,
    /// Intact batches.
    pub batches: u64,
    /// Records that they say they have.
    pub records: u64,
    /// Bytes of intact batches.
    pub bytes: u64,
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset behind the last intact batch.
    pub log_end: Offset,
    /// Bytes of an append that was never finished; the next start cuts them.
    pub unfinished_bytes: u64,
    /// What is damaged and where; a broker takes the partition offline.
    pub damage: Option<String>,
}

/// Verifies all partitions below a data directory that no broker uses, and calls `each` with what it found, in order of topic and partition.
///
/// # Errors
/// When a broker uses the directory, or the system refuses something.
pub fn verify(fs: &dyn FileSystem, root: &Path, mut each: impl FnMut(&PartitionReport)) -> Result<(), OpenError> {
    let refused = |source: io::Error| OpenError::Io { path: root.to_owned(), source };
    let _lock = fs.lock(&root.join(layout::LOCK)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { path: root.to_owned() },
        _ => refused(error),
    })?;
    let mut topics = fs.list(&layout::topics(root)).map_err(refused)?;
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    for topic in topics {
        let Ok(topic_id) = Uuid::parse_str(&topic.name) else { continue };
        let name = read_file(fs, &layout::topic_name(root, topic_id), TOPIC_NAME_BYTES_MAX).ok().flatten();
        let name = name.and_then(|bytes| String::from_utf8(bytes).ok());
        let mut partitions = fs.list(&layout::topic(root, topic_id)).map_err(refused)?;
        partitions.sort_by(|one, other| one.name.cmp(&other.name));
        for partition in partitions.into_iter().filter(|entry| entry.is_directory) {
            let Ok(index) = partition.name.parse() else { continue };
            let index = PartitionIndex(index);
            let directory = layout::partition(root, topic_id, index);
            let mut report = PartitionReport::empty(topic_id, name.clone(), index);
            report.read(fs, &directory).map_err(refused)?;
            each(&report);
        }
    }
    Ok(())
}

impl PartitionReport {
    fn empty(topic_id: Uuid, topic: Option<String>, partition: PartitionIndex) -> Self {
        Self {
            topic_id,
            topic,
            partition,
            segments: 0,
            batches: 0,
            records: 0,
            bytes: 0,
            log_start: Offset(0),
            log_end: Offset(0),
            unfinished_bytes: 0,
            damage: None,
        }
    }

    fn read(&mut self, fs: &dyn FileSystem, directory: &Path) -> io::Result<()> {
        let mut segments: Vec<_> = fs
            .list(directory)?
            .into_iter()
            .filter_map(|entry| Some((layout::segment_base(&entry.name)?, entry.length)))
            .collect();
        segments.sort_unstable();
        let start = self.read_log_start(fs, directory)?;
        // segments below the log start were deleted; a power cut may have brought their names back
        let deleted = segments.windows(2).take_while(|pair| start.is_some_and(|start| pair[1].0 <= start)).count();
        segments.drain(..deleted);
        self.segments = segments.len();
        let first = segments.first().map_or(Offset(0), |(base, _)| *base);
        (self.log_start, self.log_end) = (start.unwrap_or(first).max(first), first);
        for at in 0..segments.len() {
            if self.damage.is_some() {
                return Ok(());
            }
            self.read_segment(fs, directory, segments[at], &segments[at + 1..])?;
        }
        if self.damage.is_none() && self.log_start > self.log_end {
            self.damage = Some(format!("the log starts at {}, behind its end at {}", self.log_start, self.log_end));
        }
        Ok(())
    }

    fn read_log_start(&mut self, fs: &dyn FileSystem, directory: &Path) -> io::Result<Option<Offset>> {
        let path = layout::log_start(directory);
        let bytes = match read_file(fs, &path, LOG_START_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(Vec::new()),
            other => other?,
        };
        let start = bytes.as_deref().map(decode_log_start);
        if start == Some(None) {
            self.damage = Some(format!("{} is damaged", path.display()));
        }
        Ok(start.flatten())
    }

    fn read_segment(
        &mut self,
        fs: &dyn FileSystem,
        directory: &Path,
        (base, length): (Offset, u64),
        later: &[(Offset, u64)],
    ) -> io::Result<()> {
        let path = layout::segment(directory, base, "log");
        if base != self.log_end {
            self.damage = Some(format!("{} follows offset {}", path.display(), self.log_end));
            return Ok(());
        }
        let file = fs.open(&path)?;
        let mut scan = BatchScan::new(file.as_ref(), 0, length);
        let mut end = 0;
        while let Some((_, batch)) = scan.next()? {
            if batch.header().base_offset != self.log_end {
                break;
            }
            self.note(batch.header());
            end = scan.position();
        }
        self.bytes += end;
        if end == length {
            return Ok(());
        }
        let follows = any_batch_after(file.as_ref(), end + 1, length, self.log_end.0)?
            || any_in(fs, directory, later, self.log_end)?;
        if follows {
            let (path, offset) = (path.display(), self.log_end);
            self.damage = Some(format!("{path} is damaged at byte {end} (offset {offset}), and intact batches follow"));
        } else {
            self.unfinished_bytes = length - end + later.iter().map(|(_, length)| length).sum::<u64>();
        }
        Ok(())
    }

    fn note(&mut self, header: &BatchHeader) {
        self.batches += 1;
        self.records += u64::try_from(header.record_count).unwrap_or(0);
        self.log_end = header.next_offset();
    }
}

fn any_in(fs: &dyn FileSystem, directory: &Path, segments: &[(Offset, u64)], from: Offset) -> io::Result<bool> {
    for (base, length) in segments.iter().filter(|(_, length)| *length > 0) {
        let path: PathBuf = layout::segment(directory, *base, "log");
        if any_batch_after(fs.open(&path)?.as_ref(), 0, *length, from.0)? {
            return Ok(true);
        }
    }
    Ok(false)
}
