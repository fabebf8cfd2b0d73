//! One partition's log.
//!
//! Offsets are given under a short lock, in the order in which entries go to the journal. What is below `durable_end` is in the journal or in
//! segments, may be read by anybody, and is never given up. The newest batches are in the tail, in memory; the filler moves them to segments.
//!
//! Lock order: writer, then state, then what the directory shares.

mod append;
mod compact;
mod delete;
mod fill;
mod lookup;
mod loose;
mod open;
pub(crate) mod parked;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};

pub use append::Appended;
pub use compact::Pace;
pub(crate) use fill::Filled;
pub use lookup::TimestampOffset;
pub(crate) use open::RecoveredLog;
pub use read::ReadLog;

use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::Unavailable;
use crate::journal::entry::LogNumber;
use crate::partition::loose::Loose;
use crate::producers::Producers;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::tail::Tail;

/// Which partition a log belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogId {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: PartitionIndex,
}

/// A partition's log. All methods may be called from any thread.
pub struct PartitionLog {
    id: LogId,
    topic_name: Arc<str>,
    directory: PathBuf,
    shared: Arc<Shared>,
    /// Held by whoever changes files: the filler, retention, deletion.
    writer: Mutex<()>,
    state: Mutex<State>,
    /// Everything below is durable; raised by the journal's thread.
    durable_end: AtomicI64,
    /// The first offset that can be read: raised when the entry that says so is durable.
    log_start: AtomicI64,
    /// Below this, compaction may have left gaps between batches; raised before the first one is there.
    gaps_below: AtomicI64,
    /// Held by whoever compacts.
    compacting: Mutex<()>,
    /// Whether it can't be used any more, so that what becomes durable is no acknowledgement.
    is_unavailable: AtomicBool,
}

/// What a log's state is at one moment, for metrics and DescribeLogDirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSummary {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// Everything below is on disk.
    pub durable_end: Offset,
    /// Bytes of all segments, and of what will be in segments.
    pub size_bytes: u64,
    /// Number of segments.
    pub segments: usize,
    /// Idempotent producers that are remembered.
    pub producers: usize,
    /// Compaction changed nothing at or above this offset.
    pub compacted_below: Offset,
    /// Segments that compaction could not read and leaves as they are.
    pub set_aside: usize,
}

struct State {
    config: LogConfig,
    unavailable: Option<Unavailable>,
    /// Given by the first entry of the log.
    number: Option<LogNumber>,
    /// Entries that no batch in the tail stands for.
    loose: Loose,
    /// The newest entry whose effects are in a durable checkpoint.
    through: u64,
    /// Where the log is noted among those with entries that are only in the journal.
    unsynced: Option<u64>,
    next_offset: Offset,
    epochs: LeaderEpochs,
    producers: Producers,
    /// Producers as of the end of the segments that no checkpoint has yet.
    unsaved_producers: Producers,
    /// Segments, oldest first.
    segments: Vec<Arc<Segment>>,
    /// A durable checkpoint has the segment with this base, so those before it never change any more.
    sealed_below: Offset,
    /// Below this the log is compacted.
    clean_below: Offset,
    /// Segments that compaction could not read, by base, and why.
    set_aside: BTreeMap<Offset, Arc<str>>,
    /// Whether the index files of the last segment are durable and cover it.
    is_indexed: bool,
    /// What the segments have and the tail has not, in bytes, while a pass moves batches from one to the other.
    only_in_segments: Option<u64>,
    /// The newest batches.
    tail: Tail,
    /// What a restart found of a log that could not be opened.
    parked: Option<Arc<RecoveredLog>>,
    /// The log took over what had been parked, and no checkpoint says so yet.
    has_parked_file: bool,
    /// The segment that the next batch goes to: the last one, or one that is not made yet.
    plan: Option<PlannedSegment>,
}

/// The segment that takes the next batch, with all that is in the tail.
struct PlannedSegment {
    base: Offset,
    bytes: u64,
    index_entries: u64,
    bytes_since_entry: u64,
    first_timestamp: Option<TimestampMs>,
    created: TimestampMs,
}

impl PartitionLog {
    /// Which partition this is.
    #[must_use]
    pub fn id(&self) -> &LogId {
        &self.id
    }

    /// The topic's name.
    #[must_use]
    pub fn topic_name(&self) -> &Arc<str> {
        &self.topic_name
    }

