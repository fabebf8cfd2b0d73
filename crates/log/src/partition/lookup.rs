//! Looking up offsets by time (KIP-79, KIP-734).
//!
//! Indexes narrow the search to a few kilobytes; the answer comes from the records themselves.

use std::ops::ControlFlow;
use std::sync::Arc;

use kennet_protocol::record::Batch;
use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

use crate::error::ReadError;
use crate::partition::PartitionLog;
use crate::scan::BatchScan;
use crate::segment::Segment;

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

impl PartitionLog {
    /// The first record below `upper` whose timestamp is at least `time`. May wait for the disk.
    ///
    /// # Errors
    /// When the log is unavailable, or can't be read.
    pub fn first_at_or_after(&self, time: TimestampMs, upper: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let (log_start, segments) = self.readable_segments()?;
        for segment in segments {
            if segment.base >= upper {
                break;
            }
            let file = segment.file(self.shared.fs(), self.shared.open_files())?;
            let (newest, hint) = segment.with_index(file.as_ref(), self.shared.fs(), |index| {
                (index.max_timestamp(), index.offset_before(time))
            })?;
            if newest < time {
                continue;
            }
            let found = self.search(&segment, hint.max(log_start), |batch| first_in(batch, time, log_start))?;
            if let Some(found) = found.filter(|found| found.offset < upper) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp below `upper`; of several the first. May wait for the disk.
    ///
    /// # Errors
    /// When the log is unavailable, or can't be read.
    pub fn newest_timestamp(&self, upper: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let (_, segments) = self.readable_segments()?;
        let mut newest = TimestampMs::NONE;
        for segment in &segments {
            let file = segment.file(self.shared.fs(), self.shared.open_files())?;
            let here = segment.with_index(file.as_ref(), self.shared.fs(), |index| index.max_timestamp())?;
            newest = newest.max(here);
        }
        if newest == TimestampMs::NONE { Ok(None) } else { self.first_at_or_after(newest, upper) }
    }

    fn readable_segments(&self) -> Result<(Offset, Vec<Arc<Segment>>), ReadError> {
        let state = self.lock();
        self.check_available(&state)?;
        let first = state.segment_of(state.log_start).unwrap_or(0);
        Ok((state.log_start, state.segments[first.min(state.segments.len())..].to_vec()))
    }

    /// Asks batch by batch from `from` on, until one answers.
    fn search(
        &self,
        segment: &Segment,
        from: Offset,
        ask: impl Fn(&Batch) -> Option<TimestampOffset>,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let (fs, open) = (self.shared.fs(), self.shared.open_files());
        let file = segment.file(fs, open)?;
        let Some((position, _)) = segment.find(file.as_ref(), fs, from.max(segment.base), crate::fs::Wait::Allowed)?
        else {
            return Ok(None);
        };
        let mut scan = BatchScan::new(file.as_ref(), position, segment.durable());
        while let Some((_, batch)) = scan.next()? {
            if let Some(found) = ask(&batch) {
                return Ok(Some(found));
            }
        }
        if scan.position() < segment.durable() {
            return Err(self.damaged(segment, scan.position(), "no intact batch is there"));
        }
        Ok(None)
    }
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
