//! Giving records up: DeleteRecords, retention, and the topic itself.
//!
//! A log start that moves is a durable entry of the journal before anybody is told, and never goes back. Files are removed only after that, so a
//! crash half-way leaves a log that is merely longer on disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kennet_protocol::{Offset, TimestampMs};

use crate::error::{DeleteRecordsError, Unavailable};
use crate::fs::Wait;
use crate::journal::entry::Entry;
use crate::partition::{PartitionLog, PlannedSegment, State};
use crate::segment::{Reader, Segment, Times};

impl PartitionLog {
    /// Deletes the records below `offset`; returns the log start, which may have been further already. Waits for the disk.
    ///
    /// # Errors
    /// When `offset` is beyond the high watermark, or the new start can't be made durable.
    pub fn delete_records(
        self: &Arc<Self>,
        offset: Offset,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Offset, DeleteRecordsError> {
        let state = self.lock();
        self.check_available(&state)?;
        drop(state);
        if !self.shared.has_control_room() {
            let full =
                io::Error::new(io::ErrorKind::StorageFull, "the journal keeps its last blocks for deletions of topics");
            return Err(full.into());
        }
        let start = self.log_start();
        let rules = self.shared.rules();
        let is_elsewhere = offset <= high_watermark || !rules.delete_records_stays_below_the_high_watermark;
        let is_here = offset <= self.durable_end() || !rules.delete_records_stays_below_the_durable_end;
        if !(is_elsewhere && is_here) || offset.0 < 0 {
            return Err(DeleteRecordsError::OutOfRange { offset, start, high_watermark });
        }
        if offset <= start {
            return Ok(start);
        }
        self.move_log_start(offset, now)?;
        Ok(self.log_start())
    }

    /// Makes a new start durable, then visible, and removes what lies below it; returns how many segments went.
    fn move_log_start(self: &Arc<Self>, offset: Offset, now: TimestampMs) -> Result<usize, Unavailable> {
        let mut state = self.lock();
        // it may have been deleted since the caller looked: nothing comes behind that in the journal
        self.check_available(&state)?;
        // a log without a number never had a record
        let Some(number) = state.number else { return Ok(0) };
        let entry = self.push(&mut state, Entry::LogStart { number, offset }, Offset(0));
        state.loose.note_start(entry, offset);
        drop(state);
        if self.shared.rules().log_starts_are_journaled {
            self.shared.wait_durable(entry)?;
        }
        let _writer = self.lock_writer();
        let mut state = self.lock();
        self.log_start.fetch_max(offset.0, Ordering::AcqRel);
        state.loose.start_is_visible(entry, offset);
        state.epochs.cut_front(offset);
        let holds_journal = self.shared.rules().deletions_hold_the_journal;
        let freed = state.delete_from_tail(offset, entry, holds_journal, now);
        let gone = state.take_below(offset);
        drop(state);
        self.shared.remove_tail_bytes(freed);
        self.remove(&gone);
        Ok(gone.len())
    }

    /// Removes segments that are too old or too many, as far as all replicas have them. May close the active one, for the next pass.
    ///
    /// # Errors
    /// When the new log start can't be made durable.
    pub fn apply_retention(
        self: &Arc<Self>,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<usize, DeleteRecordsError> {
        let state = self.lock();
        self.check_available(&state)?;
        if !state.config.retention_enabled || !self.shared.has_control_room() {
            return Ok(0);
        }
        let age = state.config.retention_age;
        let oldest_kept =
            age.map(|age| TimestampMs(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))));
        let segments = state.segments.clone();
        let too_many = state.beyond_retention_bytes();
        let written_end = state.written_end();
        let tail_expired = oldest_kept.is_some_and(|oldest| state.tail_is_older_than(oldest));
        let end = state.next_offset;
        drop(state);
        let mut gone = 0;
        for (at, segment) in segments.iter().enumerate() {
            let expired = match oldest_kept {
                Some(oldest) => self.is_older(segment, oldest)?,
                None => false,
            };
            if !(expired || at < too_many) {
                break;
            }
            gone = at + 1;
        }
        let all_segments = gone == segments.len();
        let start = match segments.get(gone) {
            Some(kept) => kept.base,
            // Kafka closes the active segment too once everything in it has expired
            None if all_segments && tail_expired => end,
            None => written_end,
        };
        let stays_below = self.shared.rules().retention_stays_below_the_high_watermark;
        let start = if stays_below { start.min(high_watermark) } else { start };
        if start <= self.log_start() {
            return Ok(0);
        }
        if all_segments {
            self.roll(now);
        }
        Ok(self.move_log_start(start, now)?)
    }

