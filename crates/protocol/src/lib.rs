//! Kafka's wire protocol: messages, record batches, error codes.
//!
//! Sans-I/O: bytes in, values out, and back. No input panics or allocates more than a small multiple of its own
//! length. Sockets, threads and decisions belong to the crates that use this one.
//!
//! A message is a struct with `#[derive(Message)]`; its file in [`messages`] says what each version added. Attributes:
//!
//! - on a struct: `request = Produce` or `response = Produce` (versions come from the [`ApiKey`] table; a request's
//!   response is the struct of the same name that ends with `Response`), or `versions = "0..=4", flexible = "4.."` for
//!   data that is no call. A struct without any is a part of others.
//! - on a field: `versions = "4.."`, `nullable = "7.."` (an `Option`; all its versions when left out), `tag = 0`
//!   (`tagged = "9.."` when older versions have it untagged), `default = LeaderEpoch::NONE`, and `strict`, which
//!   refuses to encode a version that lacks the field rather than to drop its value.

extern crate self as kennet_protocol;

mod api_key;
pub mod consumer_protocol;
pub mod coordinator_records;
mod decoder;
mod encoder;
mod error;
mod error_code;
mod field;
mod header;
mod ids;
mod message;
pub mod messages;
pub mod record;
mod records;

pub use api_key::{ApiKey, Support, compatibility_table};
pub use decoder::{ARRAY_LENGTH_MAX, Decoder, TAGGED_FIELDS_MAX};
pub use encoder::Encoder;
pub use error::{DecodeError, DecodeProblem, EncodeError};
pub use error_code::ErrorCode;
pub use field::{Field, Form, NullableField};
pub use header::{RequestHeader, decode_response_header};
pub use ids::{BrokerId, GenerationId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs};
pub use kennet_protocol_derive::Message;
pub use message::{Message, Request, Versions, encode_request, encode_response};
#[doc(hidden)]
pub use message::{check_decode, check_encode};
pub use records::Records;
/// A topic's or a data directory's id on the wire; all zeros is "none".
pub use uuid::Uuid;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Keeps what it is given only in builds for tests; the derive wraps what only tests need in it.
#[doc(hidden)]
#[cfg(any(test, feature = "testing"))]
#[macro_export]
macro_rules! for_tests {
    ($($code:tt)*) => { $($code)* };
}

/// Keeps what it is given only in builds for tests; the derive wraps what only tests need in it.
#[doc(hidden)]
#[cfg(not(any(test, feature = "testing")))]
#[macro_export]
macro_rules! for_tests {
    ($($code:tt)*) => {};
}
