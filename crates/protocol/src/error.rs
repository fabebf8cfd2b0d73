//! Why bytes are not a message, or a message has no bytes.
//!
//! Errors of a body carry the field and the byte at which it went wrong. What to do about it (answer, close the
//! connection) is left to the connection.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {} at byte {offset}: {problem}", if field.is_empty() { "message" } else { field })]
pub struct DecodeError {
    /// `Struct.field` as in Kafka's schemas, in snake case; empty outside a message.
    pub field: &'static str,
    /// Bytes from the start of what was handed to the decoder.
    pub offset: usize,
    /// What was wrong.
    pub problem: DecodeProblem,
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// The body ends too early.
    #[error("{expected} needs {needed} bytes, {remaining} remain")]
    Truncated { expected: &'static str, needed: usize, remaining: usize },
    /// The body goes on where it should end.
    #[error("{left} bytes are left over, none was expected")]
    LeftOver { left: usize },
    /// A varint that goes on after its last bit.
    #[error("varint is longer than {bits} bits")]
    VarintTooLong { bits: u8 },
    /// A length below -1 (which is null).
    #[error("length is {length}, expected 0 or more, or -1 for null")]
    NegativeLength { length: i32 },
    /// Null where the version has no null.
    #[error("null where version {version} allows none")]
    Null { version: i16 },
    /// The marker before a nullable struct is neither -1 nor 1.
    #[error("struct marker is {marker}, expected -1 for null or 1")]
    StructMarker { marker: i8 },
    /// Text that is not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// An array beyond the limit.
    #[error("array has {count} elements, at most {max} are allowed")]
    TooManyElements { count: usize, max: usize },
    /// Arrays that would take more memory than a request may.
    #[error("array would take {needed} bytes of memory, {max} are left for this request")]
    TooMuchMemory { needed: usize, max: usize },
    /// A tagged section beyond the limit.
    #[error("struct has {count} tagged fields, at most {max} are allowed")]
    TooManyTaggedFields { count: usize, max: usize },
    /// A version that this crate does not have.
    #[error("{message} has no version {version}, expected {min} to {max}")]
    UnsupportedVersion { message: &'static str, version: i16, min: i16, max: i16 },
    /// An API key that Kafka does not have.
    #[error("API key {key} is unknown, expected 0 to 92")]
    UnknownApiKey { key: i16 },
}

/// A message that can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A version that this crate does not have.
    #[error("{message} has no version {version}, expected {min} to {max}")]
    UnsupportedVersion { message: &'static str, version: i16, min: i16, max: i16 },
    /// A request says something that the version can't carry, so that dropping it would change what is asked for.
    #[error("{field} can't be sent in version {version}: leave it at its default or use a newer version")]
    NotInVersion { field: &'static str, version: i16 },
    /// Null where the version has no null.
    #[error("{field} is null, version {version} needs a value")]
    Null { field: &'static str, version: i16 },
    /// More than the length field can say.
    #[error("{field} has length {length}, at most {max} can be sent")]
    TooLong { field: &'static str, length: usize, max: usize },
}
