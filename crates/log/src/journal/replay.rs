//! Reads the journal back after a start.
//!
//! Invariant: entries come in the order in which they were written, from an unbroken chain of blocks that begins at the checkpoint's anchor.
//! The chain ends at the first place where its next block is not. That is a torn end if nothing later was ever written; any later header proves
//! damage, because a block is written only when the one before it is durable. Nothing is changed here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::fs::{File, FileSystem, Wait, read_bytes, read_exact};
use crate::journal::block::{BlockHeader, FoundHeader, HEADER_BYTES, Malformed, fragments};
use crate::journal::entry::Entry;
use crate::journal::ledger::{Place, UsedSlot};
use crate::journal::{slot_number, slot_path, slots_directory};
use crate::rules::Rules;
use crate::scan::to_u64;

/// Read in one go when later blocks are looked for.
const SEARCH_WINDOW: usize = 1 << 20;

/// What the journal holds behind the anchor.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Where the next block goes.
    pub(crate) end: Place,
    /// Slots with blocks that were read, oldest first.
    pub(crate) used: Vec<UsedSlot>,
    /// All others.
    pub(crate) free: Vec<u32>,
    /// What is wrong: entries that were durable can't be read. Nothing may be written then.
    pub(crate) damage: Option<String>,
}

impl Replayed {
    /// Of a journal that can't be read.
    pub(crate) fn nothing(anchor: Place) -> Self {
        let used = vec![UsedSlot { start: anchor, last_started: 0 }];
        Self { end: anchor, used, free: Vec::new(), damage: None }
    }
}

struct Slot {
    number: u32,
    file: Arc<dyn File>,
    length: u64,
}

struct Replay<'a, F> {
    root: &'a Path,
    journal_id: u128,
    alignment: usize,
    slots: Vec<Slot>,
    each: F,
    rules: Rules,
    open_count: u64,
    /// The entry that has started and not ended.
    partial: Option<BytesMut>,
    used: Vec<UsedSlot>,
}

/// Reads all entries from `anchor` on.
///
/// # Errors
/// The system's. Damage is no error but part of the answer.
pub(crate) fn replay(
    fs: &dyn FileSystem,
    root: &Path,
    journal_id: u128,
    alignment: usize,
    anchor: Place,
    rules: Rules,
    each: impl FnMut(u64, Entry),
) -> io::Result<Replayed> {
    let slots = open_slots(fs, root)?;
    let mut replay = Replay {
        root,
        journal_id,
        alignment,
        slots,
        each,
        rules,
        open_count: 0,
        partial: None,
        used: vec![UsedSlot { start: anchor, last_started: anchor.first_entry.saturating_sub(1) }],
    };
    let (end, damage) = replay.run(anchor)?;
    let is_free = |slot: &&Slot| replay.used.iter().all(|used| used.start.slot != slot.number);
    // one whose making was interrupted is shorter
    let slot_bytes = replay.slots.iter().map(|slot| slot.length).max().unwrap_or(0);
    let is_whole = |slot: &&Slot| slot.length >= slot_bytes;
    let free = replay.slots.iter().filter(is_free).filter(is_whole).map(|slot| slot.number).collect();
    Ok(Replayed { end, free, used: replay.used, damage })
}

