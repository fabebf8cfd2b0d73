//! Compaction of one log, a round at a time; what stays of a batch is `compaction`'s business.
//!
//! Only segments that a durable checkpoint has as complete, and that lie below the high watermark, are read and replaced. New segments are
//! written and checked beside them without a lock. Then, with the writer's lock: the new one gets a durable name that says what it replaces,
//! readers get it, the old ones are removed, it gets its own name. A restart finishes what has that name and removes the rest.
//!
//! Groups are replaced from the oldest to the newest, and a round ends at the first that fails, so a tombstone never goes before what it deletes.
//! A segment that can't be read is left alone, hides nothing, and keeps all tombstones behind it.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_protocol::record::{Batch, COMPACTED_BYTES_MAX};
use kennet_protocol::{Offset, ProducerId, TimestampMs};

use crate::checkpoint::{Compaction, Item};
use crate::compaction::{
    Cleanable, Compacted, CompactionError, Filter, Finished, Kept, NewestOffsets, Output, OutputError, is_left_alone,
};
use crate::config::LogConfig;
use crate::fs::{Wait, is_full, is_transient};
use crate::layout;
use crate::partition::open::replace;
use crate::partition::{PartitionLog, State};
use crate::rules::Rules;
use crate::scan::{BatchScan, HEADER_WINDOW, HeaderScan, to_u64};
use crate::segment::Segment;

/// Compaction leaves so much room on the volume.
const ROOM_BYTES: u64 = 16 << 20;

/// Told of bytes that were read or written, so that it can slow a round down, or end it.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// A sealed segment and the offset behind it.
#[derive(Clone)]
struct Sealed {
    segment: Arc<Segment>,
    end: Offset,
}

/// What a round is about.
struct Range {
    config: LogConfig,
    /// Oldest first, without gaps.
    segments: Vec<Sealed>,
    /// What lies below is clean.
    from: Offset,
    dirty_bytes: u64,
    clean_bytes: u64,
    is_overdue: bool,
}

/// Why a segment or a round came to nothing.
enum Fault {
    /// The segment at this place can't be used.
    Segment(usize, String),
    Round(CompactionError),
}

impl From<CompactionError> for Fault {
    fn from(error: CompactionError) -> Self {
        Self::Round(error)
    }
}

impl PartitionLog {
    /// How much could be compacted now. None when the log is not to be compacted, or nothing is there to do. May wait for the disk.
    ///
    /// # Errors
    /// When the log is unavailable, or can't be read.
    pub fn cleanable(&self, high_watermark: Offset, now: TimestampMs) -> Result<Option<Cleanable>, CompactionError> {
        let Some(range) = self.range(high_watermark, now)? else { return Ok(None) };
        let all = u128::from(range.dirty_bytes + range.clean_bytes);
        let millionths = u128::from(range.dirty_bytes) * 1_000_000 / all.max(1);
        let ratio = f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / 1e6;
        let is_due = range.is_overdue || ratio > range.config.dirty_ratio_min;
        Ok(Some(Cleanable { dirty_bytes: range.dirty_bytes, ratio, is_due }))
    }

