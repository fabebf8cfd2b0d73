//! How many slots the journal has and will have, and who is told that one more is needed.
//!
//! Invariant: there are never more slots than the limit, and none is taken away. Making one is the slot maker's matter, filling and freeing them the
//! filler's.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::fs::{is_full, is_transient};
use crate::journal::writer::make_slot;
use crate::scan::to_u64;
use crate::shared::Shared;

/// How full the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalUse {
    /// Bytes of all its slots.
    pub bytes: u64,
    /// Bytes of the slots that a restart would read.
    pub used_bytes: u64,
    /// Whether it has been written through the page cache, because the file system refuses direct writes.
    pub is_buffered: bool,
}

impl Shared {
    /// Bytes that the journal has.
    pub(super) fn capacity(&self) -> u64 {
        self.journal_capacity.load(Ordering::Relaxed)
    }

    /// How full it is, for people.
    pub(crate) fn journal_use(&self) -> JournalUse {
        JournalUse {
            bytes: self.capacity(),
            used_bytes: self.journal_used.load(Ordering::Relaxed),
            is_buffered: self.is_told_buffered.load(Ordering::Relaxed),
        }
    }

    /// Bytes that the journal has or will have when it needs them.
    pub(super) fn capacity_to_come(&self) -> u64 {
        if self.cannot_grow.load(Ordering::Relaxed) || self.is_cramped.load(Ordering::Relaxed) {
            return self.capacity();
        }
        self.capacity_max()
    }

    /// Bytes that the journal has on a volume with enough room.
    pub(super) fn capacity_max(&self) -> u64 {
        to_u64(self.journal.slots_max) * self.journal.slot_bytes
    }

    /// Whether the last free slot will be needed soon.
    pub(crate) fn wants_slot(&self) -> bool {
        let is_small = self.capacity() - self.journal.slot_bytes < self.room_wanted.load(Ordering::Relaxed);
        let may_grow = !self.cannot_grow.load(Ordering::Relaxed) && self.failed().is_none();
        may_grow && (is_small || self.ledger().free_slots() <= 1)
    }

    /// Makes one more slot, unless there are enough; false when somebody else makes one.
    pub(crate) fn add_slot(&self) -> io::Result<bool> {
        let mut ledger = self.ledger();
        if ledger.slots() >= self.journal.slots_max {
            self.cannot_grow.store(true, Ordering::Relaxed);
            return Ok(true);
        }
        let Some(slot) = ledger.begin_slot() else { return Ok(false) };
        drop(ledger);
        let syncs = self.rules.slots_are_durable_before_use;
        let made = make_slot(self.fs.as_ref(), &self.root, slot, self.journal.slot_bytes, syncs);
        let mut ledger = self.ledger();
        ledger.end_slot(made.is_ok().then_some(slot));
        let slots = to_u64(ledger.slots());
        drop(ledger);
        self.is_cramped.store(made.as_ref().is_err_and(is_full), Ordering::Relaxed);
        if let Err(error) = made {
            self.cannot_grow.store(!is_transient(&error) && !is_full(&error), Ordering::Relaxed);
            return Err(error);
        }
        self.journal_capacity.store(slots * self.journal.slot_bytes, Ordering::Relaxed);
        self.pending_changed.notify_all();
        Ok(true)
    }

    pub(crate) fn want_growing(&self) {
        self.growing.want();
    }

    pub(crate) fn stop_growing(&self) {
        self.growing.stop();
    }

    /// Whether the volume had no room for a slot the last time.
    pub(crate) fn is_cramped(&self) -> bool {
        self.is_cramped.load(Ordering::Relaxed)
    }

    /// Waits until a slot may be needed, after a `pause` if the last one could not be made; true when none ever will be.
    pub(crate) fn wait_for_growing(&self, pause: Option<Duration>) -> bool {
        self.cannot_grow.load(Ordering::Relaxed) || self.growing.wait(pause)
    }
}
