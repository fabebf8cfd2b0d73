//! Giving records up: DeleteRecords, retention, and the topic itself.
//!
//! A log start that moves is durable before anybody is told, and never goes back. Only closed segments are removed, oldest first, so a crash
//! half-way leaves a log that is merely longer.

use std::io;
use std::sync::Arc;

use kennet_protocol::{Offset, TimestampMs};

use crate::error::{DeleteRecordsError, Unavailable};
use crate::fs::{is_full, replace_file};
use crate::layout;
use crate::partition::{PartitionLog, State};
use crate::recovery::encode_log_start;
use crate::segment::Segment;

impl PartitionLog {
    /// Deletes the records below `offset`; returns the log start, which may have been further already.
    ///
    /// # Errors
    /// When `offset` is beyond the high watermark, or the new start can't be made durable.
    pub fn delete_records(&self, offset: Offset, high_watermark: Offset) -> Result<Offset, DeleteRecordsError> {
        let writer = self.lock_writer();
        let state = self.lock();
        self.check_available(&state)?;
        let start = state.log_start;
        if offset > high_watermark || offset.0 < 0 {
            return Err(DeleteRecordsError::OutOfRange { offset, start, high_watermark });
        }
        if offset <= start {
            return Ok(start);
        }
        drop(state);
        let gone = self.move_log_start(offset)?;
        drop(writer);
        self.remove(&gone);
        Ok(offset)
    }

    /// Makes a new start durable, then visible; returns the closed segments that lie below it. The writer's lock is held.
    fn move_log_start(&self, offset: Offset) -> io::Result<Vec<Arc<Segment>>> {
        let replace = || replace_file(self.shared.fs(), &layout::log_start(&self.directory), &encode_log_start(offset));
        let mut gone = Vec::new();
        match replace() {
            Err(error) if is_full(&error) => {
                gone = self.make_room(offset)?;
                replace()?;
            }
            other => other?,
        }
        let mut state = self.lock();
        state.log_start = state.log_start.max(offset);
        state.epochs.cut_front(offset);
        state.changed = true;
        gone.extend(state.take_below(offset));
        Ok(gone)
    }

    /// On a full volume not even the new log start can be written: removes segments first, each durably before the next, so that a crash
    /// leaves no hole.
    fn make_room(&self, offset: Offset) -> io::Result<Vec<Arc<Segment>>> {
        let mut state = self.lock();
        let gone = state.take_below(offset);
        let first = state.segments.first().map_or(state.log_start, |segment| segment.base);
        state.log_start = state.log_start.max(first);
        drop(state);
        for segment in &gone {
            self.remove(std::slice::from_ref(segment));
            self.shared.fs().sync_directory(&self.directory)?;
        }
        Ok(gone)
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
        let writer = self.lock_writer();
        let state = self.lock();
        self.check_available(&state)?;
        if !state.config.retention_enabled || state.segments.is_empty() {
            return Ok(0);
        }
        let segments = state.segments.clone();
        let too_many = state.beyond_retention_bytes();
        let age = state.config.retention_age;
        drop(state);
        let oldest_kept =
            age.map(|age| TimestampMs(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))));
        let mut gone = 0;
        for (at, segment) in segments.iter().enumerate() {
            let expired = match oldest_kept {
                Some(oldest) => self.newest_in(segment)?.is_some_and(|newest| newest < oldest),
                None => false,
            };
            let next = segments.get(at + 1);
            if !(expired || at < too_many) || next.is_some_and(|next| next.base > high_watermark) {
                break;
            }
            gone = at + 1;
        }
        let all = gone == segments.len();
        // Kafka closes the active segment too once everything in it has expired
        let start = if all { None } else { segments.get(gone).map(|segment| segment.base) };
        let start = start.or_else(|| segments.last().map(|last| last.base));
        let removed = match start {
            Some(start) if start > self.log_start() => self.move_log_start(start)?,
            _ => Vec::new(),
        };
        drop(writer);
        self.remove(&removed);
        if all {
            self.roll(now);
        }
        Ok(removed.len())
    }

    /// The newest timestamp of a segment; records without one never expire by age.
    fn newest_in(&self, segment: &Segment) -> io::Result<Option<TimestampMs>> {
        if segment.durable() == 0 {
            return Ok(None);
        }
        let fs = self.shared.fs();
        let file = segment.file(fs, self.shared.open_files())?;
        let newest = segment.with_index(file.as_ref(), fs, |index| index.max_timestamp())?;
        if self.shared.open_files().too_many() {
            segment.close_file(self.shared.open_files());
        }
        Ok((newest.0 >= 0).then_some(newest))
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
            segment.close_file(self.shared.open_files());
        }
    }

    /// Ends the log because its topic is being deleted; pending batches are dropped, waiters have to be told.
    pub(crate) fn end(&self) {
        let writer = self.lock_writer();
        let mut state = self.lock();
        state.unavailable = Some(Unavailable::Deleted);
        state.generation += 1;
        for segment in state.segments.drain(..) {
            segment.close_file(self.shared.open_files());
        }
        drop(state);
        drop(writer);
    }
}

impl State {
    /// Takes the closed segments that lie below `offset` out of the list.
    fn take_below(&mut self, offset: Offset) -> Vec<Arc<Segment>> {
        let below = self.segments.windows(2).take_while(|pair| pair[1].base <= offset).count();
        self.segments.drain(..below).collect()
    }

    /// How many of the oldest segments lie beyond `retention.bytes`: without them the log is still at least that large.
    fn beyond_retention_bytes(&self) -> usize {
        let Some(limit) = self.config.retention_bytes else { return 0 };
        let mut excess = self.segments.iter().map(|segment| segment.durable()).sum::<u64>().saturating_sub(limit);
        let mut count = 0;
        // the active segment is never removed for size
        for segment in &self.segments[..self.segments.len().saturating_sub(1)] {
            if segment.durable() > excess {
                break;
            }
            excess -= segment.durable();
            count += 1;
        }
        count
    }
}
