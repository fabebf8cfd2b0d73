//! Where recovery of one log may start, and what was known there.
//!
//! Invariant: a checkpoint names a place (segment and byte) up to which the log was durable when the checkpoint was written, and
//! the producers and leader epochs that the bytes before it imply. Logs only grow behind it, so an old checkpoint is as true as a new
//! one and only costs a longer scan. One that is damaged counts as none.

use std::collections::VecDeque;

use kennet_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::epochs::LeaderEpochs;
use crate::producers::{BATCHES_KEPT, Producer, Producers, SeenBatch};

const MAGIC: [u8; 8] = *b"kennetC1";
/// A producer has at most this many bytes in a checkpoint.
const PRODUCER_BYTES: usize = 20 + BATCHES_KEPT * 32;
/// A checkpoint with more is not one of ours: room for a million producers and some epochs.
pub(crate) const CHECKPOINT_BYTES_MAX: usize = 1_000_000 * PRODUCER_BYTES;

/// What is known at a place of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The segment that holds the place.
    pub(crate) segment: Offset,
    /// The byte in that segment; a batch starts there or the file ends.
    pub(crate) position: u64,
    /// The offset of the next record from there on.
    pub(crate) next_offset: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: Producers,
}

impl Checkpoint {
    /// The file's bytes: magic, body, CRC-32C of both.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_i64(&mut out, self.segment.0);
        out.extend_from_slice(&self.position.to_be_bytes());
        put_i64(&mut out, self.next_offset.0);
        put_count(&mut out, self.epochs.entries().len());
        for (epoch, start) in self.epochs.entries() {
            out.extend_from_slice(&epoch.0.to_be_bytes());
            put_i64(&mut out, start.0);
        }
        put_count(&mut out, self.producers.count());
        for (id, producer) in self.producers.iter() {
            put_producer(&mut out, id, producer);
        }
        let checksum = crc(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    /// Reads a checkpoint; `None` when the bytes are not one, whole and intact.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc(body) != u32::from_be_bytes(*checksum) {
            return None;
        }
        let mut rest = body.strip_prefix(&MAGIC)?;
        let segment = Offset(take_i64(&mut rest)?);
        let position = u64::from_be_bytes(take(&mut rest)?);
        let next_offset = Offset(take_i64(&mut rest)?);
        let epochs = take_epochs(&mut rest)?;
        let producers = take_producers(&mut rest)?;
        rest.is_empty().then_some(Self { segment, position, next_offset, epochs, producers })
    }
}

fn put_producer(out: &mut Vec<u8>, id: ProducerId, producer: &Producer) {
    put_i64(out, id.0);
    out.extend_from_slice(&producer.epoch.0.to_be_bytes());
    put_i64(out, producer.last_active.0);
    put_count(out, producer.batches.len());
    for seen in &producer.batches {
        out.extend_from_slice(&seen.first_sequence.to_be_bytes());
        out.extend_from_slice(&seen.last_sequence.to_be_bytes());
        put_i64(out, seen.base_offset.0);
        put_i64(out, seen.last_offset.0);
        put_i64(out, seen.timestamp.0);
    }
}

fn take_epochs(rest: &mut &[u8]) -> Option<LeaderEpochs> {
    let count = take_count(rest, 12)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push((LeaderEpoch(i32::from_be_bytes(take(rest)?)), Offset(take_i64(rest)?)));
    }
    LeaderEpochs::from_entries(entries)
}

fn take_producers(rest: &mut &[u8]) -> Option<Producers> {
    let mut producers = Producers::default();
    for _ in 0..take_count(rest, 22)? {
        let id = ProducerId(take_i64(rest)?);
        let epoch = ProducerEpoch(i16::from_be_bytes(take(rest)?));
        let last_active = TimestampMs(take_i64(rest)?);
        let mut batches = VecDeque::with_capacity(BATCHES_KEPT);
        for _ in 0..take_count(rest, 32)? {
            batches.push_back(SeenBatch {
                first_sequence: i32::from_be_bytes(take(rest)?),
                last_sequence: i32::from_be_bytes(take(rest)?),
                base_offset: Offset(take_i64(rest)?),
                last_offset: Offset(take_i64(rest)?),
                timestamp: TimestampMs(take_i64(rest)?),
            });
        }
        producers.restore(id, Producer { epoch, batches, last_active });
    }
    Some(producers)
}

/// CRC-32C of a small file's body.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

/// A count of elements of at least `element_bytes`; more than the rest can hold is refused before anything is allocated.
fn take_count(rest: &mut &[u8], element_bytes: usize) -> Option<usize> {
    let count = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    (count <= rest.len() / element_bytes).then_some(count)
}

fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(i64::from_be_bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use kennet_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
    use proptest::prelude::*;

    use super::Checkpoint;
    use crate::epochs::LeaderEpochs;
    use crate::producers::{Producer, Producers, SeenBatch};

    fn checkpoint() -> Checkpoint {
        let mut producers = Producers::default();
        let seen = SeenBatch {
            first_sequence: 1,
            last_sequence: 2,
            base_offset: Offset(3),
            last_offset: Offset(4),
            timestamp: TimestampMs(5),
        };
        let producer =
            Producer { epoch: ProducerEpoch(6), batches: VecDeque::from([seen, seen]), last_active: TimestampMs(7) };
        producers.restore(ProducerId(8), producer);
        let epochs = LeaderEpochs::from_entries(vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(4), Offset(9))]);
        Checkpoint { segment: Offset(1), position: 2, next_offset: Offset(10), epochs: epochs.unwrap(), producers }
    }

    #[test]
    fn a_checkpoint_comes_back() {
        assert_eq!(Checkpoint::decode(&checkpoint().encode()), Some(checkpoint()));
    }

    #[test]
    fn a_checkpoint_with_any_changed_byte_counts_as_none() {
        let bytes = checkpoint().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert_eq!(Checkpoint::decode(&changed), None, "byte {at}");
            assert_eq!(Checkpoint::decode(&bytes[..at]), None, "{at} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Checkpoint::decode(&bytes), None);
        }
    }
}
