//! What a partition's files say when its log is opened.
//!
//! Invariant: only a suffix after which no intact batch exists is cut, because such a suffix was never acknowledged. Anything else
//! that does not read as a log makes the partition offline with a reason, and no byte of it is changed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, TimestampMs};

use crate::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint};
use crate::epochs::LeaderEpochs;
use crate::fs::{File, FileSystem, Wait, read_file};
use crate::index::{INDEX_BYTES_MAX, SparseIndex};
use crate::layout;
use crate::producers::Producers;
use crate::scan::{BatchScan, HeaderScan, any_batch_after};

/// A log start file: an offset and its checksum.
pub(crate) const LOG_START_BYTES: usize = 12;

/// A log as its files have it.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Closed segments in order: base offset and length.
    pub(crate) closed: Vec<(Offset, u64)>,
    /// The segment that is written next, if there is any file.
    pub(crate) active: Option<ActiveSegment>,
    pub(crate) log_start: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: Producers,
    /// Bytes behind the last intact batch that were cut.
    pub(crate) bytes_cut: u64,
    /// Bytes that were read and checked.
    pub(crate) bytes_scanned: u64,
}

/// The last segment of a log.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) base: Offset,
    pub(crate) length: u64,
    pub(crate) index: SparseIndex,
    /// Timestamp of its first batch, for `segment.ms`.
    pub(crate) first_timestamp: Option<TimestampMs>,
}

/// Why a log could not be recovered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error("{reason}")]
    Damaged { reason: Arc<str> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

struct Walk<'a> {
    fs: &'a dyn FileSystem,
    directory: &'a Path,
    state: Recovered,
    interval: u64,
    /// A checkpoint says that all below was durable, so less than that is damage.
    durable: Offset,
}

/// Opens the log in `directory`; an absent directory is an empty log.
pub(crate) fn recover(fs: &dyn FileSystem, directory: &Path, interval: u64) -> Result<Recovered, RecoveryError> {
    let mut segments = Vec::new();
    for entry in fs.list(directory)? {
        if let Some(base) = layout::segment_base(&entry.name) {
            segments.push((base, entry.length));
        }
    }
    segments.sort_unstable();
    let log_start = read_log_start(fs, directory)?;
    remove_below(fs, directory, &mut segments, log_start)?;
    let known = read_checkpoint(fs, directory)?;
    let durable = known.as_ref().map_or(Offset(0), |found| found.next_offset);
    let checkpoint = usable(known, directory, &segments)?;
    let start_at = checkpoint.as_ref().map_or(Offset(0), |found| found.segment);
    let scan_from = segments.partition_point(|(base, _)| *base < start_at);
    let first_base = segments.first().map_or(Offset(0), |(base, _)| *base);
    let state = Recovered {
        closed: segments[..scan_from].to_vec(),
        active: None,
        log_start: first_base,
        next_offset: checkpoint.as_ref().map_or(first_base, |found| found.next_offset),
        epochs: checkpoint.as_ref().map(|found| found.epochs.clone()).unwrap_or_default(),
        producers: checkpoint.as_ref().map(|found| found.producers.clone()).unwrap_or_default(),
        bytes_cut: 0,
        bytes_scanned: 0,
    };
    let mut walk = Walk { fs, directory, state, interval, durable };
    let mut position = checkpoint.map_or(0, |found| found.position);
    for at in scan_from..segments.len() {
        let last = walk.segment(segments[at], position, &segments[at + 1..])?;
        position = 0;
        if last {
            break;
        }
    }
    walk.must_reach_checkpoint(directory)?;
    walk.apply_log_start(log_start)?;
    Ok(walk.state)
}

