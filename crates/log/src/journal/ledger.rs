//! Which slots of the journal are in use, and from where on a restart has to read.
//!
//! Invariant: a slot is free only when every entry that starts in it is in its log's segments and the checkpoint says so. The journal's thread
//! takes slots and notes blocks; the filler gives slots back after a checkpoint. Nothing here touches a file.

use std::collections::VecDeque;

/// Where a block stands, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The slot's number, which is its file's name.
    pub(crate) slot: u32,
    /// The byte in the slot.
    pub(crate) position: u64,
    /// The block's sequence.
    pub(crate) sequence: u64,
    /// The header checksum of the block before it.
    pub(crate) previous: u32,
    /// The number of the first entry that starts in it.
    pub(crate) first_entry: u64,
}

/// A slot with blocks that a restart may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsedSlot {
    /// Its first block that a restart may need.
    pub(crate) start: Place,
    /// The newest entry that starts in it.
    pub(crate) last_started: u64,
}

/// The slots.
#[derive(Debug)]
pub(crate) struct Ledger {
    slot_bytes: u64,
    /// Oldest first; the last is being written.
    used: VecDeque<UsedSlot>,
    free: VecDeque<u32>,
    /// Where the next block goes.
    end: Place,
    /// A slot is being made.
    is_growing: bool,
}

impl Ledger {
    /// The ledger after a replay; `used` is never empty and ends with the slot of `end`.
    pub(crate) fn new(slot_bytes: u64, used: Vec<UsedSlot>, free: Vec<u32>, end: Place) -> Self {
        Self { slot_bytes, used: used.into(), free: free.into(), end, is_growing: false }
    }

    /// Where the next block goes.
    pub(crate) fn end(&self) -> Place {
        self.end
    }

    /// Takes a free slot for the next block.
    pub(crate) fn take_free(&mut self) -> Option<u32> {
        let slot = self.free.pop_front()?;
        self.start_slot(slot);
        Some(slot)
    }

    /// The number of a slot that is to be made now: the lowest that no slot has, since one of those in between may have been lost. None while another
    /// one is being made.
    pub(crate) fn begin_slot(&mut self) -> Option<u32> {
        let has = |slot: u32| self.free.contains(&slot) || self.used.iter().any(|used| used.start.slot == slot);
        let slot = (0..=u32::MAX).find(|slot| !has(*slot))?;
        (!std::mem::replace(&mut self.is_growing, true)).then_some(slot)
    }

    /// It was made, or not.
    pub(crate) fn end_slot(&mut self, made: Option<u32>) {
        self.is_growing = false;
        self.free.extend(made);
    }

    fn start_slot(&mut self, slot: u32) {
        self.end = Place { slot, position: 0, ..self.end };
        self.used.push_back(UsedSlot { start: self.end, last_started: self.end.first_entry.saturating_sub(1) });
    }

    /// A block of `length` bytes, with padding, is durable; the next one is bound to `checksum`.
    pub(crate) fn note_block(&mut self, length: u64, checksum: u32, next_entry: u64) {
        self.end = Place {
            slot: self.end.slot,
            position: self.end.position + length,
            sequence: self.end.sequence + 1,
            previous: checksum,
            first_entry: next_entry,
        };
        if let Some(current) = self.used.back_mut() {
            current.last_started = next_entry - 1;
        }
    }

    /// Where a restart has to start to read, once everything up to and with entry `synced` is in segments.
    pub(crate) fn anchor(&self, synced: u64) -> Place {
        let current = self.used.len() - 1;
        let first = self.used.iter().take(current).find(|slot| slot.last_started > synced);
        match (first, self.used.back()) {
            (Some(slot), _) => slot.start,
            (None, Some(current)) if current.last_started > synced => current.start,
            _ => self.end,
        }
    }

    /// Frees the slots before the one that the anchor lies in, which is durable in the checkpoint now. That slot stays even when the journal has moved
    /// on meanwhile: behind the anchor is what no checkpoint has. Without `keeps_its_slot`, which is a rule, it goes.
    pub(crate) fn recycle(&mut self, anchor: Place, keeps_its_slot: bool) {
        let is_used = self.used.iter().any(|used| used.start.slot == anchor.slot);
        while let Some(oldest) = self.used.front() {
            let stays = match keeps_its_slot {
                true => !is_used || oldest.start.slot == anchor.slot,
                false => self.used.len() == 1 || oldest.start.sequence >= anchor.sequence,
            };
            if stays {
                break;
            }
            self.free.push_back(oldest.start.slot);
            self.used.pop_front();
        }
        if let Some(first) = self.used.front_mut().filter(|first| first.start.sequence < anchor.sequence) {
            first.start = anchor;
        }
    }

