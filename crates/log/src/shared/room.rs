//! How much of memory, journal and volume is used, and whether an append may be taken.
//!
//! Invariant: what is taken can be written. Half a slot of the journal is never for appends, and its last blocks are for deletions of topics only, so
//! a full volume can always be emptied. Clients' records leave a reserve for the broker's own.

use std::sync::atomic::Ordering;

use kennet_protocol::TimestampMs;

use crate::error::AppendError;
use crate::journal::block::FRAGMENT_BYTES;
use crate::progress::Progress;
use crate::scan::to_u64;
use crate::shared::Shared;

/// After the volume was full, it is looked at again this often.
const FULL_PROBE_MS: i64 = 1_000;
/// And it counts as no longer full with so much room.
const FULL_ROOM_BYTES: u64 = 4 << 20;
/// So many blocks of the journal are for deletions of topics alone.
const CONTROL_BLOCKS: usize = 64;

/// This part of the memory is kept from clients' records.
const RESERVE_PART: usize = 8;

/// Whose records are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Client,
    /// Those that the broker keeps for its clients: they may use the reserve.
    Broker,
}

/// Room of the journal for an append until it is pushed, which counts it by itself; its memory stays taken.
pub(crate) struct Room<'a> {
    shared: &'a Shared,
    pending: u64,
}

impl Room<'_> {
    /// There was none.
    fn give_back(self, held: usize) {
        self.shared.remove_tail_bytes(held);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.shared.pending_bytes.fetch_sub(self.pending, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn add_tail_bytes(&self, bytes: usize) {
        self.tail_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove_tail_bytes(&self, bytes: usize) {
        self.tail_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn tail_bytes(&self) -> usize {
        self.tail_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that should leave the memory now: when half of it is used, three quarters of that.
    pub(crate) fn tail_bytes_to_free(&self, is_urgent: bool) -> usize {
        let (used, limit) = (self.tail_bytes(), self.limits.memory_bytes_max);
        if used > limit / 2 || is_urgent { used.saturating_sub(limit / 8).max(usize::from(is_urgent)) } else { 0 }
    }

    pub(super) fn needs_filling(&self) -> bool {
        self.tail_bytes() > self.limits.memory_bytes_max / 2 || self.journal_is_half_used()
    }

    /// Of what appends may use: one slot is for entries that free something.
    pub(super) fn journal_is_half_used(&self) -> bool {
        self.journal_used.load(Ordering::Relaxed) > (self.capacity_to_come() - self.journal.slot_bytes) / 2
    }

    /// Takes room for an append of so many bytes, which keeps so much memory, if there is some. Others ask at the same time, so it is taken before it is
    /// known to be there.
    pub(crate) fn take_room(
        &self,
        whose: Whose,
        length: usize,
        held: usize,
        now: TimestampMs,
    ) -> Result<Room<'_>, AppendError> {
        if self.is_full.load(Ordering::Acquire) {
            let due = now.0.saturating_sub(self.probed_at.load(Ordering::Relaxed)) >= FULL_PROBE_MS;
            if due {
                self.probed_at.store(now.0, Ordering::Relaxed);
            }
            if !(due && self.probe()) {
                return Err(AppendError::DiskFull);
            }
        }
        // what stays of the journal is for entries that free something
        let (memory_max, kept) = match whose {
            Whose::Client => {
                (self.limits.memory_bytes_max - self.limits.memory_bytes_max / RESERVE_PART, self.journal.slot_bytes)
            }
            Whose::Broker => (self.limits.memory_bytes_max, self.journal.slot_bytes / 2),
        };
        let room = self.capacity() - if self.rules.a_slot_is_kept_for_what_frees { kept } else { 0 };
        let room_max = self.capacity_to_come() - self.journal.slot_bytes;
        let alone = self.blocks_of(to_u64(length));
        let largest = (self.capacity_max() - self.journal.slot_bytes) / 2;
        if alone > largest {
            return Err(AppendError::TooLarge { bytes: length, bytes_max: usize::try_from(largest).unwrap_or(0) });
        }
        // the journal is smaller than it should be, because the volume has no room for it
        if alone > room_max / 2 {
            return Err(AppendError::DiskFull);
        }
        let (pending, tail, taken) = self.room_with(length, held);
        let used = self.journal_used.load(Ordering::Relaxed) + self.blocks_of(pending);
        if (tail > 0 && tail + held > memory_max) || used > room {
            taken.give_back(held);
            self.room_wanted.fetch_max(alone, Ordering::Relaxed);
            // whatever is used: it is too much for this one
            self.is_urgent.store(true, Ordering::Relaxed);
            self.want_filling();
            self.want_growing();
            return Err(AppendError::Busy { bytes: tail });
        }
        Ok(taken)
    }

    /// Takes it; returns the bytes that wait for the journal with it, and those that were in memory before it.
    fn room_with(&self, length: usize, held: usize) -> (u64, usize, Room<'_>) {
        let pending = to_u64(length + FRAGMENT_BYTES);
        let room = Room { shared: self, pending };
        (
            self.pending_bytes.fetch_add(pending, Ordering::Relaxed) + pending,
            self.tail_bytes.fetch_add(held, Ordering::Relaxed),
            room,
        )
    }

    /// Whether entries that may free nothing can be journaled; the last blocks are for those that do.
    pub(crate) fn has_control_room(&self) -> bool {
        if !self.rules.last_blocks_are_for_deletions {
            return true;
        }
        let blocks = to_u64(CONTROL_BLOCKS * self.journal.alignment).min(self.journal.slot_bytes / 4);
        self.journal_used.load(Ordering::Relaxed) + self.pending_bytes.load(Ordering::Relaxed) + blocks
            < self.capacity()
    }

    pub(crate) fn note_full(&self) {
        if !self.is_full.swap(true, Ordering::AcqRel) {
            self.progress.full(true);
        }
    }

    /// Whether the volume has room again.
    pub(super) fn probe(&self) -> bool {
        let has_room = self.fs.space(&self.root).is_ok_and(|space| space.available >= FULL_ROOM_BYTES);
        if has_room && self.is_full.swap(false, Ordering::AcqRel) {
            self.progress.full(false);
            self.progress.room();
            self.want_filling();
        }
        has_room
    }
}
