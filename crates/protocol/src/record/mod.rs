//! Record batches of format 2 (KIP-98): the unit that producers send, logs keep and consumers read.
//!
//! A batch travels as it was sent: its header is read in place, its payload is not decompressed on the hot path, and
//! offset and leader epoch are stamped into a copy of the header, because the checksum does not cover them. Older
//! formats (magic 0 and 1) are refused, as Kafka 4 refuses them.

mod batch;
mod builder;
mod compression;
mod header;
mod item;
mod produce;
mod retain;
mod snappy;
mod varint;
mod walk;

pub use batch::{Batch, BatchError, Batches, Stamp, StampedBatch};
pub use builder::{BatchBuilder, BuildError, ProducerStamp};
pub use compression::{Compression, CompressionError};
pub use header::{Attributes, BatchHeader, HEADER_LENGTH, TimestampType};
pub use item::{Header, Record, RecordError, Records};
pub use produce::{COMPACTED_BYTES_MAX, InvalidBatch, ProduceRules, check_produced};
pub use walk::Walked;
