//! A broker's data directory: logs of partitions in Kafka's segment format, written by one flusher, recovered after anything.
//!
//! Synchronous and without a runtime; time is an argument; every access to the disk goes through [`fs::FileSystem`].
//! The one promise: what is below a log's durable end survives whatever happens to the process or the power.

mod checkpoint;
mod config;
mod directory;
mod dump;
mod epochs;
mod error;
mod flusher;
pub mod fs;
mod index;
mod journal;
mod layout;
mod partition;
mod producers;
mod recovery;
mod scan;
mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod testing;
mod verify;

pub use config::LogConfig;
pub use directory::{DataDirectory, Limits};
pub use dump::{Dumped, DumpedIndex, IndexEntry, IndexKind, dump, dump_index};
pub use error::{AppendError, DeleteRecordsError, OpenError, ReadError, Unavailable};
pub use flusher::{Advance, Progress};
pub use partition::{Appended, LogId, LogSummary, PartitionLog, ReadLog, TimestampOffset};
pub use verify::{PartitionReport, verify};
