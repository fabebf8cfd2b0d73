//! A broker's data directory: logs of partitions in Kafka's segment format, behind one journal.
//!
//! Synchronous and without a runtime; time is an argument; every access to the disk goes through [`fs::FileSystem`].
//! The one promise: what is below a log's durable end survives whatever happens to the process or the power.

mod checkpoint;
mod compaction;
mod config;
mod directory;
mod dump;
mod epochs;
mod error;
mod filler;
pub mod fs;
mod index;
mod journal;
mod journal_thread;
mod layout;
mod partition;
mod producers;
mod progress;
mod recovery;
mod rules;
mod scan;
mod segment;
mod shared;
mod slot_maker;
mod tail;
#[cfg(any(test, feature = "sim"))]
pub mod testing;
mod verify;

pub use compaction::{Cleanable, Compacted, CompactionError};
pub use config::LogConfig;
pub use directory::DataDirectory;
pub use dump::{Dumped, DumpedIndex, IndexEntry, IndexKind, dump, dump_index};
pub use error::{AppendError, DeleteRecordsError, OpenError, ReadError, Unavailable};
pub use partition::{Appended, LogId, LogSummary, Pace, PartitionLog, ReadLog, TimestampOffset};
pub use progress::{Advance, Progress};
pub use rules::Rules;
pub use shared::{JournalUse, Limits};
pub use verify::{PartitionReport, verify};