    /// Whether all records of a segment are older; those without a timestamp never are, nor what can't be read.
    fn is_older(&self, segment: &Segment, oldest: TimestampMs) -> io::Result<bool> {
        let is_older = |newest: Option<TimestampMs>| newest.is_some_and(|newest| newest < oldest);
        // an index is enough to keep a segment, and not to delete it
        Ok(is_older(self.newest_in(segment)?) && is_older(self.newest_by(segment, Segment::confirmed_times)?))
    }

    /// The newest timestamp of a segment, if it has any and all of its batches can be read.
    pub(super) fn newest_in(&self, segment: &Segment) -> io::Result<Option<TimestampMs>> {
        self.newest_by(segment, Segment::times)
    }

    fn newest_by(
        &self,
        segment: &Segment,
        times: impl Fn(&Segment, Reader<'_>) -> io::Result<Times>,
    ) -> io::Result<Option<TimestampMs>> {
        if segment.written() == 0 {
            return Ok(None);
        }
        let file = segment.file(self.shared.fs(), self.shared.open_files())?;
        let newest = times(segment, self.reader(file.as_ref(), Wait::Allowed))?.newest;
        if self.shared.open_files().too_many() {
            segment.close_file();
        }
        Ok(newest.filter(|newest| newest.0 >= 0))
    }

    /// Removes the files of segments that nobody can find any more. A file that stays is only space, found again at the next start.
    fn remove(&self, segments: &[Arc<Segment>]) {
        for segment in segments {
            for path in segment.files() {
                if let Err(error) = self.shared.fs().remove_file(&path) {
                    self.shared.complain(&path, &error);
                }
            }
            // after the names are gone, so that no reader opens the file again and keeps it
            segment.close_file();
        }
    }

    /// Ends the log because its topic is being deleted; whoever waits for it has to be told. Returns the entry that says so, if the journal
    /// knows the log.
    pub(crate) fn end(self: &Arc<Self>) -> Option<u64> {
        let _writer = self.lock_writer();
        let mut state = self.lock();
        state.unavailable = Some(Unavailable::Deleted);
        self.is_unavailable.store(true, Ordering::Release);
        for segment in state.segments.drain(..) {
            segment.close_file();
        }
        let freed = state.tail.clear();
        let before = state.unsynced.take();
        // under the lock, so that no entry of this log comes behind it
        let entry = state.number.map(|number| self.shared.push(self, Entry::Delete { number }, Offset(0), true));
        if let (Some(_), Some(before)) = (entry, before) {
            self.shared.forget_unsynced(before);
        }
        drop(state);
        self.shared.remove_tail_bytes(freed);
        entry
    }
}

impl State {
    /// Takes the closed segments that lie below `offset` out of the list.
    fn take_below(&mut self, offset: Offset) -> Vec<Arc<Segment>> {
        let mut below = self.segments.windows(2).take_while(|pair| pair[1].base <= offset).count();
        if below + 1 == self.segments.len() && self.last_is_closed() && self.written_end() <= offset {
            below += 1;
        }
        self.segments.drain(..below).collect()
    }

    /// After batches at the front of the tail were deleted: what comes next does not follow the last segment, so it gets its own.
    pub(super) fn start_behind(&mut self, now: TimestampMs) {
        let base = self.written_end();
        if self.plan.as_ref().is_none_or(|plan| plan.base < base) {
            let mut plan = PlannedSegment::new(base, now);
            plan.bytes = crate::scan::to_u64(self.tail.segment_bytes());
            plan.first_timestamp = self.tail.front().map(|front| front.batch.header.max_timestamp);
            self.plan = Some(plan);
        }
    }

    /// Whether all records of the tail are older; so is a tail without any.
    fn tail_is_older_than(&self, oldest: TimestampMs) -> bool {
        self.tail.headers().all(|header| header.max_timestamp.0 >= 0 && header.max_timestamp < oldest)
    }

    /// How many of the oldest segments lie beyond `retention.bytes`: without them the log is still at least that large.
    fn beyond_retention_bytes(&self) -> usize {
        let Some(limit) = self.config.retention_bytes else { return 0 };
        let mut excess = self.size_bytes().saturating_sub(limit);
        let mut count = 0;
        // the active segment is never removed for size
        for segment in &self.segments[..self.segments.len().saturating_sub(1)] {
            if segment.written() > excess {
                break;
            }
            excess -= segment.written();
            count += 1;
        }
        count
    }
}
