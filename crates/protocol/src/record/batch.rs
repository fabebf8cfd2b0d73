//! A record batch in a byte buffer: checked once, then passed on by reference.
//!
//! Invariant of `Batch`: its bytes are exactly one batch of format 2 whose checksum holds. Whether the batch makes sense
//! (counts, sequences, flags) is decided by the rules of `produce`.

use bytes::{Bytes, BytesMut};

use crate::record::header::{Attributes, BatchHeader, CHECKSUM_FROM, HEADER_LENGTH, LENGTH_PREFIX, MAGIC};
use crate::{LeaderEpoch, Offset, TimestampMs};

/// Why bytes are not a record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch says it has.
    #[error("a record batch of {expected} bytes is cut off after {found}")]
    Truncated {
        /// Bytes that the batch needs.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The length field is smaller than a header or negative.
    #[error("a record batch can't be {batch_length} bytes long")]
    Length {
        /// The length field's value.
        batch_length: i32,
    },
    /// A record format that is not served.
    #[error("record format {magic} is not served: send format 2, which all clients since Kafka 0.11 do")]
    Magic {
        /// The format's number.
        magic: i8,
    },
    /// The bytes are not those that were sent or written.
    #[error(
        "the checksum of the record batch at offset {base_offset} is {found:#010x}, not {stated:#010x}: its bytes were changed"
    )]
    Checksum {
        /// Offset in the batch's header.
        base_offset: Offset,
        /// Checksum in the header.
        stated: u32,
        /// Checksum of the bytes.
        found: u32,
    },
}

/// One record batch whose checksum holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
    /// Bytes of the allocation that `bytes` keeps.
    held: usize,
}

/// What a leader writes into a batch when it appends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Replaces the timestamps when the topic's `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: Option<TimestampMs>,
}

/// A batch as it goes to disk: a stamped header, then the payload as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampedBatch {
    /// The header that was stamped.
    pub header: BatchHeader,
    /// Everything after the header, shared with the buffer that it came in.
    pub payload: Bytes,
}

impl Batch {
    /// Takes the batch at the front of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// When there is no whole batch, or it is not intact.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let (header, length) = check_header(bytes)?;
        let found = checksum(&bytes[CHECKSUM_FROM..length]);
        if found != header.crc {
            return Err(BatchError::Checksum { base_offset: header.base_offset, stated: header.crc, found });
        }
        Ok(Self { header, bytes: bytes.slice(..length), held: length })
    }

    /// The batch as part of an allocation of so many bytes, which may hold other things too. One that is smaller than half of it gets memory
    /// of its own, so that who keeps the batch keeps at most twice its bytes.
    #[must_use]
    pub fn part_of(mut self, allocation: usize) -> Self {
        let length = self.bytes.len();
        if length < allocation / 2 {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
            self.held = length;
        } else {
            self.held = allocation.max(length);
        }
        self
    }

    /// Bytes of memory that are kept for as long as the batch or its payload is.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// The header as it stands in the bytes.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records, compressed or not, without the header.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_LENGTH..)
    }

    /// The batch with its place in a log. The payload is shared; the checksum changes only with the timestamps.
    #[must_use]
    pub fn stamp(&self, stamp: Stamp) -> StampedBatch {
        let mut header = self.header;
        header.base_offset = stamp.base_offset;
        header.partition_leader_epoch = stamp.leader_epoch;
        let payload = self.payload();
        if let Some(time) = stamp.log_append_time {
            header.attributes = header.attributes.with_log_append_time();
            header.max_timestamp = time;
            header.crc = checksum_of(&header, &payload);
        }
        StampedBatch { header, payload }
    }
}

impl StampedBatch {
    /// Header and payload, in this order.
    #[must_use]
    pub fn into_chunks(self) -> [Bytes; 2] {
        [Bytes::copy_from_slice(&self.header.to_bytes()), self.payload]
    }

    /// Header and payload in one piece, as a batch: it was checked when it was stamped.
    #[must_use]
    pub fn to_batch(&self) -> Batch {
        let mut bytes = BytesMut::with_capacity(self.length());
        bytes.extend_from_slice(&self.header.to_bytes());
        bytes.extend_from_slice(&self.payload);
        Batch { header: self.header, held: bytes.len(), bytes: bytes.freeze() }
    }

    /// Length of header and payload.
    #[must_use]
    pub fn length(&self) -> usize {
        HEADER_LENGTH + self.payload.len()
    }
}