    /// Compacts once, with at most `map_bytes` of memory for keys; none when there is nothing to do or somebody does it already. Waits for the
    /// disk, and as long as `pace` makes it wait.
    ///
    /// # Errors
    /// When the round had to end; the log is whole all the same.
    pub fn compact(
        self: &Arc<Self>,
        high_watermark: Offset,
        now: TimestampMs,
        map_bytes: usize,
        pace: Pace<'_>,
    ) -> Result<Option<Compacted>, CompactionError> {
        let _turn = match self.compacting.try_lock() {
            Ok(turn) => turn,
            // what a round that panicked had not come to an end with counts for nothing
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let Some(range) = self.range(high_watermark, now)? else { return Ok(None) };
        let mut done = Compacted::default();
        let newest = self.newest_offsets(&range, map_bytes, &mut done, pace)?;
        let end = newest.end();
        if end <= range.from {
            return Err(io::Error::other("there is no memory for a single key").into());
        }
        self.note_compaction(end, range.from)?;
        let removes_tombstones = true;
        let mut filter =
            Filter { newest: &newest, now, tombstone_retention: range.config.tombstone_retention, removes_tombstones };
        let below = range.segments.iter().take_while(|sealed| sealed.segment.base < end).count();
        let mut at = 0;
        while at < below {
            if self.is_set_aside(&range.segments[at]) {
                filter.removes_tombstones = false;
                at += 1;
                continue;
            }
            let count = self.group(&range, at, below);
            match self.replace_group(&range, at, count, &filter, &mut done, pace) {
                Ok(()) => at += count,
                Err(Fault::Segment(bad, why)) => self.set_aside(&range.segments[bad], &why, &mut done),
                Err(Fault::Round(error)) => return Err(error),
            }
        }
        self.note_compaction(end, end)?;
        done.is_partial = range.segments.last().is_some_and(|last| end < last.end);
        Ok(Some(done))
    }

    /// What may be compacted, if there is anything that is not.
    fn range(&self, high_watermark: Offset, now: TimestampMs) -> Result<Option<Range>, CompactionError> {
        let state = self.lock();
        self.check_available(&state)?;
        if !state.config.compaction_enabled {
            return Ok(None);
        }
        let config = state.config.clone();
        let mut segments = state.sealed(high_watermark, self.shared.rules());
        let from = state.clean_below.max(self.log_start());
        drop(state);
        let first_dirty = segments.partition_point(|sealed| sealed.end <= from);
        let youngest = now.0.saturating_sub(millis(config.compaction_lag_min));
        let mut oldest = None;
        for at in first_dirty..segments.len() {
            let sealed = &segments[at];
            if self.is_set_aside(sealed) {
                continue;
            }
            let (first, newest) = match self.unless_changed(&sealed.segment, self.times_of(&sealed.segment, &config)) {
                // one bad segment must not keep all others from being compacted
                Err(CompactionError::Io(error)) => {
                    self.set_aside(sealed, &error.to_string(), &mut Compacted::default());
                    continue;
                }
                times => times?,
            };
            if newest.is_some_and(|newest| newest.0 > youngest) {
                segments.truncate(at);
                break;
            }
            oldest = oldest.min(first).or(oldest).or(first);
        }
        let bytes = |sealed: &[Sealed]| sealed.iter().map(|sealed| sealed.segment.written()).sum();
        let first_dirty = first_dirty.min(segments.len());
        let (clean_bytes, dirty_bytes) = (bytes(&segments[..first_dirty]), bytes(&segments[first_dirty..]));
        if dirty_bytes == 0 {
            return Ok(None);
        }
        let is_overdue = config
            .compaction_lag_max
            .zip(oldest)
            .is_some_and(|(lag, oldest): (_, TimestampMs)| now.0.saturating_sub(oldest.0) > millis(lag));
        Ok(Some(Range { config, segments, from, dirty_bytes, clean_bytes, is_overdue }))
    }

    /// The first timestamp of a segment and its newest, each if a lag is set for which it counts.
    fn times_of(
        &self,
        segment: &Segment,
        config: &LogConfig,
    ) -> io::Result<(Option<TimestampMs>, Option<TimestampMs>)> {
        let newest = if config.compaction_lag_min.is_zero() { None } else { self.newest_in(segment)? };
        let first = if config.compaction_lag_max.is_none() { None } else { self.oldest_in(segment)? };
        Ok((first, newest))
    }

    /// The first batch's timestamp, if it has one.
    fn oldest_in(&self, segment: &Segment) -> io::Result<Option<TimestampMs>> {
        let file = segment.file(self.shared.fs(), self.shared.open_files())?;
        let header = HeaderScan::new(file.as_ref(), segment.written(), Wait::Allowed).at(0)?;
        Ok(header.map(|header| header.max_timestamp).filter(|time| time.0 >= 0))
    }

    /// How many records a segment's headers say it has, as far as they can be read.
    fn records_in(&self, segment: &Segment, pace: Pace<'_>) -> Result<usize, CompactionError> {
        let Ok(file) = segment.file(self.shared.fs(), self.shared.open_files()) else { return Ok(0) };
        let mut scan = HeaderScan::new(file.as_ref(), segment.written(), Wait::Allowed);
        let (mut position, mut records) = (0, 0_usize);
        while let Ok(Some(header)) = scan.at(position) {
            records = records.saturating_add(usize::try_from(header.record_count).unwrap_or(0));
            let Some(length) = header.total_length() else { break };
            position += to_u64(length);
            // of a small batch all is read, of a large one what surrounds its header
            pace_on(pace, length.min(HEADER_WINDOW))?;
        }
        Ok(records)
    }

    /// What a segment said, unless that is only because it is the log's no more.
    fn unless_changed<T>(&self, segment: &Segment, result: io::Result<T>) -> Result<T, CompactionError> {
        match result {
            Err(_) if !self.lock().has(segment) => Err(CompactionError::Changed),
            other => Ok(other?),
        }
    }

    fn is_set_aside(&self, sealed: &Sealed) -> bool {
        self.lock().set_aside.contains_key(&sealed.segment.base)
    }

    fn set_aside(&self, sealed: &Sealed, why: &str, done: &mut Compacted) {
        let path = sealed.segment.path();
        let reason = format!("it is not compacted until the next start, because {why}");
        self.shared.complain(&path, &io::Error::other(reason));
        self.lock().set_aside.insert(sealed.segment.base, why.into());
        done.set_aside += 1;
    }

    /// The newest offsets of the keys that are not clean, as far as there is memory for them.
    fn newest_offsets(
        &self,
        range: &Range,
        map_bytes: usize,
        done: &mut Compacted,
        pace: Pace<'_>,
    ) -> Result<NewestOffsets, CompactionError> {
        let first = range.segments.partition_point(|sealed| sealed.end <= range.from);
        let mut records = 0_usize;
        for sealed in &range.segments[first..] {
            records = records.saturating_add(self.records_in(&sealed.segment, pace)?);
        }
        'again: loop {
            let mut newest = NewestOffsets::new(range.from, map_bytes, records);
            for at in first..range.segments.len() {
                let sealed = &range.segments[at];
                if !self.is_set_aside(sealed) {
                    match self.note_segment(at, sealed, range.from, &mut newest, pace) {
                        Ok(true) => {}
                        Ok(false) => return Ok(newest),
                        Err(Fault::Segment(_, why)) => {
                            self.set_aside(sealed, &why, done);
                            // what it had noted must hide nothing
                            continue 'again;
                        }
                        Err(Fault::Round(error)) => return Err(error),
                    }
                }
                newest.reach(sealed.end);
            }
            return Ok(newest);
        }
    }

