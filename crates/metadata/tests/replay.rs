//! A snapshot and the records after it say the same as all records from the start, wherever the snapshot was taken.
//!
//! Any records are tried in any order; those that contradict the image are refused and must leave it as it was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use kennet_metadata::{
    AppliedGenerationRecord, BrokerRecord, ConfigRecord, Image, OwnerFields, PartitionRecord, ProducerIdsRecord,
    Record, RemoveTopicRecord, TopicOwnerRecord, TopicRecord,
};
use kennet_protocol::{BrokerId, LeaderEpoch, PartitionIndex, Uuid};
use proptest::prelude::*;

fn id() -> impl Strategy<Value = Uuid> {
    (1_u128..4).prop_map(Uuid::from_u128)
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn topic() -> impl Strategy<Value = Record> {
    (name(), id()).prop_map(|(name, topic_id)| Record::Topic(TopicRecord { name, topic_id }))
}

fn partition() -> impl Strategy<Value = Record> {
    (id(), 0..3_i32, 0..3_i32, 0..9_i32).prop_map(|(topic_id, partition, leader, epoch)| {
        Record::Partition(PartitionRecord {
            topic_id,
            partition: PartitionIndex(partition),
            replicas: vec![BrokerId(leader)],
            isr: vec![BrokerId(leader)],
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: epoch,
        })
    })
}

fn config() -> impl Strategy<Value = Record> {
    let resource = prop::sample::select(vec![(2, "a"), (2, "b"), (4, ""), (4, "0"), (4, "x"), (7, "a")]);
    (resource, name(), prop::option::of("[0-9]")).prop_map(|((resource_type, resource), name, value)| {
        Record::Config(ConfigRecord { resource_type, resource_name: resource.to_owned(), name, value })
    })
}

fn owner() -> impl Strategy<Value = Record> {
    let fields = name().prop_map(|uid| OwnerFields { namespace: "n".to_owned(), name: "t".to_owned(), uid });
    let rest = (prop::collection::vec(name(), 0..2), 0..3_i64, -1..2_i64, -1..2_i64);
    (id(), prop::option::of(fields), rest).prop_map(|(topic_id, owner, rest)| {
        let (managed_keys, generation, delete_after_ms, delete_at_ms) = rest;
        Record::TopicOwner(TopicOwnerRecord {
            topic_id,
            owner,
            managed_keys,
            generation,
            delete_after_ms,
            delete_at_ms,
        })
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        3 => topic(),
        4 => partition(),
        3 => config(),
        2 => owner(),
        1 => id().prop_map(|topic_id| Record::RemoveTopic(RemoveTopicRecord { topic_id })),
        1 => (0..9_i64).prop_map(|next_producer_id| Record::ProducerIds(ProducerIdsRecord { next_producer_id })),
        1 => (name(), 0..9_i64).prop_map(|(uid, generation)| {
            Record::AppliedGeneration(AppliedGenerationRecord { uid, generation })
        }),
        1 => (0..3_i32, id(), 0..9_i64).prop_map(|(broker, directory_id, broker_epoch)| {
            Record::Broker(BrokerRecord { broker_id: BrokerId(broker), directory_id, broker_epoch })
        }),
    ]
}

/// Through bytes and back, as a log would.
fn stored(record: &Record) -> Record {
    Record::decode(&record.encode().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn a_snapshot_and_the_rest_are_the_whole(records in prop::collection::vec(record(), 0..60), cut in 0..60_usize) {
        let mut whole = Image::default();
        let mut snapshot = None;
        let mut rest = Vec::new();
        for (at, record) in records.iter().enumerate() {
            if at == cut {
                snapshot = Some(whole.to_records());
            }
            let before = whole.clone();
            if whole.apply(record).is_err() {
                prop_assert_eq!(&whole, &before, "a refused record changed something");
            } else if snapshot.is_some() {
                rest.push(record);
            }
        }
        let mut again = Image::default();
        for record in &snapshot.unwrap_or_else(|| whole.to_records()) {
            again.apply(&stored(record)).unwrap();
        }
        for record in rest {
            again.apply(&stored(record)).unwrap();
        }
        prop_assert_eq!(again, whole);
    }

    #[test]
    fn a_record_cut_short_never_panics(record in record(), keep in 0..200_usize) {
        let bytes = record.encode().unwrap();
        let cut = bytes.slice(..keep.min(bytes.len()));
        if let Ok(read) = Record::decode(&cut) {
            prop_assert_eq!(read, record);
        }
    }
}
