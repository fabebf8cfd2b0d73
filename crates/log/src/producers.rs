//! Idempotent producers: which sequence number comes next, and which batches were seen before (KIP-98).
//!
//! Invariant: a batch that was appended is never appended again while its producer is remembered, and no gap in a
//! producer's sequence is ever accepted. The state follows from the batches alone, so recovery rebuilds it exactly.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Kafka keeps five, because a client has at most five requests in flight.
pub(crate) const BATCHES_KEPT: usize = 5;

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) timestamp: TimestampMs,
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    /// The newest is last.
    pub(crate) batches: VecDeque<SeenBatch>,
    /// When it last appended, by the broker's clock; recovery takes the batch's own time.
    pub(crate) last_active: TimestampMs,
}

/// What to do with a producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Append,
    /// It was appended before, at these offsets.
    Duplicate(SeenBatch),
    /// Its epoch is older than the newest one seen.
    OldEpoch { newest: ProducerEpoch },
    /// Its sequence does not follow.
    OutOfOrder { expected: i32 },
}

/// All producers of one log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Producers {
    by_id: HashMap<ProducerId, Producer>,
}

impl Producers {
    /// Judges a batch without changing anything.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Verdict {
        // a producer that is not known may be one whose records retention removed: any sequence goes (KAFKA-5793)
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Verdict::Append };
        if header.producer_epoch < producer.epoch {
            return Verdict::OldEpoch { newest: producer.epoch };
        }
        if header.producer_epoch > producer.epoch {
            let fresh = header.base_sequence == 0;
            return if fresh { Verdict::Append } else { Verdict::OutOfOrder { expected: 0 } };
        }
        let same = |seen: &&SeenBatch| {
            seen.first_sequence == header.base_sequence && seen.last_sequence == header.last_sequence()
        };
        if let Some(seen) = producer.batches.iter().find(same) {
            return Verdict::Duplicate(*seen);
        }
        let Some(last) = producer.batches.back() else { return Verdict::Append };
        let expected = if last.last_sequence == i32::MAX { 0 } else { last.last_sequence + 1 };
        if header.base_sequence == expected { Verdict::Append } else { Verdict::OutOfOrder { expected } }
    }

    /// Notes a batch that was appended, `header` with its offsets in the log.
    pub(crate) fn note(&mut self, header: &BatchHeader, now: TimestampMs) {
        if header.producer_id.0 < 0 {
            return;
        }
        let fresh = Producer { epoch: header.producer_epoch, batches: VecDeque::new(), last_active: now };
        let producer = self.by_id.entry(header.producer_id).or_insert(fresh);
        // what a deletion took out of the tail may be known already when the journal is read again
        if producer.batches.back().is_some_and(|newest| newest.base_offset >= header.base_offset) {
            return;
        }
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(SeenBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        });
        producer.last_active = now;
    }

    /// Forgets producers that were silent for `expiration`.
    pub(crate) fn expire(&mut self, now: TimestampMs, expiration: Duration) {
        let expiration = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
        self.by_id.retain(|_, producer| now.0.saturating_sub(producer.last_active.0) < expiration);
    }

    pub(crate) fn restore(&mut self, id: ProducerId, producer: Producer) {
        self.by_id.insert(id, producer);
    }

    /// Takes over what another one knows.
    pub(crate) fn extend(&mut self, other: Self) {
        self.by_id.extend(other.by_id);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(ProducerId, &Producer) -> bool) {
        self.by_id.retain(|id, producer| keep(*id, producer));
    }

    pub(crate) fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kennet_protocol::record::{Batch, BatchBuilder, BatchHeader, ProducerStamp};
    use kennet_protocol::{Offset, ProducerEpoch, ProducerId, TimestampMs};

    use super::{Producers, Verdict};

    const NOW: TimestampMs = TimestampMs(1_000);

    fn batch(epoch: i16, sequence: i32, offset: i64) -> BatchHeader {
        let stamp =
            ProducerStamp { producer_id: ProducerId(9), producer_epoch: ProducerEpoch(epoch), base_sequence: sequence };
        let mut builder = BatchBuilder::new(NOW).producer(stamp);
        builder.push(NOW, None, None, &[]);
        builder.push(NOW, None, None, &[]);
        let mut header = *Batch::parse(&builder.build().unwrap()).unwrap().header();
        header.base_offset = Offset(offset);
        header
    }

    fn after(batches: &[(i16, i32, i64)]) -> Producers {
        let mut producers = Producers::default();
        for (epoch, sequence, offset) in batches {
            producers.note(&batch(*epoch, *sequence, *offset), NOW);
        }
        producers
    }

    #[test]
    fn the_next_sequence_is_accepted_and_a_gap_is_not() {
        let producers = after(&[(0, 0, 0)]);
        assert_eq!(producers.judge(&batch(0, 2, 2)), Verdict::Append);
        assert_eq!(producers.judge(&batch(0, 4, 2)), Verdict::OutOfOrder { expected: 2 });
    }

    #[test]
    fn the_last_five_batches_are_recognised() {
        let producers = after(&[(0, 0, 0), (0, 2, 2), (0, 4, 4), (0, 6, 6), (0, 8, 8), (0, 10, 10)]);
        let Verdict::Duplicate(seen) = producers.judge(&batch(0, 2, 99)) else { panic!("not recognised") };
        assert_eq!(seen.base_offset, Offset(2));
        assert_eq!(producers.judge(&batch(0, 0, 99)), Verdict::OutOfOrder { expected: 12 });
    }

    #[test]
    fn the_sequence_wraps_to_zero() {
        let producers = after(&[(0, i32::MAX - 1, 0)]);
        assert_eq!(producers.judge(&batch(0, 0, 2)), Verdict::Append);
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_ends_the_old_one() {
        let producers = after(&[(3, 0, 0)]);
        assert_eq!(producers.judge(&batch(4, 0, 2)), Verdict::Append);
        assert_eq!(producers.judge(&batch(4, 7, 2)), Verdict::OutOfOrder { expected: 0 });
        assert_eq!(producers.judge(&batch(2, 2, 2)), Verdict::OldEpoch { newest: ProducerEpoch(3) });
    }

    #[test]
    fn a_producer_that_is_forgotten_may_go_on_with_any_sequence() {
        let mut producers = after(&[(0, 0, 0)]);
        producers.expire(TimestampMs(1_000 + 60_000), Duration::from_secs(60));
        assert_eq!(producers.count(), 0);
        assert_eq!(producers.judge(&batch(0, 77, 2)), Verdict::Append);
    }
}
