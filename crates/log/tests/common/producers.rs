//! Idempotent producers as the model has them: who wrote which batches follows from the batches alone.
//!
//! Each log has some; now and then one gets a newer epoch, and some begin so high that their sequence numbers soon wrap from `i32::MAX` to 0.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use kennet_log::{AppendError, Appended};
use kennet_protocol::record::ProducerStamp;
use kennet_protocol::{LeaderEpoch, ProducerEpoch, ProducerId};

use super::model::{ModelBatch, ModelLog};
use super::{NOW, produced};

const PRODUCERS: [i64; 3] = [5, 6, 7];
/// Kafka's clients have so many batches in flight at most, so a log knows as many again.
const BATCHES_KEPT: usize = 5;
/// A producer that begins so far below the last sequence number wraps after a few batches.
const SEQUENCES_BEFORE_WRAP: i32 = 12;

/// What is to be known of one producer: its epoch, and its batches of that epoch, the newest last.
struct Writer<'a> {
    epoch: ProducerEpoch,
    batches: Vec<&'a ModelBatch>,
}

impl Writer<'_> {
    fn next_sequence(&self) -> i32 {
        let last = self.batches[self.batches.len() - 1];
        after(last.stamp.base_sequence, last.records_count())
    }
}

/// The sequence number `count` after `sequence`: there are 2^31 of them (KIP-98).
fn after(sequence: i32, count: usize) -> i32 {
    i32::try_from((i64::from(sequence) + i64::try_from(count).unwrap()) % (1 << 31)).unwrap()
}

/// All producers of a log's batches.
fn writers(batches: &[ModelBatch]) -> BTreeMap<i64, Writer<'_>> {
    let mut writers = BTreeMap::new();
    for batch in batches {
        let stamp = batch.stamp;
        let empty = || Writer { epoch: stamp.producer_epoch, batches: Vec::new() };
        let writer: &mut Writer<'_> = writers.entry(stamp.producer_id.0).or_insert_with(empty);
        if writer.epoch != stamp.producer_epoch {
            *writer = empty();
        }
        writer.batches.push(batch);
    }
    writers
}

/// Who writes the next batch of a log, by chance.
pub(crate) fn next_stamp(batches: &[ModelBatch], random: &mut fastrand::Rng) -> ProducerStamp {
    let id = PRODUCERS[random.usize(..PRODUCERS.len())];
    let newer = random.u8(..12) == 0;
    let far = random.u8(..3) == 0;
    let writers = writers(batches);
    let (epoch, sequence) = match writers.get(&id) {
        Some(writer) if newer => (writer.epoch.0 + 1, 0),
        Some(writer) => (writer.epoch.0, writer.next_sequence()),
        None if far => (0, i32::MAX - random.i32(0..SEQUENCES_BEFORE_WRAP)),
        None => (0, 0),
    };
    ProducerStamp { producer_id: ProducerId(id), producer_epoch: ProducerEpoch(epoch), base_sequence: sequence }
}

impl ModelLog {
    /// What is known of each producer is what its batches say, even when all records are deleted: which come again, which one is next, and
    /// which epoch is the newest.
    pub(crate) fn check_producers(&self, context: &str) {
        let writers = writers(&self.batches);
        assert_eq!(self.log.summary().producers, writers.len(), "{context}: number of producers");
        for (id, writer) in &writers {
            let known = writer.batches.iter().rev().take(BATCHES_KEPT);
            for batch in known {
                let again = self.log.append(&batch.batch(), batch.epoch, NOW).unwrap();
                assert!(again.duplicate && again.base_offset.0 == batch.base, "{context}: {again:?} for {batch:?}");
            }
            let next = writer.next_sequence();
            for (what, sequence) in [("a gap", after(next, 3)), ("what is long ago", self.forgotten(writer, next))] {
                let refused = self.send(*id, writer.epoch.0, sequence);
                let is_refused =
                    matches!(refused, Err(AppendError::OutOfOrderSequence { expected, .. }) if expected == next);
                assert!(is_refused, "{context}: {what} of producer {id}, {next} is next: {refused:?}");
            }
            if writer.epoch.0 > 0 {
                let refused = self.send(*id, writer.epoch.0 - 1, next);
                let is_refused =
                    matches!(refused, Err(AppendError::OldProducerEpoch { newest, .. }) if newest == writer.epoch);
                assert!(is_refused, "{context}: an old epoch of producer {id}: {refused:?}");
            }
        }
    }

    /// The sequence number of a batch that is too old to be known again, or of none.
    fn forgotten(&self, writer: &Writer<'_>, next: i32) -> i32 {
        let known = writer.batches.len().saturating_sub(BATCHES_KEPT);
        known.checked_sub(1).map_or(after(next, 1_000), |at| writer.batches[at].stamp.base_sequence)
    }

    fn send(&self, id: i64, epoch: i16, sequence: i32) -> Result<Appended, AppendError> {
        self.log.append(&produced(id, epoch, sequence, &["never"]), LeaderEpoch(0), NOW)
    }
}
