//! The flusher's side of a log: pending batches into segment files, and back out again when the volume is full.
//!
//! Only the flusher calls this, one round at a time. A round's bytes are published after the sync that covers them and not before.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use kennet_protocol::Offset;
use kennet_protocol::record::{BatchHeader, HEADER_LENGTH, StampedBatch};

use crate::checkpoint::Checkpoint;
use crate::fs::{File, FileSystem, replace_file};
use crate::layout;
use crate::partition::{PartitionLog, State, new_active};
use crate::scan::to_u64;
use crate::segment::Segment;

/// Bytes that are gathered for one write: below 64 KiB the calls cost, above a mebibyte nothing is gained.
const WRITE_BYTES: usize = 1 << 20;

/// One thing for the flusher to do, in order.
pub(crate) enum Work {
    Append(StampedBatch),
    /// Close the active segment and start one at the checkpoint's place.
    Roll {
        checkpoint: Checkpoint,
    },
}

impl Work {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(batch) => batch.length(),
            Self::Roll { .. } => 0,
        }
    }
}

/// What a round wrote of one log; to be published when it is durable.
pub(crate) struct Written {
    /// The file to sync; none when the round ended with an empty new segment.
    pub(crate) file: Option<Arc<dyn File>>,
    segment: Arc<Segment>,
    rolled: Vec<Arc<Segment>>,
    batches: Vec<(BatchHeader, u64, u64)>,
    position: u64,
    generation: u64,
}

struct Writing<'a> {
    log: &'a PartitionLog,
    segment: Option<Arc<Segment>>,
    file: Option<Arc<dyn File>>,
    /// Where the gathered parts go.
    position: u64,
    gathered: Vec<([u8; HEADER_LENGTH], Bytes)>,
    gathered_bytes: usize,
    batches: Vec<(BatchHeader, u64, u64)>,
    rolled: Vec<Arc<Segment>>,
    interval: u64,
}

impl PartitionLog {
    /// Writes a round's work of one log. `None` when there is nothing to publish, because the log was deleted or the work taken back.
    pub(crate) fn write(&self, generation: u64, work: Vec<Work>) -> io::Result<Option<Written>> {
        let _writer = self.lock_writer();
        let state = self.lock();
        if state.unavailable.is_some() || state.generation != generation {
            return Ok(None);
        }
        let segment = state.segments.last().cloned();
        let interval = state.config.index_interval_bytes;
        drop(state);
        let position = segment.as_ref().map_or(0, |segment| segment.durable());
        let file =
            segment.as_ref().map(|segment| segment.file(self.shared.fs(), self.shared.open_files())).transpose()?;
        let mut writing = Writing {
            log: self,
            segment,
            file,
            position,
            gathered: Vec::new(),
            gathered_bytes: 0,
            batches: Vec::new(),
            rolled: Vec::new(),
            interval,
        };
        for item in work {
            match item {
                Work::Append(batch) => writing.append(batch)?,
                Work::Roll { checkpoint } => writing.roll(&checkpoint)?,
            }
        }
        writing.finish(generation)
    }

    /// Makes a round visible after its sync; returns the new durable end, or none when the log went away meanwhile.
    pub(crate) fn publish(&self, written: &Written) -> Option<Offset> {
        let mut state = self.lock();
        if state.unavailable.is_some() || state.generation != written.generation {
            return None;
        }
        for segment in &written.rolled {
            state.add_segment(segment);
        }
        let interval = state.config.index_interval_bytes;
        written.segment.publish(&written.batches, written.position, interval);
        state.add_segment(&written.segment);
        // a round that ends with a new segment made all before that segment durable
        let end = written.batches.last().map_or(written.segment.base, |(header, ..)| header.next_offset());
        state.durable_end = state.durable_end.max(end);
        Some(state.durable_end)
    }

    /// Takes back everything that is not durable, on disk and in memory; whoever waits for it has to be told.
    ///
    /// # Errors
    /// When the files can't be cut; the caller fails the directory then.
    pub(crate) fn take_back(&self) -> io::Result<()> {
        let _writer = self.lock_writer();
        let mut state = self.lock();
        if state.unavailable.is_some() {
            return Ok(());
        }
        let fs = self.shared.fs();
        let known: Vec<Offset> = state.segments.iter().map(|segment| segment.base).collect();
        let is_new = |name: &str| layout::segment_base(name).is_some_and(|base| !known.contains(&base));
        let mut new = fs.list(&self.directory)?;
        new.retain(|entry| is_new(&entry.name));
        if !new.is_empty() {
            // the checkpoint may be of a new segment, and must not outlive what it says was durable
            fs.remove_file(&layout::checkpoint(&self.directory))?;
            fs.sync_directory(&self.directory)?;
            for entry in new {
                fs.remove_file(&self.directory.join(&entry.name))?;
            }
            fs.sync_directory(&self.directory)?;
        }
        if let Some(active) = state.segments.last() {
            let file = fs.create(&active.path())?;
            file.set_length(active.durable())?;
            fs.sync_files(&[file])?;
        }
        for segment in &state.segments {
            segment.close_file(self.shared.open_files());
        }
        let generation = state.generation + 1;
        let recovered = State::recovered(&self.shared, &self.directory, state.config.clone(), state.plan_time());
        *state = State { generation, ..recovered };
        Ok(())
    }

