//! What can be asked of a data directory while no broker runs on it: is it whole, and what is in a file.
//!
//! Nothing is changed. Output is one line per thing, so that `grep` and `awk` do; a reader that goes away ends it quietly.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use kennet_contract::ExitCode;
use kennet_log::fs::{FileSystem, RealFileSystem};
use kennet_log::{Dumped, DumpedIndex, IndexKind, PartitionReport, dump, dump_index, verify};
use kennet_protocol::record::{Batch, Record};

use crate::identity::Identity;
use crate::start_error::StartError;

/// A compressed batch is shown up to so many bytes of records; a larger one is named and passed over.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Why an offline command failed; the message is for people.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The data directory can't be read.
    #[error("cannot verify: {0}")]
    Verify(#[from] kennet_log::OpenError),
    /// It is not there.
    #[error(
        "{path} is no data directory: expected the folder with identity.json, which for kennet dev is .kennet/NAME/data"
    )]
    NoDirectory {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// It belongs to nobody who is known, or has another format. What a start says of it is right here too.
    #[error("cannot verify: {0}")]
    Identity(#[source] StartError),
    /// Damage was found, and reported line by line.
    #[error(
        "{damaged} of {partitions} partitions in {path} are damaged: their lines above say where; nothing was changed"
    )]
    Damaged {
        /// The directory.
        path: std::path::PathBuf,
        /// How many.
        damaged: usize,
        /// Of how many.
        partitions: usize,
    },
    /// Damage of what all partitions share.
    #[error(
        "{path} is damaged as a whole: {damage}. A broker uses nothing of it; what the lines above say is incomplete, and nothing was changed"
    )]
    Shared {
        /// The directory.
        path: std::path::PathBuf,
        /// What is damaged.
        damage: String,
    },
    /// The file can't be read.
    #[error("cannot dump {path}: {source}")]
    Dump {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no such segment or index.
    #[error(
        "cannot dump {path}: {source}; a partition has it once records are written to segments, which a clean stop does: until then they are in the journal"
    )]
    NoSegment {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is not known what is in the file.
    #[error(
        "cannot dump {path}: it is neither a segment nor an index of one; expected a file that ends with .log, .index or .timeindex: name one below the data directory's folder topics"
    )]
    UnknownFile {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The index is not whole.
    #[error(
        "{path} is damaged behind {entries} {}: {what}; a broker makes an index anew that makes no sense: verify the data directory if its segment may be damaged too",
        if *entries == 1 { "entry" } else { "entries" }
    )]
    DamagedIndex {
        /// The file.
        path: std::path::PathBuf,
        /// Entries that are whole.
        entries: u64,
        /// What is wrong behind them.
        what: String,
    },
    /// The file is not whole.
    #[error(
        "{path} has {length} bytes, but only {whole} of them are intact batches: what follows is an unfinished append, damage or no segment; verify the data directory"
    )]
    NotWhole {
        /// The file.
        path: std::path::PathBuf,
        /// Intact bytes.
        whole: u64,
        /// All bytes.
        length: u64,
    },
}

impl OfflineError {
    /// 4 when the data directory is not as it should be, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Verify(_)
            | Self::NoDirectory { .. }
            | Self::Identity(_)
            | Self::Damaged { .. }
            | Self::Shared { .. } => ExitCode::DataDirectory,
            Self::Dump { .. }
            | Self::NoSegment { .. }
            | Self::UnknownFile { .. }
            | Self::DamagedIndex { .. }
            | Self::NotWhole { .. } => ExitCode::Failed,
        }
    }
}

/// Reads every byte of the logs in `directory` and writes a line per partition.
///
/// # Errors
/// When the directory can't be read, or a partition is damaged.
pub fn verify_directory(directory: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    // also so that nothing, not even a lock file, is made in a folder of somebody else
    if !directory.join("identity.json").is_file() {
        return Err(OfflineError::NoDirectory { path: directory.to_owned() });
    }
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new(directory));
    // what is whole in one format may be wrong in another
    Identity::read(fs.as_ref(), directory).map_err(OfflineError::Identity)?;
    let (mut partitions, mut damaged) = (0_usize, 0);
    let mut said = Ok(());
    let shared = verify(&fs, directory, |report| {
        partitions += 1;
        damaged += usize::from(report.damage.is_some());
        if said.is_ok() {
            said = write_report(report, out);
        }
    })?;
    if let Some(damage) = shared {
        return Err(OfflineError::Shared { path: directory.to_owned(), damage });
    }
    if damaged > 0 {
        return Err(OfflineError::Damaged { path: directory.to_owned(), damaged, partitions });
    }
    if said.is_ok() {
        // whoever reads may have gone; the exit code tells
        let _ = writeln!(out, "{}", whole(partitions as u64, "partition", "partitions"));
    }
    Ok(())
}

fn whole(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one} is whole") } else { format!("{count} {many} are whole") }
}

