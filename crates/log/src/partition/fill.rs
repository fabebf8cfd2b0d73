//! From the tail into segments; the filler calls this, one pass at a time.
//!
//! Only batches whose entries are durable are written, so a segment never says more than the journal. What was written may be read at once; it
//! counts after the caller has made it durable and a checkpoint says so. Until then a restart cuts it off and takes it from the journal again.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use kennet_protocol::Offset;
use kennet_protocol::record::{BatchHeader, HEADER_LENGTH};

use crate::checkpoint::{Compaction, LastSegment, LogCheckpoint};
use crate::error::Unavailable;
use crate::fs::{Directory, File, FileSystem, final_error, is_full, is_transient, replace_file};
use crate::layout;
use crate::partition::{PartitionLog, State};
use crate::scan::to_u64;
use crate::segment::Segment;
use crate::tail::{Released, TailBatch};

/// Bytes that are gathered for one write: below 64 KiB the calls cost, above a mebibyte nothing is gained.
const WRITE_BYTES: usize = 1 << 20;
/// Batches that are looked at under one lock: less than half a millisecond, where a pass over thirty thousand small ones took some forty.
const BATCHES_AT_ONCE: usize = 256;

/// So much is written before it is synced: the journal's writes wait behind what the disk has to do at once, so a pass over 30 MiB that is synced at its end
/// costs who produces meanwhile 30 ms.
const SYNC_BYTES: usize = 1 << 20;

/// What one log's part of a pass wrote. It counts once the files and directories are synced and the item is in a durable checkpoint.
pub(crate) struct Filled {
    pub(crate) item: LogCheckpoint,
    pub(crate) files: Vec<Arc<dyn File>>,
    pub(crate) indexes: Vec<Arc<dyn File>>,
    pub(crate) directories: OpenDirectories,
}

/// Directories whose names changed, open before they did: making them durable can't fail for lack of a file handle.
pub(crate) type OpenDirectories = HashMap<PathBuf, Arc<dyn Directory>>;

/// A segment with batches that are written and that nobody sees yet: header, position and length of each.
struct Unpublished {
    segment: Arc<Segment>,
    batches: Vec<(BatchHeader, u64, u64)>,
    end: u64,
}

struct Writing<'a> {
    log: &'a PartitionLog,
    segment: Option<Arc<Segment>>,
    file: Option<Arc<dyn File>>,
    /// Where the gathered parts go.
    position: u64,
    gathered: Vec<([u8; HEADER_LENGTH], Bytes)>,
    gathered_bytes: usize,
    /// Written to the file since it was synced.
    unsynced_bytes: usize,
    /// Of the segment that is being written.
    batches: Vec<(BatchHeader, u64, u64)>,
    interval: u64,
    /// Segments that were closed.
    closed: Vec<Unpublished>,
    /// Segments that were made.
    made: Vec<Arc<Segment>>,
    files: Vec<Arc<dyn File>>,
    directories: OpenDirectories,
}