    /// The newest entry that starts in the oldest slot.
    pub(crate) fn oldest_slot_ends(&self) -> Option<u64> {
        self.used.front().map(|slot| slot.last_started)
    }

    /// Bytes that a restart would read or that can't be written before something is freed.
    pub(crate) fn used_bytes(&self) -> u64 {
        let whole = crate::scan::to_u64(self.used.len() - 1) * self.slot_bytes;
        let start = self.used.back().map_or(0, |current| current.start.position);
        whole + self.end.position.saturating_sub(start)
    }

    /// Slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.used.len() + self.free.len()
    }

    /// Slots that nothing is in.
    pub(crate) fn free_slots(&self) -> usize {
        self.free.len()
    }

    /// Bytes of a slot.
    pub(crate) fn slot_bytes(&self) -> u64 {
        self.slot_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Place, UsedSlot};

    fn ledger() -> Ledger {
        let start = Place { slot: 0, position: 0, sequence: 1, previous: 0, first_entry: 1 };
        Ledger::new(1_000, vec![UsedSlot { start, last_started: 0 }], vec![1, 2], start)
    }

    #[test]
    fn a_slot_is_free_once_every_entry_that_starts_in_it_is_in_segments() {
        let mut ledger = ledger();
        ledger.note_block(600, 11, 4);
        assert_eq!(ledger.take_free(), Some(1));
        ledger.note_block(600, 12, 6);
        assert_eq!(ledger.used_bytes(), 1_600);
        // entry 3 is the last that starts in slot 0
        assert_eq!(ledger.anchor(2).slot, 0);
        let anchor = ledger.anchor(3);
        assert_eq!((anchor.slot, anchor.sequence, anchor.previous, anchor.first_entry), (1, 2, 11, 4));
        ledger.recycle(anchor, true);
        assert_eq!(ledger.take_free(), Some(2));
        assert_eq!(ledger.take_free(), Some(0));
        assert_eq!(ledger.take_free(), None);
    }

    #[test]
    fn the_slot_of_the_anchor_stays_when_the_journal_moves_on_before_the_checkpoint_is_durable() {
        let mut ledger = ledger();
        ledger.note_block(400, 11, 4);
        let anchor = ledger.anchor(3);
        // an entry that starts behind the anchor and ends in the next slot
        ledger.note_block(600, 12, 5);
        assert_eq!(ledger.take_free(), Some(1));
        ledger.note_block(100, 13, 5);
        ledger.recycle(anchor, true);
        assert_eq!(ledger.anchor(3), anchor);
        assert_eq!(ledger.free_slots(), 1);
        // and one that ends where its slot does
        let end = ledger.anchor(4);
        assert_eq!((end.slot, end.position), (1, 100));
        ledger.recycle(end, true);
        assert_eq!(ledger.free_slots(), 2);
    }

    #[test]
    fn a_slot_is_made_once() {
        let mut ledger = ledger();
        assert_eq!((ledger.begin_slot(), ledger.begin_slot()), (Some(3), None));
        ledger.end_slot(None);
        assert_eq!(ledger.begin_slot(), Some(3));
        ledger.end_slot(Some(3));
        assert_eq!((ledger.begin_slot(), ledger.free_slots()), (Some(4), 3));
    }

    #[test]
    fn a_slot_that_was_lost_is_made_again_and_none_that_is_there() {
        let start = Place { slot: 0, position: 0, sequence: 1, previous: 0, first_entry: 1 };
        let mut ledger = Ledger::new(1_000, vec![UsedSlot { start, last_started: 0 }], vec![1, 3], start);
        assert_eq!(ledger.begin_slot(), Some(2));
        ledger.end_slot(Some(2));
        assert_eq!(ledger.begin_slot(), Some(4));
    }

    #[test]
    fn when_all_is_in_segments_a_restart_reads_nothing() {
        let mut ledger = ledger();
        ledger.note_block(600, 11, 4);
        let anchor = ledger.anchor(3);
        assert_eq!((anchor.slot, anchor.position, anchor.sequence), (0, 600, 2));
        ledger.recycle(anchor, true);
        assert_eq!(ledger.used_bytes(), 0);
        // but not in the middle of an entry, whose start is in the block before
        ledger.note_block(100, 12, 5);
        assert_eq!(ledger.anchor(3), anchor);
    }
}
