//! One partition's log.
//!
//! Offsets are given under a short lock, in the order of which batches go to the flusher; files are written by the flusher alone. What
//! is below `durable_end` is on disk, may be read by anybody, and is never given up. What is above it can be taken back as a
//! whole when the volume is full (`generation` rises, whoever waits for it is told).
//!
//! Lock order: writer, then state, then the directory's pending list.

mod append;
mod delete;
mod lookup;
mod read;
mod write;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};

pub use append::Appended;
pub use lookup::TimestampOffset;
pub use read::ReadLog;
pub(crate) use write::{Work, Written};

use crate::config::LogConfig;
use crate::directory::Shared;
use crate::epochs::LeaderEpochs;
use crate::error::Unavailable;
use crate::index::SparseIndex;
use crate::layout;
use crate::producers::Producers;
use crate::recovery::{ActiveSegment, Recovered, RecoveryError, recover};
use crate::segment::Segment;

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
    /// Held by whoever changes files: the flusher, retention, deletion.
    writer: Mutex<()>,
    state: Mutex<State>,
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
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// Number of segments.
    pub segments: usize,
    /// Idempotent producers that are remembered.
    pub producers: usize,
}

struct State {
    config: LogConfig,
    unavailable: Option<Unavailable>,
    /// Raised when appended batches are taken back.
    generation: u64,
    log_start: Offset,
    next_offset: Offset,
    durable_end: Offset,
    epochs: LeaderEpochs,
    producers: Producers,
    /// Segments with durable content, oldest first; the last is the active one.
    segments: Vec<Arc<Segment>>,
    /// The segment that the next batch goes to, as far as it is planned: the flusher may not have come so far.
    plan: Option<PlannedSegment>,
    /// Whether anything was appended or cut since the last checkpoint.
    changed: bool,
}

/// The active segment with all that is pending.
struct PlannedSegment {
    base: Offset,
    bytes: u64,
    index_entries: u64,
    bytes_since_entry: u64,
    first_timestamp: Option<TimestampMs>,
    created: TimestampMs,
}

impl PartitionLog {
    /// Opens a log, recovering what its directory holds. A damaged log is there, but offline.
    pub(crate) fn open(
        shared: Arc<Shared>,
        id: LogId,
        topic_name: &str,
        config: LogConfig,
        now: TimestampMs,
        has_files: bool,
    ) -> Self {
        let directory = layout::partition(shared.root(), id.topic_id, id.partition);
        let state = if has_files { State::recovered(&shared, &directory, config, now) } else { State::empty(config) };
        Self { id, topic_name: topic_name.into(), directory, shared, writer: Mutex::new(()), state: Mutex::new(state) }
    }

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
        self.lock().log_start
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.lock().next_offset
    }

    /// Everything below is on disk. Never goes back.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.lock().durable_end
    }

    /// Raised when appended batches were taken back because they could not be written.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.lock().generation
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

    /// OffsetForLeaderEpoch (KIP-279): the largest epoch at or below `wanted`, and the offset where the next one starts.
    #[must_use]
    pub fn end_of_epoch(&self, wanted: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.lock();
        state.epochs.end_of(wanted, state.next_offset)
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
            log_start: state.log_start,
            log_end: state.next_offset,
            durable_end: state.durable_end,
            size_bytes: state.segments.iter().map(|segment| segment.durable()).sum(),
            segments: state.segments.len(),
            producers: state.producers.count(),
        }
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
            generation: 0,
            log_start: Offset(0),
            next_offset: Offset(0),
            durable_end: Offset(0),
            epochs: LeaderEpochs::default(),
            producers: Producers::default(),
            segments: Vec::new(),
            plan: None,
            changed: false,
        }
    }

    fn recovered(shared: &Shared, directory: &std::path::Path, config: LogConfig, now: TimestampMs) -> Self {
        match recover(shared.fs(), directory, config.index_interval_bytes) {
            Ok(found) => Self::from_files(found, directory, config, now),
            Err(error) => {
                let reason = match error {
                    RecoveryError::Damaged { reason } => reason,
                    RecoveryError::Io(error) => format!("cannot read {}: {error}", directory.display()).into(),
                };
                Self { unavailable: Some(Unavailable::Offline { reason }), ..Self::empty(config) }
            }
        }
    }

    fn from_files(found: Recovered, directory: &std::path::Path, config: LogConfig, now: TimestampMs) -> Self {
        let mut segments: Vec<_> = found
            .closed
            .iter()
            .map(|(base, length)| Arc::new(Segment::closed(directory.to_owned(), *base, *length)))
            .collect();
        let plan = found.active.as_ref().map(|active| PlannedSegment::of(active, now));
        if let Some(ActiveSegment { base, length, index, .. }) = found.active {
            segments.push(Arc::new(Segment::open(directory.to_owned(), index, base, length)));
        }
        Self {
            log_start: found.log_start,
            next_offset: found.next_offset,
            durable_end: found.next_offset,
            epochs: found.epochs,
            producers: found.producers,
            segments,
            plan,
            changed: found.bytes_cut > 0 || found.bytes_scanned > 0,
            ..Self::empty(config)
        }
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
    fn of(active: &ActiveSegment, now: TimestampMs) -> Self {
        Self {
            base: active.base,
            bytes: active.length,
            index_entries: 0,
            bytes_since_entry: 0,
            first_timestamp: active.first_timestamp,
            created: now,
        }
    }

    fn new(base: Offset, now: TimestampMs) -> Self {
        Self { base, bytes: 0, index_entries: 0, bytes_since_entry: 0, first_timestamp: None, created: now }
    }
}

fn new_active(directory: PathBuf, base: Offset) -> Arc<Segment> {
    Arc::new(Segment::open(directory, SparseIndex::new(base), base, 0))
}
