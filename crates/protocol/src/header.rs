//! Headers of requests and responses.
//!
//! A request's header is flexible (v2) from the API's first flexible version, otherwise v1; v0 belonged to
//! ControlledShutdown, which is gone. The client id keeps its classic length even in v2 (KIP-482). A response's header
//! is flexible (v1) likewise, except that ApiVersions always answers with v0, so that a client that guessed the version
//! wrong can still read the answer (KIP-511).

use crate::{ApiKey, DecodeError, DecodeProblem, Decoder, EncodeError, Encoder, Form, NullableField};

const CLASSIC: Form = Form { version: 1, flexible: false };

/// What stands before a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API is called.
    pub api_key: ApiKey,
    /// In which version; may be one that is not served.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's own name for itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header of a frame (without its size). Fails on a key that Kafka does not have; a version that is not
    /// served is left to the caller, because ApiVersions must answer every version (KIP-511).
    pub fn decode(input: &mut Decoder) -> Result<Self, DecodeError> {
        input.set_field("RequestHeader");
        let key = input.i16()?;
        let Some(api_key) = ApiKey::from_code(key) else {
            return Err(input.error(DecodeProblem::UnknownApiKey { key }));
        };
        let api_version = input.i16()?;
        let correlation_id = input.i32()?;
        let client_id = String::read_nullable(input, CLASSIC)?;
        if api_key.is_flexible(api_version) {
            input.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }
}

pub(crate) fn write_request_header(
    out: &mut Encoder,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<(), EncodeError> {
    out.set_field("RequestHeader.client_id");
    out.i16(key.code());
    out.i16(version);
    out.i32(correlation_id);
    out.string_length(client_id.map(str::len), CLASSIC)?;
    out.copy(client_id.unwrap_or_default().as_bytes());
    if key.is_flexible(version) {
        out.unsigned_varint(0);
    }
    Ok(())
}

fn response_header_is_flexible(key: ApiKey, version: i16) -> bool {
    key != ApiKey::ApiVersions && key.is_flexible(version)
}

pub(crate) fn write_response_header(out: &mut Encoder, key: ApiKey, version: i16, correlation_id: i32) {
    out.i32(correlation_id);
    if response_header_is_flexible(key, version) {
        out.unsigned_varint(0);
    }
}

/// Reads the header of a response frame (without its size) to a request of `key` and `version`: its correlation id.
pub fn decode_response_header(key: ApiKey, version: i16, input: &mut Decoder) -> Result<i32, DecodeError> {
    input.set_field("ResponseHeader");
    let correlation_id = input.i32()?;
    if response_header_is_flexible(key, version) {
        input.tagged_fields(|_, _| Ok(false))?;
    }
    Ok(correlation_id)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request_header(key: ApiKey, version: i16) -> Bytes {
        let mut out = Encoder::new();
        write_request_header(&mut out, key, version, 7, Some("rdkafka")).unwrap();
        out.into_bytes()
    }

    #[test]
    fn a_request_header_is_flexible_from_the_first_flexible_version_and_reads_back() {
        for (key, version, length) in [
            (ApiKey::Produce, 8, 17),
            (ApiKey::Produce, 9, 18),
            (ApiKey::ApiVersions, 2, 17),
            (ApiKey::ApiVersions, 3, 18),
            (ApiKey::OffsetDelete, 0, 17),
            (ApiKey::SaslHandshake, 1, 17),
        ] {
            let bytes = request_header(key, version);
            assert_eq!(bytes.len(), length, "{key} v{version}");
            let mut input = Decoder::new(bytes);
            let header = RequestHeader::decode(&mut input).unwrap();
            assert_eq!((header.api_key, header.api_version, header.correlation_id), (key, version, 7));
            assert_eq!((header.client_id.as_deref(), input.remaining()), (Some("rdkafka"), 0));
        }
    }

    #[test]
    fn api_versions_answers_every_version_with_the_header_without_tags() {
        for version in [0, 3, 4, 99] {
            let mut out = Encoder::new();
            write_response_header(&mut out, ApiKey::ApiVersions, version, 7);
            assert_eq!(out.into_bytes(), Bytes::from_static(&[0, 0, 0, 7]));
        }
        let mut out = Encoder::new();
        write_response_header(&mut out, ApiKey::Metadata, 9, 7);
        assert_eq!(out.into_bytes(), Bytes::from_static(&[0, 0, 0, 7, 0]));
    }

    #[test]
    fn an_unknown_api_key_is_refused_with_its_number() {
        let error = RequestHeader::decode(&mut Decoder::new(Bytes::from_static(&[1, 245, 0, 0]))).unwrap_err();
        assert_eq!(error.problem, DecodeProblem::UnknownApiKey { key: 501 });
    }
}
