//! Single records inside a batch's payload.
//!
//! Keys and values are slices of the payload. Counts and lengths are checked against the bytes that are there, so a
//! record costs no more memory than it has bytes.

use bytes::Bytes;

use crate::record::batch::Batch;
use crate::record::compression::CompressionError;
use crate::record::header::TimestampType;
use crate::record::varint;
use crate::{Offset, TimestampMs};

/// One record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset, from the batch's base offset.
    pub offset: Offset,
    /// Its timestamp; the append time where the broker sets timestamps.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order; a name may come twice.
    pub headers: Vec<Header>,
}

/// A record's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Option<Bytes>,
}

/// Why a batch's records can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The codec's number is not one of Kafka's.
    #[error("compression codec {codec} does not exist")]
    UnknownCompression {
        /// The number.
        codec: i16,
    },
    /// The payload does not decompress.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record's bytes do not make sense.
    #[error("record {index} of the batch is malformed: {what}")]
    Malformed {
        /// The record's index in the batch.
        index: i32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There are bytes after the last record.
    #[error("{bytes} bytes follow the last record of the batch")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

impl Batch {
    /// The batch's records, decompressed to at most `limit` bytes.
    ///
    /// # Errors
    /// When the payload does not decompress. Malformed records are errors of the iterator.
    pub fn records(&self, limit: usize) -> Result<Records, RecordError> {
        let header = self.header();
        let codec = header.attributes.compression().map_err(|codec| RecordError::UnknownCompression { codec })?;
        let payload = codec.decompress(&self.payload(), limit)?;
        let append_time =
            (header.attributes.timestamp_type() == TimestampType::LogAppend).then_some(header.max_timestamp);
        Ok(Records {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time,
            count: header.record_count,
            next: 0,
            rest: payload,
        })
    }
}

/// Reads the records of one batch in order; yields an error once, then nothing.
#[derive(Debug, Clone)]
pub struct Records {
    base_offset: Offset,
    base_timestamp: TimestampMs,
    append_time: Option<TimestampMs>,
    count: i32,
    next: i32,
    rest: Bytes,
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            let bytes = std::mem::take(&mut self.rest).len();
            return (bytes > 0).then_some(Err(RecordError::Trailing { bytes }));
        }
        let index = self.next;
        self.next += 1;
        match self.read() {
            Ok(record) => Some(Ok(record)),
            Err(what) => {
                self.next = self.count;
                self.rest = Bytes::new();
                Some(Err(RecordError::Malformed { index, what }))
            }
        }
    }
}

impl Records {
    fn read(&mut self) -> Result<Record, &'static str> {
        let length = self.take_length("its length")?.ok_or("its length is negative")?;
        if length > self.rest.len() {
            return Err("it is longer than the batch");
        }
        let after = self.rest.slice(length..);
        self.rest.truncate(length);
        let record = self.read_body()?;
        if !self.rest.is_empty() {
            return Err("it is longer than its fields");
        }
        self.rest = after;
        Ok(record)
    }

    fn read_body(&mut self) -> Result<Record, &'static str> {
        if self.rest.is_empty() {
            return Err("it has no attributes");
        }
        // a record's own attributes are unused in format 2
        self.rest = self.rest.slice(1..);
        let timestamp_delta = self.take_i64()?;
        let offset_delta = i64::from(self.take_i32()?);
        let key = self.take_bytes("its key")?;
        let value = self.take_bytes("its value")?;
        let headers = self.take_headers()?;
        let timestamp = self.append_time.unwrap_or(TimestampMs(self.base_timestamp.0.wrapping_add(timestamp_delta)));
        Ok(Record { offset: Offset(self.base_offset.0.wrapping_add(offset_delta)), timestamp, key, value, headers })
    }

    fn take_headers(&mut self) -> Result<Vec<Header>, &'static str> {
        let count = usize::try_from(self.take_i32()?).map_err(|_| "its number of headers is negative")?;
        // a header has at least two bytes, so this also bounds what is allocated
        if count > self.rest.len() / 2 {
            return Err("it has more headers than bytes");
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.take_bytes("a header's name")?.ok_or("a header has no name")?;
            // a name that is not UTF-8 is read as Java reads it: Kafka takes such records, and its compaction writes them like this
            let key = String::from_utf8_lossy(&key).into_owned();
            headers.push(Header { key, value: self.take_bytes("a header's value")? });
        }
        Ok(headers)
    }

    fn take_bytes(&mut self, what: &'static str) -> Result<Option<Bytes>, &'static str> {
        let Some(length) = self.take_length(what)? else { return Ok(None) };
        if length > self.rest.len() {
            return Err("a field is longer than the record");
        }
        Ok(Some(self.rest.split_to(length)))
    }

    fn take_length(&mut self, what: &'static str) -> Result<Option<usize>, &'static str> {
        match self.take_i32().map_err(|_| what)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| what),
        }
    }

    fn take_i32(&mut self) -> Result<i32, &'static str> {
        self.take_with(varint::take_i32)
    }

    fn take_i64(&mut self) -> Result<i64, &'static str> {
        self.take_with(varint::take_i64)
    }

    fn take_with<T>(&mut self, read: fn(&mut &[u8]) -> Option<T>) -> Result<T, &'static str> {
        let mut rest = self.rest.as_ref();
        let value = read(&mut rest).ok_or("a number does not end")?;
        let used = self.rest.len() - rest.len();
        self.rest = self.rest.slice(used..);
        Ok(value)
    }
}

