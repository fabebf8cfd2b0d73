//! A data directory in a temporary folder, batches with readable values, and what comes back from them.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

pub(crate) mod hooked;
pub(crate) mod lives;
pub(crate) mod meanwhile;
pub(crate) mod model;
pub(crate) mod producers;
pub(crate) mod seeds;
pub(crate) mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use kennet_log::LogConfig;
use kennet_log::fs::{FileSystem, RealFileSystem, Wait, read_file};
use kennet_log::{AppendError, Appended, DataDirectory, Limits, LogId, PartitionLog, Rules};
use kennet_protocol::record::{Batch, BatchBuilder, Batches, ProducerStamp};
use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, Uuid};

pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(3);

pub(crate) fn open(path: &Path) -> DataDirectory {
    open_on(Arc::new(RealFileSystem::new(path)), path)
}

pub(crate) fn open_on(fs: Arc<dyn FileSystem>, path: &Path) -> DataDirectory {
    let limits = Limits { journal_bytes_max: Some(8 << 20), ..Limits::default() };
    DataDirectory::open(fs, path, limits).unwrap()
}

/// Without threads, and with or without some of the rules.
pub(crate) fn open_by(rules: Rules, path: &Path) -> DataDirectory {
    let limits = Limits { journal_bytes_max: Some(8 << 20), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(RealFileSystem::new(path)), path, limits, rules).unwrap()
}

pub(crate) fn log_id() -> LogId {
    LogId { topic_id: Uuid::from_u128(7), partition: PartitionIndex(0) }
}

pub(crate) fn log_of(directory: &DataDirectory, config: LogConfig) -> Arc<PartitionLog> {
    directory.open_log(&log_id(), "orders", config, NOW)
}

/// Segments so small that a few batches fill one, and an index entry for every second batch.
pub(crate) fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 1_000, index_interval_bytes: 150, ..LogConfig::default() }
}

pub(crate) fn batch_at(values: &[&str], time: TimestampMs) -> Batch {
    let mut builder = BatchBuilder::new(time);
    for value in values {
        builder.push(time, None, Some(value.as_bytes()), &[]);
    }
    Batch::parse(&builder.build().unwrap()).unwrap()
}

pub(crate) fn produced(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Batch {
    let stamp = ProducerStamp {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
    };
    let mut builder = BatchBuilder::new(NOW).producer(stamp);
    for value in values {
        builder.push(NOW, None, Some(value.as_bytes()), &[]);
    }
    Batch::parse(&builder.build().unwrap()).unwrap()
}

/// Appends; where threads make room meanwhile, as many slots of the journal as a slow disk makes them, it waits for that.
pub(crate) fn append(log: &Arc<PartitionLog>, values: &[&str]) -> Appended {
    let batch = batch_at(values, NOW);
    for _ in 0..5_000 {
        match log.append(&batch, EPOCH, NOW) {
            Err(AppendError::Busy { .. }) => wait_a_little(),
            appended => return appended.unwrap(),
        }
    }
    log.append(&batch, EPOCH, NOW).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "other threads make room meanwhile, and nothing here tells when")]
pub(crate) fn wait_a_little() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

/// `count` batches of one record each: "0", "1", ...
pub(crate) fn append_numbers(log: &Arc<PartitionLog>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        append(log, &[&number.to_string()]);
    }
}

/// Makes everything durable and moves it to segments.
pub(crate) fn settle(directory: &DataDirectory) {
    directory.flush();
    directory.fill();
}

/// All values from the log's start to its durable end, read in pieces of `bytes_max`.
pub(crate) fn values(log: &PartitionLog, bytes_max: usize) -> Vec<String> {
    values_from(log, log.log_start(), bytes_max)
}

pub(crate) fn values_from(log: &PartitionLog, from: Offset, bytes_max: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = from;
    while at < log.durable_end() {
        let read = log.read(at, log.durable_end(), bytes_max, true, Wait::Allowed).unwrap();
        assert!(read.next_offset > at, "a read must get on");
        for batch in read.chunks.into_iter().flat_map(Batches::new) {
            for record in batch.unwrap().records(1 << 20).unwrap() {
                let record = record.unwrap();
                if record.offset >= from {
                    found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                }
            }
        }
        at = read.next_offset;
    }
    found
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// What a killed process leaves: the files as they are, without a clean stop.
pub(crate) fn copy_of(path: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(path, copy.path());
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Everything below a folder: the bytes of each file, nothing of a directory but that it is there.
pub(crate) fn content(fs: &dyn FileSystem, folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs.list(folder).unwrap() {
        let path = folder.join(entry.name);
        if entry.is_directory {
            found.append(&mut content(fs, &path));
            found.insert(path, None);
        } else {
            let bytes = read_file(fs, &path, usize::MAX).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// What of a folder is not as it was.
pub(crate) fn changed(fs: &dyn FileSystem, folder: &Path, before: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> Vec<PathBuf> {
    let now = content(fs, folder);
    let paths: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != now.get(*path)).cloned().collect()
}

/// The partition's files with this extension, in order.
pub(crate) fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    let partition = path.join("topics").join(log_id().topic_id.to_string()).join("0000");
    let mut found: Vec<_> = std::fs::read_dir(partition)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}
