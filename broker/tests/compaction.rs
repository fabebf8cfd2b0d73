//! A compacted topic and `__consumer_offsets` as clients see them, before and after a restart.

use std::collections::BTreeMap;

use crate::support::client::Client;
use crate::support::{TestBroker, wait_until};
use bytes::Bytes;
use kennet_protocol::record::{BatchBuilder, Batches};
use kennet_protocol::{ErrorCode, TimestampMs};

/// A cleaner that does not rest, so that tests don't wait.
const EAGER: &[(&str, &str)] = &[
    ("log.cleaner.backoff.ms", "50"),
    ("log.cleaner.min.cleanable.ratio", "0.0"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.segment.bytes", "1000"),
];
fn record(key: &str, value: Option<&str>) -> Bytes {
    let mut builder = BatchBuilder::new(TimestampMs(1_000));
    builder.push(TimestampMs(1_000), Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    builder.build().expect("the batch is made")
}

/// Offsets, keys and values of all records, as a consumer reads them.
fn read(client: &mut Client, topic: &str) -> Vec<(i64, Bytes, Option<Bytes>)> {
    let end = client.end_offset(topic);
    let (mut at, mut found) = (0, Vec::new());
    while at < end {
        let data = client.fetch(topic, at);
        assert_eq!(data.error_code, ErrorCode::None, "fetch of {topic} from {at}");
        let bytes = data.records.map(kennet_protocol::Records::into_bytes).unwrap_or_default();
        let before = at;
        for batch in Batches::new(bytes) {
            let batch = batch.expect("the batch is whole");
            for record in batch.records(1 << 20).expect("the records decode") {
                let record = record.expect("the record decodes");
                found.push((record.offset.0, record.key.expect("a key"), record.value));
            }
            at = batch.header().next_offset().0;
        }
        assert!(at > before, "a consumer at {before} gets on");
    }
    found
}

#[test]
fn of_each_key_the_newest_record_stays_and_deleted_keys_go() {
    let broker = TestBroker::with(EAGER);
    let mut client = broker.connect();
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "1000"), ("delete.retention.ms", "0")];
    assert_eq!(client.create_topic("table", 1, &configs).error_code, ErrorCode::None);
    let mut table = BTreeMap::new();
    for number in 0..400_i32 {
        let key = format!("key {}", number % 20);
        let value = (number % 20 != 7 || number < 300).then(|| number.to_string());
        assert_eq!(client.produce("table", record(&key, value.as_deref())).error_code, ErrorCode::None);
        table.insert(key, value);
    }
    let state_of = |records: &[(i64, Bytes, Option<Bytes>)]| {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("a text");
        records.iter().map(|(_, key, value)| (text(key), value.as_ref().map(text))).collect::<BTreeMap<_, _>>()
    };
    // the segment in use and what came since the last round are not compacted yet
    let left = wait_until("most records go", || {
        let records = read(&mut client, "table");
        (records.len() < 60).then_some(records)
    });
    let mut expected = table.clone();
    let mut found = state_of(&left);
    // a tombstone is as good as nothing
    expected.retain(|_, value| value.is_some());
    found.retain(|_, value| value.is_some());
    assert_eq!(found, expected);
    assert!(left.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(client.end_offset("table"), 400);
    let folder = broker.stop();
    let mut said = Vec::new();
    kennet_broker::verify_directory(&folder.path().join("data"), &mut said).expect("nothing is damaged");
    let broker = TestBroker::on(folder, EAGER);
    let mut client = broker.connect();
    let mut found = state_of(&read(&mut client, "table"));
    found.retain(|_, value| value.is_some());
    assert_eq!(found, expected);
    assert_eq!(client.produce("table", record("key 1", Some("again"))).base_offset.0, 400);
}

#[test]
fn commits_of_offsets_are_compacted_and_the_last_one_counts() {
    let broker = TestBroker::with(EAGER);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    assert_eq!(client.committed("g", "t"), -1);
    for offset in 0..200 {
        assert_eq!(client.commit("g", "t", offset), ErrorCode::None);
    }
    wait_until("old commits go", || (read(&mut client, "__consumer_offsets").len() < 40).then_some(()));
    assert_eq!(client.committed("g", "t"), 199);
    let broker = TestBroker::on(broker.stop(), EAGER);
    let mut client = broker.connect();
    assert_eq!(client.committed("g", "t"), 199);
}

#[test]
fn without_the_policy_nothing_is_compacted() {
    let broker = TestBroker::with(EAGER);
    let mut client = broker.connect();
    let configs = [("segment.bytes", "500")];
    assert_eq!(
        client.create_topic("table", 1, &[("cleanup.policy", "compact"), configs[0]]).error_code,
        ErrorCode::None
    );
    assert_eq!(client.create_topic("stream", 1, &configs).error_code, ErrorCode::None);
    for topic in ["stream", "table"] {
        for number in 0..50_i32 {
            client.produce(topic, record("key", Some(&number.to_string())));
        }
    }
    wait_until("the other topic is compacted", || (read(&mut client, "table").len() < 20).then_some(()));
    assert_eq!(read(&mut client, "stream").len(), 50);
}
