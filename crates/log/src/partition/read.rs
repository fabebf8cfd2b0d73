//! Reading: whole batches from an offset on, checked before they are served.
//!
//! The lock is held only to find the segment; the bytes are read without it, because durable bytes never change. Damage found here takes the
//! partition offline, and nothing is cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kennet_protocol::record::{Batch, BatchError, BatchHeader, HEADER_LENGTH};
use kennet_protocol::{LeaderEpoch, Offset};

use crate::error::{ReadError, Unavailable};
use crate::fs::{File, Wait, is_unreadable, read_bytes};
use crate::partition::PartitionLog;
use crate::scan::to_u64;
use crate::segment::{Reader, Segment};
use crate::tail::{TailBatch, copy_out};

/// Batches that were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadLog {
    /// Whole batches in offset order; the first contains the offset that was asked for.
    pub chunks: Vec<Bytes>,
    /// Their bytes.
    pub bytes: usize,
    /// The offset behind the last batch; up to here nothing was left out.
    pub next_offset: Offset,
    /// The epoch of the last batch.
    pub last_epoch: Option<LeaderEpoch>,
}

/// Where a read finds its batches.
enum View {
    Tail(ReadLog),
    Segments(Vec<Arc<Segment>>),
}

/// A read whose segments are taken away so often in a row reports what it met.
pub(super) const STALE_VIEWS_MAX: u32 = 8;

impl PartitionLog {
    /// Reads batches from the one that contains `from` up to `upper`, at most `bytes_max`, but at least one batch if
    /// `one_batch_at_least`.
    ///
    /// # Errors
    /// When `from` is outside of the log, would have to wait, or the log is unavailable or damaged.
    pub fn read(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
        one_batch_at_least: bool,
        wait: Wait,
    ) -> Result<ReadLog, ReadError> {
        let mut rounds = 0;
        loop {
            let segments = match self.view(from, upper, bytes_max, one_batch_at_least)? {
                View::Tail(read) => return Ok(read),
                View::Segments(segments) => segments,
            };
            match self.read_view(&segments, from, upper, bytes_max, one_batch_at_least, wait) {
                // retention, DeleteRecords or compaction changed the log under us: what was met says nothing about its bytes
                Err(ReadError::Io(_)) if rounds < STALE_VIEWS_MAX && !self.has_all(&segments) => rounds += 1,
                result => return result,
            }
        }
    }

    /// Reads in segments that were the log's a moment ago.
    fn read_view(
        &self,
        segments: &[Arc<Segment>],
        from: Offset,
        upper: Offset,
        bytes_max: usize,
        one_batch_at_least: bool,
        wait: Wait,
    ) -> Result<ReadLog, ReadError> {
        let mut read = ReadLog { next_offset: from, ..ReadLog::default() };
        for (at, segment) in segments.iter().enumerate() {
            let bytes_left = bytes_max.saturating_sub(read.bytes);
            let first_counts = one_batch_at_least && read.chunks.is_empty();
            let went_on = self
                .read_segment(segment, &mut read, upper, bytes_left, first_counts, wait)
                .map_err(|error| would_wait(self.unreadable(segment, error), from))?;
            if self.shared.open_files().too_many() {
                segment.close_file();
            }
            // also of a piece: who goes on behind it would not come to what it skipped
            let next = segments.get(at + 1);
            if went_on || next.is_some_and(|next| read.next_offset > next.base) {
                self.check_end(segment, read.next_offset, next)?;
            }
            if !went_on {
                break;
            }
        }
        // an offset below the durable end is in a batch; without this check its reader would ask again for ever
        match segments.first() {
            Some(segment) if one_batch_at_least && read.next_offset == from => {
                Err(self.damaged(segment, segment.written(), &format!("no batch holds offset {from}")))
            }
            _ => Ok(read),
        }
    }

    /// Whether these segments are still the log's.
    pub(super) fn has_all(&self, segments: &[Arc<Segment>]) -> bool {
        let state = self.lock();
        segments.iter().all(|segment| state.has(segment))
    }