impl Walk<'_> {
    /// Recovers one segment; true when it is the log's last one.
    fn segment(
        &mut self,
        (base, length): (Offset, u64),
        from: u64,
        later: &[(Offset, u64)],
    ) -> Result<bool, RecoveryError> {
        let path = layout::segment(self.directory, base, "log");
        let file = self.fs.create(&path)?;
        if from == 0 && base != self.state.next_offset {
            let next = self.state.next_offset;
            let path = path.display();
            return Err(damaged(format!(
                "segment {path} follows offset {next}: what lies between is missing or doubled"
            )));
        }
        let (index, end, first_timestamp) = self.scan(file.as_ref(), base, from, length)?;
        if end < from {
            let path = path.display();
            return Err(damaged(format!(
                "{path} is damaged at byte {end}: it was whole to byte {from} when the checkpoint was written, so nothing was cut"
            )));
        }
        if end < length {
            self.must_reach_checkpoint(&path)?;
            self.must_be_torn_tail(file.as_ref(), &path, end, length, later)?;
            self.cut(&file, end, length, later)?;
        }
        let is_last = end < length || later.is_empty();
        if is_last {
            self.state.active = Some(ActiveSegment { base, length: end, index, first_timestamp });
        } else {
            self.state.closed.push((base, end));
        }
        Ok(is_last)
    }

    /// Reads on from `from`; returns the index, the end of the last intact batch and the first batch's timestamp.
    fn scan(
        &mut self,
        file: &dyn File,
        base: Offset,
        from: u64,
        length: u64,
    ) -> Result<(SparseIndex, u64, Option<TimestampMs>), RecoveryError> {
        let saved = if from > 0 { self.saved_index(base, from)? } else { None };
        let start = saved.as_ref().map_or(0, |_| from);
        let mut index = saved.unwrap_or_else(|| SparseIndex::new(base));
        let mut first_timestamp =
            HeaderScan::new(file, length, Wait::Allowed).at(0)?.map(|header| header.max_timestamp);
        let mut scan = BatchScan::new(file, start, length);
        loop {
            let before = scan.position();
            let Some((position, batch)) = scan.next()? else { break };
            let header = batch.header();
            if header.base_offset < base || (position >= from && header.base_offset != self.state.next_offset) {
                return Ok((index, before, first_timestamp));
            }
            first_timestamp = first_timestamp.or(Some(header.max_timestamp));
            index.note(header, position, scan.position() - position, self.interval);
            if position >= from {
                self.note(header);
            }
        }
        self.state.bytes_scanned += scan.position() - start;
        Ok((index, scan.position(), first_timestamp))
    }

    /// The index files that were written together with the checkpoint, so that the bytes before it need not be read.
    fn saved_index(&self, base: Offset, from: u64) -> io::Result<Option<SparseIndex>> {
        let read = |kind| read_file(self.fs, &layout::segment(self.directory, base, kind), INDEX_BYTES_MAX);
        match (read("index"), read("timeindex")) {
            (Ok(Some(offsets)), Ok(Some(times))) => {
                let index = SparseIndex::decode(base, from, &offsets, &times);
                Ok(index.filter(|index| index.max_timestamp() != TimestampMs::NONE))
            }
            (Err(error), _) | (_, Err(error)) if error.kind() != io::ErrorKind::InvalidData => Err(error),
            _ => Ok(None),
        }
    }

    fn note(&mut self, header: &BatchHeader) {
        self.state.epochs.note(header.partition_leader_epoch, header.base_offset);
        self.state.producers.note(header, header.max_timestamp);
        self.state.next_offset = header.next_offset();
    }

    fn must_be_torn_tail(
        &self,
        file: &dyn File,
        path: &Path,
        end: u64,
        length: u64,
        later: &[(Offset, u64)],
    ) -> Result<(), RecoveryError> {
        let next = self.state.next_offset;
        if any_batch_after(file, end + 1, length, next.0)? {
            let path = path.display();
            return Err(damaged(format!(
                "{path} is damaged at byte {end} (offset {next}): intact batches follow, so nothing was cut"
            )));
        }
        for (base, length) in later {
            let path = layout::segment(self.directory, *base, "log");
            if *length > 0 && any_batch_after(self.fs.open(&path)?.as_ref(), 0, *length, next.0)? {
                let path = path.display();
                return Err(damaged(format!(
                    "the log is damaged at offset {next}: intact batches follow in {path}, so nothing was cut"
                )));
            }
        }
        Ok(())
    }

    fn cut(&mut self, file: &Arc<dyn File>, end: u64, length: u64, later: &[(Offset, u64)]) -> io::Result<()> {
        self.state.bytes_cut += length - end;
        file.set_length(end)?;
        self.fs.sync_files(std::slice::from_ref(file))?;
        for (base, length) in later {
            self.state.bytes_cut += length;
            for kind in ["log", "index", "timeindex"] {
                self.fs.remove_file(&layout::segment(self.directory, *base, kind))?;
            }
        }
        if later.is_empty() { Ok(()) } else { self.fs.sync_directory(self.directory) }
    }

    fn must_reach_checkpoint(&self, path: &Path) -> Result<(), RecoveryError> {
        let (end, durable) = (self.state.next_offset, self.durable);
        if end >= durable {
            return Ok(());
        }
        let path = path.display();
        Err(damaged(format!(
            "{path} ends at offset {end}, but the checkpoint says that the log was whole to {durable}; nothing was cut"
        )))
    }

    fn apply_log_start(&mut self, start: Option<Offset>) -> Result<(), RecoveryError> {
        let Some(start) = start else { return Ok(()) };
        // records below it were deleted on purpose; a log start beyond the end would be one of another log
        if start > self.state.next_offset {
            let end = self.state.next_offset;
            let path = layout::log_start(self.directory);
            return Err(damaged(format!("{} says {start}, behind the end of the log at {end}", path.display())));
        }
        self.state.log_start = self.state.log_start.max(start);
        self.state.epochs.cut_front(self.state.log_start);
        Ok(())
    }
}

