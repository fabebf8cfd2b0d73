//! Makes record batches: for clients, for the coordinators' own records, for tests.

use bytes::Bytes;

use crate::record::batch::assemble;
use crate::record::compression::{Compression, CompressionError};
use crate::record::header::{Attributes, BatchHeader};
use crate::record::item::{Header, put_record};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Why a batch could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A batch holds at least one record.
    #[error("a record batch needs at least one record")]
    Empty,
    /// A record's offset is none of the batch's.
    #[error("a record does not belong to the batch")]
    ForeignRecord,
    /// The codec's number is not one of Kafka's.
    #[error("compression codec {codec} does not exist")]
    UnknownCompression {
        /// The number.
        codec: i16,
    },
    /// The length field has 32 bits.
    #[error("a record batch can't be longer than 2 GiB")]
    TooLong,
    /// The payload does not compress.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// What an idempotent producer writes into its batches (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the batch's first record.
    pub base_sequence: i32,
}

/// Gathers records into one batch with offsets from 0.
#[derive(Debug)]
pub struct BatchBuilder {
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    compression: Compression,
    producer: Option<ProducerStamp>,
    count: i32,
    payload: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose timestamps are stored relative to `base_timestamp`, by custom that of the first record.
    #[must_use]
    pub fn new(base_timestamp: TimestampMs) -> Self {
        Self {
            base_timestamp,
            max_timestamp: TimestampMs::NONE,
            compression: Compression::None,
            producer: None,
            count: 0,
            payload: Vec::new(),
        }
    }

    /// Compresses the payload.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Makes the batch part of an idempotent producer's sequence.
    #[must_use]
    pub fn producer(mut self, producer: ProducerStamp) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Adds a record with the next offset.
    pub fn push(&mut self, timestamp: TimestampMs, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) {
        let delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        put_record(&mut self.payload, self.count, delta, key, value, headers);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
    }

    /// Bytes of the payload so far, before compression.
    #[must_use]
    pub fn payload_length(&self) -> usize {
        self.payload.len()
    }

    /// Records so far.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// The finished batch, with base offset 0 and no leader epoch.
    ///
    /// # Errors
    /// When it has no record, or can't be compressed.
    pub fn build(self) -> Result<Bytes, BuildError> {
        if self.count == 0 {
            return Err(BuildError::Empty);
        }
        let payload = match self.compression {
            Compression::None => self.payload,
            codec => codec.compress(&self.payload)?,
        };
        let producer = self.producer.unwrap_or(ProducerStamp {
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
        });
        let header = BatchHeader {
            base_offset: Offset(0),
            batch_length: 0,
            partition_leader_epoch: LeaderEpoch::NONE,
            magic: 0,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            base_sequence: producer.base_sequence,
            record_count: self.count,
        };
        let attributes = Attributes::default().with_compression(self.compression);
        assemble(header, attributes, &payload).ok_or(BuildError::TooLong)
    }
}
