//! The plain model of a log: the batches that were appended and the bytes that a reader gets of them, and what the log has promised.
//!
//! Invariant: what is expected comes from what was sent and from the format (KIP-98) alone, never from the log's own code.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kennet_log::fs::Wait;
use kennet_log::{LogConfig, LogId, PartitionLog};
use kennet_protocol::record::{Batch, BatchBuilder, Batches, Compression, ProducerStamp};
use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

use super::NOW;

/// A batch as the model keeps it.
#[derive(Debug, Clone)]
pub(crate) struct ModelBatch {
    pub(crate) base: i64,
    pub(crate) values: Vec<String>,
    /// In a compacted log each record has a key, and those with an empty value are tombstones.
    pub(super) keys: Option<Vec<String>>,
    pub(super) epoch: LeaderEpoch,
    pub(super) stamp: ProducerStamp,
    /// What every reader gets, as long as compaction leaves it alone.
    bytes: Bytes,
}

/// Where the format has what a leader writes into a batch; all else stays as it was sent.
const BASE_OFFSET: std::ops::Range<usize> = 0..8;
const LEADER_EPOCH: std::ops::Range<usize> = 12..16;

impl ModelBatch {
    pub(super) fn new(
        base: i64,
        values: Vec<String>,
        keys: Option<Vec<String>>,
        epoch: LeaderEpoch,
        stamp: ProducerStamp,
    ) -> Self {
        let mut batch = Self { base, values, keys, epoch, stamp, bytes: Bytes::new() };
        let mut bytes = batch.batch().bytes().to_vec();
        bytes[BASE_OFFSET].copy_from_slice(&base.to_be_bytes());
        bytes[LEADER_EPOCH].copy_from_slice(&epoch.0.to_be_bytes());
        batch.bytes = bytes.into();
        batch
    }

    pub(super) fn records_count(&self) -> usize {
        self.values.len()
    }

    fn end(&self) -> i64 {
        self.base + i64::try_from(self.values.len()).unwrap()
    }

    fn time(&self) -> TimestampMs {
        TimestampMs(NOW.0 + self.base * 10)
    }

    /// As the producer sends it.
    pub(super) fn batch(&self) -> Batch {
        let mut builder = BatchBuilder::new(self.time()).producer(self.stamp);
        if self.keys.is_some() && self.base % 3 == 0 {
            builder = builder.compression(Compression::Lz4);
        }
        for record in self.records() {
            let value = record.value.as_ref().map(String::as_bytes);
            builder.push(self.time(), record.key.as_ref().map(String::as_bytes), value, &[]);
        }
        Batch::parse(&builder.build().unwrap()).unwrap()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = ModelRecord> {
        (self.base..).zip(&self.values).enumerate().map(|(at, (offset, value))| {
            let key = self.keys.as_ref().map(|keys| keys[at].clone());
            let value = (key.is_none() || !value.is_empty()).then(|| value.clone());
            ModelRecord { offset, time: self.time(), key, value }
        })
    }
}

/// A record as the model and the log have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelRecord {
    pub(super) offset: i64,
    time: TimestampMs,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

/// What somebody knows who has read them all.
fn state_of(records: &[ModelRecord]) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for record in records {
        let key = record.key.clone().unwrap();
        match record.value.clone() {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

/// The batches that a reader gets in pieces, from the one that has an offset on.
pub(super) fn batches_from(log: &PartitionLog, from: i64) -> Vec<Batch> {
    batches_until(log, from, |_| false)
}

fn batches_until(log: &PartitionLog, from: i64, is_enough: impl Fn(&[Batch]) -> bool) -> Vec<Batch> {
    let mut found: Vec<Batch> = Vec::new();
    let mut at = Offset(from);
    while at < log.durable_end() && !is_enough(&found) {
        let read = log.read(at, log.durable_end(), 700, true, Wait::Allowed).unwrap();
        assert!(read.next_offset > at, "a read must get on");
        let before = found.len();
        found.extend(read.chunks.into_iter().flat_map(Batches::new).map(Result::unwrap));
        let got = &found[before..];
        assert_eq!(
            got.iter().map(|batch| batch.bytes().len()).sum::<usize>(),
            read.bytes,
            "whole batches, and no more"
        );
        assert_eq!(got.last().map(|batch| batch.header().partition_leader_epoch), read.last_epoch);
        at = read.next_offset;
    }
    found
}

/// Their records from an offset on.
pub(super) fn records_of(batches: &[Batch], from: i64) -> Vec<ModelRecord> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let records = batches.iter().flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap));
    let records = records.map(|record| {
        let (key, value) = (record.key.map(text), record.value.map(text));
        ModelRecord { offset: record.offset.0, time: record.timestamp, key, value }
    });
    records.filter(|record| record.offset >= from).collect()
}

fn first_from(log: &PartitionLog, from: i64) -> Option<ModelRecord> {
    let batches = batches_until(log, from, |found| !records_of(found, from).is_empty());
    records_of(&batches, from).into_iter().next()
}

/// A log and what it must hold.
pub(crate) struct ModelLog {
    pub(crate) id: LogId,
    pub(super) config: LogConfig,
    pub(crate) log: Arc<PartitionLog>,
    pub(crate) batches: Vec<ModelBatch>,
    /// What the log has promised.
    acknowledged: i64,
    pub(super) start: i64,
    /// A start that was wanted when the power went off.
    pub(super) start_wanted: i64,
}

