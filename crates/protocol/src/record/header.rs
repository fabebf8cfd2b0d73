//! The 61 bytes in front of a record batch.
//!
//! Parsing reads fields and checks nothing but the length: what a field's value may be depends on who reads it (a
//! producer's batch, a segment, a fetched answer).

use crate::record::compression::Compression;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Length of a batch header in bytes.
pub const HEADER_LENGTH: usize = 61;
/// Bytes in front of those that the field `batch_length` counts: base offset and the field itself.
pub(super) const LENGTH_PREFIX: usize = 12;
/// The checksum covers everything from the attributes on, so base offset, length, leader epoch and magic are outside.
pub(super) const CHECKSUM_FROM: usize = 21;
/// The one record format that is served (KIP-98).
pub(super) const MAGIC: i8 = 2;

/// Flags of a batch: compression, timestamp type, transactional, control, delete horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

/// Who set the timestamps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer (`CreateTime`).
    Create,
    /// The broker, when it appended (`LogAppendTime`).
    LogAppend,
}

impl Attributes {
    const COMPRESSION: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec, or its number if there is no such codec.
    ///
    /// # Errors
    /// The number of a codec that does not exist (5 to 7).
    pub fn compression(self) -> Result<Compression, i16> {
        Compression::from_number(self.0 & Self::COMPRESSION)
    }

    /// Who set the timestamps.
    #[must_use]
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::Create } else { TimestampType::LogAppend }
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which only brokers write.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time when tombstones may go (KIP-534).
    pub(super) fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub(super) fn with_delete_horizon(self, has: bool) -> Self {
        Self(if has { self.0 | Self::DELETE_HORIZON } else { self.0 & !Self::DELETE_HORIZON })
    }

    pub(super) fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    pub(super) fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !Self::COMPRESSION | compression.number())
    }
}

/// A batch's header, in the order of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch's first record.
    pub base_offset: Offset,
    /// Bytes that follow this field.
    pub batch_length: i32,
    /// Leader epoch in which the batch was appended.
    pub partition_leader_epoch: LeaderEpoch,
    /// Record format; 2.
    pub magic: i8,
    /// CRC-32C of everything that follows this field.
    pub crc: u32,
    /// Flags.
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset; kept by compaction even when that record is gone.
    pub last_offset_delta: i32,
    /// Timestamp of the first record.
    pub base_timestamp: TimestampMs,
    /// Largest timestamp in the batch, or the append time.
    pub max_timestamp: TimestampMs,
    /// Id of the idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the first 61 bytes; `None` when there are fewer.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LENGTH] = bytes.first_chunk()?;
        Some(Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            magic: i8::from_be_bytes(field(bytes, 16)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, CHECKSUM_FROM))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: TimestampMs(i64::from_be_bytes(field(bytes, 27))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field(bytes, 35))),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// The header's 61 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        put(&mut bytes, 0, self.base_offset.0.to_be_bytes());
        put(&mut bytes, 8, self.batch_length.to_be_bytes());
        put(&mut bytes, 12, self.partition_leader_epoch.0.to_be_bytes());
        put(&mut bytes, 16, self.magic.to_be_bytes());
        put(&mut bytes, 17, self.crc.to_be_bytes());
        put(&mut bytes, CHECKSUM_FROM, self.attributes.0.to_be_bytes());
        put(&mut bytes, 23, self.last_offset_delta.to_be_bytes());
        put(&mut bytes, 27, self.base_timestamp.0.to_be_bytes());
        put(&mut bytes, 35, self.max_timestamp.0.to_be_bytes());
        put(&mut bytes, 43, self.producer_id.0.to_be_bytes());
        put(&mut bytes, 51, self.producer_epoch.0.to_be_bytes());
        put(&mut bytes, 53, self.base_sequence.to_be_bytes());
        put(&mut bytes, 57, self.record_count.to_be_bytes());
        bytes
    }

    /// Whole length of the batch, this header included; `None` when the length field can't be that of a batch.
    #[must_use]
    pub fn total_length(&self) -> Option<usize> {
        let length = usize::try_from(self.batch_length).ok()? + LENGTH_PREFIX;
        (length >= HEADER_LENGTH).then_some(length)
    }

    /// Offset of the batch's last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset after the batch's last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Sequence number of the last record; wraps from `i32::MAX` to 0 (KIP-98).
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `count` after `sequence`, wrapping from `i32::MAX` to 0.
#[must_use]
pub(super) fn sequence_after(sequence: i32, count: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(count);
    i32::try_from(sum & i64::from(i32::MAX)).unwrap_or(0)
}

fn field<const N: usize>(bytes: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_LENGTH], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BatchHeader, HEADER_LENGTH, sequence_after};

    proptest! {
        #[test]
        fn every_header_comes_back_byte_for_byte(bytes in prop::collection::vec(any::<u8>(), HEADER_LENGTH)) {
            let header = BatchHeader::parse(&bytes).unwrap();
            prop_assert_eq!(header.to_bytes().to_vec(), bytes);
        }
    }

    #[test]
    fn a_header_needs_all_of_its_bytes() {
        assert_eq!(BatchHeader::parse(&[0; HEADER_LENGTH - 1]), None);
    }

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 4), 2);
        assert_eq!(sequence_after(5, 3), 8);
    }
}