impl PartitionLog {
    /// Writes the batches up to journal entry `durable` into segments; with `closing` the index files of the last segment as well. None when
    /// there is nothing to say, or the log was deleted.
    pub(crate) fn fill(&self, durable: u64, closing: bool) -> io::Result<Option<Filled>> {
        let _writer = self.lock_writer();
        let mut state = self.lock();
        let Some(number) = state.number.filter(|_| state.may_be_filled()) else { return Ok(None) };
        if let Some(parked) = state.parked.clone() {
            let is_due = state.unsynced.is_some();
            // who only asks for the log does not wait for the disk
            drop(state);
            return if is_due { self.park(&parked, durable) } else { Ok(None) };
        }
        let rules = self.shared.rules();
        let count = state.tail.count_durable(if rules.only_durable_is_filled { durable } else { u64::MAX });
        let wants_index = closing && !state.is_indexed && !(state.segments.is_empty() && count == 0);
        if count == 0 && !wants_index && !state.loose.is_known_by(durable) {
            return Ok(None);
        }
        let mut writing = Writing::new(self, &state);
        let is_late = rules.segments_are_seen_before_the_tail_goes;
        let taken_early = if is_late { None } else { Some((state.tail.range(0..count), state.tail.release(count))) };
        drop(state);
        let (early, released_early) = taken_early.unzip();
        let written = match early {
            None => self.write_tail(&mut writing, count),
            Some(batches) => writing.take(batches).and_then(|()| writing.write_gathered()),
        };
        if let Err(error) = written {
            // nobody has seen anything of it: the next pass writes the same to the same places
            writing.made.iter().for_each(|segment| segment.close_file());
            return Err(error);
        }
        self.lock().counts_twice(true);
        let Written { last, closed, made, files, mut directories } = writing.publish();
        self.lock().segments.extend(made);
        match released_early {
            None => self.release_tail(count),
            Some(Released { freed, changed, .. }) => {
                self.lock().unsaved_producers.extend(changed);
                self.shared.remove_tail_bytes(freed);
            }
        }
        self.lock().counts_twice(false);
        let mut indexes = Vec::new();
        for segment in closed {
            indexes.extend(self.write_indexes(&segment)?.unwrap_or_default());
            segment.drop_index();
        }
        let indexed = match last.filter(|last| wants_index && last.index_is_in_memory()) {
            Some(last) => self.write_last_indexes(&last, &mut directories)?,
            None => None,
        };
        let mut state = self.lock();
        state.is_indexed = indexed.is_some() || (state.is_indexed && count == 0);
        indexes.extend(indexed.unwrap_or_default());
        let item = state.item(number, self, durable);
        if self.shared.open_files().too_many() {
            state.segments.iter().for_each(|segment| segment.close_file());
        }
        drop(state);
        Ok(Some(Filled { item, files, indexes, directories }))
    }

    /// Writes the oldest `count` batches of the tail. They are looked at a few at a time, since appends wait for the lock meanwhile; that nobody else takes
    /// any of them away is what the writer's lock is for.
    fn write_tail(&self, writing: &mut Writing<'_>, count: usize) -> io::Result<()> {
        for start in (0..count).step_by(BATCHES_AT_ONCE) {
            let batches = self.lock().tail.range(start..count.min(start + BATCHES_AT_ONCE));
            writing.take(batches)?;
        }
        writing.write_gathered()
    }

    /// Takes the oldest `count` batches out of the tail, a few at a time as well. Until it is done, the segments have some that the tail still has: whoever
    /// reads finds each offset in one of them, and what is counted is counted once.
    fn release_tail(&self, count: usize) {
        let keeps_theirs = self.shared.rules().producers_are_as_of_the_segments;
        for start in (0..count).step_by(BATCHES_AT_ONCE) {
            let mut state = self.lock();
            let Released { freed, changed, batches } = state.take_written(BATCHES_AT_ONCE.min(count - start));
            let changed = if keeps_theirs { changed } else { state.producers.clone() };
            state.unsaved_producers.extend(changed);
            drop(state);
            drop(batches);
            self.shared.remove_tail_bytes(freed);
        }
    }

    /// Whether compaction or retention waits for the filler: a segment of the tail is complete.
    pub(crate) fn has_sealed_tail(&self) -> bool {
        let state = self.lock();
        let config = &state.config;
        let expires = config.retention_enabled && (config.retention_age.is_some() || config.retention_bytes.is_some());
        let is_last_sealed = !state.segments.is_empty() && state.tail.front().is_some_and(|front| front.starts_segment);
        (config.compaction_enabled || expires) && state.may_be_filled() && (is_last_sealed || state.tail.has_sealed())
    }

