//! Where metadata records are kept. One node writes a file; a quorum will replace it behind the same trait.

use std::io;

use kennet_protocol::Uuid;

use crate::image::{ApplyError, Image};
use crate::record::{Record, RecordError};

/// A durable sequence of metadata records with snapshots of what they add up to.
pub trait MetadataLog: Send {
    /// Appends records as one unit and returns once they are committed: all of them or, after a crash, none.
    /// Returns the offset of the last one.
    ///
    /// # Errors
    /// When they are not committed. The log must not be used after an I/O error; one that is full may be tried again.
    fn append(&mut self, records: &[Record]) -> Result<i64, MetadataLogError>;

    /// The offset of the last committed record; -1 when there is none.
    fn committed_offset(&self) -> i64;

    /// Whether a snapshot would make the next start cheaper.
    fn wants_snapshot(&self) -> bool;

    /// Stores an image that has all committed records applied, and forgets the records before it.
    ///
    /// # Errors
    /// When it is not stored; the log before it is then still whole.
    fn write_snapshot(&mut self, image: &Image) -> Result<(), MetadataLogError>;
}

/// What a log held when it was opened.
#[derive(Debug)]
pub struct Loaded {
    /// Everything that was committed.
    pub image: Image,
    /// Topics that were removed since the last snapshot: a crash may have left their files.
    pub removed_topics: Vec<Uuid>,
    /// Bytes of an unfinished append that were cut.
    pub bytes_cut: u64,
}

/// Why the metadata log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataLogError {
    /// The system refused something.
    #[error("cannot use the metadata log {path}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The volume has no room; nothing was written, and it may be tried again.
    #[error("the volume of the metadata log {path} is full: free space, lower retention or grow the volume")]
    Full {
        /// The file.
        path: String,
    },
    /// The bytes are not those that were written.
    #[error("the metadata log {path} is damaged at byte {position}: {what}; nothing was cut; restore the file")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// A record can't be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record contradicts those before it.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}
