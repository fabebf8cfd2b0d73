//! Which records of a batch stay.
//!
//! Kafka's rules: a record goes when a newer one with its key was noted, when it has no key, or when it is a tombstone whose horizon has passed. A
//! tombstone's horizon is set when compaction first meets it, `delete.retention.ms` from then (KIP-534). Control batches and those of transactions
//! are left alone as a whole and hide nothing: whether they count is known only with their markers.

use std::time::Duration;

use bytes::Bytes;
use kennet_protocol::TimestampMs;
use kennet_protocol::record::{Batch, BuildError, COMPACTED_BYTES_MAX, Record, RecordError};

use crate::compaction::NewestOffsets;

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of it, as it is.
    Whole,
    /// This instead.
    Rewritten(Bytes),
    /// Nothing.
    Gone,
}

/// Why a batch can't be filtered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("it does not come back as it was written")]
    Different,
}

/// The rules of one round.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) newest: &'a NewestOffsets,
    pub(crate) now: TimestampMs,
    pub(crate) tombstone_retention: Duration,
    /// Not when a segment below was set aside: it may have what the tombstone deletes.
    pub(crate) removes_tombstones: bool,
}

/// Whether compaction neither changes a batch nor lets it hide anything.
pub(crate) fn is_left_alone(batch: &Batch) -> bool {
    let attributes = batch.header().attributes;
    attributes.is_control() || attributes.is_transactional()
}

impl Filter<'_> {
    /// What is left of `batch`; one that `must_stay` does even without records.
    pub(crate) fn apply(&self, batch: &Batch, must_stay: bool) -> Result<Kept, FilterError> {
        let end = self.newest.end();
        if is_left_alone(batch) || batch.header().base_offset >= end {
            return Ok(Kept::Whole);
        }
        if batch.header().record_count == 0 {
            return Ok(if must_stay { Kept::Whole } else { Kept::Gone });
        }
        // gone over again and again and never gathered: a small batch may have millions of them
        let records = batch.records(COMPACTED_BYTES_MAX)?;
        let known_horizon = batch.delete_horizon();
        let is_past = self.removes_tombstones && known_horizon.is_some_and(|horizon| horizon <= self.now);
        let (mut kept, mut gone, mut tombstones) = (0_usize, 0_usize, 0_usize);
        for record in records.clone() {
            let record = record?;
            if self.stays(&record, is_past) {
                kept += 1;
                tombstones += usize::from(record.value.is_none());
            } else {
                gone += 1;
            }
        }
        if kept == 0 {
            return Ok(if must_stay { Kept::Rewritten(batch.without_records()?) } else { Kept::Gone });
        }
        // a batch that is not noted as a whole gets its horizon in a later round, so that each of its tombstones has all of its time
        let is_noted = batch.header().last_offset() < end;
        let horizon = known_horizon.or_else(|| (is_noted && tombstones > 0).then(|| self.horizon()));
        if gone == 0 && horizon == known_horizon {
            return Ok(Kept::Whole);
        }
        let kept = || records.clone().flatten().filter(|record| self.stays(record, is_past));
        let bytes = batch.with_records(kept(), horizon)?;
        check(&bytes, kept())?;
        Ok(Kept::Rewritten(bytes))
    }

    fn stays(&self, record: &Record, is_past: bool) -> bool {
        let is_newest = |key| !self.newest.hides(key, record.offset);
        let may_stay = record.value.is_some() || !is_past;
        record.offset >= self.newest.end() || (may_stay && record.key.as_deref().is_some_and(is_newest))
    }

    fn horizon(&self) -> TimestampMs {
        let retention = i64::try_from(self.tombstone_retention.as_millis()).unwrap_or(i64::MAX);
        TimestampMs(self.now.0.saturating_add(retention))
    }
}

/// Whether a batch that was made gives back the records that it was made of.
fn check(bytes: &Bytes, mut expected: impl Iterator<Item = Record>) -> Result<(), FilterError> {
    let again = Batch::parse(bytes).map_err(|_| FilterError::Different)?;
    for record in again.records(COMPACTED_BYTES_MAX)? {
        if expected.next() != Some(record?) {
            return Err(FilterError::Different);
        }
    }
    if expected.next().is_none() { Ok(()) } else { Err(FilterError::Different) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kennet_protocol::record::{Batch, BatchBuilder, Stamp};
    use kennet_protocol::{LeaderEpoch, Offset, TimestampMs};

    use super::{Filter, Kept};
    use crate::compaction::NewestOffsets;

    const NOW: TimestampMs = TimestampMs(1_000_000);

    /// A batch at offset 10.
    fn batch(records: &[(Option<&str>, Option<&str>)]) -> Batch {
        let mut builder = BatchBuilder::new(TimestampMs(5));
        for (key, value) in records {
            builder.push(TimestampMs(5), key.map(str::as_bytes), value.map(str::as_bytes), &[]);
        }
        let stamp = Stamp { base_offset: Offset(10), leader_epoch: LeaderEpoch(0), log_append_time: None };
        Batch::parse(&builder.build().unwrap()).unwrap().stamp(stamp).to_batch()
    }

    fn newest(records: &[(&str, i64)], end: i64) -> NewestOffsets {
        let mut newest = NewestOffsets::new(Offset(0), 10_000, 100);
        for (key, offset) in records {
            newest.put(key.as_bytes(), Offset(*offset));
        }
        newest.reach(Offset(end));
        newest
    }

    fn filter(newest: &NewestOffsets) -> Filter<'_> {
        Filter { newest, now: NOW, tombstone_retention: Duration::from_millis(100), removes_tombstones: true }
    }

    fn offsets(kept: &Kept) -> Vec<i64> {
        let Kept::Rewritten(bytes) = kept else { panic!("{kept:?}") };
        Batch::parse(bytes).unwrap().records(1 << 20).unwrap().map(|record| record.unwrap().offset.0).collect()
    }

    #[test]
    fn what_a_newer_record_hides_goes_and_what_has_no_key() {
        let batch = batch(&[(Some("a"), Some("1")), (Some("b"), Some("2")), (None, Some("3"))]);
        let newest = newest(&[("a", 20), ("b", 11)], 30);
        assert_eq!(offsets(&filter(&newest).apply(&batch, false).unwrap()), [11]);
    }

    #[test]
    fn what_was_not_noted_stays() {
        let batch = batch(&[(Some("a"), Some("1")), (None, Some("3"))]);
        assert_eq!(filter(&newest(&[], 10)).apply(&batch, false).unwrap(), Kept::Whole);
    }

    #[test]
    fn a_tombstone_goes_after_its_horizon_and_not_before() {
        let newest = newest(&[("a", 10)], 30);
        let mut filter = filter(&newest);
        let Kept::Rewritten(first) = filter.apply(&batch(&[(Some("a"), None)]), false).unwrap() else { panic!() };
        let first = Batch::parse(&first).unwrap();
        assert_eq!(first.delete_horizon(), Some(TimestampMs(NOW.0 + 100)));
        filter.now = TimestampMs(NOW.0 + 99);
        assert_eq!(filter.apply(&first, false).unwrap(), Kept::Whole);
        filter.now = TimestampMs(NOW.0 + 100);
        filter.removes_tombstones = false;
        assert_eq!(filter.apply(&first, false).unwrap(), Kept::Whole, "a segment was set aside");
        filter.removes_tombstones = true;
        assert_eq!(filter.apply(&first, false).unwrap(), Kept::Gone);
        let Kept::Rewritten(empty) = filter.apply(&first, true).unwrap() else { panic!() };
        assert_eq!(Batch::parse(&empty).unwrap().header().record_count, 0);
    }
}