/// Appends a record's bytes, its length in front.
pub(super) fn put_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) {
    let mut body = vec![0];
    varint::put(&mut body, timestamp_delta);
    varint::put(&mut body, i64::from(offset_delta));
    put_bytes(&mut body, key);
    put_bytes(&mut body, value);
    varint::put(&mut body, length(headers.len()));
    for header in headers {
        put_bytes(&mut body, Some(header.key.as_bytes()));
        put_bytes(&mut body, header.value.as_deref());
    }
    varint::put(out, length(body.len()));
    out.extend_from_slice(&body);
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Header, RecordError};
    use crate::record::{Batch, BatchBuilder, Compression};
    use crate::{Offset, TimestampMs};

    type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

    fn parts() -> impl Strategy<Value = Vec<Parts>> {
        let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        let headers = prop::collection::vec(("[a-z]{0,5}", bytes()), 0..3);
        prop::collection::vec((0_i64..2_000_000_000_000, bytes(), bytes(), headers), 1..20)
    }

    proptest! {
        #[test]
        fn records_come_back_from_a_batch_of_every_codec(parts in parts(), codec in 0_usize..5) {
            let mut builder = BatchBuilder::new(TimestampMs(parts[0].0)).compression(Compression::ALL[codec]);
            for (time, key, value, headers) in &parts {
                let headers: Vec<_> = headers.iter().map(|(key, value)| Header {
                    key: key.clone(), value: value.clone().map(Bytes::from),
                }).collect();
                builder.push(TimestampMs(*time), key.as_deref(), value.as_deref(), &headers);
            }
            let batch = Batch::parse(&builder.build().unwrap()).unwrap();
            let records: Vec<_> = batch.records(1 << 20).unwrap().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(records.len(), parts.len());
            for (index, (record, (time, key, value, headers))) in records.iter().zip(&parts).enumerate() {
                prop_assert_eq!(record.offset, Offset(i64::try_from(index).unwrap()));
                prop_assert_eq!(record.timestamp, TimestampMs(*time));
                prop_assert_eq!(record.key.as_deref(), key.as_deref());
                prop_assert_eq!(record.value.as_deref(), value.as_deref());
                prop_assert_eq!(record.headers.len(), headers.len());
            }
        }

        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..200), count in any::<i32>()) {
            let records = super::Records {
                base_offset: Offset(0), base_timestamp: TimestampMs(0), append_time: None, count, next: 0,
                rest: payload.into(),
            };
            for record in records.take(1_000) {
                let _ = record;
            }
        }
    }

    #[test]
    fn bytes_after_the_last_record_are_an_error() {
        let mut records = super::Records {
            base_offset: Offset(0),
            base_timestamp: TimestampMs(0),
            append_time: None,
            count: 0,
            next: 0,
            rest: Bytes::from_static(b"x"),
        };
        assert!(matches!(records.next(), Some(Err(RecordError::Trailing { bytes: 1 }))));
        assert!(records.next().is_none());
    }
}
