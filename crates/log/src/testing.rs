//! Any files as a partition's directory, for tests and the fuzzer: it opens or is offline, and what it gives out is whole.
//!
//! Built for this crate's tests and with the feature `sim` only.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use kennet_protocol::record::{Batch, Batches};
use kennet_protocol::{LeaderEpoch, PartitionIndex, TimestampMs, Uuid};

use crate::fs::sim::SimulatedDisk;
use crate::fs::{FileSystem, Wait};
use crate::{DataDirectory, Limits, LogConfig, LogId, OpenError, ReadError};

const ROOT: &str = "/data";
const TOPIC: Uuid = Uuid::from_u128(7);
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const READ_BYTES: usize = 1_000;
/// What a broker may need in memory for files of any size: a window of 1 MiB and room for a header.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// A file of a partition's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFile {
    /// Its name in the directory.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What became of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It was taken offline, when it was opened or when its damage was read.
    Offline,
    /// All of so many records could be read.
    Whole(usize),
}

/// How files can be put together from any bytes: a kind, a base offset, a length, the content; again and again.
#[must_use]
pub fn files_from_bytes(mut input: &[u8]) -> Vec<PartitionFile> {
    let mut files = Vec::new();
    while let Some(([kind, base, high, low], rest)) = input.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        let name = match kind % 5 {
            0 => format!("{base:020}.log"),
            1 => format!("{base:020}.index"),
            2 => format!("{base:020}.timeindex"),
            3 => "checkpoint".to_owned(),
            _ => "log-start".to_owned(),
        };
        files.push(PartitionFile { name, bytes: bytes.to_vec() });
        input = rest;
    }
    files
}

/// The files that a log leaves which took these batches and was stopped cleanly.
///
/// # Errors
/// When the simulated disk refuses something, which it has no reason to.
pub fn files_of(batches: &[Batch], config: LogConfig) -> Result<Vec<PartitionFile>, Box<dyn std::error::Error>> {
    let disk = SimulatedDisk::new(0);
    let directory = open(&disk)?;
    let log = directory.open_log(&log_id(), "orders", config, NOW);
    for batch in batches {
        log.append(batch, LeaderEpoch(1), NOW)?;
    }
    directory.close();
    let folder = partition();
    let mut files = Vec::new();
    for entry in disk.list(Path::new(&folder))? {
        let path = Path::new(&folder).join(&entry.name);
        let bytes = crate::fs::read_file(&disk, &path, usize::MAX)?.unwrap_or_default();
        files.push(PartitionFile { name: entry.name, bytes });
    }
    Ok(files)
}

/// Opens the files as a partition, reads everything, and goes on writing when it is sound.
///
/// # Errors
/// When something fails in a way that bad files do not explain.
///
/// # Panics
/// When a rule of the log is broken.
pub fn check_partition(files: &[PartitionFile]) -> Result<Opened, Box<dyn std::error::Error>> {
    let disk = SimulatedDisk::new(0);
    put(&disk, files)?;
    let longest = files.iter().map(|file| file.bytes.len()).max().unwrap_or(0);
    let directory = open(&disk)?;
    let log = directory.open_log(&log_id(), "orders", LogConfig::default(), NOW);
    let limit = longest.max(BUFFER_BYTES_MAX);
    assert!(disk.largest_buffer() <= limit, "{} bytes held for files of {longest}", disk.largest_buffer());
    if log.unavailable().is_some() {
        return Ok(Opened::Offline);
    }
    let (start, end) = (log.log_start(), log.durable_end());
    assert!(start <= end, "the log goes from {start} to {end}");
    // damage that shows only now may be a wrong answer of an index, but no panic
    let _ = log.first_at_or_after(NOW, end);
    let mut at = start;
    let mut records = 0;
    while at < end {
        let read = match log.read(at, end, READ_BYTES, true, Wait::Allowed) {
            Ok(read) => read,
            Err(ReadError::Unavailable(_)) => return Ok(Opened::Offline),
            Err(other) => return Err(other.into()),
        };
        assert!(read.next_offset > at, "a read at {at} gets on");
        for batch in read.chunks.into_iter().flat_map(Batches::new) {
            records += usize::try_from(batch?.header().record_count).unwrap_or(0);
        }
        at = read.next_offset;
    }
    Ok(Opened::Whole(records))
}

fn put(disk: &SimulatedDisk, files: &[PartitionFile]) -> io::Result<()> {
    let folder = partition();
    disk.create_directory(Path::new(&folder))?;
    for PartitionFile { name, bytes } in files {
        let file = disk.create(&Path::new(&folder).join(name))?;
        file.set_length(0)?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
    }
    Ok(())
}

fn open(disk: &SimulatedDisk) -> Result<DataDirectory, OpenError> {
    DataDirectory::open(Arc::new(disk.clone()), Path::new(ROOT), Limits::default())
}

fn log_id() -> LogId {
    LogId { topic_id: TOPIC, partition: PartitionIndex(0) }
}

fn partition() -> String {
    format!("{ROOT}/topics/{TOPIC}/0000")
}
