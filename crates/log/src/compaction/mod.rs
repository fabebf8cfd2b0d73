//! Log compaction: of records with the same key only the newest stays (`cleanup.policy=compact`).
//!
//! A round reads the part of a log that is not clean and notes the newest offset of each key; then it rewrites the log from its beginning, group by
//! group of sealed segments, without what a newer record hides. Here is what a round is made of; the round itself, and how its output takes the
//! place of segments, is `partition::compact`.

mod filter;
mod offsets;
mod output;

pub(crate) use filter::{Filter, Kept, is_left_alone};
pub(crate) use offsets::NewestOffsets;
pub(crate) use output::{Finished, Output, OutputError};

use std::io;

use crate::error::Unavailable;
use crate::fs::is_transient;

/// How much of a log could be compacted now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cleanable {
    /// Bytes of segments that may be compacted and have not been.
    pub dirty_bytes: u64,
    /// Their share of all that may be.
    pub ratio: f64,
    /// `min.cleanable.dirty.ratio` is passed, or `max.compaction.lag.ms` is.
    pub is_due: bool,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Segments that were replaced.
    pub segments_replaced: usize,
    /// Segments that took their place.
    pub segments_made: usize,
    /// Bytes of those that were replaced.
    pub bytes_before: u64,
    /// Bytes of what took their place.
    pub bytes_after: u64,
    /// Segments that could not be read, and are left as they are until the next start.
    pub set_aside: usize,
    /// Whether there is more to do, because not all keys went into memory.
    pub is_partial: bool,
}

/// Why a round ended early. What it had replaced by then stays; nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// It was told to.
    #[error("compaction was stopped")]
    Stopped,
    /// Retention or a deletion took segments away meanwhile, or the log is not to be compacted any more.
    #[error("the log's segments or its cleanup.policy changed meanwhile")]
    Changed,
    /// The volume has no room for the new segments.
    #[error("compaction needs {bytes} bytes of room on the volume for a while: free space or grow the volume")]
    NoRoom {
        /// Bytes that it needs.
        bytes: u64,
    },
    /// What was written is not what was meant.
    #[error("what compaction wrote is wrong and was thrown away: {what}")]
    Unverified {
        /// What is wrong.
        what: String,
    },
    /// This partition or its whole directory can't be used.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// There is no file handle for what it has to open.
    #[error("compaction has no file handle left ({0}): raise the limit of open files or lower max.connections")]
    NoHandle(io::Error),
    /// The system could not read.
    #[error("cannot read the log")]
    Io(#[source] io::Error),
}

impl From<io::Error> for CompactionError {
    fn from(error: io::Error) -> Self {
        if is_transient(&error) { Self::NoHandle(error) } else { Self::Io(error) }
    }
}
