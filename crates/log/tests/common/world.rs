//! Logs on a simulated disk beside the plain model of what they must hold (`model.rs`), over several lives.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, Wait, read_file};
use kennet_log::{AppendError, CompactionError, DataDirectory, Limits, LogConfig, LogId, OpenError, Rules};
use kennet_protocol::record::Batches;
use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, Uuid};

use super::model::{ModelBatch, ModelLog, batches_from, records_of};
use super::producers::next_stamp;
use super::{NOW, changed, content};

const ROOT: &str = "/data";
/// More than fit in the smallest map.
const KEYS: u8 = 12;

/// A data directory over several lives.
pub(crate) struct World {
    pub(crate) disk: SimulatedDisk,
    pub(crate) directory: Arc<DataDirectory>,
    pub(crate) logs: Vec<ModelLog>,
    pub(crate) random: fastrand::Rng,
    pub(super) rules: Rules,
    pub(super) epoch: LeaderEpoch,
    pub(super) topics: u128,
    pub(super) deleted: Vec<Uuid>,
    /// Rounds of compaction that came to their end.
    pub(crate) compactions: u32,
}

impl World {
    pub(crate) fn new(seed: u64, logs: usize) -> Self {
        Self::with_rules(seed, logs, Rules::default())
    }

    pub(crate) fn with_rules(seed: u64, logs: usize, rules: Rules) -> Self {
        let disk = SimulatedDisk::new(seed);
        // the volume is mounted there
        disk.create_directory(Path::new(ROOT)).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let directory = open(&disk, rules).unwrap();
        let random = fastrand::Rng::with_seed(seed);
        let (epoch, topics) = (LeaderEpoch(0), 0);
        let (logs_so_far, deleted, compactions) = (Vec::new(), Vec::new(), 0);
        let mut world = Self { disk, directory, logs: logs_so_far, random, rules, epoch, topics, deleted, compactions };
        for _ in 0..logs {
            let log = world.new_log();
            world.logs.push(log);
        }
        world
    }

    fn new_log(&mut self) -> ModelLog {
        self.topics += 1;
        let by_size = self.topics % 2 == 1;
        let is_compacted = self.topics.is_multiple_of(3);
        let compacted = LogConfig {
            segment_bytes: 700,
            index_interval_bytes: 150,
            retention_enabled: false,
            compaction_enabled: true,
            dirty_ratio_min: 0.0,
            // at once, or never
            tombstone_retention: Duration::from_secs(if self.topics.is_multiple_of(2) { 3_600 } else { 0 }),
            ..LogConfig::default()
        };
        let deleted = LogConfig {
            segment_bytes: 700,
            index_interval_bytes: 150,
            retention_bytes: by_size.then_some(1_500),
            // nothing is ever that old
            retention_age: (!by_size).then_some(Duration::from_secs(3_600)),
            ..LogConfig::default()
        };
        let config = if is_compacted { compacted } else { deleted };
        let id = LogId { topic_id: Uuid::from_u128(self.topics), partition: PartitionIndex(0) };
        let log = self.directory.open_log(&id, "orders", config.clone(), NOW);
        ModelLog::new(id, config, log)
    }

    /// Appends a batch in memory; false when the log does not take it.
    pub(crate) fn append(&mut self, at: usize) -> bool {
        let records = self.random.usize(1..4);
        let epoch = self.epoch;
        let log = &mut self.logs[at];
        let base = log.end();
        let stamp = next_stamp(&log.batches, &mut self.random);
        let mut values: Vec<_> = (base..).take(records).map(|offset| format!("{offset} of life {}", epoch.0)).collect();
        let keys = log.config.compaction_enabled.then(|| {
            values.iter_mut().filter(|_| self.random.u8(..5) == 0).for_each(String::clear);
            values.iter().map(|_| self.random.u8(..KEYS).to_string()).collect()
        });
        let batch = ModelBatch::new(base, values, keys, epoch, stamp);
        let appended = match log.log.append(&batch.batch(), epoch, NOW) {
            Ok(appended) => appended,
            Err(error @ (AppendError::OutOfOrderSequence { .. } | AppendError::OldProducerEpoch { .. })) => {
                panic!("{error}, for {batch:?}")
            }
            Err(_) => return false,
        };
        assert!(!appended.duplicate && appended.base_offset.0 == base, "{appended:?} for {batch:?}");
        log.batches.push(batch);
        true
    }