    /// Writes the index files of a segment, and answers what must be synced before they count. None when there is no room or no file handle for
    /// them: they only save time, and the segment's batches count already.
    fn write_indexes(&self, segment: &Segment) -> io::Result<Option<Vec<Arc<dyn File>>>> {
        let fs = self.shared.fs();
        match self.try_write_indexes(segment) {
            Ok(written) => Ok(Some(written)),
            Err(error) if is_full(&error) || is_transient(&error) => {
                self.shared.complain(&segment.path(), &io::Error::other(format!("it gets no index files: {error}")));
                for kind in ["index", "timeindex", "new"] {
                    // what was written is visible already and not synced: a pass that came back for room would not know of it any more
                    let path = layout::segment(&self.directory, segment.base, kind);
                    fs.remove_file(&path).map_err(|error| final_error(&error))?;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The same for the last segment, whose directory may not be among those that are synced: then an earlier process made the segment.
    fn write_last_indexes(
        &self,
        segment: &Segment,
        directories: &mut OpenDirectories,
    ) -> io::Result<Option<Vec<Arc<dyn File>>>> {
        match open_directory(self.shared.fs(), self.directory.clone(), directories) {
            Ok(()) => self.write_indexes(segment),
            Err(error) if is_transient(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_write_indexes(&self, segment: &Segment) -> io::Result<Vec<Arc<dyn File>>> {
        let fs = self.shared.fs();
        let mut written = Vec::new();
        for (path, bytes) in
            segment.index_files(fs, self.shared.open_files(), self.shared.rules().look_ups_verify_the_index)?
        {
            written.extend(write_index(fs, segment, &path, &bytes)?);
        }
        Ok(written)
    }

    /// The oldest entry that no checkpoint has, once one has those up to `through`.
    pub(crate) fn first_unsynced_after(&self, through: u64) -> Option<u64> {
        let state = self.lock();
        state.first_unsynced(through.max(state.through))
    }

    /// A checkpoint that has the log's effects up to entry `through` is durable.
    pub(crate) fn note_synced(self: &Arc<Self>, through: u64) {
        let mut state = self.lock();
        if !state.may_be_filled() {
            // its deletion is what is noted now
            return;
        }
        state.through = state.through.max(through);
        let through = state.through;
        state.loose.forget(through);
        // the pass that wrote it is still under way, so there is no newer segment
        state.sealed_below = state.segments.last().map_or(state.sealed_below, |last| last.base);
        let before = state.unsynced.take();
        state.unsynced = state.first_unsynced(through);
        self.shared.move_unsynced(before, state.unsynced, self);
        let had_parked_file = std::mem::take(&mut state.has_parked_file);
        drop(state);
        if had_parked_file {
            self.remove_parked();
        }
    }
}

/// Answers the file if it must be synced. The files of an earlier process are what the checkpoint speaks of until there is the next one, so they
/// are replaced as a whole.
fn write_index(fs: &dyn FileSystem, segment: &Segment, path: &Path, bytes: &[u8]) -> io::Result<Option<Arc<dyn File>>> {
    if segment.was_indexed() {
        replace_file(fs, path, bytes)?;
        return Ok(None);
    }
    let file = fs.create(path)?;
    file.set_length(0)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    Ok(Some(file))
}

impl State {
    /// A log with damage somewhere goes on being filled: what is acknowledged must not stay in the journal for ever.
    fn may_be_filled(&self) -> bool {
        !matches!(self.unavailable, Some(Unavailable::Deleted))
    }

    /// Keeps the size of the segments as it is while what they get is in the tail as well.
    fn counts_twice(&mut self, begins: bool) {
        self.only_in_segments = begins.then(|| self.segments.iter().map(|segment| segment.written()).sum());
    }

    fn take_written(&mut self, count: usize) -> Released {
        let before = self.tail.segment_bytes();
        let released = self.tail.release(count);
        if let Some(bytes) = &mut self.only_in_segments {
            *bytes += to_u64(before - self.tail.segment_bytes());
        }
        released
    }

    /// What a checkpoint says of the log, with all entries up to `through`.
    fn item(&mut self, number: crate::journal::entry::LogNumber, log: &PartitionLog, through: u64) -> LogCheckpoint {
        let next_offset = self.written_end();
        let is_indexed = self.is_indexed;
        let last = self.segments.last().map(|last| LastSegment {
            base: last.base,
            length: last.written(),
            first_timestamp: last.first_timestamp(),
            is_indexed,
        });
        LogCheckpoint {
            number,
            id: log.id.clone(),
            topic: (&*log.topic_name).into(),
            through,
            log_start: self.loose.log_start(through, log.log_start()),
            next_offset,
            last,
            epochs: self.epochs.below(next_offset),
            producers: std::mem::take(&mut self.unsaved_producers),
            // items of their own say that
            compaction: Compaction::default(),
            is_parked: false,
        }
    }
}

/// What became visible.
struct Written {
    last: Option<Arc<Segment>>,
    closed: Vec<Arc<Segment>>,
    made: Vec<Arc<Segment>>,
    files: Vec<Arc<dyn File>>,
    directories: OpenDirectories,
}

impl<'a> Writing<'a> {
    fn new(log: &'a PartitionLog, state: &State) -> Self {
        let segment = state.segments.last().cloned();
        Self {
            log,
            position: segment.as_ref().map_or(0, |segment| segment.written()),
            segment,
            file: None,
            gathered: Vec::new(),
            gathered_bytes: 0,
            unsynced_bytes: 0,
            batches: Vec::new(),
            interval: state.config.index_interval_bytes,
            closed: Vec::new(),
            made: Vec::new(),
            files: Vec::new(),
            directories: OpenDirectories::new(),
        }
    }

    /// Gathers batches, and writes whenever there are enough.
    fn take(&mut self, batches: Vec<TailBatch>) -> io::Result<()> {
        for TailBatch { batch, starts_segment, .. } in batches {
            if starts_segment || self.segment.is_none() {
                self.roll(batch.header.base_offset)?;
            }
            let length = to_u64(batch.length());
            self.batches.push((batch.header, self.position + to_u64(self.gathered_bytes), length));
            self.gathered_bytes += batch.length();
            self.gathered.push((batch.header.to_bytes(), batch.payload));
            if self.gathered_bytes >= WRITE_BYTES {
                self.write_gathered()?;
            }
        }
        Ok(())
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let parts: Vec<IoSlice<'_>> =
            self.gathered.iter().flat_map(|(header, payload)| [IoSlice::new(header), IoSlice::new(payload)]).collect();
        let segment = self.segment.as_ref().ok_or_else(|| io::Error::other("a batch came before its segment"))?;
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => segment.file(self.log.shared.fs(), self.log.shared.open_files())?,
        };
        file.write_at(&parts, self.position)?;
        drop(parts);
        self.unsynced_bytes += self.gathered_bytes;
        if self.unsynced_bytes >= SYNC_BYTES && self.log.shared.rules().segments_are_synced {
            file.sync().map_err(|error| final_error(&error))?;
            self.unsynced_bytes = 0;
        }
        self.file = Some(file);
        self.position += to_u64(self.gathered_bytes);
        self.gathered.clear();
        self.gathered_bytes = 0;
        Ok(())
    }

    /// Ends the last segment and makes the next one.
    fn roll(&mut self, base: Offset) -> io::Result<()> {
        self.write_gathered()?;
        let fs = self.log.shared.fs();
        match self.segment.take() {
            Some(segment) => {
                self.files.extend(self.file.take());
                let batches = std::mem::take(&mut self.batches);
                self.closed.push(Unpublished { segment, batches, end: self.position });
            }
            None => self.create_directory()?,
        }
        open_directory(fs, self.log.directory.clone(), &mut self.directories)?;
        let segment = Arc::new(Segment::begun(self.log.directory.clone(), base));
        self.made.push(Arc::clone(&segment));
        self.file = Some(segment.create(fs, self.log.shared.open_files())?);
        self.position = 0;
        self.segment = Some(segment);
        Ok(())
    }

    /// Lets readers see what was written. All of it is, so nothing can fail any more.
    fn publish(mut self) -> Written {
        let interval = self.interval;
        let show = |Unpublished { segment, batches, end }: Unpublished| {
            if !batches.is_empty() {
                segment.publish(&batches, end, interval);
            }
            segment
        };
        let closed = self.closed.drain(..).map(show).collect();
        let (batches, end) = (std::mem::take(&mut self.batches), self.position);
        let last = self.segment.take().map(|segment| show(Unpublished { segment, batches, end }));
        self.files.extend(self.file.take());
        Written { last, closed, made: self.made, files: self.files, directories: self.directories }
    }

    /// The first segment of a log makes its directory; the topic's name is noted beside, for people.
    fn create_directory(&mut self) -> io::Result<()> {
        let fs = self.log.shared.fs();
        let (root, topic_id) = (self.log.shared.root(), self.log.id.topic_id);
        fs.create_directory(&self.log.directory)?;
        let name = layout::topic_name(root, topic_id);
        if fs.open(&name).is_err() {
            replace_file(fs, &name, self.log.topic_name.as_bytes())?;
        }
        open_directory(fs, layout::topic(root, topic_id), &mut self.directories)?;
        open_directory(fs, layout::topics(root), &mut self.directories)
    }
}

/// Opens a directory whose names are about to change, unless it is open.
pub(super) fn open_directory(fs: &dyn FileSystem, path: PathBuf, open: &mut OpenDirectories) -> io::Result<()> {
    if !open.contains_key(&path) {
        let directory = fs.open_directory(&path)?;
        open.insert(path, directory);
    }
    Ok(())
}
