//! The bytes of checkpoint items.
//!
//! Counts are checked against the bytes that are left before anything is allocated. A change of these formats is a change of the data directory's
//! format version.

use std::collections::VecDeque;

use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, Uuid};

use crate::checkpoint::{Compaction, Item, LastSegment, LogCheckpoint};
use crate::epochs::LeaderEpochs;
use crate::journal::entry::LogNumber;
use crate::journal::ledger::Place;
use crate::partition::LogId;
use crate::producers::{BATCHES_KEPT, Producer, Producers, SeenBatch};

const OPENED: u8 = 1;
const ANCHOR: u8 = 2;
const NEXT_NUMBER: u8 = 3;
const LOG: u8 = 4;
const REMOVED: u8 = 5;
const COMPACTION: u8 = 6;

/// Appends an item's bytes.
pub(super) fn put_item(out: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Opened(count) => put_tagged(out, OPENED, *count),
        Item::NextNumber(number) => put_tagged(out, NEXT_NUMBER, *number),
        Item::Removed(number) => put_tagged(out, REMOVED, number.0),
        Item::Anchor(place) => {
            put_tagged(out, ANCHOR, u64::from(place.slot));
            put_u64(out, place.position);
            put_u64(out, place.sequence);
            put_u64(out, u64::from(place.previous));
            put_u64(out, place.first_entry);
        }
        Item::Log(log) => put_log(out, log),
        Item::Compaction(number, compaction) => {
            put_tagged(out, COMPACTION, number.0);
            put_i64(out, compaction.gaps_below.0);
            put_i64(out, compaction.clean_below.0);
        }
    }
}

/// Takes the next item; `None` when the bytes are none.
pub(super) fn take_item(rest: &mut &[u8]) -> Option<Item> {
    let [tag] = take::<1>(rest)?;
    Some(match tag {
        OPENED => Item::Opened(take_u64(rest)?),
        NEXT_NUMBER => Item::NextNumber(take_u64(rest)?),
        REMOVED => Item::Removed(LogNumber(take_u64(rest)?)),
        ANCHOR => Item::Anchor(Place {
            slot: u32::try_from(take_u64(rest)?).ok()?,
            position: take_u64(rest)?,
            sequence: take_u64(rest)?,
            previous: u32::try_from(take_u64(rest)?).ok()?,
            first_entry: take_u64(rest)?,
        }),
        LOG => Item::Log(take_log(rest)?),
        COMPACTION => {
            let number = LogNumber(take_u64(rest)?);
            let (gaps_below, clean_below) = (Offset(take_i64(rest)?), Offset(take_i64(rest)?));
            Item::Compaction(number, Compaction { gaps_below, clean_below })
        }
        _ => return None,
    })
}

fn put_log(out: &mut Vec<u8>, log: &LogCheckpoint) {
    put_tagged(out, LOG, log.number.0);
    out.extend_from_slice(log.id.topic_id.as_bytes());
    out.extend_from_slice(&log.id.partition.0.to_be_bytes());
    put_count(out, log.topic.len());
    out.extend_from_slice(log.topic.as_bytes());
    put_u64(out, log.through);
    put_i64(out, log.log_start.0);
    put_i64(out, log.next_offset.0);
    out.push(u8::from(log.last.is_some()));
    if let Some(last) = &log.last {
        put_i64(out, last.base.0);
        put_u64(out, last.length);
        put_i64(out, last.first_timestamp.unwrap_or(TimestampMs::NONE).0);
        out.push(u8::from(last.is_indexed));
    }
    put_count(out, log.epochs.entries().len());
    for (epoch, start) in log.epochs.entries() {
        out.extend_from_slice(&epoch.0.to_be_bytes());
        put_i64(out, start.0);
    }
    put_count(out, log.producers.count());
    for (id, producer) in log.producers.iter() {
        put_producer(out, id, producer);
    }
    out.push(u8::from(log.is_parked));
}

fn take_log(rest: &mut &[u8]) -> Option<LogCheckpoint> {
    let number = LogNumber(take_u64(rest)?);
    let topic_id = Uuid::from_bytes(take(rest)?);
    let partition = PartitionIndex(i32::from_be_bytes(take(rest)?));
    let name_bytes = take_count(rest, 1)?;
    let (name, after) = rest.split_at_checked(name_bytes)?;
    *rest = after;
    let topic = std::str::from_utf8(name).ok()?.into();
    let through = take_u64(rest)?;
    let log_start = Offset(take_i64(rest)?);
    let next_offset = Offset(take_i64(rest)?);
    let last = match take::<1>(rest)? {
        [0] => None,
        _ => Some(LastSegment {
            base: Offset(take_i64(rest)?),
            length: take_u64(rest)?,
            first_timestamp: Some(TimestampMs(take_i64(rest)?)).filter(|time| *time != TimestampMs::NONE),
            is_indexed: take::<1>(rest)? == [1],
        }),
    };
    let epochs = take_epochs(rest)?;
    let producers = take_producers(rest)?;
    let is_parked = take::<1>(rest)? == [1];
    let id = LogId { topic_id, partition };
    Some(LogCheckpoint {
        number,
        id,
        topic,
        through,
        log_start,
        next_offset,
        last,
        epochs,
        producers,
        compaction: Compaction::default(),
        is_parked,
    })
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    put_u64(out, value);
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
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

    use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, Uuid};
    use proptest::prelude::*;

    use super::{put_item, take_item};
    use crate::checkpoint::{Compaction, Item, LastSegment, LogCheckpoint};
    use crate::epochs::LeaderEpochs;
    use crate::journal::entry::LogNumber;
    use crate::journal::ledger::Place;
    use crate::partition::LogId;
    use crate::producers::{Producer, Producers, SeenBatch};

    fn log() -> LogCheckpoint {
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
        LogCheckpoint {
            number: LogNumber(9),
            id: LogId { topic_id: Uuid::from_u128(1), partition: PartitionIndex(2) },
            topic: "orders".into(),
            through: 11,
            log_start: Offset(1),
            next_offset: Offset(10),
            last: Some(LastSegment {
                base: Offset(3),
                length: 77,
                first_timestamp: Some(TimestampMs(12)),
                is_indexed: true,
            }),
            epochs: epochs.unwrap(),
            producers,
            compaction: Compaction::default(),
            is_parked: true,
        }
    }

    #[test]
    fn items_come_back() {
        let place = Place { slot: 1, position: 2, sequence: 3, previous: 4, first_entry: 5 };
        let empty = LogCheckpoint { last: None, producers: Producers::default(), ..log() };
        let items = [
            Item::Opened(1),
            Item::Anchor(place),
            Item::NextNumber(2),
            Item::Log(log()),
            Item::Log(empty),
            Item::Removed(LogNumber(3)),
            Item::Compaction(LogNumber(4), Compaction { gaps_below: Offset(5), clean_below: Offset(6) }),
        ];
        let mut bytes = Vec::new();
        items.iter().for_each(|item| put_item(&mut bytes, item));
        let mut rest = bytes.as_slice();
        for item in items {
            assert_eq!(take_item(&mut rest), Some(item));
        }
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_item(&mut bytes.as_slice());
        }
    }
}
