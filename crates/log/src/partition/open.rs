//! A log as a restart finds it: what the checkpoint says of its segments, then its entries in the journal.
//!
//! Invariant: bytes behind what the checkpoint knows were never counted and are cut; nothing else is changed. Segments that are shorter than the
//! checkpoint says, or do not reach its log start, take the log offline with a reason, and its entries are parked.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

use kennet_protocol::{Offset, TimestampMs};

use crate::checkpoint::{LastSegment, LogCheckpoint};
use crate::config::LogConfig;
use crate::error::Unavailable;
use crate::fs::{Directory, FileSystem, final_error, is_final, is_transient};
use crate::journal::entry::Entry;
use crate::layout;
use crate::partition::{LogId, PartitionLog, PlannedSegment, State, parked};
use crate::scan::to_u64;
use crate::segment::Segment;
use crate::shared::{Opens, Shared};

/// A log that can't be opened for lack of a file handle is tried so often, a tenth of a second apart, before it is taken for one that can't be read:
/// a start waits that long, and whoever holds handles then does not give them back.
const TRIES: u32 = 100;

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
        mut found: RecoveredLog,
        config: LogConfig,
        now: TimestampMs,
    ) -> Arc<Self> {
        let first_entry = found.entries.first().map(|(entry, _)| *entry);
        let with_parked =
            patiently(&shared, || Ok(parked::add_entries(shared.fs(), shared.root(), &mut found, shared.rules())?));
        let log_start = found.log_start();
        let RecoveredLog { checkpoint, entries } = found;
        let (id, topic, number) = (checkpoint.id.clone(), checkpoint.topic.clone(), checkpoint.number);
        let directory = layout::partition(shared.root(), id.topic_id, id.partition);
        let rules = shared.rules();
        let compaction = checkpoint.compaction;
        // parked again they would replace those that can't be read: then they stay in the journal
        let may_park = with_parked.is_ok();
        let segments = with_parked.and_then(|()| {
            patiently(&shared, || {
                remove_remains(shared.fs(), &directory, checkpoint.is_parked, rules.swaps_are_finished)?;
                segments(shared.fs(), &directory, &checkpoint, log_start, rules.unknown_bytes_are_cut)
            })
        });
        let mut state = State::empty(config);
        state.clean_below = compaction.clean_below;
        state.number = Some(number);
        state.through = checkpoint.through;
        match segments {
            Ok(segments) => {
                state.has_parked_file = checkpoint.is_parked;
                state.restore(checkpoint, segments, now);
                for (number, entry) in entries {
                    state.replay(number, entry, now);
                }
                state.epochs.cut_front(log_start);
            }
            Err(error) => {
                if let RecoveryError::Io(error) = &error
                    && is_final(error)
                {
                    shared.fail(&error.to_string());
                }
                state.unavailable = Some(Unavailable::Offline { reason: error.to_string().into() });
                state.parked = may_park.then(|| Arc::new(RecoveredLog { checkpoint, entries }));
            }
        }
        // what was parked may be all there is, and is filled like what is only in the journal
        state.unsynced = first_entry.or_else(|| state.first_unsynced(state.through));
        let unsynced = state.unsynced;
        let removes_early = state.has_parked_file && !rules.parked_entries_wait_for_the_checkpoint;
        shared.add_tail_bytes(state.tail.held_bytes());
        let log = Self::with(Arc::clone(&shared), id, &topic, state, log_start);
        log.gaps_below.store(compaction.gaps_below.0, std::sync::atomic::Ordering::Release);
        if removes_early {
            log.remove_parked();
        }
        let log = Arc::new(log);
        if let Some(entry) = unsynced {
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
            gaps_below: AtomicI64::new(0),
            compacting: Mutex::new(()),
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
        self.sealed_below = last.base;
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
                self.loose.note_start(number, offset);
                self.delete_from_tail(offset, number, true, now);
                // nothing that we wrote says so; records below the start could never be read
                if self.next_offset < offset {
                    self.next_offset = offset;
                    self.plan = Some(PlannedSegment::new(offset, now));
                }
            }
            Entry::Create { .. } => self.loose.note(number),
            // ends the log before it is opened
            Entry::Delete { .. } => {}
        }
    }
}

/// Tries again what failed for lack of a file handle, because that says nothing of the log.
fn patiently<T>(shared: &Shared, mut open: impl FnMut() -> Result<T, RecoveryError>) -> Result<T, RecoveryError> {
    for _ in 1..TRIES {
        match open() {
            Err(RecoveryError::Io(error)) if is_transient(&error) => shared.wait_for_handle(&error),
            opened => {
                shared.note_handle(Opens::Logs);
                return opened;
            }
        }
    }
    open()
}

/// Finishes the swaps of compacted segments that were durable, and removes what counts for nothing: what compaction had not come to an end with, and entries
/// that are not parked any more. That the checkpoint says so is durable, since the open count is.
fn remove_remains(fs: &dyn FileSystem, directory: &Path, is_parked: bool, finishes: bool) -> io::Result<()> {
    let (swaps, remains) = layout::remains(fs, directory, is_parked)?;
    if swaps.is_empty() && remains.is_empty() {
        return Ok(());
    }
    // before anything changes: a swap that has its name and is not durable would be forgotten by the next try
    let names = fs.open_directory(directory)?;
    for swap in swaps.iter().filter(|_| finishes) {
        let replaced: Vec<_> = layout::segments(fs, directory)?
            .into_iter()
            .filter(|(base, _)| *base != swap.base && swap.replaces(*base))
            .collect();
        replace(fs, directory, names.as_ref(), *swap, replaced.iter().map(|(base, _)| *base))?;
        fs.rename(&layout::swap(directory, swap.base, swap.end), &layout::segment(directory, swap.base, "log"))?;
        names.sync().map_err(|error| final_error(&error))?;
    }
    for name in remains {
        fs.remove_file(&directory.join(name))?;
    }
    Ok(())
}

/// Removes the segments that a durable swap replaces, and puts its index files in their place; durable when it returns. Only the batches'
/// file keeps the swap's name.
pub(super) fn replace(
    fs: &dyn FileSystem,
    directory: &Path,
    names: &dyn Directory,
    swap: layout::Swap,
    replaced: impl Iterator<Item = Offset>,
) -> io::Result<()> {
    for base in replaced {
        for kind in layout::SEGMENT_FILES {
            fs.remove_file(&layout::segment(directory, base, kind))?;
        }
    }
    for kind in ["index", "timeindex"] {
        match fs.rename(&layout::cleaned(directory, swap.base, kind), &layout::segment(directory, swap.base, kind)) {
            // it has its name already
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    names.sync().map_err(|error| final_error(&error))
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
                let file = fs.open_to_write(&layout::segment(directory, base, "log"))?;
                file.set_length(last.length)?;
                // the segment may be closed before it is written again, and then its length is believed
                fs.sync_files(&[file]).map_err(|error| final_error(&error))?;
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