    /// The first offset that can be read. Never goes back.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.lock().next_offset
    }

    /// Everything below is on disk. Never goes back.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    /// An entry of this log is durable: raises the durable end. None when that is no acknowledgement any more.
    pub(crate) fn complete(&self, end: Offset) -> Option<Offset> {
        let before = self.durable_end.fetch_max(end.0, Ordering::AcqRel);
        (!self.is_unavailable.load(Ordering::Acquire)).then(|| end.max(Offset(before)))
    }

    /// Why the log can't be used, if so.
    #[must_use]
    pub fn unavailable(&self) -> Option<Unavailable> {
        self.shared.failed().or_else(|| self.lock().unavailable.clone())
    }

    /// The epoch of the newest batch.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.lock().epochs.latest()
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.lock().epochs.epoch_of(offset)
    }

    /// OffsetForLeaderEpoch (KIP-279): the largest epoch at or below `wanted`, and the offset where the next one starts. `leader` is
    /// the epoch of the present leader, which may have written nothing yet. `None` for an epoch that never was.
    #[must_use]
    pub fn end_of_epoch(&self, wanted: LeaderEpoch, leader: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.lock();
        state.epochs.end_of(wanted, leader, state.next_offset)
    }

    /// Takes new settings; they hold from the next append and the next retention pass on.
    pub fn set_config(&self, config: LogConfig) {
        self.lock().config = config;
    }

    /// Numbers for metrics and DescribeLogDirs.
    #[must_use]
    pub fn summary(&self) -> LogSummary {
        let state = self.lock();
        LogSummary {
            log_start: self.log_start(),
            log_end: state.next_offset,
            durable_end: self.durable_end(),
            size_bytes: state.size_bytes(),
            segments: state.segments.len(),
            producers: state.producers.count(),
            compacted_below: self.gaps_below(),
            set_aside: state.segments.iter().filter(|segment| state.set_aside.contains_key(&segment.base)).count(),
        }
    }

    /// Memory that is kept until its batches are in segments.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.lock().tail.held_bytes()
    }

    /// Its number, if it has one.
    pub(crate) fn known_number(&self) -> Option<LogNumber> {
        self.lock().number
    }

    /// Whether a producer is remembered. What a log has that could not be opened is not known here, so nobody of it may be forgotten.
    pub(crate) fn remembers(&self, producer: kennet_protocol::ProducerId) -> bool {
        let state = self.lock();
        state.unavailable.is_some() || state.producers.get(producer).is_some()
    }

    /// Forgets idempotent producers that were silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&self, now: TimestampMs) {
        let mut state = self.lock();
        let expiration = state.config.producer_id_expiration;
        state.producers.expire(now, expiration);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // a panic under this lock leaves no half change that later readers could not stand
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody changes its files: without threads, who wants to change them too would wait for itself.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn is_being_written(&self) -> bool {
        matches!(self.writer.try_lock(), Err(std::sync::TryLockError::WouldBlock))
    }

    /// Below this, compaction may have left gaps between batches.
    fn gaps_below(&self) -> Offset {
        Offset(self.gaps_below.load(Ordering::Acquire))
    }

    fn check_available(&self, state: &State) -> Result<(), Unavailable> {
        if let Some(reason) = self.shared.failed() {
            return Err(reason);
        }
        state.unavailable.clone().map_or(Ok(()), Err)
    }
}

impl State {
    fn empty(config: LogConfig) -> Self {
        Self {
            config,
            unavailable: None,
            number: None,
            loose: Loose::default(),
            through: 0,
            unsynced: None,
            next_offset: Offset(0),
            epochs: LeaderEpochs::default(),
            producers: Producers::default(),
            unsaved_producers: Producers::default(),
            segments: Vec::new(),
            sealed_below: Offset(0),
            clean_below: Offset(0),
            set_aside: BTreeMap::new(),
            is_indexed: false,
            only_in_segments: None,
            tail: Tail::default(),
            parked: None,
            has_parked_file: false,
            plan: None,
        }
    }

    fn size_bytes(&self) -> u64 {
        let in_segments = || self.segments.iter().map(|segment| segment.written()).sum::<u64>();
        self.only_in_segments.unwrap_or_else(in_segments) + crate::scan::to_u64(self.tail.segment_bytes())
    }

    /// The offset behind the segments' last record.
    fn written_end(&self) -> Offset {
        self.tail.front().map_or(self.next_offset, |front| front.batch.header.base_offset)
    }

    /// Whether nothing will be added to the last segment any more.
    fn last_is_closed(&self) -> bool {
        match (self.segments.last(), self.tail.front()) {
            (_, Some(front)) => front.starts_segment,
            (Some(last), None) => self.plan.as_ref().is_some_and(|plan| plan.base != last.base),
            (None, None) => true,
        }
    }

    /// An entry of the log that is not newer than the oldest one that a checkpoint with those up to `through` does not have.
    fn first_unsynced(&self, through: u64) -> Option<u64> {
        let batch = self.tail.front().map(|front| front.entry);
        [batch, self.loose.oldest_behind(through)].into_iter().flatten().min()
    }

    /// Takes out of the tail what lies below a log start that `entry` moved to `offset`; returns the memory that is free.
    fn delete_from_tail(&mut self, offset: Offset, entry: u64, holds_journal: bool, now: TimestampMs) -> usize {
        let first = self.tail.front().map(|front| front.entry);
        let (freed, changed) = self.tail.delete_below(offset, entry);
        self.unsaved_producers.extend(changed);
        if let Some(first) = first.filter(|_| freed > 0) {
            if holds_journal {
                self.loose.note_deleted(first, entry);
            }
            self.start_behind(now);
        }
        freed
    }

    /// Whether `segment` is one of the log's.
    fn has(&self, segment: &Segment) -> bool {
        self.segments.iter().any(|present| std::ptr::eq(Arc::as_ptr(present), segment))
    }

    /// The segment that holds `offset`, by place in the list.
    fn segment_of(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base <= offset).checked_sub(1)
    }
}

impl PlannedSegment {
    fn new(base: Offset, now: TimestampMs) -> Self {
        Self { base, bytes: 0, index_entries: 0, bytes_since_entry: 0, first_timestamp: None, created: now }
    }
}