fn write_report(report: &PartitionReport, out: &mut impl Write) -> io::Result<()> {
    let topic = report.topic.clone().unwrap_or_else(|| report.topic_id.to_string());
    let state = if report.damage.is_some() { "damaged" } else { "whole" };
    write!(
        out,
        "{state} topic={topic} partition={} offsets={}..{} segments={} batches={} records={} bytes={}",
        report.partition.0,
        report.log_start.0,
        report.log_end.0,
        report.segments,
        report.batches,
        report.records,
        report.bytes
    )?;
    if report.unfinished_bytes > 0 {
        write!(out, " unfinished-bytes={}", report.unfinished_bytes)?;
    }
    match &report.damage {
        Some(damage) => writeln!(out, ": {damage}"),
        None => writeln!(out),
    }
}

/// Writes a line per batch of a segment file and, if wanted, one per record; or a line per entry of an index.
///
/// # Errors
/// When the file can't be read, is not whole, or is none of these.
pub fn dump_file(file: &Path, with_records: bool, out: &mut impl Write) -> Result<(), OfflineError> {
    // before its name is looked at: a name that is misspelt says nothing about a file
    let extension = file.extension().and_then(|extension| extension.to_str());
    std::fs::metadata(file).map_err(|source| match extension {
        Some("log" | "index" | "timeindex") if source.kind() == io::ErrorKind::NotFound => {
            OfflineError::NoSegment { path: file.to_owned(), source }
        }
        _ => OfflineError::Dump { path: file.to_owned(), source },
    })?;
    match extension {
        Some("log") => dump_segment(file, with_records, out),
        Some("index") => dump_entries(file, IndexKind::Offsets, out),
        Some("timeindex") => dump_entries(file, IndexKind::Times, out),
        _ => Err(OfflineError::UnknownFile { path: file.to_owned() }),
    }
}

fn dump_entries(file: &Path, kind: IndexKind, out: &mut impl Write) -> Result<(), OfflineError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let dumped = dump_index(&RealFileSystem::new(folder), file, kind, |entry| writeln!(out, "entry {entry}"));
    match dumped {
        Ok(DumpedIndex { entries, damage: None }) => {
            // so that an index without entries, which a small segment has, is told from one that was not read
            let _ = writeln!(out, "{}", whole(entries, "entry", "entries"));
            Ok(())
        }
        Ok(DumpedIndex { entries, damage: Some(what) }) => {
            Err(OfflineError::DamagedIndex { path: file.to_owned(), entries, what })
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(OfflineError::Dump { path: file.to_owned(), source }),
    }
}

fn dump_segment(file: &Path, with_records: bool, out: &mut impl Write) -> Result<(), OfflineError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let dumped = dump(&RealFileSystem::new(folder), file, |position, batch| {
        write_batch(position, batch, out)?;
        if with_records { write_records(batch, out) } else { Ok(()) }
    });
    match dumped {
        Ok(Dumped { whole, length }) if whole == length => Ok(()),
        Ok(Dumped { whole, length }) => Err(OfflineError::NotWhole { path: file.to_owned(), whole, length }),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(OfflineError::Dump { path: file.to_owned(), source }),
    }
}

fn write_batch(position: u64, batch: &Batch, out: &mut impl Write) -> io::Result<()> {
    let header = batch.header();
    let codec = header.attributes.compression().map_or_else(|codec| codec.to_string(), |codec| codec.name().to_owned());
    writeln!(
        out,
        "batch position={position} bytes={} offsets={}..{} records={} epoch={} max-timestamp={} compression={codec} producer={}/{} sequence={} transactional={} control={}",
        batch.bytes().len(),
        header.base_offset.0,
        header.last_offset().0,
        header.record_count,
        header.partition_leader_epoch.0,
        header.max_timestamp.0,
        header.producer_id.0,
        header.producer_epoch.0,
        header.base_sequence,
        header.attributes.is_transactional(),
        header.attributes.is_control()
    )
}

fn write_records(batch: &Batch, out: &mut impl Write) -> io::Result<()> {
    let records = match batch.records(DECOMPRESSED_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => return writeln!(out, "  not shown: {error}"),
    };
    for record in records {
        match record {
            Ok(record) => write_record(&record, out)?,
            Err(error) => writeln!(out, "  not shown: {error}")?,
        }
    }
    Ok(())
}

fn write_record(record: &Record, out: &mut impl Write) -> io::Result<()> {
    let show = |bytes: &Option<bytes::Bytes>| {
        bytes.as_ref().map_or("null".to_owned(), |bytes| format!("\"{}\"", bytes.escape_ascii()))
    };
    write!(
        out,
        "  record offset={} timestamp={} key={} value={}",
        record.offset.0,
        record.timestamp.0,
        show(&record.key),
        show(&record.value)
    )?;
    for header in &record.headers {
        write!(out, " header:{}={}", header.key.escape_default(), show(&header.value))?;
    }
    writeln!(out)
}
