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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch::{FetchRequest, FetchResponse};
    use crate::messages::join_group::JoinGroupResponse;
    use crate::messages::metadata::MetadataRequest;
    use crate::{BrokerId, RequestHeader, decode_response_header};

    #[test]
    fn a_request_that_the_version_can_t_carry_is_refused() {
        let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
        assert!(request.to_bytes(4).is_ok());
        let field = "MetadataRequest.allow_auto_topic_creation";
        assert_eq!(request.to_bytes(3), Err(EncodeError::NotInVersion { field, version: 3 }));
        let request = FetchRequest { replica_id: BrokerId(2), ..Default::default() };
        assert_eq!(
            request.to_bytes(15),
            Err(EncodeError::NotInVersion { field: "FetchRequest.replica_id", version: 15 })
        );
    }

    #[test]
    fn a_response_drops_what_the_version_can_t_carry() {
        let response = FetchResponse { session_id: 5, ..Default::default() };
        assert_eq!(response.to_bytes(6), FetchResponse::default().to_bytes(6));
    }

    #[test]
    fn null_is_refused_where_the_version_has_none() {
        let response = JoinGroupResponse { protocol_name: None, ..Default::default() };
        assert!(response.to_bytes(7).is_ok());
        let field = "JoinGroupResponse.protocol_name";
        assert_eq!(response.to_bytes(6), Err(EncodeError::Null { field, version: 6 }));
        let body = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        let error = JoinGroupResponse::decode(&mut Decoder::new(body), 5).unwrap_err();
        let expected = "cannot decode JoinGroupResponse.protocol_name at byte 10: null where version 5 allows none";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_frame_starts_with_the_size_of_what_follows() {
        let frame = encode_request(12, 7, Some("us"), &MetadataRequest::default()).unwrap().concat();
        let (size, rest) = frame.split_first_chunk::<4>().unwrap();
        assert_eq!(i32::from_be_bytes(*size), i32::try_from(rest.len()).unwrap());
        let mut input = Decoder::new(Bytes::copy_from_slice(rest));
        let header = RequestHeader::decode(&mut input).unwrap();
        assert_eq!((header.api_key, header.api_version), (ApiKey::Metadata, 12));
        assert_eq!(MetadataRequest::decode(&mut input, 12), Ok(MetadataRequest::default()));
        assert_eq!(input.finish(), Ok(()));
    }

    #[test]
    fn a_response_frame_reads_back() {
        let frame = encode_response(ApiKey::Fetch, 12, 7, &FetchResponse::default()).unwrap().concat();
        let mut input = Decoder::new(Bytes::copy_from_slice(&frame[4..]));
        assert_eq!(decode_response_header(ApiKey::Fetch, 12, &mut input), Ok(7));
        assert_eq!(FetchResponse::decode(&mut input, 12), Ok(FetchResponse::default()));
        assert_eq!(input.finish(), Ok(()));
    }
}
