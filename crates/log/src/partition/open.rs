//! A log as a restart finds it: what the checkpoint says of its segments, then its entries in the journal.
//!
//! Invariant: bytes behind what the checkpoint knows were never counted and are cut; nothing else is changed. Segments that are shorter than the
//! checkpoint says, or do not reach its log start, take the log offline with a reason, and its entries stay in the journal.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

use kennet_protocol::{Offset, TimestampMs};

use crate::checkpoint::{LastSegment, LogCheckpoint};
use crate::config::LogConfig;
use crate::error::Unavailable;
use crate::fs::FileSystem;
use crate::journal::entry::Entry;
use crate::layout;
use crate::partition::{LogId, PartitionLog, PlannedSegment, State};
use crate::scan::to_u64;
use crate::segment::Segment;
use crate::shared::Shared;

/// What a restart found of a log.
#[derive(Debug)]
pub(crate) struct RecoveredLog {
    /// As of the last checkpoint, or empty.
    pub(crate) checkpoint: LogCheckpoint,
    /// Later entries, in order.
    pub(crate) entries: Vec<(u64, Entry)>,
}

impl RecoveredLog {
    /// The first offset that can be read.
    pub(crate) fn log_start(&self) -> Offset {
        let starts = self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::LogStart { offset, .. } => Some(*offset),
            _ => None,
        });
        starts.fold(self.checkpoint.log_start, Offset::max)
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
enum RecoveryError {
    #[error("{0}")]
    Damaged(String),
    #[error("cannot read its files: {0}")]
    Io(#[from] io::Error),
}

impl PartitionLog {
    /// Opens a log of which nothing is known: an empty one, which touches no file.
    pub(crate) fn new(shared: Arc<Shared>, id: LogId, topic_name: &str, config: LogConfig) -> Self {
        Self::with(shared, id, topic_name, State::empty(config), Offset(0))
    }

    /// Opens a log that a restart found. The caller notes it among those with entries that are only in the journal.
    pub(crate) fn recovered(
        shared: Arc<Shared>,
        found: RecoveredLog,
        config: LogConfig,
        now: TimestampMs,
    ) -> Arc<Self> {
        let log_start = found.log_start();
        let RecoveredLog { checkpoint, entries } = found;
        let (id, topic, number) = (checkpoint.id.clone(), checkpoint.topic.clone(), checkpoint.number);
        let directory = layout::partition(shared.root(), id.topic_id, id.partition);
        let segments = segments(shared.fs(), &directory, &checkpoint, log_start, shared.rules().unknown_bytes_are_cut);
        let mut state = State::empty(config);
        state.number = Some(number);
        state.through = checkpoint.through;
        let first_entry = entries.first().map(|(entry, _)| *entry);
        match segments {
            Ok(segments) => {
                state.restore(checkpoint, segments, now);
                for (number, entry) in entries {
                    state.replay(number, entry, now);
                }
                state.epochs.cut_front(log_start);
            }
            Err(error) => {
                state.unavailable = Some(Unavailable::Offline { reason: error.to_string().into() });
            }
        }
        state.unsynced = first_entry;
        shared.add_tail_bytes(state.tail.held_bytes());
        let log = Arc::new(Self::with(Arc::clone(&shared), id, &topic, state, log_start));
        if let Some(entry) = first_entry {
            shared.add_unsynced(entry, &log);
        }
        log
    }

    /// A log of a directory that is damaged as a whole.
    pub(crate) fn offline(
        shared: Arc<Shared>,
        id: LogId,
        topic_name: &str,
        config: LogConfig,
        reason: Unavailable,
    ) -> Self {
        Self::with(shared, id, topic_name, State { unavailable: Some(reason), ..State::empty(config) }, Offset(0))
    }

