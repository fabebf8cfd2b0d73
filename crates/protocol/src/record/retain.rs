//! What compaction leaves of a batch, as Kafka's `MemoryRecords.filterTo` does it.
//!
//! Invariant: a batch keeps its first and last offset, its producer's identity and its leader epoch, whatever records go; only codec, timestamps
//! and count follow from the records that are left. So offsets never move, and sequence numbers still say what was appended.

use bytes::Bytes;

use crate::TimestampMs;
use crate::record::batch::{Batch, assemble};
use crate::record::builder::BuildError;
use crate::record::compression::Compression;
use crate::record::header::TimestampType;
use crate::record::item::{Record, put_record};

impl Batch {
    /// The batch with only these of its records, compressed as it was. `delete_horizon` is when its tombstones may go (KIP-534).
    ///
    /// # Errors
    /// When there is no record, or one is not the batch's, or they can't be compressed.
    pub fn with_records(
        &self,
        records: impl IntoIterator<Item = Record>,
        delete_horizon: Option<TimestampMs>,
    ) -> Result<Bytes, BuildError> {
        let mut header = *self.header();
        let codec = header.attributes.compression().map_err(|codec| BuildError::UnknownCompression { codec })?;
        let mut records = records.into_iter().peekable();
        let first = records.peek().ok_or(BuildError::Empty)?;
        header.base_timestamp = delete_horizon.unwrap_or(first.timestamp);
        header.record_count = 0;
        let inside = 0..=i64::from(header.last_offset_delta);
        let (mut payload, mut newest) = (Vec::new(), TimestampMs::NONE);
        for record in records {
            let delta = Some(record.offset - header.base_offset).filter(|delta| inside.contains(delta));
            let delta = delta.and_then(|delta| i32::try_from(delta).ok()).ok_or(BuildError::ForeignRecord)?;
            let time = record.timestamp.0.wrapping_sub(header.base_timestamp.0);
            put_record(&mut payload, delta, time, record.key.as_deref(), record.value.as_deref(), &record.headers);
            newest = newest.max(record.timestamp);
            header.record_count = header.record_count.checked_add(1).ok_or(BuildError::TooLong)?;
        }
        if header.attributes.timestamp_type() == TimestampType::Create {
            header.max_timestamp = newest;
        }
        let payload = match codec {
            Compression::None => payload,
            codec => codec.compress(&payload)?,
        };
        let attributes = header.attributes.with_delete_horizon(delete_horizon.is_some());
        assemble(header, attributes, &payload).ok_or(BuildError::TooLong)
    }

    /// The batch without any record: it still says which offsets and sequence numbers there were.
    ///
    /// # Errors
    /// Never for a batch that can be written at all.
    pub fn without_records(&self) -> Result<Bytes, BuildError> {
        let mut header = *self.header();
        header.base_timestamp = TimestampMs::NONE;
        header.record_count = 0;
        let attributes = header.attributes.with_compression(Compression::None).with_delete_horizon(false);
        assemble(header, attributes, &[]).ok_or(BuildError::TooLong)
    }

    /// When the batch's tombstones may go, once compaction has met them (KIP-534).
    #[must_use]
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        let header = self.header();
        header.attributes.has_delete_horizon().then_some(header.base_timestamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::record::batch::assemble;
    use crate::record::{Batch, BatchBuilder, Compression, Header, ProducerStamp, Record, Stamp};
    use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

    fn batch(times: &[i64], codec: Compression, append_time: Option<i64>) -> Batch {
        let producer =
            ProducerStamp { producer_id: ProducerId(4), producer_epoch: ProducerEpoch(1), base_sequence: 70 };
        let mut builder = BatchBuilder::new(TimestampMs(times[0])).compression(codec).producer(producer);
        for (at, time) in times.iter().enumerate() {
            let value = at.to_string();
            let value = (at % 3 > 0).then_some(value.as_bytes());
            builder.push(TimestampMs(*time), Some(&at.to_le_bytes()), value, &[]);
        }
        let log_append_time = append_time.map(TimestampMs);
        let stamp = Stamp { base_offset: Offset(1_000), leader_epoch: LeaderEpoch(6), log_append_time };
        Batch::parse(&builder.build().unwrap()).unwrap().stamp(stamp).to_batch()
    }

    fn records(batch: &Batch) -> Vec<Record> {
        batch.records(1 << 20).unwrap().collect::<Result<_, _>>().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_kept_is_as_it_was(
            times in prop::collection::vec(0_i64..2_000_000_000_000, 1..20), keep in any::<u32>(), codec in 0_usize..5,
            horizon in prop::option::of(0_i64..3_000_000_000_000), append_time in prop::option::of(0_i64..2_000_000_000_000),
        ) {
            let whole = batch(&times, Compression::ALL[codec], append_time);
            let mut kept = records(&whole);
            kept.retain(|record| keep >> (record.offset.0 - 1_000) & 1 == 1);
            prop_assume!(!kept.is_empty());
            let left = Batch::parse(&whole.with_records(kept.clone(), horizon.map(TimestampMs)).unwrap()).unwrap();
            prop_assert_eq!(records(&left), kept);
            prop_assert_eq!(left.delete_horizon(), horizon.map(TimestampMs));
            let (before, after) = (whole.header(), left.header());
            prop_assert_eq!(before.base_offset, after.base_offset);
            prop_assert_eq!(before.last_offset(), after.last_offset());
            prop_assert_eq!(before.last_sequence(), after.last_sequence());
            prop_assert_eq!(before.producer_id, after.producer_id);
            prop_assert_eq!(before.partition_leader_epoch, after.partition_leader_epoch);
            prop_assert_eq!(before.attributes.compression(), after.attributes.compression());
        }
    }

    #[test]
    fn an_empty_batch_keeps_its_place() {
        let whole = batch(&[5, 7], Compression::Gzip, None);
        let empty = Batch::parse(&whole.without_records().unwrap()).unwrap();
        assert_eq!(records(&empty), []);
        assert_eq!(empty.header().base_offset, Offset(1_000));
        assert_eq!(empty.header().last_offset(), Offset(1_001));
        assert_eq!(empty.header().last_sequence(), 71);
        assert_eq!(empty.header().max_timestamp, TimestampMs(7));
    }

    #[test]
    fn a_header_whose_name_is_not_utf_8_does_not_keep_a_batch_from_being_compacted() {
        let header = Header { key: "name".to_owned(), value: None };
        let mut builder = BatchBuilder::new(TimestampMs(5));
        builder.push(TimestampMs(5), Some(b"a"), None, &[]);
        builder.push(TimestampMs(5), Some(b"b"), None, &[header]);
        let built = Batch::parse(&builder.build().unwrap()).unwrap();
        let mut payload = built.payload().to_vec();
        let at = payload.windows(4).position(|bytes| bytes == b"name").unwrap();
        payload[at] = 0xff;
        let bytes = assemble(*built.header(), built.header().attributes, &payload).unwrap();
        let second = records(&Batch::parse(&bytes).unwrap()).pop().unwrap();
        let left = built.with_records([second.clone()], None).unwrap();
        assert_eq!(records(&Batch::parse(&left).unwrap()), [second]);
    }

    #[test]
    fn a_record_of_another_batch_is_refused() {
        let whole = batch(&[5, 7], Compression::None, None);
        let mut foreign = records(&whole);
        foreign[0].offset = Offset(2_000);
        assert!(whole.with_records(foreign, None).is_err());
    }
}
