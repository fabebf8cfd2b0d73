//! Kafka's wire protocol: messages, record batches, error codes.
//!
//! Sans-I/O: bytes in, values out, and back. No input panics or allocates more than a small multiple of its own
//! length. Sockets, threads and decisions belong to the crates that use this one.

mod error_code;
mod ids;

pub use error_code::ErrorCode;
pub use ids::{BrokerId, GenerationId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs};
/// A topic's or a data directory's id on the wire; all zeros is "none".
pub use uuid::Uuid;
