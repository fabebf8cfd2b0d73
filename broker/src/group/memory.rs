//! What groups may take of the broker's memory. Members and offsets are charged as they come and go; whoever would take more is refused before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A group is one record, which has to be read in one go at the next start, and one answer to its leader: half of what a batch may be. It
/// is a thousand members with thirty kilobytes each.
pub(crate) const GROUP_BYTES_MAX: usize = super::load::BATCH_BYTES_MAX / 2;
/// What a group, a member or an offset takes beside its texts, roughly: structures, map entries, the allocator's rounding.
pub(super) const OVERHEAD_BYTES: usize = 256;

/// The memory of all groups of a broker.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Memory {
    /// So much for all groups together.
    pub(crate) fn of(bytes: u64) -> Self {
        Self::new(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    pub(super) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    /// What is left. Shards look at it each under its own lock, so a few requests at the same time may overdraw it.
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.used.load(Ordering::Relaxed))
    }
}

/// What one holder takes; given back when this is dropped. What was read from the log is charged without a question.
#[derive(Debug)]
pub(super) struct Charge {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn set(&mut self, bytes: usize) {
        self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
