//! Logs on a simulated disk beside a plain model of what they must hold, over several lives.
#![allow(dead_code, clippy::unwrap_used, reason = "tests: each binary uses its own part")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kennet_log::fs::FileSystem;
use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::{DataDirectory, Limits, LogConfig, LogId, OpenError, PartitionLog, Rules};
use kennet_protocol::record::{Batch, BatchBuilder, ProducerStamp};
use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, Uuid};

use super::{NOW, values};

const ROOT: &str = "/data";
const PRODUCER: ProducerId = ProducerId(5);

/// A batch as the model keeps it.
#[derive(Debug, Clone)]
pub(crate) struct ModelBatch {
    pub(crate) base: i64,
    pub(crate) values: Vec<String>,
    epoch: LeaderEpoch,
    sequence: i32,
}

impl ModelBatch {
    fn end(&self) -> i64 {
        self.base + i64::try_from(self.values.len()).unwrap()
    }

    fn time(&self) -> TimestampMs {
        TimestampMs(NOW.0 + self.base * 10)
    }

    fn batch(&self) -> Batch {
        let stamp =
            ProducerStamp { producer_id: PRODUCER, producer_epoch: ProducerEpoch(0), base_sequence: self.sequence };
        let mut builder = BatchBuilder::new(self.time()).producer(stamp);
        for value in &self.values {
            builder.push(self.time(), None, Some(value.as_bytes()), &[]);
        }
        Batch::parse(&builder.build().unwrap()).unwrap()
    }
}

/// A log and what it must hold.
pub(crate) struct ModelLog {
    pub(crate) id: LogId,
    config: LogConfig,
    pub(crate) log: Arc<PartitionLog>,
    pub(crate) batches: Vec<ModelBatch>,
    /// What the log has promised.
    acknowledged: i64,
    start: i64,
    /// A start that was wanted when the power went off.
    start_wanted: i64,
}

impl ModelLog {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, ModelBatch::end)
    }

    /// Notes what is promised now.
    pub(crate) fn note(&mut self) {
        self.acknowledged = self.log.durable_end().0;
        self.start = self.log.log_start().0;
        self.start_wanted = self.start_wanted.max(self.start);
    }

    /// Compares the log with the model, after the model forgot what was never acknowledged and is gone.
    fn check(&mut self, context: &str) {
        let end = self.log.durable_end().0;
        let acknowledged = self.acknowledged;
        assert!(end >= acknowledged, "{context}: {acknowledged} were acknowledged, {end} are left");
        self.batches.retain(|batch| batch.end() <= end);
        assert_eq!(self.end(), end, "{context}: the end is none of a batch's");
        let start = self.log.log_start().0;
        let starts = self.start..=self.start_wanted;
        assert!(starts.contains(&start), "{context}: the log starts at {start}, not within {starts:?}");
        let expected: Vec<_> = self.batches.iter().flat_map(|batch| batch.values.clone()).collect();
        let from = usize::try_from(start).unwrap();
        assert_eq!(values(&self.log, 700), expected[from..], "{context}");
        for batch in self.batches.iter().filter(|batch| batch.base >= start) {
            self.check_batch(batch, context);
        }
        if let Some(last) = self.batches.last().filter(|last| last.base >= start) {
            let again = self.log.append(&last.batch(), last.epoch, NOW).unwrap();
            assert!(again.duplicate && again.base_offset.0 == last.base, "{context}: {again:?} for {last:?}");
        }
        self.note();
    }

    fn check_batch(&self, batch: &ModelBatch, context: &str) {
        assert_eq!(self.log.epoch_of(Offset(batch.base)), Some(batch.epoch), "{context}: epoch of {batch:?}");
        let found = self.log.first_at_or_after(batch.time(), self.log.durable_end()).unwrap();
        assert_eq!(found.map(|found| found.offset.0), Some(batch.base), "{context}: by time, {batch:?}");
    }
}

/// A data directory over several lives.
pub(crate) struct World {
    pub(crate) disk: SimulatedDisk,
    pub(crate) directory: DataDirectory,
    pub(crate) logs: Vec<ModelLog>,
    pub(crate) random: fastrand::Rng,
    rules: Rules,
    epoch: LeaderEpoch,
    topics: u128,
    deleted: Vec<Uuid>,
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
        let mut world = Self { disk, directory, logs: Vec::new(), random, rules, epoch, topics, deleted: Vec::new() };
        for _ in 0..logs {
            let log = world.new_log();
            world.logs.push(log);
        }
        world
    }

    fn new_log(&mut self) -> ModelLog {
        self.topics += 1;
        let by_size = self.topics % 2 == 1;
        let config = LogConfig {
            segment_bytes: 700,
            index_interval_bytes: 150,
            retention_bytes: by_size.then_some(1_500),
            // nothing is ever that old
            retention_age: (!by_size).then_some(Duration::from_secs(3_600)),
            ..LogConfig::default()
        };
        let id = LogId { topic_id: Uuid::from_u128(self.topics), partition: PartitionIndex(0) };
        let log = self.directory.open_log(&id, "orders", config.clone(), NOW);
        ModelLog { id, config, log, batches: Vec::new(), acknowledged: 0, start: 0, start_wanted: 0 }
    }

    /// Appends a batch in memory; false when the log does not take it.
    pub(crate) fn append(&mut self, at: usize) -> bool {
        let records = self.random.usize(1..4);
        let epoch = self.epoch;
        let log = &mut self.logs[at];
        let base = log.end();
        let sequence = log.batches.last().map_or(0, |last| last.sequence + i32::try_from(last.values.len()).unwrap());
        let values = (base..).take(records).map(|offset| format!("{offset} of life {}", epoch.0)).collect();
        let batch = ModelBatch { base, values, epoch, sequence };
        let Ok(appended) = log.log.append(&batch.batch(), epoch, NOW) else { return false };
        assert_eq!(appended.base_offset.0, base);
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

    /// Moves batches to segments, all or as the journal needs it.
    pub(crate) fn fill(&mut self) {
        if self.random.bool() {
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
        let wanted = self.random.i64(log.start..=watermark.0);
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

fn open(disk: &SimulatedDisk, rules: Rules) -> Result<DataDirectory, OpenError> {
    // eight slots of 4 KiB: no slot is smaller
    let limits = Limits { memory_bytes_max: 20_000, journal_bytes_max: Some(32 << 10), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new(ROOT), limits, rules)
}