/// Reads the batches of a run of bytes one after the other.
///
/// Stops at a batch that is cut off at the end, as a consumer does with the last batch of a fetch. Yields an error once
/// for bytes that are no batch, then nothing.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that have not been read.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match Batch::parse(&self.rest) {
            Ok(batch) => {
                self.rest = self.rest.slice(batch.bytes.len()..);
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

fn check_header(bytes: &[u8]) -> Result<(BatchHeader, usize), BatchError> {
    let truncated = |expected| BatchError::Truncated { expected, found: bytes.len() };
    // the length and the format stand before the end of the header, so that a short foreign batch is named as such
    if let Some(magic) = bytes.get(16).map(|byte| byte.cast_signed())
        && magic != MAGIC
    {
        return Err(BatchError::Magic { magic });
    }
    let header = BatchHeader::parse(bytes).ok_or(truncated(HEADER_LENGTH))?;
    let length = header.total_length().ok_or(BatchError::Length { batch_length: header.batch_length })?;
    if bytes.len() < length { Err(truncated(length)) } else { Ok((header, length)) }
}

/// CRC-32C (Castagnoli).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum of a batch of this header and payload.
pub(super) fn checksum_of(header: &BatchHeader, payload: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&header.to_bytes()[CHECKSUM_FROM..]);
    digest.update(payload);
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

/// A whole batch from the parts that a writer chooses; length and checksum are computed.
pub(super) fn assemble(mut header: BatchHeader, attributes: Attributes, payload: &[u8]) -> Option<Bytes> {
    header.magic = MAGIC;
    header.attributes = attributes;
    header.batch_length = i32::try_from(HEADER_LENGTH - LENGTH_PREFIX + payload.len()).ok()?;
    header.crc = checksum_of(&header, payload);
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + payload.len());
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(payload);
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Batch, BatchError, Batches, Stamp, checksum};
    use crate::record::BatchBuilder;
    use crate::{LeaderEpoch, Offset, TimestampMs};

    fn batch(values: &[&str]) -> Bytes {
        let mut builder = BatchBuilder::new(TimestampMs(1_000));
        for value in values {
            builder.push(TimestampMs(1_000), None, Some(value.as_bytes()), &[]);
        }
        builder.build().unwrap()
    }

    #[test]
    fn a_stamp_changes_offset_and_epoch_and_keeps_the_checksum() {
        let sent = Batch::parse(&batch(&["a", "b"])).unwrap();
        let stamped =
            sent.stamp(Stamp { base_offset: Offset(42), leader_epoch: LeaderEpoch(7), log_append_time: None });
        let stored = Batch::parse(&Bytes::from(stamped.into_chunks().concat())).unwrap();
        assert_eq!(stored.header().base_offset, Offset(42));
        assert_eq!(stored.header().partition_leader_epoch, LeaderEpoch(7));
        assert_eq!(stored.header().crc, sent.header().crc);
    }

    #[test]
    fn a_small_part_of_an_allocation_is_copied_and_a_large_one_kept_by_reference() {
        let mut request = batch(&["a value"]).to_vec();
        let length = request.len();
        request.resize(2 * length + 1, 0);
        let request = Bytes::from(request);
        let small = Batch::parse(&request).unwrap().part_of(2 * length + 2);
        assert_eq!((small.held_bytes(), small.bytes()), (length, &request.slice(..length)));
        assert_ne!(small.payload().as_ptr(), request[61..].as_ptr(), "the request's memory is free");
        let large = Batch::parse(&request).unwrap().part_of(2 * length + 1);
        assert_eq!(large.held_bytes(), 2 * length + 1, "all of what is kept is charged");
        assert_eq!(large.payload().as_ptr(), request[61..].as_ptr());
    }

    #[test]
    fn an_append_time_is_covered_by_the_checksum() {
        let time = TimestampMs(99);
        let stamp = Stamp { base_offset: Offset(1), leader_epoch: LeaderEpoch(0), log_append_time: Some(time) };
        let stamped = Batch::parse(&batch(&["a"])).unwrap().stamp(stamp);
        let stored = Batch::parse(&Bytes::from(stamped.into_chunks().concat())).unwrap();
        assert_eq!(stored.header().max_timestamp, time);
    }

    #[test]
    fn a_run_of_batches_ends_before_one_that_is_cut_off() {
        let one = batch(&["first"]);
        let mut run = [one.clone(), batch(&["second"])].concat();
        run.truncate(run.len() - 1);
        let found: Vec<_> = Batches::new(run.into()).collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bytes(), &one);
    }

    #[test]
    fn an_old_format_is_named() {
        let mut bytes = batch(&["a"]).to_vec();
        bytes[16] = 1;
        assert_eq!(Batch::parse(&bytes.into()), Err(BatchError::Magic { magic: 1 }));
    }

    proptest! {
        #[test]
        fn the_checksum_is_castagnolis(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(checksum(&bytes), crc32c::crc32c(&bytes));
        }

        #[test]
        fn no_changed_bit_behind_the_checksum_goes_unseen(at in 21_usize..80, bit in 0_u8..8) {
            let mut bytes = batch(&["some value that is long enough"]).to_vec();
            bytes[at] ^= 1 << bit;
            let seen = matches!(Batch::parse(&bytes.into()), Err(BatchError::Checksum { .. }));
            prop_assert!(seen);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for batch in Batches::new(bytes.into()) {
                let _ = batch;
            }
        }
    }
}
