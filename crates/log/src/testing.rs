//! Any files as a data directory, for tests and the fuzzer: it opens or is offline, and what it gives out is whole.
//!
//! Built for this crate's tests and with the feature `sim` only.

use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use kennet_protocol::record::{Batch, Batches};
use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};

use crate::checkpoint::FILES;
use crate::fs::sim::{SimulatedDisk, Trouble};
use crate::fs::{FileSystem, Wait};
use crate::layout::SEGMENT_FILES;
use crate::{DataDirectory, Limits, LogConfig, LogId, OpenError, PartitionLog, PartitionReport, ReadError, Rules};

const ROOT: &str = "/data";
const TOPIC: Uuid = Uuid::from_u128(7);
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const READ_BYTES: usize = 1_000;
/// Memory for the keys of a round of compaction.
const MAP_BYTES: usize = 100_000;
/// Of files, in [`name_of`].
const KINDS: u8 = 10;
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
        files.push(DirectoryFile { name: name_of(*kind, *base), bytes: bytes.to_vec() });
        input = rest;
    }
    files
}

/// A file's name by its kind and a base offset; what is left of the kind says which of several.
#[must_use]
pub fn name_of(kind: u8, base: u8) -> String {
    let (kind, which) = (kind % KINDS, kind / KINDS);
    let partition = format!("topics/{TOPIC}/0000");
    match kind {
        0 => format!("{partition}/{base:020}.log"),
        1 => format!("{partition}/{base:020}.index"),
        2 => format!("{partition}/{base:020}.timeindex"),
        3 => FILES[usize::from(base % 2)].to_owned(),
        4 => format!("journal/{:08}", base % 4),
        5 => format!("{partition}/{base:020}-{:020}.swap", u32::from(base) + u32::from(which)),
        6 => format!("{partition}/{base:020}.{}.cleaned", SEGMENT_FILES[usize::from(which % 3)]),
        7 => format!("{partition}/parked"),
        8 => format!("topics/{TOPIC}/name"),
        _ => format!("topics/{TOPIC}.deleted/0000/{base:020}.log"),
    }
}

/// The files that a directory with one log leaves which took these batches: `settled` of them are in segments, records below `deleted` were deleted, and it
/// was stopped cleanly or not at all.
///
/// # Errors
/// When the simulated disk refuses something, which it has no reason to.
pub fn files_of(
    batches: &[Batch],
    settled: usize,
    deleted: Offset,
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
    log.delete_records(deleted, log.durable_end(), NOW)?;
    if is_stopped {
        directory.close();
    }
    let mut files = Vec::new();
    collect(&disk, Path::new(ROOT), &mut files)?;
    // a directory that was not stopped would write as it is dropped
    disk.power_off();
    Ok(files)
}

/// The files that a directory with one log leaves which took these batches and was compacted, until the power failed at call `cut` of that.
///
/// # Errors
/// When the simulated disk refuses something before, which it has no reason to.
pub fn compacted_files_of(
    batches: &[Batch],
    config: LogConfig,
    cut: u64,
) -> Result<Vec<DirectoryFile>, Box<dyn std::error::Error>> {
    let disk = SimulatedDisk::new(cut);
    let (directory, log) = filled(&disk, batches, config)?;
    disk.plan(disk.calls() + cut, Trouble::PowerOff);
    // cut off, or done
    let _ = log.compact(log.durable_end(), NOW, MAP_BYTES, &mut |_| ControlFlow::Continue(()));
    disk.power_off();
    drop((directory, log));
    disk.restart();
    let mut files = Vec::new();
    collect(&disk, Path::new(ROOT), &mut files)?;
    Ok(files)
}

