//! What every message can do, and the frames around requests and responses.
//!
//! A frame is four bytes of size, a header, a body. Which header belongs to which version comes from the API table.

use bytes::Bytes;

use crate::header::{write_request_header, write_response_header};
use crate::{ApiKey, DecodeError, DecodeProblem, Decoder, EncodeError, Encoder};

/// The versions of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The first version.
    pub min: i16,
    /// The last version.
    pub max: i16,
    /// The first flexible version (KIP-482); `None` when no version is.
    pub flexible_from: Option<i16>,
}

impl Versions {
    /// Whether there is such a version.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        version >= self.min && version <= self.max
    }

    /// Whether that version has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.flexible_from {
            Some(first) => version >= first,
            None => false,
        }
    }
}

/// A request, a response, or data with a version of its own. Derived; see the crate's page.
pub trait Message: Sized {
    /// The name in Kafka's schemas.
    const NAME: &'static str;
    /// The versions that can be written and read.
    const VERSIONS: Versions;

    /// Appends the message. Responses drop what the version lacks; requests refuse it where that would change what is
    /// asked for.
    fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// Reads the message; what the version lacks gets the schema's default. Bytes after it are left alone.
    fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// The message alone, in one piece.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Encoder::new();
        self.encode(&mut out, version)?;
        Ok(out.into_bytes())
    }

    /// The version in two bytes, then the message: how Kafka stores data inside records and subscriptions.
    fn to_versioned_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Encoder::new();
        out.i16(version);
        self.encode(&mut out, version)?;
        Ok(out.into_bytes())
    }

    /// Reads what [`Message::to_versioned_bytes`] wrote.
    fn from_versioned_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let version = input.i16()?;
        Self::decode(&mut input, version)
    }
}

/// A message that asks for another one.
pub trait Request: Message {
    /// The key in the request's header.
    const KEY: ApiKey;
    /// What it is answered with, in the same version.
    type Response: Message;
}

/// A whole request frame, its size included, in chunks to be written in order.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut out = Encoder::new();
    out.i32(0);
    write_request_header(&mut out, R::KEY, version, correlation_id, client_id)?;
    request.encode(&mut out, version)?;
    out.into_frame()
}

/// A whole response frame, its size included, in chunks to be written in order.
pub fn encode_response<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut out = Encoder::new();
    out.i32(0);
    write_response_header(&mut out, key, version, correlation_id);
    response.encode(&mut out, version)?;
    out.into_frame()
}

/// The check at the start of every derived `encode`.
pub fn check_encode(message: &'static str, versions: Versions, version: i16) -> Result<(), EncodeError> {
    if versions.contains(version) {
        return Ok(());
    }
    Err(EncodeError::UnsupportedVersion { message, version, min: versions.min, max: versions.max })
}

/// The check at the start of every derived `decode`.
pub fn check_decode(
    message: &'static str,
    versions: Versions,
    version: i16,
    input: &Decoder,
) -> Result<(), DecodeError> {
    if versions.contains(version) {
        return Ok(());
    }
    Err(input.error(DecodeProblem::UnsupportedVersion { message, version, min: versions.min, max: versions.max }))
}
