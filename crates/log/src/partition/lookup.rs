//! Looking up offsets by time (KIP-79, KIP-734).
//!
//! Indexes narrow the search to a few kilobytes; the answer comes from the records themselves.

use std::ops::ControlFlow;
use std::sync::Arc;

use kennet_protocol::record::{Batch, StampedBatch};
use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

use crate::error::ReadError;
use crate::fs::{File, Wait};
use crate::partition::PartitionLog;
use crate::partition::read::STALE_VIEWS_MAX;
use crate::scan::{BatchScan, HeaderScan, to_u64};
use crate::segment::{Segment, Times};

/// A record's place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp.
    pub timestamp: TimestampMs,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// So many bytes of a batch are looked at, as a stream; this bounds the time that one batch can cost a read thread. A time further in is
/// answered by the batch's first offset.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// What a look-up may search.
struct Readable {
    log_start: Offset,
    segments: Vec<Arc<Segment>>,
    tail: Vec<StampedBatch>,
}

impl PartitionLog {
    /// The first record below `upper` whose timestamp is at least `time`. May wait for the disk.
    ///
    /// # Errors
    /// When the log is unavailable, or can't be read.
    pub fn first_at_or_after(&self, time: TimestampMs, upper: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        self.again_if_stale(|readable| self.first_in_view(readable, time, upper))
    }

    /// Asks a view of the log, and another one when its segments were taken away meanwhile.
    fn again_if_stale<T>(&self, ask: impl Fn(&Readable) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut rounds = 0;
        loop {
            let readable = self.readable()?;
            match ask(&readable) {
                Err(ReadError::Io(_)) if rounds < STALE_VIEWS_MAX && !self.has_all(&readable.segments) => rounds += 1,
                result => return result,
            }
        }
    }

    fn first_in_view(
        &self,
        readable: &Readable,
        time: TimestampMs,
        upper: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let Readable { log_start, segments, tail } = readable;
        let log_start = *log_start;
        for (at, segment) in segments.iter().enumerate() {
            if segment.base >= upper {
                break;
            }
            let file = segment.file(self.shared.fs(), self.shared.open_files())?;
            let reader = self.reader(file.as_ref(), Wait::Allowed);
            let times = segment.times(reader)?;
            if times.newest.is_some_and(|newest| newest < time) {
                self.newest_of(segment, times, segments.get(at + 1))?;
                continue;
            }
            let hint = segment.offset_before(time, reader)?;
            let found = self.search(segment, hint.max(log_start), |batch| first_in(batch, time, log_start))?;
            if let Some(found) = found.filter(|found| found.offset < upper) {
                return Ok(Some(found));
            }
            self.newest_of(segment, times, segments.get(at + 1))?;
        }
        let late_enough = |batch: &&StampedBatch| batch.header.max_timestamp >= time;
        let found = tail.iter().filter(late_enough).find_map(|batch| first_in(&batch.to_batch(), time, log_start));
        Ok(found.filter(|found| found.offset < upper))
    }

    /// The record with the largest timestamp below `upper`; of several the first. May wait for the disk.
    ///
    /// # Errors
    /// When the log is unavailable, or can't be read.
    pub fn newest_timestamp(&self, upper: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let newest = self.again_if_stale(|readable| self.newest_in_view(readable, upper))?;
        if newest == TimestampMs::NONE { Ok(None) } else { self.first_at_or_after(newest, upper) }
    }

    fn newest_in_view(&self, readable: &Readable, upper: Offset) -> Result<TimestampMs, ReadError> {
        let Readable { segments, tail, .. } = readable;
        let times =
            tail.iter().filter(|batch| batch.header.base_offset < upper).map(|batch| batch.header.max_timestamp);
        let mut newest = times.max().unwrap_or(TimestampMs::NONE);
        for (at, segment) in segments.iter().enumerate() {
            let file = segment.file(self.shared.fs(), self.shared.open_files())?;
            let times = segment.times(self.reader(file.as_ref(), Wait::Allowed))?;
            let here = self.newest_of(segment, times, segments.get(at + 1))?;
            // compaction may have left batches without records, and their times are nobody's
            let is_exact = segment.base >= self.gaps_below() || here <= newest;
            newest = newest.max(if is_exact { here } else { newest_record(segment, file.as_ref())? });
        }
        Ok(newest)
    }

    /// The newest timestamp of a segment that comes up to the next one as a whole: behind a loss an answer would be too late.
    fn newest_of(
        &self,
        segment: &Segment,
        times: Times,
        next: Option<&Arc<Segment>>,
    ) -> Result<TimestampMs, ReadError> {
        if let Some(end) = times.end {
            self.check_end(segment, end, next)?;
        }
        times.newest.ok_or_else(|| self.damaged(segment, segment.written(), "not all of its batches can be found"))
    }

    /// The segments, and copies of the tail's headers and references to its payloads.
    fn readable(&self) -> Result<Readable, ReadError> {
        let state = self.lock();
        self.check_available(&state)?;
        let log_start = self.log_start();
        let first = state.segment_of(log_start).unwrap_or(0);
        let segments = state.segments[first.min(state.segments.len())..].to_vec();
        let tail = state.tail.from(log_start).map(|batch| batch.batch.clone()).collect();
        Ok(Readable { log_start, segments, tail })
    }

    /// Asks batch by batch from `from` on, until one answers.
    fn search(
        &self,
        segment: &Segment,
        from: Offset,
        ask: impl Fn(&Batch) -> Option<TimestampOffset>,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let file = segment.file(self.shared.fs(), self.shared.open_files())?;
        let reader = self.reader(file.as_ref(), Wait::Allowed);
        let Some((position, _)) = segment.find(from.max(segment.base), reader)? else {
            return Ok(None);
        };
        let mut scan = BatchScan::new(file.as_ref(), position, segment.written());
        while let Some((_, batch)) = scan.next()? {
            if let Some(found) = ask(&batch) {
                return Ok(Some(found));
            }
        }
        if scan.position() < segment.written() {
            return Err(self.damaged(segment, scan.position(), "no intact batch is there"));
        }
        Ok(None)
    }
}

/// The largest timestamp of a segment's batches that have records.
fn newest_record(segment: &Segment, file: &dyn File) -> std::io::Result<TimestampMs> {
    let mut scan = HeaderScan::new(file, segment.written(), Wait::Allowed);
    let (mut position, mut newest) = (0, TimestampMs::NONE);
    while let Some(header) = scan.at(position)? {
        let Some(length) = header.total_length().map(to_u64) else { break };
        if header.record_count > 0 {
            newest = newest.max(header.max_timestamp);
        }
        position += length;
    }
    Ok(newest)
}

/// The first record of a batch at or after a time and not below the log start.
fn first_in(batch: &Batch, time: TimestampMs, log_start: Offset) -> Option<TimestampOffset> {
    let header = batch.header();
    if header.max_timestamp < time || header.last_offset() < log_start {
        return None;
    }
    let leader_epoch = header.partition_leader_epoch;
    let whole =
        TimestampOffset { timestamp: header.max_timestamp, offset: header.base_offset.max(log_start), leader_epoch };
    let found = batch.walk(DECOMPRESSED_BYTES_MAX, |record| {
        let offset = header.base_offset + i64::from(record.offset_delta);
        if record.timestamp >= time && offset >= log_start {
            return ControlFlow::Break(TimestampOffset { timestamp: record.timestamp, offset, leader_epoch });
        }
        ControlFlow::Continue(())
    });
    // a batch whose records can't be read still has a place: its first offset is early, never late
    found.unwrap_or(Some(whole))
}
