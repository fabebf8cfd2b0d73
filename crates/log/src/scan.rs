//! Reads a segment file batch by batch, in large steps.
//!
//! Two depths: headers only, to find a batch whose bytes are checked by whoever serves them, and whole batches with their
//! checksums, for recovery. Never allocates more than the file has bytes left.

use std::io;

use bytes::Bytes;
use kennet_protocol::record::{Batch, BatchHeader, HEADER_LENGTH};

use crate::fs::{File, Wait, read_exact};

/// Read in one go while scanning for headers: a window of the index and a header behind it.
pub(crate) const HEADER_WINDOW: usize = 8 * 1024;
/// Where one window follows another, each is twice as large, up to this: nothing reads ahead of a segment's readers.
const HEADER_WINDOW_MAX: usize = 256 * 1024;
/// Read in one go while checking whole batches.
const BATCH_WINDOW: usize = 1 << 20;

/// Steps from header to header.
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn File,
    end: u64,
    wait: Wait,
    window: Vec<u8>,
    window_start: u64,
    window_length: usize,
}

impl<'a> HeaderScan<'a> {
    /// Scans the first `end` bytes of a file.
    pub(crate) fn new(file: &'a dyn File, end: u64, wait: Wait) -> Self {
        Self { file, end, wait, window: Vec::new(), window_start: 0, window_length: HEADER_WINDOW }
    }

    /// Where the bytes end that it scans.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The header at `position`; `None` when no whole batch fits there.
    pub(crate) fn at(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        if position + to_u64(HEADER_LENGTH) > self.end {
            return Ok(None);
        }
        let inside = position.checked_sub(self.window_start).and_then(|at| usize::try_from(at).ok());
        let held = inside.and_then(|at| self.window.get(at..)).and_then(BatchHeader::parse);
        let header = match held {
            Some(header) => Some(header),
            None => {
                self.fill(position)?;
                BatchHeader::parse(&self.window)
            }
        };
        let fits = |header: &BatchHeader| {
            header.total_length().is_some_and(|length| position + to_u64(length) <= self.end)
                && header.last_offset_delta >= 0
        };
        Ok(header.filter(fits))
    }

    fn fill(&mut self, position: u64) -> io::Result<()> {
        let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        // with large batches most of what lies between their headers is not read
        let window_end = self.window_start + to_u64(self.window.len());
        let goes_on = !self.window.is_empty() && position < window_end + to_u64(HEADER_WINDOW);
        self.window_length = if goes_on { (2 * self.window_length).min(HEADER_WINDOW_MAX) } else { HEADER_WINDOW };
        self.window.resize(self.window_length.min(left), 0);
        let read = read_exact(self.file, &mut self.window, position, self.wait)?;
        self.window.truncate(read);
        self.window_start = position;
        Ok(())
    }
}

/// Steps from batch to batch and checks each.
pub(crate) struct BatchScan<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    window: Bytes,
}

impl<'a> BatchScan<'a> {
    /// Scans a file from `position` to `end`.
    pub(crate) fn new(file: &'a dyn File, position: u64, end: u64) -> Self {
        Self { file, position, end, window: Bytes::new() }
    }

    /// Where the next batch starts; after the scan's last batch, the first byte that is not part of one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch and its position; `None` when the bytes there are no intact batch.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Batch)>> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        if left < HEADER_LENGTH {
            return Ok(None);
        }
        if self.window.len() < HEADER_LENGTH {
            self.fill(BATCH_WINDOW.min(left))?;
        }
        let Some(length) = BatchHeader::parse(&self.window).and_then(|header| header.total_length()) else {
            return Ok(None);
        };
        if length > left {
            return Ok(None);
        }
        if length > self.window.len() {
            self.fill(length.max(BATCH_WINDOW.min(left)))?;
        }
        let Ok(batch) = Batch::parse(&self.window) else { return Ok(None) };
        let at = self.position;
        self.window = self.window.slice(length..);
        self.position += to_u64(length);
        Ok(Some((at, batch)))
    }

    fn fill(&mut self, length: usize) -> io::Result<()> {
        let mut window = vec![0; length];
        let read = read_exact(self.file, &mut window, self.position, Wait::Allowed)?;
        window.truncate(read);
        self.window = window.into();
        Ok(())
    }
}

/// A length in memory as a length in a file.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