    /// Notes the keys of one segment; false when there is no room for all.
    fn note_segment(
        &self,
        at: usize,
        sealed: &Sealed,
        from: Offset,
        newest: &mut NewestOffsets,
        pace: Pace<'_>,
    ) -> Result<bool, Fault> {
        let mut full_at = None;
        self.each_batch(at, sealed, pace, |batch, _| {
            if full_at.is_some() || batch.header().last_offset() < from || is_left_alone(batch) {
                return Ok(());
            }
            for record in batch.records(COMPACTED_BYTES_MAX).map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                let Some(key) = record.key.filter(|_| record.offset >= from) else { continue };
                if !newest.put(&key, record.offset) {
                    full_at = Some(record.offset);
                    break;
                }
            }
            Ok(())
        })?;
        if let Some(end) = full_at {
            newest.reach(end);
        }
        Ok(full_at.is_none())
    }

    /// Shows all batches of a segment, and whether each is its last.
    fn each_batch(
        &self,
        at: usize,
        sealed: &Sealed,
        pace: Pace<'_>,
        mut take: impl FnMut(&Batch, bool) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let segment = &sealed.segment;
        // of a segment that was taken away nothing can be said
        let fault = |what: String| match self.lock().has(segment) {
            true => Fault::Segment(at, what),
            false => Fault::Round(CompactionError::Changed),
        };
        let open = self.shared.open_files();
        let file = segment.file(self.shared.fs(), open).map_err(|error| match error {
            // that says nothing of the segment
            error if is_transient(&error) => Fault::Round(error.into()),
            error => fault(error.to_string()),
        })?;
        let length = segment.written();
        let mut scan = BatchScan::new(file.as_ref(), 0, length);
        let mut next = segment.base;
        while let Some((position, batch)) = scan.next().map_err(|error| fault(error.to_string()))? {
            if batch.header().base_offset < next || batch.header().next_offset() > sealed.end {
                return Err(fault(format!("the offset of the batch at byte {position} does not follow")));
            }
            next = batch.header().next_offset();
            pace_on(pace, batch.bytes().len())?;
            take(&batch, scan.position() == length)
                .map_err(|what| fault(format!("the batch at byte {position} can't be used: {what}")))?;
        }
        if open.too_many() {
            segment.close_file();
        }
        if scan.position() < length {
            return Err(fault(format!("no intact batch is at byte {}", scan.position())));
        }
        // a gap may be where records were deleted before they came to a segment; any other is a loss, which would be taken for compaction's later
        let reaches = next >= sealed.end || !self.shared.rules().segments_reach_the_next_one;
        if !reaches && sealed.end > self.log_start() {
            return Err(fault(format!("it ends at offset {next}, but the next segment begins at {}", sealed.end)));
        }
        Ok(())
    }

    /// How many segments from `at` on become one, by Kafka's rules: as large as a segment may be, with offsets and index that fit.
    fn group(&self, range: &Range, at: usize, below: usize) -> usize {
        let base = range.segments[at].segment.base;
        let entries_max = range.config.index_bytes_max / 8;
        let bytes_max = range.config.segment_bytes.min(entries_max.saturating_mul(range.config.index_interval_bytes));
        let mut bytes = 0;
        let fits = |sealed: &&Sealed| {
            bytes += sealed.segment.written();
            let is_near = sealed.end - base <= i64::from(i32::MAX);
            bytes <= bytes_max && is_near && !self.is_set_aside(sealed)
        };
        range.segments[at..below].iter().take_while(fits).count().max(1)
    }

    /// Writes what is left of a group beside it, and puts that in its place.
    fn replace_group(
        self: &Arc<Self>,
        range: &Range,
        at: usize,
        count: usize,
        filter: &Filter<'_>,
        done: &mut Compacted,
        pace: Pace<'_>,
    ) -> Result<(), Fault> {
        let group = &range.segments[at..at + count];
        let before: u64 = group.iter().map(|sealed| sealed.segment.written()).sum();
        self.check_room(before)?;
        let written = self.write_group(range, at, count, filter, pace);
        let changed = match written {
            Ok(Some(finished)) => {
                let length = finished.length;
                self.swap_in(group, finished)?;
                Some(length)
            }
            Ok(None) => None,
            Err(fault) => {
                self.discard(group[0].segment.base);
                return Err(fault);
            }
        };
        match changed {
            None => self.discard(group[0].segment.base),
            Some(length) => {
                done.segments_replaced += count;
                done.segments_made += 1;
                done.bytes_before += before;
                done.bytes_after += length;
            }
        }
        Ok(())
    }

    fn check_room(&self, bytes: u64) -> Result<(), CompactionError> {
        let needed = bytes + ROOM_BYTES;
        let has_room = self.shared.fs().space(self.shared.root())?.available >= needed;
        if has_room { Ok(()) } else { Err(CompactionError::NoRoom { bytes: needed }) }
    }

    /// None when nothing of a single segment would go.
    fn write_group(
        &self,
        range: &Range,
        at: usize,
        count: usize,
        filter: &Filter<'_>,
        pace: Pace<'_>,
    ) -> Result<Option<Finished>, Fault> {
        let fs = self.shared.fs();
        let base = range.segments[at].segment.base;
        let last_of_producers = self.last_of_producers();
        let begun = Output::begin(fs, &self.directory, base, range.config.index_interval_bytes);
        let mut output = begun.map_err(|error| self.refused(error))?;
        let mut refused = None;
        let mut is_changed = count > 1;
        for place in at..at + count {
            let is_last_segment = place + 1 == at + count;
            self.each_batch(place, &range.segments[place], pace, |batch, is_last_batch| {
                if refused.is_some() {
                    return Ok(());
                }
                let header = batch.header();
                // the end of a segment stays known, and so do the newest sequence numbers of its producers
                let must_stay = (is_last_segment && is_last_batch)
                    || last_of_producers.get(&header.producer_id) == Some(&header.last_offset());
                let kept = filter.apply(batch, must_stay).map_err(|error| error.to_string())?;
                is_changed |= kept != Kept::Whole;
                let pushed = match kept {
                    Kept::Whole => output.push(batch),
                    Kept::Rewritten(bytes) => output.push(&Batch::parse(&bytes).map_err(|error| error.to_string())?),
                    Kept::Gone => Ok(()),
                };
                refused = pushed.err();
                Ok(())
            })?;
        }
        if let Some(error) = refused {
            return Err(self.refused(error).into());
        }
        if !is_changed {
            return Ok(None);
        }
        pace_on(pace, usize::try_from(output.length).unwrap_or(usize::MAX))?;
        match output.finish(fs, self.shared.rules()) {
            Ok(finished) => Ok(Some(finished)),
            Err(OutputError::Io(error)) => Err(self.refused(error).into()),
            Err(OutputError::Wrong(what)) => Err(CompactionError::Unverified { what }.into()),
        }
    }

    /// The last offsets of the newest batches of all producers.
    fn last_of_producers(&self) -> HashMap<ProducerId, Offset> {
        let state = self.lock();
        let last = |(id, producer): (_, &crate::producers::Producer)| Some((id, producer.batches.back()?.last_offset));
        state.producers.iter().filter_map(last).collect()
    }

    /// A write, sync or rename that failed, or what has to be open for it. A full volume and a lack of file handles are waited out, and a topic that
    /// was deleted is no error; anything else is final for the directory.
    fn refused(&self, error: io::Error) -> CompactionError {
        if is_full(&error) {
            return CompactionError::NoRoom { bytes: ROOM_BYTES };
        }
        if is_transient(&error) {
            return error.into();
        }
        let state = self.lock();
        if let Err(reason) = self.check_available(&state) {
            return reason.into();
        }
        drop(state);
        self.shared.fail(&error.to_string());
        error.into()
    }

    fn discard(&self, base: Offset) {
        if let Err(error) = Output::discard(self.shared.fs(), &self.directory, base) {
            self.shared.complain(&self.directory, &error);
        }
    }

    /// Puts a new segment in the place of a group.
    fn swap_in(&self, group: &[Sealed], finished: Finished) -> Result<(), CompactionError> {
        let Finished { base, length, index } = finished;
        let (fs, rules) = (self.shared.fs(), self.shared.rules());
        let end = group.last().map_or(base, |last| last.end);
        let _writer = self.lock_writer();
        let state = self.lock();
        self.check_available(&state)?;
        let found = state.segments.iter().position(|present| Arc::ptr_eq(present, &group[0].segment));
        let is_there = |at: usize| {
            let present = state.segments.get(at..at + group.len());
            present.is_some_and(|present| present.iter().zip(group).all(|(a, b)| Arc::ptr_eq(a, &b.segment)))
        };
        // a topic that is not to be compacted any more keeps what it has, as in Kafka
        let Some(at) = found.filter(|at| is_there(*at) && state.config.compaction_enabled) else {
            drop(state);
            self.discard(base);
            return Err(CompactionError::Changed);
        };
        drop(state);
        let swap = layout::Swap { base, end, length };
        let path = layout::swap(&self.directory, base, end);
        // open before the first name changes: behind that, nothing may fail for lack of a file handle
        let names = fs.open_directory(&self.directory).map_err(|error| {
            self.discard(base);
            self.refused(error)
        })?;
        let renamed = fs.rename(&layout::cleaned(&self.directory, base, "log"), &path);
        renamed.map_err(|error| self.refused(error))?;
        // from here on nothing can be left half done: a swap that is forgotten would take the place of newer segments at some start
        let last_error = |error: io::Error| {
            self.shared.fail(&error.to_string());
            CompactionError::Io(error)
        };
        if rules.swap_names_are_synced {
            names.sync().map_err(last_error)?;
        }
        // before any file goes: whoever meets one that is gone sees that its view is old
        let segment = Arc::new(Segment::swapped(self.directory.clone(), path, base, length, index));
        self.lock().segments.splice(at..at + group.len(), [Arc::clone(&segment)]);
        let replaced = group[1..].iter().map(|sealed| sealed.segment.base);
        let finish = || {
            replace(fs, &self.directory, names.as_ref(), swap, replaced)?;
            segment.finish_swap(fs)?;
            names.sync()
        };
        finish().map_err(last_error)?;
        for sealed in group {
            sealed.segment.close_file();
        }
        segment.drop_index();
        Ok(())
    }

    /// Makes durable how far the log is compacted, and where it may have gaps.
    fn note_compaction(&self, gaps_below: Offset, clean_below: Offset) -> Result<(), CompactionError> {
        let mut state = self.lock();
        let Some(number) = state.number else { return Ok(()) };
        let gaps_below = self.gaps_below().max(gaps_below);
        let clean_below = state.clean_below.max(clean_below);
        let set_aside =
            state.segments.iter().map(|segment| segment.base).find(|base| state.set_aside.contains_key(base));
        let first_set_aside = set_aside.unwrap_or(clean_below);
        drop(state);
        if self.shared.rules().gaps_are_known_before_swaps || clean_below >= gaps_below {
            // what was set aside may be readable after a restart, and then has to meet the tombstones that it has not
            let clean_below = clean_below.min(first_set_aside);
            let item = Item::Compaction(number, Compaction { gaps_below, clean_below });
            self.shared.write_checkpoint(&[item]).map_err(|error| self.refused(error))?;
        }
        self.gaps_below.store(gaps_below.0, Ordering::Release);
        state = self.lock();
        state.clean_below = clean_below;
        Ok(())
    }
}

impl State {
    /// The segments that never change any more and that all replicas have.
    fn sealed(&self, high_watermark: Offset, rules: Rules) -> Vec<Sealed> {
        let checkpoint = Some(self.sealed_below).filter(|_| rules.compaction_stays_below_the_checkpoint);
        let replicas = Some(high_watermark).filter(|_| rules.compaction_stays_below_the_high_watermark);
        let limit = checkpoint.into_iter().chain(replicas).min().unwrap_or(self.next_offset);
        let pairs = self.segments.windows(2).map(|pair| Sealed { segment: Arc::clone(&pair[0]), end: pair[1].base });
        pairs.take_while(|sealed| sealed.end <= limit).collect()
    }
}

fn pace_on(pace: Pace<'_>, bytes: usize) -> Result<(), CompactionError> {
    if pace(to_u64(bytes)).is_break() { Err(CompactionError::Stopped) } else { Ok(()) }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
