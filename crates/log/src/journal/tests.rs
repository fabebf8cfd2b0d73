//! The journal alone, on a disk that loses power: what was durable comes back in order, and damage is never taken for an end.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kennet_protocol::Offset;

use super::entry::{Entry, LogNumber};
use super::ledger::{Ledger, Place};
use super::replay::{Replayed, replay};
use super::writer::{Queued, WriteError, Writer, make_slot};
use super::{JournalLimits, slot_path, slots_directory};
use crate::fs::FileSystem;
use crate::fs::sim::{SimulatedDisk, Trouble};
use crate::rules::Rules;

const ROOT: &str = "/data";
const ID: u128 = 0x1234_5678_9abc;
const SLOT_BYTES: u64 = 4096;
const LIMITS: JournalLimits =
    JournalLimits { slot_bytes: SLOT_BYTES, slots_max: 3, block_bytes_max: 2048, alignment: 512 };

/// A journal over several lives; the anchor is what a checkpoint would have.
struct World {
    disk: SimulatedDisk,
    anchor: Place,
    opens: u64,
    /// The number of the newest entry that was reported durable.
    durable: u64,
    /// Entries by number, as they were sent.
    sent: Vec<String>,
    ledger: Arc<Mutex<Ledger>>,
    writer: Writer<()>,
    next: u64,
}

fn start() -> Place {
    Place { slot: 0, position: 0, sequence: 1, previous: 0, first_entry: 1 }
}

/// An entry of some length that says its number.
fn entry(number: u64, length: usize) -> Entry {
    let id = crate::partition::LogId {
        topic_id: kennet_protocol::Uuid::from_u128(u128::from(number)),
        partition: kennet_protocol::PartitionIndex(0),
    };
    if length == 0 {
        return Entry::LogStart { number: LogNumber(1), offset: Offset(i64::try_from(number).unwrap()) };
    }
    Entry::Create { number: LogNumber(number), id, topic: "x".repeat(length).into() }
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(&slots_directory(Path::new(ROOT))).unwrap();
        for folder in ["/", ROOT] {
            disk.sync_directory(Path::new(folder)).unwrap();
        }
        for slot in 0..3 {
            make_slot(&disk, Path::new(ROOT), slot, SLOT_BYTES, true).unwrap();
        }
        let (writer, ledger) = writer(&disk, &found_nothing(), 1);
        Self { disk, anchor: start(), opens: 1, durable: 0, sent: vec![String::new()], ledger, writer, next: 1 }
    }

    fn push(&mut self, length: usize) {
        let entry = entry(self.next, length);
        self.sent.truncate(usize::try_from(self.next).unwrap());
        self.sent.push(format!("{entry:?}"));
        self.writer.push([Queued { number: self.next, encoded: entry.encode(), tag: () }]);
        self.next += 1;
    }

    /// Writes all; makes room when there is none. Ends early when the power is off.
    fn write(&mut self) {
        while !self.writer.is_empty() {
            match self.writer.write_block() {
                Ok(done) => self.durable = done.last().map_or(self.durable, |entry| entry.number),
                Err(WriteError::NoSlot) => self.recycle(self.durable),
                Err(WriteError::Failed(_) | WriteError::Full | WriteError::NoHandle(_)) => return,
            }
        }
    }

    /// As after a checkpoint that says so.
    fn recycle(&mut self, synced: u64) {
        let mut ledger = self.ledger.lock().unwrap();
        self.anchor = ledger.anchor(synced);
        ledger.recycle(self.anchor, true);
    }

    fn replay(&self) -> (Replayed, Vec<(u64, String)>) {
        let mut entries = Vec::new();
        let each = |number, entry: Entry| entries.push((number, format!("{entry:?}")));
        let found = replay(&self.disk, Path::new(ROOT), ID, 512, self.anchor, Rules::default(), each).unwrap();
        (found, entries)
    }

    fn restart(&mut self, context: &str) {
        self.disk.restart();
        let (found, entries) = self.replay();
        assert_eq!(found.damage, None, "{context}");
        self.check(&entries, context);
        self.opens += 1;
        self.next = found.end.first_entry;
        self.durable = self.next - 1;
        (self.writer, self.ledger) = writer(&self.disk, &found, self.opens);
    }

    fn check(&self, entries: &[(u64, String)], context: &str) {
        // an entry that a power cut left without its end may start before the anchor; its number was given again, behind the anchor
        let first = entries.first().map_or(self.anchor.first_entry, |(number, _)| *number);
        assert!(
            first <= self.anchor.first_entry && first + 1 >= self.anchor.first_entry,
            "{context}: starts at {first}"
        );
        for (expected, (number, text)) in (first..).zip(entries) {
            assert_eq!(*number, expected, "{context}: numbers follow");
            assert_eq!(*text, self.sent[usize::try_from(*number).unwrap()], "{context}: entry {number}");
        }
        let end = first + u64::try_from(entries.len()).unwrap();
        assert!(end > self.durable, "{context}: {} was durable, the journal ends at {end}", self.durable);
    }
}

