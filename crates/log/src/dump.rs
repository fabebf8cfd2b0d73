//! The batches of one segment file or the entries of one of its indexes, one after the other, for people and scripts.
//!
//! Reads only. It stops at the first bytes that are no intact batch, or at the first entry that can't be right, and says where, whatever
//! follows.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kennet_protocol::record::{Batch, BatchHeader, HEADER_LENGTH};
use kennet_protocol::{Offset, TimestampMs};

use crate::fs::{File, FileSystem, Wait, read_exact};
use crate::layout;
use crate::scan::BatchScan;

/// Entries that are read in one go.
const ENTRIES: usize = 8 * 1024;

/// How far a segment file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    /// Bytes of intact batches from the file's start on.
    pub whole: u64,
    /// The file's length in bytes.
    pub length: u64,
}

/// Calls `each` with the position and the batch, for all intact batches from the file's start on, until it says stop.
///
/// # Errors
/// When the file can't be read.
pub fn dump(
    fs: &dyn FileSystem,
    segment: &Path,
    mut each: impl FnMut(u64, &Batch) -> io::Result<()>,
) -> io::Result<Dumped> {
    let file = fs.open(segment)?;
    let length = file.length()?;
    let mut scan = BatchScan::new(file.as_ref(), 0, length);
    while let Some((position, batch)) = scan.next()? {
        each(position, &batch)?;
    }
    Ok(Dumped { whole: scan.position(), length })
}

/// Which index of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// `.index`: offset to position.
    Offsets,
    /// `.timeindex`: timestamp to offset.
    Times,
}

/// An entry of an index, its offset absolute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexEntry {
    /// The last offset of a batch and where the batch starts.
    Position {
        /// The offset.
        offset: Offset,
        /// Bytes from the segment's start.
        position: u32,
    },
    /// The largest timestamp up to an offset.
    Time {
        /// The timestamp.
        timestamp: TimestampMs,
        /// The last offset of the batch that has it.
        offset: Offset,
    },
}

/// How far an index is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedIndex {
    /// Entries that are as they should be, from the file's start on.
    pub entries: u64,
    /// What is wrong behind them.
    pub damage: Option<String>,
}

/// Calls `each` with the entries of an index file, from its start on, until it says stop. If the segment is beside the index, entries of
/// offsets are compared with it.
///
/// # Errors
/// When the file can't be read, or its name has no base offset (`InvalidInput`).
pub fn dump_index(
    fs: &dyn FileSystem,
    index: &Path,
    kind: IndexKind,
    mut each: impl FnMut(&IndexEntry) -> io::Result<()>,
) -> io::Result<DumpedIndex> {
    let log = index.with_extension("log");
    let base = log.file_name().and_then(|name| layout::segment_base(&name.to_string_lossy()));
    let base = base.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "its name has no base offset: expected twenty digits as a segment has",
        )
    })?;
    let log = match (kind, fs.open(&log)) {
        (IndexKind::Offsets, Ok(file)) => Some(file),
        (IndexKind::Offsets, Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => None,
    };
    let file = fs.open(index)?;
    let mut check = Check { kind, base, log, last: None, entries: 0 };
    let mut window = vec![0; ENTRIES * kind.entry_bytes()];
    let mut position = 0;
    loop {
        let read = read_exact(file.as_ref(), &mut window, position, Wait::Allowed)?;
        position += u64::try_from(read).map_err(io::Error::other)?;
        for bytes in window[..read].chunks(kind.entry_bytes()) {
            let entry = match check.entry(bytes)? {
                Ok(entry) => entry,
                Err(damage) => return Ok(DumpedIndex { entries: check.entries, damage: Some(damage) }),
            };
            each(&entry)?;
            check.entries += 1;
        }
        if read < window.len() {
            return Ok(DumpedIndex { entries: check.entries, damage: None });
        }
    }
}

impl IndexKind {
    /// As in Kafka: relative offsets and positions have four bytes, timestamps eight.
    fn entry_bytes(self) -> usize {
        match self {
            Self::Offsets => 8,
            Self::Times => 12,
        }
    }
}

/// Whether an entry can follow the ones before it.
struct Check {
    kind: IndexKind,
    base: Offset,
    log: Option<Arc<dyn File>>,
    last: Option<IndexEntry>,
    entries: u64,
}

impl Check {
    fn entry(&mut self, bytes: &[u8]) -> io::Result<Result<IndexEntry, String>> {
        let number = self.entries;
        let Some(entry) = self.decode(bytes) else {
            let (found, expected) = (bytes.len(), self.kind.entry_bytes());
            return Ok(Err(format!("entry {number} is cut off: it has {found} of {expected} bytes")));
        };
        if !self.last.is_none_or(|last| rises(last, entry)) {
            return Ok(Err(format!("entry {number} ({entry}) does not rise above the one before it")));
        }
        if !self.is_in_log(entry)? {
            return Ok(Err(format!(
                "entry {number} ({entry}) points at no batch of the segment that ends at its offset"
            )));
        }
        self.last = Some(entry);
        Ok(Ok(entry))
    }

    fn decode(&self, bytes: &[u8]) -> Option<IndexEntry> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        match self.kind {
            IndexKind::Offsets => {
                Some(IndexEntry::Position { offset: self.base + i64::from(word(0)?), position: word(4)? })
            }
            IndexKind::Times => {
                let timestamp = TimestampMs(i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?));
                Some(IndexEntry::Time { timestamp, offset: self.base + i64::from(word(8)?) })
            }
        }
    }

    fn is_in_log(&self, entry: IndexEntry) -> io::Result<bool> {
        let (Some(log), IndexEntry::Position { offset, position }) = (&self.log, entry) else { return Ok(true) };
        let mut header = [0; HEADER_LENGTH];
        let read = read_exact(log.as_ref(), &mut header, u64::from(position), Wait::Allowed)?;
        Ok(BatchHeader::parse(&header[..read]).is_some_and(|header| header.last_offset() == offset))
    }
}

fn rises(last: IndexEntry, next: IndexEntry) -> bool {
    match (last, next) {
        (
            IndexEntry::Position { offset: before, position: from },
            IndexEntry::Position { offset: after, position: to },
        ) => before < after && from < to,
        (IndexEntry::Time { timestamp: before, offset: from }, IndexEntry::Time { timestamp: after, offset: to }) => {
            before < after && from <= to
        }
        _ => false,
    }
}

impl std::fmt::Display for IndexEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Position { offset, position } => write!(f, "offset={} position={position}", offset.0),
            Self::Time { timestamp, offset } => write!(f, "timestamp={} offset={}", timestamp.0, offset.0),
        }
    }
}