impl ModelLog {
    pub(super) fn new(id: LogId, config: LogConfig, log: Arc<PartitionLog>) -> Self {
        Self { id, config, log, batches: Vec::new(), acknowledged: 0, start: 0, start_wanted: 0 }
    }

    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(0, ModelBatch::end)
    }

    /// Notes what is promised now.
    pub(crate) fn note(&mut self) {
        self.acknowledged = self.log.durable_end().0;
        self.start = self.log.log_start().0;
        self.start_wanted = self.start_wanted.max(self.start);
    }

    /// Compares the log with the model, after the model forgot what was never acknowledged and is gone.
    pub(super) fn check(&mut self, context: &str) {
        let end = self.log.durable_end().0;
        let acknowledged = self.acknowledged;
        assert!(end >= acknowledged, "{context}: {acknowledged} were acknowledged, {end} are left");
        self.batches.retain(|batch| batch.end() <= end);
        assert_eq!(self.end(), end, "{context}: the end is none of a batch's");
        let start = self.log.log_start().0;
        let starts = self.start..=self.start_wanted;
        assert!(starts.contains(&start), "{context}: the log starts at {start}, not within {starts:?}");
        if self.config.compaction_enabled {
            self.check_compacted(start, end, context);
            return self.note();
        }
        let found = batches_from(&self.log, start);
        let expected = self.batches.iter().filter(|batch| batch.end() > start);
        found.iter().for_each(|batch| self.check_bytes(batch, 0, context));
        assert!(
            found.iter().map(Batch::bytes).eq(expected.map(|batch| &batch.bytes)),
            "{context}: not each batch once"
        );
        for batch in self.batches.iter().filter(|batch| batch.base >= start) {
            self.check_batch(batch, context);
        }
        self.check_producers(context);
        self.note();
    }

    /// Nothing that was never written, nothing twice, nothing changed above what was compacted, and every key has its newest value.
    fn check_compacted(&self, start: i64, end: i64, context: &str) {
        let mut written: Vec<_> = self.batches.iter().flat_map(ModelBatch::records).collect();
        written.retain(|record| record.offset >= start);
        let compacted = self.log.summary().compacted_below.0;
        let batches = batches_from(&self.log, start);
        batches.iter().for_each(|batch| self.check_bytes(batch, compacted, context));
        let found = records_of(&batches, start);
        let places: BTreeMap<_, _> = written.iter().map(|record| (record.offset, record)).collect();
        for record in &found {
            assert_eq!(Some(&record), places.get(&record.offset), "{context}: a record that was never written");
        }
        assert!(found.is_sorted_by(|a, b| a.offset < b.offset), "{context}: {found:?}");
        let above = |records: &[ModelRecord]| records.iter().filter(|record| record.offset >= compacted).count();
        assert_eq!(above(&found), above(&written), "{context}: nothing at or above {compacted} may go");
        assert_eq!(state_of(&found), state_of(&written), "{context}, log from {start} to {end}: {found:?}");
        for from in (start..end).step_by(7) {
            let expected = found.iter().find(|record| record.offset >= from);
            assert_eq!(first_from(&self.log, from).as_ref(), expected, "{context}: read from {from}");
        }
        for batch in self.batches.iter().filter(|batch| batch.base >= start) {
            assert_eq!(self.log.epoch_of(Offset(batch.base)), Some(batch.epoch), "{context}: epoch of {batch:?}");
            let first = self.log.first_at_or_after(batch.time(), self.log.durable_end()).unwrap();
            let expected = found.iter().find(|record| record.time >= batch.time());
            let expected = expected.map(|record| record.offset);
            assert_eq!(first.map(|first| first.offset.0), expected, "{context}: by time, {batch:?}");
        }
        let newest = self.log.newest_timestamp(self.log.durable_end()).unwrap();
        let expected = found.iter().max_by_key(|record| (record.time, -record.offset));
        let expected = expected.map(|record| record.offset);
        assert_eq!(newest.map(|newest| newest.offset.0), expected, "{context}: the newest time");
        self.check_producers(context);
    }

    /// A batch has the bytes that were appended, unless compaction took some of its records or noted when its tombstones go; then it still says who
    /// wrote which offsets.
    pub(super) fn check_bytes(&self, found: &Batch, compacted: i64, context: &str) {
        let header = found.header();
        let written =
            self.written(header.base_offset.0).unwrap_or_else(|| panic!("{context}: never written: {found:?}"));
        let has_all = usize::try_from(header.record_count).unwrap() == written.records_count();
        if header.base_offset.0 >= compacted || (has_all && found.delete_horizon().is_none()) {
            assert_eq!(found.bytes(), &written.bytes, "{context}: bytes of {written:?}, compacted below {compacted}");
            return;
        }
        let stamp = ProducerStamp {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        };
        let place = (header.next_offset().0, header.partition_leader_epoch, stamp);
        assert_eq!(place, (written.end(), written.epoch, written.stamp), "{context}: what is left of {written:?}");
    }

    fn written(&self, base: i64) -> Option<&ModelBatch> {
        let at = self.batches.binary_search_by_key(&base, |batch| batch.base).ok()?;
        Some(&self.batches[at])
    }

    fn check_batch(&self, batch: &ModelBatch, context: &str) {
        assert_eq!(self.log.epoch_of(Offset(batch.base)), Some(batch.epoch), "{context}: epoch of {batch:?}");
        let found = self.log.first_at_or_after(batch.time(), self.log.durable_end()).unwrap();
        assert_eq!(found.map(|found| found.offset.0), Some(batch.base), "{context}: by time, {batch:?}");
    }
}