    /// Appends batches to logs by chance; they are only in memory.
    pub(crate) fn append_some(&mut self, batches: usize) {
        for _ in 0..batches {
            let at = self.random.usize(..self.logs.len());
            self.append(at);
        }
    }

    /// Writes a block of the journal.
    pub(crate) fn step(&mut self) {
        self.directory.step();
        self.logs.iter_mut().for_each(ModelLog::note);
    }

    /// Moves batches to segments, all or as the journal needs it; in every second pass others go on meanwhile.
    pub(crate) fn fill(&mut self) {
        let all = self.random.bool();
        if self.random.bool() {
            return self.crossed(all);
        }
        if all {
            self.directory.fill();
        } else {
            self.directory.fill_as_needed();
        }
        self.logs.iter_mut().for_each(ModelLog::note);
    }

    pub(crate) fn flush(&mut self) {
        self.directory.flush();
        self.logs.iter_mut().for_each(ModelLog::note);
    }

    pub(crate) fn delete_records(&mut self, at: usize) {
        let log = &mut self.logs[at];
        let watermark = log.log.durable_end();
        // also to the end: then no batch is left that holds the entries of those that went
        let wanted = if self.random.u8(..4) == 0 { watermark.0 } else { self.random.i64(log.start..=watermark.0) };
        log.start_wanted = log.start_wanted.max(wanted);
        if log.log.delete_records(Offset(wanted), watermark, NOW).is_ok() {
            assert!(log.log.log_start().0 >= wanted);
        }
        log.note();
    }

    pub(crate) fn apply_retention(&mut self, at: usize) {
        let log = &mut self.logs[at];
        let watermark = log.log.durable_end();
        if log.config.retention_bytes.is_some() {
            log.start_wanted = watermark.0;
        }
        let before = log.log.log_start();
        if log.log.apply_retention(watermark, NOW).is_ok() && log.config.retention_age.is_some() {
            assert_eq!(log.log.log_start(), before, "nothing is old enough to go");
        }
        log.note();
    }

    /// A round of compaction, with enough memory or too little, and perhaps ended early.
    pub(crate) fn compact(&mut self) {
        let Some(at) = self.logs.iter().position(|log| log.config.compaction_enabled) else { return };
        if self.random.bool() {
            self.directory.fill_sealed();
        }
        let map_bytes = if self.random.bool() { 10_000 } else { 0 };
        let mut left = if self.random.u8(..4) == 0 { self.random.u32(1..40) } else { u32::MAX };
        let log = &self.logs[at];
        let mut pace = |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match log.log.compact(log.log.durable_end(), NOW, map_bytes, &mut pace) {
            Ok(None) | Err(CompactionError::Stopped) => {}
            Ok(Some(done)) => {
                assert_eq!(done.set_aside, 0);
                self.compactions += 1;
                let below = log.log.summary().compacted_below.0;
                let start = log.log.log_start().0;
                let mut clean = records_of(&batches_from(&log.log, start), start);
                clean.retain(|record| record.offset < below);
                let keys: BTreeSet<_> = clean.iter().map(|record| record.key.clone()).collect();
                assert!(done.is_partial || keys.len() == clean.len(), "{done:?}, below {below}: {clean:?}");
            }
            Err(error) => assert!(self.disk.is_off(), "{error}"),
        }
    }

    pub(crate) fn fill_all(&mut self) {
        self.directory.flush();
        self.directory.fill();
        self.logs.iter_mut().for_each(ModelLog::note);
    }

