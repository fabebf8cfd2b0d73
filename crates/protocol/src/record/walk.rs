//! Going over a batch's records without making them: what a broker needs to know of them fits in a few numbers.
//!
//! Invariant: memory does not depend on what the batch claims or decompresses to. Payloads are decompressed as a stream, keys, values and
//! headers are skipped, and the caller limits how many bytes are looked at, which is what bounds the time.

use std::io::BufRead;
use std::ops::ControlFlow;

use crate::TimestampMs;
use crate::record::batch::Batch;
use crate::record::compression::{Compression, CompressionError, reader};
use crate::record::header::TimestampType;
use crate::record::item::RecordError;
use crate::record::varint;

/// What a walk tells of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// The record's index in the batch.
    pub index: i32,
    /// Its offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp; the append time where the broker sets timestamps.
    pub timestamp: TimestampMs,
    /// Whether it has a key.
    pub has_key: bool,
}

impl Batch {
    /// Shows the records in order to `visit` until it breaks. A walk to the end makes sure that the batch has as many records as its header
    /// says, each well formed, and nothing else.
    ///
    /// # Errors
    /// When the payload does not decompress, has more than `limit` bytes up to where the walk ends, or a record is malformed.
    pub fn walk<B>(
        &self,
        limit: usize,
        mut visit: impl FnMut(Walked) -> ControlFlow<B>,
    ) -> Result<Option<B>, RecordError> {
        let codec =
            self.header().attributes.compression().map_err(|codec| RecordError::UnknownCompression { codec })?;
        let payload = self.payload();
        if codec == Compression::None {
            return self.walk_in(Input { from: payload.as_ref(), codec, left: limit, limit }, &mut visit);
        }
        let from = reader(codec, &payload).map_err(|source| CompressionError::Codec { codec: codec.name(), source })?;
        self.walk_in(Input { from, codec, left: limit, limit }, &mut visit)
    }

    fn walk_in<B>(
        &self,
        mut input: Input<impl BufRead>,
        visit: &mut impl FnMut(Walked) -> ControlFlow<B>,
    ) -> Result<Option<B>, RecordError> {
        let header = self.header();
        let is_append_time = header.attributes.timestamp_type() == TimestampType::LogAppend;
        for index in 0..header.record_count {
            let fields = input.record().map_err(|fault| fault.at(index))?;
            let timestamp = if is_append_time {
                header.max_timestamp
            } else {
                TimestampMs(header.base_timestamp.0.wrapping_add(fields.timestamp_delta))
            };
            let walked = Walked { index, offset_delta: fields.offset_delta, timestamp, has_key: fields.has_key };
            if let ControlFlow::Break(found) = visit(walked) {
                return Ok(Some(found));
            }
        }
        match input.buffered().map_err(|fault| fault.at(header.record_count))?.len() {
            0 => Ok(None),
            bytes => Err(RecordError::Trailing { bytes }),
        }
    }
}

/// Why a record could not be walked over.
enum Fault {
    Malformed(&'static str),
    Compression(CompressionError),
}

impl Fault {
    fn at(self, index: i32) -> RecordError {
        match self {
            Self::Malformed(what) => RecordError::Malformed { index, what },
            Self::Compression(error) => RecordError::Compression(error),
        }
    }
}

struct Fields {
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

/// The decompressed payload and how much of it may still be looked at.
struct Input<R> {
    from: R,
    codec: Compression,
    left: usize,
    limit: usize,
}

impl<R: BufRead> Input<R> {
    #[inline]
    fn buffered(&mut self) -> Result<&[u8], Fault> {
        let codec = self.codec;
        let broken = |source| Fault::Compression(CompressionError::Codec { codec: codec.name(), source });
        self.from.fill_buf().map_err(broken)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.too_large())?;
        self.from.consume(bytes);
        Ok(())
    }

    #[cold]
    fn too_large(&self) -> Fault {
        Fault::Compression(CompressionError::TooLarge { codec: self.codec.name(), limit: self.limit })
    }

    fn record(&mut self) -> Result<Fields, Fault> {
        let length = self.outer_length()?;
        let mut body = Body { input: self, left: length };
        // a record's own attributes are unused in format 2
        body.skip(1)?;
        let timestamp_delta = body.number(varint::LENGTH_MAX_I64, varint::take_i64)?;
        let offset_delta = body.i32()?;
        let has_key = body.skip_bytes()?;
        body.skip_bytes()?;
        let headers =
            usize::try_from(body.i32()?).map_err(|_| Fault::Malformed("its number of headers is negative"))?;
        // a header has at least two bytes, so a false count is known before anything is read
        if headers > body.left / 2 {
            return Err(Fault::Malformed("it has more headers than bytes"));
        }
        for _ in 0..headers {
            if !body.skip_bytes()? {
                return Err(Fault::Malformed("a header has no name"));
            }
            body.skip_bytes()?;
        }
        if body.left > 0 {
            return Err(Fault::Malformed("it is longer than its fields"));
        }
        Ok(Fields { timestamp_delta, offset_delta, has_key })
    }

