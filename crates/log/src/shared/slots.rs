//! How many slots the journal has and will have, and who is told that one more is needed.
//!
//! Invariant: there are never more slots than the limit, and none is taken away. Making one is the slot maker's matter, filling and freeing them the
//! filler's.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::fs::is_transient;
use crate::journal::writer::make_slot;
use crate::scan::to_u64;
use crate::shared::{Shared, locked};

/// What the slot maker waits for.
#[derive(Default)]
pub(super) struct Growing {
    is_wanted: bool,
    is_last: bool,
}

impl Shared {
    /// Bytes that the journal has.
    pub(super) fn capacity(&self) -> u64 {
        self.journal_capacity.load(Ordering::Relaxed)
    }

    /// Bytes that the journal has or will have when it needs them.
    pub(super) fn capacity_to_come(&self) -> u64 {
        if self.cannot_grow.load(Ordering::Relaxed) {
            return self.capacity();
        }
        to_u64(self.journal.slots_max) * self.journal.slot_bytes
    }

    /// Whether the last free slot will be needed soon.
    pub(crate) fn wants_slot(&self) -> bool {
        let is_small = self.capacity() - self.journal.slot_bytes < self.room_wanted.load(Ordering::Relaxed);
        let may_grow = !self.cannot_grow.load(Ordering::Relaxed) && self.failed().is_none();
        may_grow && (is_small || self.ledger().free_slots() <= 1)
    }

    /// Makes one more slot, unless there are enough.
    pub(crate) fn add_slot(&self) -> io::Result<()> {
        let slots = self.ledger().slots();
        if slots >= self.journal.slots_max {
            self.cannot_grow.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let slot = u32::try_from(slots).map_err(io::Error::other)?;
        if let Err(error) = make_slot(self.fs.as_ref(), &self.root, slot, self.journal.slot_bytes) {
            self.cannot_grow.store(!is_transient(&error), Ordering::Relaxed);
            return Err(error);
        }
        let mut ledger = self.ledger();
        ledger.add_free(slot);
        let slots = to_u64(ledger.slots());
        drop(ledger);
        self.journal_capacity.store(slots * self.journal.slot_bytes, Ordering::Relaxed);
        self.pending_changed.notify_all();
        Ok(())
    }

    pub(crate) fn want_growing(&self) {
        locked(&self.growing).is_wanted = true;
        self.growing_changed.notify_all();
    }

    pub(crate) fn stop_growing(&self) {
        locked(&self.growing).is_last = true;
        self.growing_changed.notify_all();
    }

    /// Waits until a slot may be needed; true when none ever will be.
    pub(crate) fn wait_for_growing(&self) -> bool {
        let mut growing = locked(&self.growing);
        loop {
            if growing.is_last || self.cannot_grow.load(Ordering::Relaxed) {
                return true;
            }
            if std::mem::take(&mut growing.is_wanted) {
                return false;
            }
            growing = self.growing_changed.wait(growing).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
