//! Appending: sequence check, offsets, and the push to the journal, all under the partition's lock.
//!
//! So the order of a log's entries in the journal is offset order, and nothing here waits for the disk.

use std::sync::Arc;

use kennet_protocol::record::{Batch, BatchHeader, Stamp, StampedBatch};
use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

use crate::error::AppendError;
use crate::journal::entry::{Entry, LogNumber};
use crate::partition::{PartitionLog, PlannedSegment, State};
use crate::producers::Verdict;
use crate::scan::to_u64;
use crate::shared::Whose;
use crate::tail::{BATCH_OVERHEAD, TailBatch};

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The batch is durable once the log's durable end is at or behind this.
    pub end_offset: Offset,
    /// The time that replaced the producer's, if the topic sets it.
    pub log_append_time: Option<TimestampMs>,
    /// Whether it had been appended before; nothing was appended now.
    pub duplicate: bool,
    /// The log's first offset.
    pub log_start: Offset,
}

impl PartitionLog {
    /// Appends a checked batch at the end of the log, in memory; the journal makes it durable.
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
        if batch.header().producer_id.0 >= 0 {
            match state.producers.judge(batch.header()) {
                Verdict::Append => {}
                Verdict::Duplicate(seen) => return Ok(self.duplicate(seen.base_offset, seen.last_offset)),
                Verdict::OldEpoch { newest } => {
                    return Err(AppendError::OldProducerEpoch { found: batch.header().producer_epoch, newest });
                }
                Verdict::OutOfOrder { expected } => {
                    return Err(AppendError::OutOfOrderSequence { found: batch.header().base_sequence, expected });
                }
            }
        }
        let whose = if state.config.uses_reserve { Whose::Broker } else { Whose::Client };
        let room = self.shared.take_room(whose, batch.bytes().len(), batch.held_bytes() + BATCH_OVERHEAD, now)?;
        let log_append_time = state.config.log_append_time.then_some(now);
        let stamp = Stamp { base_offset: state.next_offset, leader_epoch, log_append_time };
        let stamped = batch.stamp(stamp);
        let header = stamped.header;
        if state.roll_before(&header, to_u64(stamped.length()), now) {
            state.plan = Some(PlannedSegment::new(state.next_offset, now));
        }
        let number = self.number(&mut state);
        let append = Entry::Append { number, batch: stamped.clone() };
        let entry = self.push(&mut state, append, header.next_offset());
        if !self.shared.rules().acknowledgements_wait_for_the_block {
            self.complete(header.next_offset());
        }
        drop(room);
        state.note_append(stamped, batch.held_bytes(), entry, now);
        drop(state);
        Ok(Appended {
            base_offset: header.base_offset,
            end_offset: header.next_offset(),
            log_append_time,
            duplicate: false,
            log_start: self.log_start(),
        })
    }

    /// Closes the segment that is being written, so that retention can remove it; nothing happens when it is empty.
    pub fn roll(&self, now: TimestampMs) {
        let mut state = self.lock();
        if self.check_available(&state).is_err() || state.plan.as_ref().is_none_or(|plan| plan.bytes == 0) {
            return;
        }
        state.plan = Some(PlannedSegment::new(state.next_offset, now));
    }

    /// The log's number; the first time that it is needed, the log's existence is journaled.
    pub(super) fn number(self: &Arc<Self>, state: &mut State) -> LogNumber {
        if let Some(number) = state.number {
            return number;
        }
        let number = self.shared.new_number();
        state.number = Some(number);
        let entry = Entry::Create { number, id: self.id.clone(), topic: (&*self.topic_name).into() };
        let entry = self.push(state, entry, Offset(0));
        state.loose.note(entry);
        number
    }

    /// Hands an entry to the journal; from then on the log is one with entries that are only there.
    pub(super) fn push(self: &Arc<Self>, state: &mut State, entry: Entry, end: Offset) -> u64 {
        let entry = self.shared.push(self, entry, end, state.unsynced.is_none());
        state.unsynced.get_or_insert(entry);
        entry
    }

    fn duplicate(&self, base_offset: Offset, last_offset: Offset) -> Appended {
        Appended {
            base_offset,
            end_offset: last_offset + 1,
            log_append_time: None,
            duplicate: true,
            log_start: self.log_start(),
        }
    }
}

impl State {
    /// Whether the batch must go to a new segment (KAFKA's rules: size, age, index, relative offsets of 32 bits).
    pub(super) fn roll_before(&self, header: &BatchHeader, length: u64, now: TimestampMs) -> bool {
        let Some(plan) = &self.plan else { return true };
        if plan.bytes == 0 {
            return false;
        }
        let full = plan.bytes + length > self.config.segment_bytes;
        let far = header.last_offset() - plan.base > i64::from(i32::MAX);
        let index_full = (plan.index_entries + 1) * 8 > self.config.index_bytes_max;
        full || far || index_full || plan.is_older_than(self.segment_age(), header.max_timestamp, now)
    }

    /// `segment.ms`; a log that must be compacted sooner gets its segments sooner (KIP-354).
    fn segment_age(&self) -> std::time::Duration {
        let lag = self.config.compaction_lag_max.filter(|_| self.config.compaction_enabled);
        lag.map_or(self.config.segment_age, |lag| lag.min(self.config.segment_age))
    }

    /// Takes note of a batch that keeps `held` bytes of memory.
    pub(super) fn note_append(&mut self, stamped: StampedBatch, held: usize, entry: u64, now: TimestampMs) {
        let header = stamped.header;
        let starts_segment = self.plan.as_ref().is_none_or(|plan| plan.bytes == 0);
        if let Some(plan) = &mut self.plan {
            plan.note(&header, to_u64(stamped.length()), self.config.index_interval_bytes);
        }
        let before = self.producers.get(header.producer_id);
        self.tail.push(TailBatch { batch: stamped, entry, starts_segment, held }, before);
        self.epochs.note(header.partition_leader_epoch, header.base_offset);
        self.producers.note(&header, now);
        self.next_offset = header.next_offset();
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
