//! What can go wrong with a log, one small enum per operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kennet_protocol::{Offset, ProducerEpoch};

/// Why a data directory can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error(
        "data directory {path} is in use by another process: stop that one first, or give this one its own directory"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("cannot use data directory {path}")]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The producer's epoch was replaced by a newer one.
    #[error("producer epoch {found} is older than {newest}, which already wrote to this partition")]
    OldProducerEpoch {
        /// The batch's epoch.
        found: ProducerEpoch,
        /// The newest epoch seen.
        newest: ProducerEpoch,
    },
    /// The sequence number does not follow the producer's last one.
    #[error("sequence number {found} does not follow: {expected} was expected")]
    OutOfOrderSequence {
        /// The batch's first sequence number.
        found: i32,
        /// The one that would follow.
        expected: i32,
    },
    /// The volume is full; it may be tried again.
    #[error("the volume of the data directory is full: free space, lower retention or grow the volume")]
    DiskFull,
    /// More is waiting for the disk than may wait; it may be tried again.
    #[error("the disk is too slow for what is being produced: {bytes} bytes wait for it")]
    Busy {
        /// Bytes that wait.
        bytes: usize,
    },
    /// The journal could never take it.
    #[error(
        "the batch has {bytes} bytes, and the journal of this volume takes {bytes_max} at most: send smaller batches or grow the volume"
    )]
    TooLarge {
        /// The batch's bytes.
        bytes: usize,
        /// What would be taken.
        bytes_max: usize,
    },
    /// This partition or its whole directory can't be used.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a log can't be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Deleted,
    /// Its files are damaged; nothing was cut.
    #[error("the partition is offline: {reason}")]
    Offline {
        /// What was found and where.
        reason: Arc<str>,
    },
    /// A write or sync failed, so what is on the disk is unknown.
    #[error(
        "the data directory failed: {reason}; nothing is written or trusted until the broker is restarted on a sound disk"
    )]
    DirectoryFailed {
        /// The system's error.
        reason: Arc<str>,
    },
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such offset.
    #[error("offset {offset} is outside of {start} to {end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's start.
        start: Offset,
        /// The end that the reader may see.
        end: Offset,
    },
    /// The bytes are not in memory, and the caller would not wait.
    #[error("the records at offset {offset} must be read from the disk")]
    WouldWait {
        /// What was asked for.
        offset: Offset,
    },
    /// This partition or its whole directory can't be used.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The system could not read.
    #[error("cannot read the log")]
    Io(#[from] io::Error),
}

/// Why records were not deleted, or the log start not moved.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// Beyond the high watermark or negative.
    #[error("offset {offset} is not within {start} to the high watermark {high_watermark}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's start.
        start: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// This partition or its whole directory can't be used.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The new log start could not be made durable.
    #[error("cannot write the log start")]
    Io(#[from] io::Error),
}