fn found_nothing() -> Replayed {
    let used = vec![super::ledger::UsedSlot { start: start(), last_started: 0 }];
    Replayed { end: start(), used, free: vec![1, 2], damage: None }
}

fn writer(disk: &SimulatedDisk, found: &Replayed, opens: u64) -> (Writer<()>, Arc<Mutex<Ledger>>) {
    let ledger = Ledger::new(SLOT_BYTES, found.used.clone(), found.free.clone(), found.end);
    let ledger = Arc::new(Mutex::new(ledger));
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    (Writer::new(fs, Path::new(ROOT), ID, opens, LIMITS, Arc::clone(&ledger)), ledger)
}

fn lives(seed: u64) {
    let mut world = World::new(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    for life in 0..4 {
        let call = world.disk.calls() + random.u64(1..60);
        world.disk.plan(call, Trouble::PowerOff);
        for _ in 0..60 {
            for _ in 0..random.usize(1..6) {
                world.push(if random.bool() { 0 } else { random.usize(1..900) });
            }
            world.write();
            if random.u8(..8) == 0 {
                world.recycle(random.u64(world.anchor.first_entry - 1..=world.durable));
            }
            if world.disk.is_off() {
                break;
            }
        }
        world.restart(&format!("seed {seed}, life {life}, power cut at call {call}"));
    }
}

#[test]
fn what_was_durable_comes_back_in_order_after_power_cuts() {
    (0..1_500).for_each(lives);
}

#[test]
fn an_entry_larger_than_a_slot_spans_slots() {
    let mut world = World::new(1);
    world.push(9_000);
    world.push(0);
    world.write();
    assert_eq!(world.durable, 2);
    world.restart("a large entry");
}

#[test]
fn a_flipped_bit_in_a_middle_block_is_damage() {
    let mut world = World::new(2);
    let mut ends = Vec::new();
    for length in [0, 700, 1_500, 300, 0] {
        world.push(length);
        world.write();
        ends.push(world.ledger.lock().unwrap().end());
    }
    let blocks = ends.len();
    let before_last = ends[blocks - 2];
    let last_place = before_last.slot;
    for (slot, byte) in (0..=last_place).flat_map(|slot| (0..4096usize).step_by(61).map(move |byte| (slot, byte))) {
        let path = slot_path(Path::new(ROOT), slot);
        if slot == last_place && byte as u64 >= before_last.position {
            break;
        }
        let (whole, _) = world.replay();
        assert_eq!(whole.damage, None);
        world.disk.flip(&path, byte);
        let (found, entries) = world.replay();
        // padding is no part of a block
        if entries.len() < blocks {
            assert!(found.damage.is_some(), "slot {slot}, byte {byte}: {} entries", entries.len());
        }
        world.disk.flip(&path, byte);
    }
}

#[test]
fn a_missing_slot_is_damage() {
    let mut world = World::new(3);
    for _ in 0..6 {
        world.push(1_400);
        world.write();
    }
    world.disk.remove_file(&slot_path(Path::new(ROOT), 0)).unwrap();
    assert!(world.replay().0.damage.is_some());
}

#[test]
fn without_a_free_slot_nothing_is_written_until_something_is_in_segments() {
    let mut world = World::new(4);
    let mut refused = false;
    for _ in 0..12 {
        world.push(1_400);
        if matches!(world.writer.write_block(), Err(WriteError::NoSlot)) {
            refused = true;
            break;
        }
        world.durable = world.next - 1;
    }
    assert!(refused);
    world.recycle(world.durable);
    world.write();
    assert!(world.writer.is_empty());
    world.restart("after slots were used again");
}