    /// What holds `from`: batches of the tail, or segments from the one that has it on. Nothing at the end of the log.
    fn view(&self, from: Offset, upper: Offset, bytes_max: usize, one_batch_at_least: bool) -> Result<View, ReadError> {
        let state = self.lock();
        self.check_available(&state)?;
        let end = upper.min(self.durable_end());
        let start = self.log_start();
        if from < start || from > state.next_offset {
            return Err(ReadError::OutOfRange { offset: from, start, end });
        }
        if from >= end {
            return Ok(View::Segments(Vec::new()));
        }
        if from < state.written_end() {
            let first = state.segment_of(from).unwrap_or(0);
            return Ok(View::Segments(state.segments[first..].to_vec()));
        }
        // the bytes are shared; they are copied without the lock
        let mut bytes = 0;
        let within = |batch: &&TailBatch| {
            let takes = bytes < bytes_max || bytes == 0;
            bytes += batch.batch.length();
            takes
        };
        let batches: Vec<_> = state.tail.from(from).take_while(within).cloned().collect();
        drop(state);
        let mut read = ReadLog { next_offset: from, ..ReadLog::default() };
        if let Some(copied) = copy_out(batches.iter(), end, bytes_max, one_batch_at_least) {
            read.bytes = copied.bytes.len();
            read.next_offset = copied.next_offset;
            read.last_epoch = Some(copied.last_epoch);
            read.chunks.push(copied.bytes);
        }
        Ok(View::Tail(read))
    }

    /// What a segment is read with.
    pub(super) fn reader<'a>(&'a self, file: &'a dyn File, wait: Wait) -> Reader<'a> {
        Reader { file, fs: self.shared.fs(), wait, verifies: self.shared.rules().look_ups_verify_the_index }
    }

    /// Reads on in one segment; false when the read is complete.
    fn read_segment(
        &self,
        segment: &Segment,
        read: &mut ReadLog,
        upper: Offset,
        bytes_max: usize,
        one_batch_at_least: bool,
        wait: Wait,
    ) -> Result<bool, ReadError> {
        let end = segment.written();
        let file = match wait {
            Wait::Allowed => segment.file(self.shared.fs(), self.shared.open_files())?,
            Wait::Refused => segment.file_at_once()?,
        };
        let Some((position, header)) = segment.find(read.next_offset, self.reader(file.as_ref(), wait))? else {
            return Ok(true);
        };
        let first = header.total_length().unwrap_or(usize::MAX);
        if header.base_offset >= upper {
            // what the reader takes for the end may lie in what compaction has gone past meanwhile: up to there, nothing is left
            if self.follows(&header, read.next_offset, false) {
                read.next_offset = read.next_offset.max(upper);
            }
            return Ok(false);
        }
        if first > bytes_max && !one_batch_at_least {
            return Ok(false);
        }
        let left = usize::try_from(end - position).unwrap_or(usize::MAX);
        let length = first.max(bytes_max).min(left);
        debug_assert!(length >= HEADER_LENGTH, "a batch has a header");
        let bytes = Bytes::from(read_bytes(file.as_ref(), length, position, wait)?);
        let reaches_end = bytes.len() == left;
        let whole = self.check(segment, position, &bytes, upper, read)?;
        let is_all = whole == bytes.len();
        if whole > 0 {
            read.bytes += whole;
            read.chunks.push(front_of(bytes, whole));
        }
        Ok(reaches_end && is_all)
    }