    /// A round with enough memory; whether there was something to do.
    pub(crate) fn compact_once(&mut self, at: usize) -> bool {
        let log = &self.logs[at].log;
        log.compact(log.durable_end(), NOW, 10_000, &mut |_| ControlFlow::Continue(())).is_ok_and(|done| done.is_some())
    }

    pub(crate) fn roll(&mut self, at: usize) {
        self.logs[at].log.roll(NOW);
        self.flush();
    }

    /// Deletes the topic and makes another one.
    pub(crate) fn replace(&mut self, at: usize) {
        let topic_id = self.logs[at].id.topic_id;
        if self.directory.delete_topic(topic_id).is_ok() {
            self.deleted.push(topic_id);
        }
        self.logs[at] = self.new_log();
    }

    /// Stops cleanly and starts again.
    pub(crate) fn stop_and_start(&mut self) {
        self.directory.close();
        self.logs.iter_mut().for_each(ModelLog::note);
        if !self.disk.is_off() {
            self.restart(false, "after a clean stop");
        }
    }

    /// Cuts the power, starts again and checks all. Until then nothing more is written.
    pub(crate) fn restart(&mut self, power_cut: bool, context: &str) {
        if power_cut && !self.disk.is_off() {
            self.disk.power_off();
        }
        self.logs.iter_mut().for_each(ModelLog::note);
        self.directory.close();
        if power_cut {
            self.disk.restart();
            self.epoch = LeaderEpoch(self.epoch.0 + 1);
            if self.random.u8(..3) == 0 {
                // the power fails again while the logs are being recovered
                self.disk.plan(self.disk.calls() + self.random.u64(1..12), Trouble::PowerOff);
            }
        }
        self.reopen();
        while self.disk.is_off() {
            self.disk.restart();
            self.reopen();
        }
        if power_cut {
            self.disk.plan(u64::MAX, Trouble::PowerOff);
        }
        let found = self.directory.topics_found().unwrap();
        let back = self.deleted.iter().find(|deleted| found.contains(*deleted));
        assert_eq!(back, None, "{context}: a deleted topic is back");
        for at in 0..self.logs.len() {
            let log = &mut self.logs[at];
            assert_eq!(log.log.unavailable(), None, "{context}, log {at}");
            log.check(&format!("{context}, log {at}"));
        }
    }

    /// Cuts the power, then flips a bit in the header or the content of a block that is not the newest, if there are two.
    pub(crate) fn flip_in_older_block(&mut self) {
        self.flush();
        self.disk.power_off();
        // a dead process writes nothing, also when it is dropped
        self.directory.close();
        self.disk.restart();
        let journal = Path::new(ROOT).join("journal");
        let mut blocks = Vec::new();
        for slot in self.disk.list(&journal).unwrap() {
            let path = journal.join(slot.name);
            let bytes = read_file(&self.disk, &path, usize::MAX).unwrap().unwrap();
            for (sector, block) in bytes.chunks(512).enumerate().filter(|(_, block)| block.starts_with(b"kennetJ1")) {
                let long = |at: usize| u64::from_be_bytes(block[at..at + 8].try_into().unwrap());
                blocks.push((long(32), path.clone(), sector * 512));
            }
        }
        blocks.sort();
        blocks.pop();
        if !blocks.is_empty() {
            let (_, path, at) = &blocks[self.random.usize(..blocks.len())];
            // a block has a header of 64 bytes and at least a fragment's head
            self.disk.flip(path, at + self.random.usize(..69));
        }
    }

    /// The generation of the newest base of the checkpoint.
    pub(crate) fn checkpoint_generation(&self) -> u64 {
        let generation = |name: &str| {
            let bytes = read_file(&self.disk, &Path::new(ROOT).join(name), usize::MAX).ok()??;
            Some(u64::from_be_bytes(bytes.get(8..16)?.try_into().unwrap()))
        };
        ["checkpoint.0", "checkpoint.1"].into_iter().filter_map(generation).max().unwrap_or(0)
    }