/// The files of a log whose first segment could not be found for a while, so that the last half of its batches is parked.
///
/// # Errors
/// When the simulated disk refuses something, which it has no reason to.
pub fn parked_files_of(batches: &[Batch], config: LogConfig) -> Result<Vec<DirectoryFile>, Box<dyn std::error::Error>> {
    let disk = SimulatedDisk::new(0);
    let (first, last) = batches.split_at(batches.len() / 2);
    let (directory, log) = filled(&disk, first, config.clone())?;
    for batch in last {
        log.append(batch, LeaderEpoch(1), NOW)?;
    }
    directory.flush();
    disk.power_off();
    drop((directory, log));
    disk.restart();
    let mut files = Vec::new();
    collect(&disk, Path::new(ROOT), &mut files)?;
    files.retain(|file| file.name == name_of(0, 0));
    let segment = Path::new(ROOT).join(name_of(0, 0));
    disk.remove_file(&segment)?;
    let directory = open(&disk)?;
    directory.open_log(&log_id(), "orders", config, NOW);
    directory.fill();
    collect(&disk, Path::new(ROOT), &mut files)?;
    disk.power_off();
    Ok(files)
}

/// A log with these batches in segments.
fn filled(
    disk: &SimulatedDisk,
    batches: &[Batch],
    config: LogConfig,
) -> Result<(DataDirectory, Arc<PartitionLog>), Box<dyn std::error::Error>> {
    let directory = open(disk)?;
    disk.sync_directory(Path::new("/"))?;
    let log = directory.open_log(&log_id(), "orders", config, NOW);
    for batch in batches {
        log.append(batch, LeaderEpoch(1), NOW)?;
        directory.flush();
    }
    directory.fill();
    Ok((directory, log))
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
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    // before the start, which cuts and removes what does not count
    let looked = crate::verify::look(&fs, Path::new(ROOT))?;
    let directory = open(&disk)?;
    let log = directory.open_log(&log_id(), "orders", LogConfig::default(), NOW);
    let opened = read_all(&log)?;
    let limit = longest.max(BUFFER_BYTES_MAX);
    assert!(disk.largest_buffer() <= limit, "{} bytes held for files of {longest}", disk.largest_buffer());
    compare(&directory, &log, opened, &looked, &bases(files));
    Ok(opened)
}

/// Reads a log from its start to its end.
fn read_all(log: &PartitionLog) -> Result<Opened, Box<dyn std::error::Error>> {
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

/// Where the segments among the files begin.
fn bases(files: &[DirectoryFile]) -> Vec<Offset> {
    let base = |file: &DirectoryFile| file.name.strip_suffix(".log")?.rsplit('/').next()?.parse().ok().map(Offset);
    files.iter().filter_map(base).collect()
}

/// The start and who only looked say the same, as far as `verify.rs` promises it.
fn compare(
    directory: &DataDirectory,
    log: &PartitionLog,
    opened: Opened,
    looked: &(Vec<PartitionReport>, Option<String>),
    bases: &[Offset],
) {
    let (reports, damage) = looked;
    let failed = directory.failed();
    assert_eq!(failed.is_some(), damage.is_some(), "the start says {failed:?}, and who only looks {damage:?}");
    if failed.is_some() {
        return;
    }
    let known = reports.iter().find(|report| report.topic_id == TOPIC && report.partition == log.id().partition);
    let Some(report) = known else {
        assert_eq!((opened, log.log_end()), (Opened::Whole(0), Offset(0)), "a log that nobody knows is empty");
        return;
    };
    let summary = log.summary();
    let context = format!("{opened:?}, {summary:?}, {report:?}");
    match (&report.damage, log.unavailable(), opened) {
        (None, None, Opened::Whole(_)) => {
            assert_eq!((report.log_start, report.log_end), (summary.log_start, summary.durable_end), "{context}");
        }
        (None, _, _) => panic!("what is whole opens and is read: {context}"),
        (Some(_), Some(_), _) => {}
        (Some(_), None, Opened::Offline) => assert!(report.log_end <= summary.durable_end, "{context}"),
        (Some(_), None, Opened::Whole(_)) => {
            let is_behind_a_segment = bases.contains(&report.log_end);
            assert!(report.log_end < summary.log_start || is_behind_a_segment, "{context}");
        }
    }
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
