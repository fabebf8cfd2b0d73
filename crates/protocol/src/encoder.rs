//! Writing Kafka's primitive types.
//!
//! Small values collect in one buffer; a large payload is remembered by reference with its place in that buffer, so
//! that records are never copied on their way out. Which fields a message has is left to the messages.

use bytes::Bytes;

use crate::{EncodeError, Form};

/// A payload of at least this many bytes is kept by reference.
const REFERENCE_SIZE_MIN: usize = 1024;
/// Room made at the start; most answers without records fit.
const CAPACITY_FIRST: usize = 256;

/// A body that is being written.
#[derive(Debug)]
pub struct Encoder {
    own: Vec<u8>,
    /// Payloads, each with its place in `own`, in order.
    references: Vec<(usize, Bytes)>,
    referenced: usize,
    field: &'static str,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An empty body.
    #[must_use]
    pub fn new() -> Self {
        Self { own: Vec::with_capacity(CAPACITY_FIRST), references: Vec::new(), referenced: 0, field: "" }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.len() + self.referenced
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names what is written next, for errors.
    #[inline]
    pub fn set_field(&mut self, name: &'static str) {
        self.field = name;
    }

    /// The error for null in a version that has no null for the present field.
    #[cold]
    #[must_use]
    pub fn null_error(&self, form: Form) -> EncodeError {
        EncodeError::Null { field: self.field, version: form.version }
    }

    /// The error for a value in a version that can't carry the present field.
    #[cold]
    #[must_use]
    pub fn missing_error(&self, form: Form) -> EncodeError {
        EncodeError::NotInVersion { field: self.field, version: form.version }
    }

    #[cold]
    fn too_long(&self, length: usize, max: usize) -> EncodeError {
        EncodeError::TooLong { field: self.field, length, max }
    }

    /// What was written, in one piece; copies when payloads were kept by reference.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.references.is_empty() {
            return self.own.into();
        }
        self.into_chunks().concat().into()
    }

    /// What was written, in order, without copying.
    #[must_use]
    pub fn into_chunks(self) -> Vec<Bytes> {
        let own = Bytes::from(self.own);
        let mut chunks = Vec::with_capacity(self.references.len() * 2 + 1);
        let mut from = 0;
        for (place, payload) in self.references {
            if place > from {
                chunks.push(own.slice(from..place));
            }
            chunks.push(payload);
            from = place;
        }
        if from < own.len() {
            chunks.push(own.slice(from..));
        }
        chunks
    }

    /// What was written as a frame: the first four bytes, written as a placeholder, become the size of the rest.
    pub(crate) fn into_frame(mut self) -> Result<Vec<Bytes>, EncodeError> {
        self.set_field("frame");
        let size = self.len().saturating_sub(4);
        let written = i32::try_from(size).map_err(|_| self.too_long(size, i32::MAX as usize))?;
        if let Some(placeholder) = self.own.first_chunk_mut::<4>() {
            *placeholder = written.to_be_bytes();
        }
        Ok(self.into_chunks())
    }

    /// Writes bytes as they are, by copying.
    #[inline]
    pub fn copy(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
    }

    /// Writes bytes as they are; by reference when there are many.
    pub fn append(&mut self, bytes: &Bytes) {
        if bytes.len() < REFERENCE_SIZE_MIN {
            self.copy(bytes);
        } else {
            self.references.push((self.own.len(), bytes.clone()));
            self.referenced += bytes.len();
        }
    }

    /// Writes a signed byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes two bytes, signed.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes two bytes, unsigned.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes four bytes, signed.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes four bytes, unsigned.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes eight bytes, signed.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes a floating point number.
    pub fn f64(&mut self, value: f64) {
        self.copy(&value.to_be_bytes());
    }

    /// Writes an unsigned integer in groups of seven bits.
    #[inline]
    pub fn unsigned_varint(&mut self, value: u32) {
        self.groups_of_seven(u64::from(value));
    }

    /// Writes a signed 32-bit integer, zigzag in groups of seven bits.
    #[inline]
    pub fn varint(&mut self, value: i32) {
        self.groups_of_seven(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
    }

    /// Writes a signed 64-bit integer, zigzag in groups of seven bits.
    #[inline]
    pub fn varlong(&mut self, value: i64) {
        self.groups_of_seven(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    #[inline]
    fn groups_of_seven(&mut self, mut rest: u64) {
        while rest > 0x7f {
            let [low, ..] = rest.to_le_bytes();
            self.own.push(low | 0x80);
            rest >>= 7;
        }
        let [low, ..] = rest.to_le_bytes();
        self.own.push(low);
    }

    /// Writes the length before a string; `None` is null.
    pub(crate) fn string_length(&mut self, length: Option<usize>, form: Form) -> Result<(), EncodeError> {
        if form.flexible {
            return self.compact_length(length);
        }
        let Some(length) = length else {
            self.i16(-1);
            return Ok(());
        };
        let written = i16::try_from(length).map_err(|_| self.too_long(length, i16::MAX as usize))?;
        self.i16(written);
        Ok(())
    }

    /// Writes the length before bytes or an array; `None` is null.
    pub(crate) fn length(&mut self, length: Option<usize>, form: Form) -> Result<(), EncodeError> {
        if form.flexible {
            return self.compact_length(length);
        }
        let Some(length) = length else {
            self.i32(-1);
            return Ok(());
        };
        let written = i32::try_from(length).map_err(|_| self.too_long(length, i32::MAX as usize))?;
        self.i32(written);
        Ok(())
    }

    fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let Some(length) = length else {
            self.unsigned_varint(0);
            return Ok(());
        };
        // as Kafka: what can't be a Java array's length is not written
        let written = i32::try_from(length).map_err(|_| self.too_long(length, i32::MAX as usize))?;
        self.unsigned_varint(written.cast_unsigned() + 1);
        Ok(())
    }

    /// Writes one tagged field: its tag, the size of what `write` writes, and that.
    pub fn tagged_field(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut value = Self { own: Vec::new(), references: Vec::new(), referenced: 0, field: self.field };
        write(&mut value)?;
        let length = value.len();
        let size = i32::try_from(length).map_err(|_| self.too_long(length, i32::MAX as usize))?;
        self.unsigned_varint(tag);
        self.unsigned_varint(size.cast_unsigned());
        for chunk in value.into_chunks() {
            self.append(&chunk);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Decoder;

    proptest! {
        #[test]
        fn a_varint_reads_back(value: i32, long: i64, unsigned: u32) {
            let mut out = Encoder::new();
            out.varint(value);
            out.varlong(long);
            out.unsigned_varint(unsigned);
            let mut input = Decoder::new(out.into_bytes());
            prop_assert_eq!((input.varint(), input.varlong(), input.unsigned_varint()), (Ok(value), Ok(long), Ok(unsigned)));
            prop_assert_eq!(input.remaining(), 0);
        }
    }

    #[test]
    fn a_large_payload_is_kept_by_reference_and_in_order() {
        let large = Bytes::from(vec![7; REFERENCE_SIZE_MIN]);
        let mut out = Encoder::new();
        out.i8(1);
        out.append(&large);
        out.append(&large);
        out.i8(2);
        assert_eq!(out.len(), 2 * REFERENCE_SIZE_MIN + 2);
        let chunks = out.into_chunks();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [1, REFERENCE_SIZE_MIN, REFERENCE_SIZE_MIN, 1]);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_string_that_does_not_fit_its_length_field_is_refused() {
        let form = Form { version: 0, flexible: false };
        let error = Encoder::new().string_length(Some(40_000), form).unwrap_err();
        assert!(matches!(error, EncodeError::TooLong { length: 40_000, max: 32_767, .. }), "{error}");
    }
}