    /// All files of partitions with this extension.
    fn partition_files(&self, extension: &str) -> Vec<PathBuf> {
        let topics = Path::new(ROOT).join("topics");
        let partitions = self.disk.list(&topics).unwrap().into_iter().map(|topic| topics.join(topic.name).join("0000"));
        let files = |partition: PathBuf| {
            let entries = self.disk.list(&partition).unwrap().into_iter();
            entries.map(move |entry| partition.join(entry.name))
        };
        partitions.flat_map(files).filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    }

    /// Flips a bit of a position in each offset index that has one.
    pub(crate) fn flip_in_indexes(&mut self) {
        for path in self.partition_files("index") {
            let entries = read_file(&self.disk, &path, usize::MAX).unwrap().unwrap().len() / 8;
            if entries > 0 {
                // the lowest byte of the position
                self.disk.flip(&path, self.random.usize(..entries) * 8 + 7);
            }
        }
    }

    /// Flips a bit in a batch of each segment, where its checksum covers it.
    pub(crate) fn flip_in_batches(&mut self) {
        for path in self.partition_files("log") {
            let bytes = read_file(&self.disk, &path, usize::MAX).unwrap().unwrap();
            let mut starts = vec![0];
            for batch in Batches::new(Bytes::from(bytes)) {
                starts.push(starts[starts.len() - 1] + batch.unwrap().bytes().len());
            }
            if starts.len() > 1 {
                let at = self.random.usize(..starts.len() - 1);
                self.disk.flip(&path, self.random.usize(starts[at] + 21..starts[at + 1]));
            }
        }
    }

    /// Reads all logs as far as they can be read: what is served is what was written.
    pub(crate) fn read_damaged(&self, context: &str) {
        for log in &self.logs {
            let written: Vec<_> = log.batches.iter().flat_map(ModelBatch::records).collect();
            let mut at = log.log.log_start();
            while let Ok(read) = log.log.read(at, log.log.durable_end(), 700, true, Wait::Allowed) {
                if read.next_offset == at {
                    break;
                }
                for batch in read.chunks.into_iter().flat_map(Batches::new) {
                    let batch = batch.unwrap_or_else(|error| panic!("{context}: {error} is served"));
                    log.check_bytes(&batch, log.log.summary().compacted_below.0, context);
                    for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
                        let found = written.iter().find(|written| written.offset == record.offset.0).unwrap();
                        let value = record.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                        assert_eq!(value, found.value, "{context}");
                    }
                }
                at = read.next_offset;
            }
        }
    }

    /// Starts again; true when the directory says that it is damaged, and then nothing of it was changed, else all has to be there.
    pub(crate) fn restart_damaged(&mut self, context: &str) -> bool {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        let before = content(&self.disk, Path::new(ROOT));
        self.reopen();
        if self.directory.failed().is_some() {
            self.directory.close();
            let changed = changed(&self.disk, Path::new(ROOT), &before);
            assert!(changed.is_empty(), "{context}: a damaged directory is written: {changed:?}");
            return true;
        }
        for (at, log) in self.logs.iter_mut().enumerate() {
            assert_eq!(log.log.unavailable(), None, "{context}, log {at}");
            log.check(&format!("{context}, log {at}"));
        }
        false
    }

    fn reopen(&mut self) {
        // the old one has the lock until it is dropped
        self.directory = open(&SimulatedDisk::new(0), self.rules).unwrap();
        let Ok(directory) = open(&self.disk, self.rules) else {
            assert!(self.disk.is_off(), "a sound disk opens");
            return;
        };
        self.directory = directory;
        for log in &mut self.logs {
            log.log = self.directory.open_log(&log.id, "orders", log.config.clone(), NOW);
        }
    }
}

fn open(disk: &SimulatedDisk, rules: Rules) -> Result<Arc<DataDirectory>, OpenError> {
    // eight slots of 4 KiB: no slot is smaller
    let limits = Limits { memory_bytes_max: 20_000, journal_bytes_max: Some(32 << 10), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new(ROOT), limits, rules).map(Arc::new)
}