    fn with(shared: Arc<Shared>, id: LogId, topic_name: &str, state: State, log_start: Offset) -> Self {
        Self {
            directory: layout::partition(shared.root(), id.topic_id, id.partition),
            id,
            topic_name: topic_name.into(),
            shared,
            writer: Mutex::new(()),
            durable_end: AtomicI64::new(state.next_offset.0),
            log_start: AtomicI64::new(log_start.0),
            is_unavailable: AtomicBool::new(state.unavailable.is_some()),
            state: Mutex::new(state),
        }
    }
}

impl State {
    fn restore(&mut self, checkpoint: LogCheckpoint, segments: Vec<Arc<Segment>>, now: TimestampMs) {
        self.next_offset = checkpoint.next_offset;
        self.epochs = checkpoint.epochs;
        self.producers = checkpoint.producers;
        self.segments = segments;
        let is_there = |last: &LastSegment| self.segments.last().is_some_and(|segment| segment.base == last.base);
        let Some(last) = checkpoint.last.filter(is_there) else { return };
        self.is_indexed = last.is_indexed;
        self.plan = Some(PlannedSegment {
            base: last.base,
            bytes: last.length,
            index_entries: last.length / self.config.index_interval_bytes.max(1),
            bytes_since_entry: 0,
            first_timestamp: last.first_timestamp,
            created: now,
        });
    }

    fn replay(&mut self, number: u64, entry: Entry, now: TimestampMs) {
        match entry {
            Entry::Append { batch, .. } => {
                let (header, length) = (batch.header, to_u64(batch.length()));
                if self.roll_before(&header, length, now) {
                    self.plan = Some(PlannedSegment::new(header.base_offset, now));
                }
                let held = batch.length();
                self.note_append(batch, held, number, header.max_timestamp);
            }
            Entry::LogStart { offset, .. } => {
                self.control_entry = number;
                self.starts.push((number, offset));
                let (freed, changed) = self.tail.delete_below(offset, number);
                self.unsaved_producers.extend(changed);
                if freed > 0 {
                    self.start_behind(now);
                }
            }
            Entry::Create { .. } => self.control_entry = number,
            // ends the log before it is opened
            Entry::Delete { .. } => {}
        }
    }
}

/// The segments that the checkpoint knows and the log start needs; others are removed, and what was never counted is cut.
fn segments(
    fs: &dyn FileSystem,
    directory: &Path,
    checkpoint: &LogCheckpoint,
    log_start: Offset,
    cuts: bool,
) -> Result<Vec<Arc<Segment>>, RecoveryError> {
    let mut found = layout::segments(fs, directory)?;
    let last = checkpoint.last;
    let known = found.partition_point(|(base, _)| last.is_some_and(|last| *base <= last.base));
    if cuts {
        remove(fs, directory, &found[known..])?;
    }
    found.truncate(known);
    // the last one may lie below the log start as a whole, too
    let ends = found.iter().skip(1).map(|(base, _)| *base).chain([checkpoint.next_offset]);
    let below = ends.take_while(|end| *end <= log_start && *end > Offset(0)).count().min(found.len());
    remove(fs, directory, &found[..below])?;
    found.drain(..below);
    let Some(last) = last.filter(|_| checkpoint.next_offset > log_start) else { return Ok(Vec::new()) };
    check(directory, &found, last, log_start)?;
    let mut segments = Vec::with_capacity(found.len());
    for (base, length) in found {
        if base < last.base {
            segments.push(Arc::new(Segment::closed(directory.to_owned(), base, length)));
        } else {
            if length > last.length && cuts {
                fs.open_to_write(&layout::segment(directory, base, "log"))?.set_length(last.length)?;
            }
            segments.push(Arc::new(Segment::reopened(directory.to_owned(), last)));
        }
    }
    Ok(segments)
}

fn check(directory: &Path, found: &[(Offset, u64)], last: LastSegment, log_start: Offset) -> Result<(), RecoveryError> {
    let path = |base| layout::segment(directory, base, "log");
    match found.last() {
        Some((base, length)) if *base == last.base && *length < last.length => Err(RecoveryError::Damaged(format!(
            "{} has {length} bytes, but {} were durable: its end is missing",
            path(last.base).display(),
            last.length
        ))),
        Some((base, _)) if *base == last.base => match found.first() {
            Some((first, _)) if *first > log_start => Err(RecoveryError::Damaged(format!(
                "{} is the first segment, but the log starts at {log_start}: what lies between is missing",
                path(*first).display()
            ))),
            _ => Ok(()),
        },
        _ => Err(RecoveryError::Damaged(format!("{} is missing", path(last.base).display()))),
    }
}

fn remove(fs: &dyn FileSystem, directory: &Path, segments: &[(Offset, u64)]) -> io::Result<()> {
    for (base, _) in segments {
        for kind in layout::SEGMENT_FILES {
            fs.remove_file(&layout::segment(directory, *base, kind))?;
        }
    }
    Ok(())
}
