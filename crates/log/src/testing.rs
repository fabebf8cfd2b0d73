//! Any files as a data directory, for tests and the fuzzer: it opens or is offline, and what it gives out is whole.
//!
//! Built for this crate's tests and with the feature `sim` only.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use kennet_protocol::record::{Batch, Batches};
use kennet_protocol::{LeaderEpoch, PartitionIndex, TimestampMs, Uuid};

use crate::checkpoint::FILES;
use crate::fs::sim::SimulatedDisk;
use crate::fs::{FileSystem, Wait};
use crate::{DataDirectory, Limits, LogConfig, LogId, OpenError, ReadError, Rules};

const ROOT: &str = "/data";
const TOPIC: Uuid = Uuid::from_u128(7);
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const READ_BYTES: usize = 1_000;
/// What a broker may need in memory for files of any size: a window of 1 MiB and room for a header.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// A file of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryFile {
    /// Its path below the directory.
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
pub fn files_from_bytes(mut input: &[u8]) -> Vec<DirectoryFile> {
    let mut files = Vec::new();
    while let Some(([kind, base, high, low], rest)) = input.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        let partition = format!("topics/{TOPIC}/0000");
        let name = match kind % 5 {
            0 => format!("{partition}/{base:020}.log"),
            1 => format!("{partition}/{base:020}.index"),
            2 => format!("{partition}/{base:020}.timeindex"),
            3 => FILES[usize::from(base % 2)].to_owned(),
            _ => format!("journal/{:08}", base % 4),
        };
        files.push(DirectoryFile { name, bytes: bytes.to_vec() });
        input = rest;
    }
    files
}

/// The files that a directory with one log leaves which took these batches: `settled` of them are in segments, and it was stopped cleanly or
/// not at all.
///
/// # Errors
/// When the simulated disk refuses something, which it has no reason to.
pub fn files_of(
    batches: &[Batch],
    settled: usize,
    is_stopped: bool,
    config: LogConfig,
) -> Result<Vec<DirectoryFile>, Box<dyn std::error::Error>> {
    let disk = SimulatedDisk::new(0);
    let directory = open(&disk)?;
    let log = directory.open_log(&log_id(), "orders", config, NOW);
    for (at, batch) in batches.iter().enumerate() {
        log.append(batch, LeaderEpoch(1), NOW)?;
        directory.flush();
        if at + 1 == settled {
            directory.fill();
        }
    }
    if is_stopped {
        directory.close();
    }
    let mut files = Vec::new();
    collect(&disk, Path::new(ROOT), &mut files)?;
    // a directory that was not stopped would write as it is dropped
    disk.power_off();
    Ok(files)
}

fn collect(disk: &SimulatedDisk, folder: &Path, files: &mut Vec<DirectoryFile>) -> io::Result<()> {
    for entry in disk.list(folder)? {
        let path = folder.join(&entry.name);
        if entry.is_directory {
            collect(disk, &path, files)?;
        } else if let Some(bytes) = crate::fs::read_file(disk, &path, usize::MAX)? {
            let name = path.strip_prefix(ROOT).map_err(io::Error::other)?.to_string_lossy().into_owned();
            files.push(DirectoryFile { name, bytes });
        }
    }
    Ok(())
}

/// Opens the files as a directory, reads everything, and goes on writing when it is sound.
///
/// # Errors
/// When something fails in a way that bad files do not explain.
///
/// # Panics
/// When a rule of the log is broken.
pub fn check_directory(files: &[DirectoryFile]) -> Result<Opened, Box<dyn std::error::Error>> {
    let disk = SimulatedDisk::new(0);
    put(&disk, files)?;
    let longest = files.iter().map(|file| file.bytes.len()).max().unwrap_or(0);
    let directory = open(&disk)?;
    let log = directory.open_log(&log_id(), "orders", LogConfig::default(), NOW);
    let limit = longest.max(BUFFER_BYTES_MAX);
    // what only looks finds the same or less, and does not panic
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let _ = crate::verify::look(&fs, Path::new(ROOT));
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

fn put(disk: &SimulatedDisk, files: &[DirectoryFile]) -> io::Result<()> {
    disk.create_directory(Path::new(ROOT))?;
    for DirectoryFile { name, bytes } in files {
        let path = Path::new(ROOT).join(name);
        disk.create_directory(path.parent().unwrap_or(Path::new(ROOT)))?;
        let file = disk.create(&path)?;
        file.set_length(0)?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
    }
    Ok(())
}

fn open(disk: &SimulatedDisk) -> Result<DataDirectory, OpenError> {
    let limits = Limits { journal_bytes_max: Some(32 << 10), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new(ROOT), limits, Rules::default())
}

fn log_id() -> LogId {
    LogId { topic_id: TOPIC, partition: PartitionIndex(0) }
}