    fn outer_length(&mut self) -> Result<usize, Fault> {
        let mut outer = Body { left: varint::LENGTH_MAX_I32, input: self };
        usize::try_from(outer.i32()?).map_err(|_| Fault::Malformed("its length is negative"))
    }
}

/// One record's bytes.
struct Body<'a, R> {
    input: &'a mut Input<R>,
    left: usize,
}

impl<R: BufRead> Body<'_, R> {
    fn skip(&mut self, mut bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or(Fault::Malformed("a field is longer than the record"))?;
        while bytes > 0 {
            let here = self.input.buffered()?.len().min(bytes);
            if here == 0 {
                return Err(Fault::Malformed("it is longer than the batch"));
            }
            self.input.consume(here)?;
            bytes -= here;
        }
        Ok(())
    }

    /// Skips a field with its length in front; false when there is none.
    fn skip_bytes(&mut self) -> Result<bool, Fault> {
        match self.i32()? {
            -1 => Ok(false),
            length => {
                self.skip(usize::try_from(length).map_err(|_| Fault::Malformed("a field's length is negative"))?)?;
                Ok(true)
            }
        }
    }

    fn i32(&mut self) -> Result<i32, Fault> {
        self.number(varint::LENGTH_MAX_I32, varint::take_i32)
    }

    /// Takes a number, which may lie across two buffers of a decompressed stream.
    fn number<T>(&mut self, length_max: usize, read: fn(&mut &[u8]) -> Option<T>) -> Result<T, Fault> {
        const ENDLESS: Fault = Fault::Malformed("a number does not end");
        let buffered = self.input.buffered()?;
        let mut rest = &buffered[..buffered.len().min(self.left)];
        let before = rest.len();
        if let Some(value) = read(&mut rest) {
            let used = before - rest.len();
            self.left -= used;
            self.input.consume(used)?;
            return Ok(value);
        }
        let mut bytes = [0; varint::LENGTH_MAX_I64];
        for used in 0..length_max.min(self.left) {
            let byte = *self.input.buffered()?.first().ok_or(ENDLESS)?;
            self.input.consume(1)?;
            self.left -= 1;
            bytes[used] = byte;
            if byte & 0x80 == 0 {
                return read(&mut &bytes[..=used]).ok_or(ENDLESS);
            }
        }
        Err(ENDLESS)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::Walked;
    use crate::TimestampMs;
    use crate::record::batch::assemble;
    use crate::record::{Attributes, Batch, BatchBuilder, Compression, Header, RecordError};

    fn walked(batch: &Batch) -> Result<Vec<Walked>, RecordError> {
        let mut found = Vec::new();
        batch.walk(1 << 20, |record| {
            found.push(record);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(found)
    }

    fn holding(count: i32, payload: &[u8]) -> Batch {
        let mut builder = BatchBuilder::new(TimestampMs(1_000));
        builder.push(TimestampMs(1_000), None, None, &[]);
        let mut header = *Batch::parse(&builder.build().unwrap()).unwrap().header();
        header.record_count = count;
        Batch::parse(&assemble(header, Attributes::default(), payload).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn a_walk_sees_what_the_records_are(lengths in prop::collection::vec(0_usize..9_000, 1..30), codec in 0_usize..5) {
            let mut builder = BatchBuilder::new(TimestampMs(1_000)).compression(Compression::ALL[codec]);
            let value: Vec<u8> = (0..9_000_u32).map(|at| (at.wrapping_mul(at) >> 3).to_le_bytes()[0]).collect();
            for (time, length) in (0..).zip(&lengths) {
                let key = length.is_multiple_of(2).then_some(&value[..*length]);
                let header = Header { key: "name".to_owned(), value: Some(value[..*length].to_vec().into()) };
                builder.push(TimestampMs(time), key, Some(&value[..*length]), &[header]);
            }
            let batch = Batch::parse(&builder.build().unwrap()).unwrap();
            let found = walked(&batch).unwrap();
            prop_assert_eq!(found.len(), lengths.len());
            for (record, read) in found.iter().zip(batch.records(1 << 20).unwrap()) {
                let read = read.unwrap();
                prop_assert_eq!(i64::from(record.offset_delta), read.offset.0);
                prop_assert_eq!(record.timestamp, read.timestamp);
                prop_assert_eq!(record.has_key, read.key.is_some());
            }
        }

        #[test]
        fn a_walk_takes_what_the_reader_takes(payload in prop::collection::vec(0_u8..12, 0..60), count in 0_i32..4) {
            let batch = holding(count, &payload);
            let read = batch.records(1 << 20).unwrap().collect::<Result<Vec<_>, _>>();
            let walked = walked(&batch);
            prop_assert_eq!(read.map(|read| read.len()).ok(), walked.map(|walked| walked.len()).ok());
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let mut builder = BatchBuilder::new(TimestampMs(0)).compression(codec);
            builder.push(TimestampMs(0), None, Some(&vec![0; 4 << 20]), &[]);
            let batch = Batch::parse(&builder.build().unwrap()).unwrap();
            let error = batch.walk(1 << 20, |_| ControlFlow::<()>::Continue(())).unwrap_err();
            assert!(matches!(error, RecordError::Compression(_)), "{codec:?}: {error}");
        }
    }
}
