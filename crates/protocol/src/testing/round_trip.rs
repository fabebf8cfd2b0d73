//! What must hold for any bytes: they are refused, or they are a message that reads back as itself.
//!
//! The fuzz targets and a bounded test call the same functions; a broken rule panics.

use std::fmt::Debug;

use bytes::Bytes;

use super::{Described, Role, Sample, Visitor, visit_messages};
use crate::{Decoder, Encoder, Message, RequestHeader};

/// Decodes `bytes` as every message in every version; whatever decodes is encoded, decoded and encoded again.
/// The first two bytes choose the message and the version, so that a fuzzer can aim.
pub fn check_bytes(bytes: &Bytes) {
    let [message, version, ..] = bytes[..] else { return };
    visit_messages(&mut ReadBack { wanted: usize::from(message), version: version.into(), body: bytes.slice(2..) });
}

struct ReadBack {
    /// Messages to pass before the wanted one; wraps around never, so large numbers choose none.
    wanted: usize,
    version: i16,
    body: Bytes,
}

impl Visitor for ReadBack {
    fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, _: Role) {
        let chosen = self.wanted == 0;
        self.wanted = self.wanted.wrapping_sub(1);
        if !chosen || !M::VERSIONS.contains(self.version) {
            return;
        }
        let Ok(first) = M::decode(&mut Decoder::new(self.body.clone()), self.version) else { return };
        let encode = |message: &M| {
            let mut out = Encoder::new();
            match message.encode(&mut out, self.version) {
                Ok(()) => out.into_bytes(),
                Err(error) => panic!("{} v{} was decoded and can't be encoded: {error}", M::NAME, self.version),
            }
        };
        let bytes = encode(&first);
        let mut input = Decoder::new(bytes.clone());
        let second = M::decode(&mut input, self.version);
        assert_eq!(second.as_ref(), Ok(&first), "{} v{} reads back as something else", M::NAME, self.version);
        assert_eq!(input.remaining(), 0, "{} v{} does not read all that it wrote", M::NAME, self.version);
        assert_eq!(encode(&first), bytes, "{} v{} is written differently the second time", M::NAME, self.version);
    }
}

/// Decodes a frame as a connection does: header, then the request that the header names. Answers whether it was one.
pub fn check_request_frame(frame: &Bytes) -> bool {
    let mut input = Decoder::new(frame.clone());
    let Ok(header) = RequestHeader::decode(&mut input) else { return false };
    let mut body = Body { header, input, decoded: false };
    visit_messages(&mut body);
    body.decoded
}

struct Body {
    header: RequestHeader,
    input: Decoder,
    decoded: bool,
}

impl Visitor for Body {
    fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, role: Role) {
        if role == Role::Request(self.header.api_key) {
            self.decoded = M::decode(&mut self.input, self.header.api_version).is_ok();
        }
    }
}