fn read_log_start(fs: &dyn FileSystem, directory: &Path) -> Result<Option<Offset>, RecoveryError> {
    let path = layout::log_start(directory);
    let Some(bytes) = read_file(fs, &path, LOG_START_BYTES)? else { return Ok(None) };
    let start = decode_log_start(&bytes).ok_or_else(|| {
        damaged(format!("{} is damaged, so it is unknown which records were deleted", path.display()))
    })?;
    Ok(Some(start))
}

/// Removes segments that were deleted before; after a power cut any of their names may be there again, with holes in between.
fn remove_below(
    fs: &dyn FileSystem,
    directory: &Path,
    segments: &mut Vec<(Offset, u64)>,
    log_start: Option<Offset>,
) -> io::Result<()> {
    let Some(start) = log_start else { return Ok(()) };
    let below = segments.windows(2).take_while(|pair| pair[1].0 <= start).count();
    for (base, _) in segments.drain(..below) {
        for kind in ["log", "index", "timeindex"] {
            fs.remove_file(&layout::segment(directory, base, kind))?;
        }
    }
    Ok(())
}

/// The checkpoint; one that is damaged counts as none.
fn read_checkpoint(fs: &dyn FileSystem, directory: &Path) -> io::Result<Option<Checkpoint>> {
    let bytes = match read_file(fs, &layout::checkpoint(directory), CHECKPOINT_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        other => other?,
    };
    Ok(bytes.as_deref().and_then(Checkpoint::decode))
}

/// The checkpoint, if its place is there. Its segment may be missing: the name is made durable together with the checkpoint's.
fn usable(
    known: Option<Checkpoint>,
    directory: &Path,
    segments: &[(Offset, u64)],
) -> Result<Option<Checkpoint>, RecoveryError> {
    let Some(checkpoint) = known else { return Ok(None) };
    let Some((base, length)) = segments.iter().find(|(base, _)| *base == checkpoint.segment) else { return Ok(None) };
    if checkpoint.position > *length {
        let (path, position) = (layout::segment(directory, *base, "log"), checkpoint.position);
        let path = path.display();
        return Err(damaged(format!(
            "{path} has {length} bytes, but it had {position} when the checkpoint was written: its end is missing"
        )));
    }
    Ok(Some(checkpoint))
}

fn damaged(reason: String) -> RecoveryError {
    RecoveryError::Damaged { reason: reason.into() }
}

/// The bytes of a log start file.
pub(crate) fn encode_log_start(offset: Offset) -> Vec<u8> {
    let mut bytes = offset.0.to_be_bytes().to_vec();
    let checksum = crate::checkpoint::crc(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

pub(crate) fn decode_log_start(bytes: &[u8]) -> Option<Offset> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    let intact = crate::checkpoint::crc(body) == u32::from_be_bytes(*checksum);
    let offset = i64::from_be_bytes(body.try_into().ok()?);
    (intact && offset >= 0).then_some(Offset(offset))
}