    /// Writes a checkpoint of a log that is durable to its end, so that the next start reads nothing.
    pub(crate) fn write_checkpoint(&self) -> io::Result<()> {
        let _writer = self.lock_writer();
        let mut state = self.lock();
        if !state.changed || state.unavailable.is_some() || state.durable_end != state.next_offset {
            return Ok(());
        }
        let Some(active) = state.segments.last().cloned() else { return Ok(()) };
        let checkpoint = state.checkpoint(active.base, active.durable());
        state.changed = false;
        drop(state);
        write_indexes(self.shared.fs(), &active)?;
        replace_file(self.shared.fs(), &layout::checkpoint(&self.directory), &checkpoint.encode())
    }
}

/// Writes the index files of a segment, durably: retention believes their timestamps, and unwritten blocks would read as zeros.
fn write_indexes(fs: &dyn FileSystem, segment: &Segment) -> io::Result<()> {
    let mut written = Vec::new();
    for (path, bytes) in segment.index_files().into_iter().flatten() {
        let file = fs.create(&path)?;
        file.set_length(0)?;
        file.write_at(&[IoSlice::new(&bytes)], 0)?;
        written.push(file);
    }
    fs.sync_files(&written)
}

impl Writing<'_> {
    fn append(&mut self, batch: StampedBatch) -> io::Result<()> {
        let length = to_u64(batch.length());
        self.batches.push((batch.header, self.position + to_u64(self.gathered_bytes), length));
        self.gathered_bytes += batch.length();
        self.gathered.push((batch.header.to_bytes(), batch.payload));
        if self.gathered_bytes >= WRITE_BYTES { self.write_gathered() } else { Ok(()) }
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("a batch came before its segment"))?;
        let parts: Vec<IoSlice<'_>> =
            self.gathered.iter().flat_map(|(header, payload)| [IoSlice::new(header), IoSlice::new(payload)]).collect();
        file.write_at(&parts, self.position)?;
        drop(parts);
        self.position += to_u64(self.gathered_bytes);
        self.gathered.clear();
        self.gathered_bytes = 0;
        Ok(())
    }

    fn roll(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let fs = self.log.shared.fs();
        self.write_gathered()?;
        if let (Some(segment), Some(file)) = (self.segment.take(), self.file.take()) {
            // the old segment is whole before the new one exists, so a torn one is always the last
            fs.sync_files(&[file])?;
            segment.publish(&std::mem::take(&mut self.batches), self.position, self.interval);
            write_indexes(fs, &segment)?;
            segment.drop_index();
            self.rolled.push(segment);
        } else {
            self.create_directory()?;
        }
        let segment = new_active(self.log.directory.clone(), checkpoint.segment);
        let file = segment.create(fs, self.log.shared.open_files())?;
        replace_file(fs, &layout::checkpoint(&self.log.directory), &checkpoint.encode())?;
        self.segment = Some(segment);
        self.file = Some(file);
        self.position = 0;
        Ok(())
    }

    /// The first segment of a log makes its directory; the topic's name is noted beside, for people.
    fn create_directory(&self) -> io::Result<()> {
        let fs = self.log.shared.fs();
        let (root, topic_id) = (self.log.shared.root(), self.log.id.topic_id);
        fs.create_directory(&self.log.directory)?;
        let name = layout::topic_name(root, topic_id);
        if fs.open(&name).is_err() {
            replace_file(fs, &name, self.log.topic_name.as_bytes())?;
        }
        fs.sync_directory(&layout::topic(root, topic_id))?;
        fs.sync_directory(&layout::topics(root))
    }

    fn finish(mut self, generation: u64) -> io::Result<Option<Written>> {
        self.write_gathered()?;
        let Some(segment) = self.segment else { return Ok(None) };
        Ok(Some(Written {
            file: self.file.filter(|_| !self.batches.is_empty()),
            segment,
            rolled: self.rolled,
            batches: self.batches,
            position: self.position,
            generation,
        }))
    }
}

impl State {
    fn add_segment(&mut self, segment: &Arc<Segment>) {
        if self.segments.last().is_none_or(|last| last.base < segment.base) {
            self.segments.push(Arc::clone(segment));
        }
    }

    fn plan_time(&self) -> kennet_protocol::TimestampMs {
        self.plan.as_ref().map_or(kennet_protocol::TimestampMs::NONE, |plan| plan.created)
    }
}