/// Whether the journal has any block, wherever it lies.
///
/// # Errors
/// The system's.
pub(crate) fn has_blocks(fs: &dyn FileSystem, root: &Path, journal_id: u128, alignment: usize) -> io::Result<bool> {
    for slot in open_slots(fs, root)? {
        if find_block(&slot, 0, alignment, |bytes| BlockHeader::find(bytes, journal_id, true))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open_slots(fs: &dyn FileSystem, root: &Path) -> io::Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for entry in fs.list(&slots_directory(root))? {
        if let Some(number) = slot_number(&entry.name) {
            slots.push(Slot { number, file: fs.open(&slot_path(root, number))?, length: entry.length });
        }
    }
    slots.sort_by_key(|slot| slot.number);
    Ok(slots)
}

/// Looks at every place from `from` on where a block can start, for one that `find` takes; returns its position and header.
fn find_block(
    slot: &Slot,
    from: u64,
    alignment: usize,
    find: impl Fn(&[u8]) -> Option<FoundHeader>,
) -> io::Result<Option<(u64, FoundHeader)>> {
    let mut at = from;
    while at < slot.length {
        let left = usize::try_from(slot.length - at).unwrap_or(usize::MAX);
        let window = read_bytes(slot.file.as_ref(), SEARCH_WINDOW.min(left), at, Wait::Allowed)?;
        for inside in (0..window.len()).step_by(alignment) {
            if let Some(found) = find(&window[inside..]) {
                return Ok(Some((at + to_u64(inside), found)));
            }
        }
        if window.len() < alignment {
            break;
        }
        at += to_u64(window.len() / alignment * alignment);
    }
    Ok(None)
}

impl<F: FnMut(u64, Entry)> Replay<'_, F> {
    /// Follows the chain; returns its end, and what is wrong if it should not end there.
    fn run(&mut self, anchor: Place) -> io::Result<(Place, Option<String>)> {
        let mut end = anchor;
        if self.slot(anchor.slot).is_none() {
            let path = slot_path(self.root, anchor.slot);
            return Ok((end, Some(format!("{} is missing, which the checkpoint names", path.display()))));
        }
        loop {
            let Some((place, found, content)) = self.next_block(end)? else { break };
            if place.slot != end.slot {
                if self.used.iter().any(|used| used.start.slot == place.slot) {
                    let problem = "the checkpoint is older than the slot's content, so a newer one is damaged";
                    return Ok((end, Some(format!("{}: {problem}", self.describe(place)))));
                }
                self.used.push(UsedSlot { start: place, last_started: place.first_entry.saturating_sub(1) });
            }
            let next_entry = match self.take(&found, &content) {
                Ok(next_entry) => next_entry,
                Err(error) => return Ok((end, Some(format!("{} is damaged: {error}", self.describe(place))))),
            };
            if let Some(used) = self.used.last_mut() {
                used.last_started = next_entry - 1;
            }
            end = Place {
                slot: place.slot,
                position: place.position + found.length().next_multiple_of(to_u64(self.alignment)),
                sequence: place.sequence + 1,
                previous: found.checksum,
                first_entry: next_entry,
            };
        }
        // an entry that never ended has its number given again
        if self.partial.take().is_some() {
            end.first_entry -= 1;
        }
        // nothing of it is needed: its slots don't wait for the entry that gets its number, which may need their room
        for used in &mut self.used {
            used.last_started = used.last_started.min(end.first_entry - 1);
        }
        let later = self.later_header(end)?;
        let damage = later.map(|later| {
            format!(
                "{} is damaged: block {} was durable, because {} follows it",
                self.describe(end),
                end.sequence,
                self.describe(later)
            )
        });
        Ok((end, damage))
    }

    /// The block that follows, behind the last one or at the front of another slot.
    fn next_block(&self, end: Place) -> io::Result<Option<(Place, FoundHeader, Bytes)>> {
        let here = self.slot(end.slot).map(|slot| (slot, end.position));
        let fronts = self.slots.iter().filter(|slot| slot.number != end.slot).map(|slot| (slot, 0));
        for (slot, position) in here.into_iter().chain(fronts) {
            let place = Place { slot: slot.number, position, ..end };
            let Some(found) = self.header(slot, position)? else { continue };
            let is_bound = found.header.previous == end.previous || !self.rules.blocks_are_chained;
            if found.header.sequence != end.sequence || !is_bound {
                continue;
            }
            if let Some(content) = self.content(slot, position, &found)? {
                return Ok(Some((place, found, content)));
            }
        }
        Ok(None)
    }

    fn header(&self, slot: &Slot, position: u64) -> io::Result<Option<FoundHeader>> {
        let mut bytes = [0; HEADER_BYTES];
        let read = read_exact(slot.file.as_ref(), &mut bytes, position, Wait::Allowed)?;
        Ok(self.find(&bytes[..read]))
    }

    fn find(&self, bytes: &[u8]) -> Option<FoundHeader> {
        BlockHeader::find(bytes, self.journal_id, self.rules.blocks_carry_the_journals_id)
    }

    fn content(&self, slot: &Slot, position: u64, found: &FoundHeader) -> io::Result<Option<Bytes>> {
        if position + found.length() > slot.length {
            return Ok(None);
        }
        let length = usize::try_from(found.header.content_length).map_err(io::Error::other)?;
        let content = read_bytes(slot.file.as_ref(), length, position + to_u64(HEADER_BYTES), Wait::Allowed)?;
        Ok((found.holds(&content) || !self.rules.torn_blocks_are_no_blocks).then(|| content.into()))
    }

    /// Takes the entries that end in a block; returns the number of the next entry that starts.
    fn take(&mut self, found: &FoundHeader, content: &Bytes) -> Result<u64, Malformed> {
        if found.header.open_count < self.open_count {
            return Err(Malformed);
        }
        if found.header.open_count > self.open_count {
            // who wrote the start of an entry before a restart never wrote its end
            self.partial = self.partial.take().filter(|_| !self.rules.unfinished_entries_are_dropped);
            self.open_count = found.header.open_count;
        }
        let mut next = found.header.first_entry;
        for fragment in fragments(content) {
            let fragment = fragment?;
            if fragment.starts {
                next += 1;
                if fragment.ends {
                    self.give(next - 1, own(content, fragment.bytes))?;
                    continue;
                }
                self.partial = Some(BytesMut::from(fragment.bytes));
            } else if let Some(partial) = &mut self.partial {
                // the entry is as long as what was read of it
                partial.extend_from_slice(fragment.bytes);
                if fragment.ends
                    && let Some(whole) = self.partial.take()
                {
                    self.give(next - 1, whole.freeze())?;
                }
            }
            // else the entry starts before the anchor: its log has it in segments
        }
        Ok(next)
    }

    fn give(&mut self, number: u64, bytes: Bytes) -> Result<(), Malformed> {
        (self.each)(number, Entry::decode(&bytes).ok_or(Malformed)?);
        Ok(())
    }

    /// A header that can't be there if the chain ends at `end`.
    fn later_header(&self, end: Place) -> io::Result<Option<Place>> {
        // the next block went to the front of another slot, where it may be the bad one: what follows it is behind it
        let left = self.slot(end.slot).map_or(0, |slot| slot.length.saturating_sub(end.position));
        let moved_on = left < to_u64(self.alignment);
        for slot in &self.slots {
            let from = if slot.number == end.slot { end.position } else { 0 };
            let front = self.header(slot, from)?;
            if let Some(found) = front.filter(|found| found.header.sequence > end.sequence) {
                return Ok(Some(Place { slot: slot.number, position: from, sequence: found.header.sequence, ..end }));
            }
            // a slot is filled from its front, so one that begins with an older block has no newer one behind it
            let is_older = slot.number != end.slot && front.is_some_and(|found| found.header.sequence < end.sequence);
            let may_hold_next = slot.number == end.slot || (moved_on && !is_older);
            if may_hold_next && let Some(found) = self.later_in(slot, from, end)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A later block from `from` on.
    fn later_in(&self, slot: &Slot, from: u64, end: Place) -> io::Result<Option<Place>> {
        let later = |bytes: &[u8]| self.find(bytes).filter(|found| found.header.sequence > end.sequence);
        let found = find_block(slot, from, self.alignment, later)?;
        Ok(found.map(|(position, found)| Place { slot: slot.number, position, sequence: found.header.sequence, ..end }))
    }

    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.number == number)
    }

    fn describe(&self, place: Place) -> String {
        format!("{} at byte {} (block {})", slot_path(self.root, place.slot).display(), place.position, place.sequence)
    }
}

/// An entry must not keep a block in memory that is mostly others'.
fn own(content: &Bytes, bytes: &[u8]) -> Bytes {
    if bytes.len() * 2 < content.len() { Bytes::copy_from_slice(bytes) } else { content.slice_ref(bytes) }
}