    /// Checks the batches at the front of `bytes`; returns how many bytes of whole batches below `upper` there are.
    fn check(
        &self,
        segment: &Segment,
        position: u64,
        bytes: &Bytes,
        upper: Offset,
        read: &mut ReadLog,
    ) -> Result<usize, ReadError> {
        let mut whole = 0;
        while let Some(header) = BatchHeader::parse(&bytes[whole..]) {
            if header.base_offset >= upper {
                break;
            }
            let length = header.total_length().filter(|length| *length <= bytes.len() - whole);
            let parsed = match length.filter(|_| !self.shared.rules().checksums_are_checked) {
                Some(length) => Ok(length),
                None => Batch::parse(&bytes.slice(whole..)).map(|batch| batch.bytes().len()),
            };
            match parsed {
                // the checksum does not cover the offset; that batches follow one another does
                Ok(length) if self.follows(&header, read.next_offset, whole == 0) => {
                    whole += length;
                    read.next_offset = header.next_offset();
                    read.last_epoch = Some(header.partition_leader_epoch);
                }
                Err(BatchError::Truncated { .. }) => break,
                Ok(_) => return Err(self.damaged(segment, position + to_u64(whole), "its offset does not follow")),
                Err(error) => return Err(self.damaged(segment, position + to_u64(whole), &error.to_string())),
            }
        }
        Ok(whole)
    }

    /// Whether a batch starts where the one before it ended; the first of a read only has to contain the offset. Where the log was compacted
    /// batches may be missing before it, but none that reaches what was not compacted.
    fn follows(&self, header: &BatchHeader, next: Offset, is_first: bool) -> bool {
        let base = header.base_offset;
        if base > next {
            return base <= self.gaps_below();
        }
        if is_first { next < header.next_offset() } else { base == next }
    }

    /// A segment reaches to where the next one begins, compacted or not: what does not was cut, or the segment behind it is lost. Only what was deleted
    /// may be missing between two, and nobody reads that.
    pub(super) fn check_end(
        &self,
        segment: &Segment,
        end: Offset,
        next: Option<&Arc<Segment>>,
    ) -> Result<(), ReadError> {
        match next {
            // behind it as well: batches that are another segment's would let a reader skip what lies between
            Some(next) if end != next.base && self.shared.rules().readers_skip_no_end_of_a_segment => {
                let what = format!("it ends at offset {end}, but the next segment begins at {}", next.base);
                Err(self.damaged(segment, segment.written(), &what))
            }
            _ => Ok(()),
        }
    }

    /// A disk that can't give the bytes back takes the partition offline, like one that gives back others: it has no other copy to answer from.
    fn unreadable(&self, segment: &Segment, error: ReadError) -> ReadError {
        match error {
            ReadError::Io(error) if is_unreadable(&error) => {
                let reason = format!("{} can't be read: {error}", segment.path().display());
                self.take_offline(segment, reason)
            }
            other => other,
        }
    }

    /// Takes the partition offline, because its bytes are not those that were written. Not when the segment has been removed meanwhile: then
    /// an error says only that.
    pub(super) fn damaged(&self, segment: &Segment, position: u64, what: &str) -> ReadError {
        self.take_offline(segment, format!("{} is damaged at byte {position}: {what}", segment.path().display()))
    }

    fn take_offline(&self, segment: &Segment, reason: String) -> ReadError {
        let reason = Unavailable::Offline { reason: reason.into() };
        let mut state = self.lock();
        if !state.has(segment) {
            let path = segment.path();
            return ReadError::Io(io::Error::new(io::ErrorKind::NotFound, format!("{} was removed", path.display())));
        }
        let first = state.unavailable.get_or_insert(reason).clone();
        self.is_unavailable.store(true, Ordering::Release);
        drop(state);
        ReadError::Unavailable(first)
    }
}

/// The first `length` bytes. What is read behind the last whole batch is mostly little; where it is not, it is not kept in memory.
fn front_of(bytes: Bytes, length: usize) -> Bytes {
    if length < bytes.len() - bytes.len() / 8 {
        Bytes::copy_from_slice(&bytes[..length])
    } else {
        bytes.slice(..length)
    }
}

/// A read that would have to wait is no fault of the disk.
pub(super) fn would_wait(error: ReadError, offset: Offset) -> ReadError {
    match error {
        ReadError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => ReadError::WouldWait { offset },
        other => other,
    }
}
