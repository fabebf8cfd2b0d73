//! Appending: sequence check, offsets, and the push to the flusher, all under the partition's lock.
//!
//! So the order in which batches reach the disk is offset order, and nothing here waits for it.

use std::sync::Arc;

use kennet_protocol::record::{Batch, BatchHeader, Stamp, StampedBatch};
use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

use crate::checkpoint::Checkpoint;
use crate::error::AppendError;
use crate::partition::{PartitionLog, PlannedSegment, State, Work};
use crate::producers::Verdict;
use crate::scan::to_u64;

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The batch is durable once the log's durable end is at or behind this.
    pub end_offset: Offset,
    /// The generation in which it was appended; a higher one means that it was taken back, unless it was durable before.
    pub generation: u64,
    /// The time that replaced the producer's, if the topic sets it.
    pub log_append_time: Option<TimestampMs>,
    /// Whether it had been appended before; nothing was appended now.
    pub duplicate: bool,
    /// The log's first offset.
    pub log_start: Offset,
}

impl PartitionLog {
    /// Appends a checked batch at the end of the log, in memory; the flusher makes it durable.
    ///
    /// # Errors
    /// When the sequence does not fit, or the log can't take it now; nothing changed then.
    pub fn append(
        self: &Arc<Self>,
        batch: &Batch,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let mut state = self.lock();
        self.check_available(&state)?;
        self.shared.check_room(now)?;
        if batch.header().producer_id.0 >= 0 {
            match state.producers.judge(batch.header()) {
                Verdict::Append => {}
                Verdict::Duplicate(seen) => return Ok(state.duplicate(seen.base_offset, seen.last_offset)),
                Verdict::OldEpoch { newest } => {
                    return Err(AppendError::OldProducerEpoch { found: batch.header().producer_epoch, newest });
                }
                Verdict::OutOfOrder { expected } => {
                    return Err(AppendError::OutOfOrderSequence { found: batch.header().base_sequence, expected });
                }
            }
        }
        let log_append_time = state.config.log_append_time.then_some(now);
        let stamp = Stamp { base_offset: state.next_offset, leader_epoch, log_append_time };
        let stamped = batch.stamp(stamp);
        let header = stamped.header;
        let roll = state.roll_before(&header, to_u64(stamped.length()), now).then(|| state.roll(now));
        state.note_append(&stamped, now);
        let generation = state.generation;
        let appended = Appended {
            base_offset: header.base_offset,
            end_offset: header.next_offset(),
            generation,
            log_append_time,
            duplicate: false,
            log_start: state.log_start,
        };
        let work = roll.into_iter().chain([Work::Append(stamped)]);
        self.shared.push(self, generation, work);
        drop(state);
        Ok(appended)
    }

    /// Closes the active segment, so that retention can remove it; nothing happens when it is empty.
    pub fn roll(self: &Arc<Self>, now: TimestampMs) {
        let mut state = self.lock();
        if self.check_available(&state).is_err() || state.plan.as_ref().is_none_or(|plan| plan.bytes == 0) {
            return;
        }
        let work = state.roll(now);
        self.shared.push(self, state.generation, [work]);
    }
}

impl State {
    fn duplicate(&self, base_offset: Offset, last_offset: Offset) -> Appended {
        Appended {
            base_offset,
            end_offset: last_offset + 1,
            generation: self.generation,
            log_append_time: None,
            duplicate: true,
            log_start: self.log_start,
        }
    }

    /// Whether the batch must go to a new segment (KAFKA's rules: size, age, index, relative offsets of 32 bits).
    fn roll_before(&self, header: &BatchHeader, length: u64, now: TimestampMs) -> bool {
        let Some(plan) = &self.plan else { return true };
        if plan.bytes == 0 {
            return false;
        }
        let full = plan.bytes + length > self.config.segment_bytes;
        let far = header.last_offset() - plan.base > i64::from(i32::MAX);
        let index_full = (plan.index_entries + 1) * 8 > self.config.index_bytes_max;
        full || far || index_full || plan.is_older_than(self.config.segment_age, header.max_timestamp, now)
    }

    fn roll(&mut self, now: TimestampMs) -> Work {
        self.plan = Some(PlannedSegment::new(self.next_offset, now));
        self.changed = true;
        Work::Roll { checkpoint: self.checkpoint(self.next_offset, 0) }
    }

    /// What is known at a place of the log; the caller says which place that is.
    pub(super) fn checkpoint(&self, segment: Offset, position: u64) -> Checkpoint {
        Checkpoint {
            segment,
            position,
            next_offset: self.next_offset,
            epochs: self.epochs.clone(),
            producers: self.producers.clone(),
        }
    }

    fn note_append(&mut self, stamped: &StampedBatch, now: TimestampMs) {
        let header = &stamped.header;
        self.epochs.note(header.partition_leader_epoch, header.base_offset);
        self.producers.note(header, now);
        self.next_offset = header.next_offset();
        self.changed = true;
        if let Some(plan) = &mut self.plan {
            plan.note(header, to_u64(stamped.length()), self.config.index_interval_bytes);
        }
    }
}

impl PlannedSegment {
    fn note(&mut self, header: &BatchHeader, length: u64, interval: u64) {
        if self.bytes_since_entry > interval {
            self.index_entries += 1;
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += length;
        self.bytes += length;
        self.first_timestamp = self.first_timestamp.or(Some(header.max_timestamp));
    }

    /// `segment.ms` counts from the first record's time; records without one count from the segment's making.
    fn is_older_than(&self, age: std::time::Duration, newest: TimestampMs, now: TimestampMs) -> bool {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        match self.first_timestamp {
            Some(first) if first.0 >= 0 && newest.0 >= 0 => newest.0.saturating_sub(first.0) > age,
            _ => now.0.saturating_sub(self.created.0) > age,
        }
    }
}
