//! What a restart need not read again: for each log what its segments hold, and from where on the journal is needed.
//!
//! Invariant: an item says only what was made durable before it was written, in segments, indexes and directories. Replay of the journal from
//! the anchor on, each log's entries behind its `through`, gives the state that was lost. It is never older than the journal's oldest slot.

mod codec;
mod file;

use hashbrown::HashMap;
use kennet_protocol::{Offset, ProducerId, TimestampMs};

pub(crate) use codec::crc;
pub(crate) use file::{CheckpointFile, FILES, Loaded, load};

use crate::epochs::LeaderEpochs;
use crate::journal::entry::LogNumber;
use crate::journal::ledger::Place;
use crate::partition::LogId;
use crate::producers::{Producer, Producers};

/// A log as its segments have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogCheckpoint {
    pub(crate) number: LogNumber,
    pub(crate) id: LogId,
    pub(crate) topic: Box<str>,
    /// The newest journal entry whose effects are in here and in the segments.
    pub(crate) through: u64,
    pub(crate) log_start: Offset,
    /// The offset behind the segments' last record.
    pub(crate) next_offset: Offset,
    /// The last segment, if there is one.
    pub(crate) last: Option<LastSegment>,
    pub(crate) epochs: LeaderEpochs,
    /// In a delta only those that changed.
    pub(crate) producers: Producers,
    /// In an item of its own.
    pub(crate) compaction: Compaction,
    /// Whether entries up to `through` are not in segments, which could not be opened, but in the file of parked entries.
    pub(crate) is_parked: bool,
}

/// How far a log is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Compaction {
    /// Below this, offsets may be missing between batches. Raised before the first one does.
    pub(crate) gaps_below: Offset,
    /// Below this there are no two records with the same key. Raised after a round.
    pub(crate) clean_below: Offset,
}

/// The newest segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastSegment {
    pub(crate) base: Offset,
    /// Its durable bytes, whole batches. What lies behind them in the file is never trusted.
    pub(crate) length: u64,
    /// Timestamp of its first batch, for `segment.ms`.
    pub(crate) first_timestamp: Option<TimestampMs>,
    /// Whether its index files are durable and cover all of it.
    pub(crate) is_indexed: bool,
}

/// One thing that a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The directory was opened for the n-th time.
    Opened(u64),
    /// Where replay starts.
    Anchor(Place),
    /// A number that was never given to a log.
    NextNumber(u64),
    /// A log, or what changed of it.
    Log(LogCheckpoint),
    /// The log's topic was deleted.
    Removed(LogNumber),
    /// A log was or will be compacted.
    Compaction(LogNumber, Compaction),
}

/// All that a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The data directory's secret; see `journal::block`.
    pub(crate) journal_id: u128,
    pub(crate) open_count: u64,
    pub(crate) anchor: Place,
    pub(crate) next_number: u64,
    pub(crate) logs: HashMap<LogNumber, LogCheckpoint>,
}

impl Checkpoint {
    /// Of a new data directory.
    pub(crate) fn new(journal_id: u128) -> Self {
        let anchor = Place { slot: 0, position: 0, sequence: 1, previous: 0, first_entry: 1 };
        Self { journal_id, open_count: 0, anchor, next_number: 1, logs: HashMap::new() }
    }

    pub(crate) fn apply(&mut self, item: Item) {
        match item {
            Item::Opened(count) => self.open_count = self.open_count.max(count),
            Item::Anchor(anchor) => self.anchor = anchor,
            Item::NextNumber(number) => self.next_number = self.next_number.max(number),
            Item::Removed(number) => {
                self.logs.remove(&number);
            }
            // one that is not known was deleted meanwhile
            Item::Compaction(number, compaction) => {
                if let Some(log) = self.logs.get_mut(&number) {
                    log.compaction = compaction;
                }
            }
            Item::Log(mut changed) => {
                if let Some(known) = self.logs.remove(&changed.number) {
                    changed.producers = merged(known.producers, changed.producers);
                    changed.compaction = known.compaction;
                }
                self.logs.insert(changed.number, changed);
            }
        }
    }

    /// Everything as items, for a new base.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item> + '_ {
        let head = [Item::Opened(self.open_count), Item::Anchor(self.anchor), Item::NextNumber(self.next_number)];
        let compacted = self.logs.values().filter(|log| log.compaction != Compaction::default());
        let compactions = compacted.map(|log| Item::Compaction(log.number, log.compaction));
        head.into_iter().chain(self.logs.values().cloned().map(Item::Log)).chain(compactions)
    }

    /// Forgets producers that nobody remembers any more.
    pub(crate) fn retain_producers(&mut self, is_remembered: impl Fn(LogNumber, ProducerId) -> bool) {
        for (number, log) in &mut self.logs {
            log.producers.retain(|id, _: &Producer| is_remembered(*number, id));
        }
    }
}

fn merged(mut known: Producers, changed: Producers) -> Producers {
    known.extend(changed);
    known
}
