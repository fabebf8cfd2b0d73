//! Reading Kafka's primitive types from a body of bytes.
//!
//! Nothing is read past the end, and no count allocates anything before it was compared with the bytes that remain.
//! Payloads are slices of the input, not copies. What the values mean is left to the messages.

use bytes::Bytes;

use crate::{DecodeError, DecodeProblem, Field, Form};

/// The most elements that one array may announce (as Kafka 4.4 limits them).
pub const ARRAY_LENGTH_MAX: usize = 1_000_000;
/// The most tagged fields that one struct may announce (as Kafka 4.4 limits them).
pub const TAGGED_FIELDS_MAX: usize = 10_000;
/// Elements for which room is made before the first of them has been read; beyond it an array grows as it is read.
const ARRAY_CAPACITY_FIRST: usize = 256;

/// A position in a body of bytes.
#[derive(Debug)]
pub struct Decoder {
    bytes: Bytes,
    at: usize,
    /// Where the body, or the tagged field that is being read, ends.
    end: usize,
    field: &'static str,
    /// Memory that arrays may still take.
    room: usize,
}

impl Decoder {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let end = bytes.len();
        Self { bytes, at: 0, end, field: "", room: usize::MAX }
    }

    /// The same, for a body whose arrays may take so much memory: an element of one byte can become a hundred.
    #[must_use]
    pub fn within(mut self, memory_bytes_max: usize) -> Self {
        self.room = memory_bytes_max;
        self
    }

    /// Bytes that have not been read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Bytes that have been read.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Names what is read next, for errors.
    #[inline]
    pub fn set_field(&mut self, name: &'static str) {
        self.field = name;
    }

    /// Fails when bytes are left over.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeProblem::LeftOver { left })),
        }
    }

    /// An error at the present position.
    #[must_use]
    pub fn error(&self, problem: DecodeProblem) -> DecodeError {
        DecodeError { field: self.field, offset: self.at, problem }
    }

    #[inline]
    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], DecodeError> {
        let found = self.bytes.get(self.at..self.end).and_then(|rest| rest.first_chunk::<N>()).copied();
        match found {
            Some(array) => {
                self.at += N;
                Ok(array)
            }
            None => Err(self.truncated(expected, N)),
        }
    }

    #[cold]
    fn truncated(&self, expected: &'static str, needed: usize) -> DecodeError {
        self.error(DecodeProblem::Truncated { expected, needed, remaining: self.remaining() })
    }

    /// Reads the next `length` bytes as a slice of the input.
    pub fn take(&mut self, expected: &'static str, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(expected, length));
        }
        let taken = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(taken)
    }

    /// Reads a byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>("uint8").map(|[byte]| byte)
    }

    /// Reads a signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array("int8").map(i8::from_be_bytes)
    }

    /// Reads two bytes, signed.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array("int16").map(i16::from_be_bytes)
    }

    /// Reads two bytes, unsigned.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array("uint16").map(u16::from_be_bytes)
    }

    /// Reads four bytes, signed.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array("int32").map(i32::from_be_bytes)
    }

    /// Reads four bytes, unsigned.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array("uint32").map(u32::from_be_bytes)
    }

    /// Reads eight bytes, signed.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array("int64").map(i64::from_be_bytes)
    }

    /// Reads a floating point number.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array("float64").map(f64::from_be_bytes)
    }

    /// Reads a uuid.
    pub fn uuid(&mut self) -> Result<crate::Uuid, DecodeError> {
        self.array("uuid").map(crate::Uuid::from_bytes)
    }

    /// Reads an unsigned integer in groups of seven bits, at most five bytes.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.array::<1>("varint")?[0];
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeProblem::VarintTooLong { bits: 32 }))
    }

    /// Reads a signed 32-bit integer, zigzag in groups of seven bits.
    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// Reads a signed 64-bit integer, zigzag in groups of seven bits, at most ten bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let mut raw = 0_u64;
        for shift in (0..=63).step_by(7) {
            let byte = self.array::<1>("varlong")?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
            }
        }
        Err(self.error(DecodeProblem::VarintTooLong { bits: 64 }))
    }

    /// Reads the length before a string: two bytes, or a varint of the length plus one. `None` is null.
    pub(crate) fn string_length(&mut self, form: Form) -> Result<Option<usize>, DecodeError> {
        if form.flexible {
            return self.compact_length();
        }
        let length = self.i16()?;
        self.classic_length(i32::from(length))
    }

    /// Reads the length before bytes or an array: four bytes, or a varint of the length plus one. `None` is null.
    pub(crate) fn length(&mut self, form: Form) -> Result<Option<usize>, DecodeError> {
        if form.flexible {
            return self.compact_length();
        }
        let length = self.i32()?;
        self.classic_length(length)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let raw = self.unsigned_varint()?;
        Ok(raw.checked_sub(1).map(|length| length as usize))
    }

    fn classic_length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(DecodeProblem::NegativeLength { length })),
        }
    }

    /// Reads `length` bytes of UTF-8.
    pub(crate) fn utf8(&mut self, length: usize) -> Result<String, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated("string", length));
        }
        let text = self.bytes.get(self.at..self.at + length).unwrap_or_default();
        match std::str::from_utf8(text) {
            Ok(text) => {
                let text = text.to_owned();
                self.at += length;
                Ok(text)
            }
            Err(_) => Err(self.error(DecodeProblem::NotUtf8)),
        }
    }

    /// Reads `count` elements, after comparing the count with the limit and with the bytes that remain.
    pub(crate) fn elements<T: Field>(&mut self, count: usize, form: Form) -> Result<Vec<T>, DecodeError> {
        let needed = count.saturating_mul(T::size_min(form).max(1));
        if count > ARRAY_LENGTH_MAX {
            return Err(self.error(DecodeProblem::TooManyElements { count, max: ARRAY_LENGTH_MAX }));
        }
        if needed > self.remaining() {
            return Err(self.truncated("array", needed));
        }
        let memory = count.saturating_mul(size_of::<T>());
        if memory > self.room {
            return Err(self.error(DecodeProblem::TooMuchMemory { needed: memory, max: self.room }));
        }
        self.room -= memory;
        let mut elements = Vec::with_capacity(count.min(ARRAY_CAPACITY_FIRST));
        for read in 0..count {
            if read == elements.capacity() {
                // doubling, but never beyond what was announced
                elements.reserve_exact(read.min(count - read));
            }
            elements.push(T::read(self, form)?);
        }
        Ok(elements)
    }

    /// Reads the tagged fields at the end of a struct. `read` answers whether it knows the tag; a field that it does
    /// not know is skipped, one that it knows must use exactly its bytes.
    pub fn tagged_fields(
        &mut self,
        mut read: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()? as usize;
        if count > TAGGED_FIELDS_MAX {
            return Err(self.error(DecodeProblem::TooManyTaggedFields { count, max: TAGGED_FIELDS_MAX }));
        }
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                return Err(self.truncated("tagged field", size));
            }
            let outer_end = std::mem::replace(&mut self.end, self.at + size);
            if read(self, tag)? {
                self.finish()?;
            }
            self.at = self.end;
            self.end = outer_end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &[u8]) -> Decoder {
        Decoder::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_varint_of_more_than_32_bits_is_refused() {
        assert_eq!(decoder(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unsigned_varint(), Ok(u32::MAX));
        assert!(decoder(&[0xff, 0xff, 0xff, 0xff, 0x1f]).unsigned_varint().is_err());
        assert!(decoder(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).unsigned_varint().is_err());
    }

    #[test]
    fn a_varlong_of_more_than_64_bits_is_refused() {
        let mut longest = [0xff; 10];
        longest[9] = 1;
        assert_eq!(decoder(&longest).varlong(), Ok(i64::MIN));
        longest[9] = 2;
        assert!(decoder(&longest).varlong().is_err());
    }

    #[test]
    fn an_array_that_announces_more_than_remains_is_refused_before_it_is_read() {
        let mut input = decoder(&[0x7f, 0xff, 0xff, 0xff]);
        let form = Form { version: 0, flexible: false };
        let error = Vec::<i64>::read(&mut input, form).unwrap_err();
        assert!(matches!(error.problem, DecodeProblem::TooManyElements { .. }), "{error}");
        let error = Vec::<i64>::read(&mut decoder(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]), form).unwrap_err();
        assert!(matches!(error.problem, DecodeProblem::Truncated { needed: 16, remaining: 8, .. }), "{error}");
    }

    #[test]
    fn arrays_that_would_take_too_much_memory_together_are_refused_before_they_are_made() {
        let form = Form { version: 0, flexible: false };
        let two = [0, 0, 0, 2, 0, 0, 0, 0];
        let mut input = decoder(&[two, two].concat()).within(2 * 2 * size_of::<String>() - 1);
        assert_eq!(Vec::<String>::read(&mut input, form).unwrap().len(), 2);
        let error = Vec::<String>::read(&mut input, form).unwrap_err();
        assert!(matches!(error.problem, DecodeProblem::TooMuchMemory { .. }), "{error}");
    }

    #[test]
    fn an_unknown_tagged_field_is_skipped_and_a_known_one_uses_all_its_bytes() {
        let known = |input: &mut Decoder, tag: u32| Ok(tag == 3 && input.i8().is_ok());
        assert_eq!(decoder(&[2, 3, 1, 9, 7, 2, 0, 0]).tagged_fields(known), Ok(()));
        let error = decoder(&[1, 3, 2, 9, 9]).tagged_fields(known).unwrap_err();
        assert_eq!(error.problem, DecodeProblem::LeftOver { left: 1 });
    }

    #[test]
    fn a_payload_is_a_slice_of_the_input() {
        let body = Bytes::from_static(b"\x00\x00\x00\x03abc");
        let payload = Bytes::read(&mut Decoder::new(body.clone()), Form { version: 0, flexible: false }).unwrap();
        assert_eq!(payload.as_ptr(), body[4..].as_ptr());
    }
}
