//! What can be asked of a data directory while no broker runs on it: is it whole, and what is in a file.
//!
//! Nothing is changed. Output is one line per thing, so that `grep` and `awk` do; a reader that goes away ends it quietly.

use std::io::{self, Write};
use std::path::Path;

use kennet_contract::ExitCode;
use kennet_log::fs::RealFileSystem;
use kennet_log::{Dumped, PartitionReport, dump, verify};
use kennet_protocol::record::{Batch, Record};

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
    /// The file can't be read.
    #[error("cannot dump {path}: {source}")]
    Dump {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        source: io::Error,
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
            Self::Verify(_) | Self::NoDirectory { .. } | Self::Damaged { .. } => ExitCode::DataDirectory,
            Self::Dump { .. } | Self::NotWhole { .. } => ExitCode::Failed,
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
    let (mut partitions, mut damaged) = (0, 0);
    let mut said = Ok(());
    verify(&RealFileSystem::new(directory), directory, |report| {
        partitions += 1;
        damaged += usize::from(report.damage.is_some());
        if said.is_ok() {
            said = write_report(report, out);
        }
    })?;
    if damaged > 0 {
        return Err(OfflineError::Damaged { path: directory.to_owned(), damaged, partitions });
    }
    if said.is_ok() {
        // whoever reads may have gone; the exit code tells
        let _ = writeln!(out, "{partitions} partitions are whole");
    }
    Ok(())
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

/// Writes a line per batch of a segment file and, if wanted, one per record.
///
/// # Errors
/// When the file can't be read or is not whole.
pub fn dump_segment(file: &Path, with_records: bool, out: &mut impl Write) -> Result<(), OfflineError> {
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
