//! What goes by itself because it is old or too much, with a broker that looks often: segments and silent producers.
//!
//! Offsets of groups expire after whole minutes; `expiry_tests.rs` of the group has them, where the time is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::client::Client;
use crate::support::records::values;
use crate::support::{TestBroker, wait_until};
use bytes::Bytes;
use kennet_protocol::messages::init_producer_id::InitProducerIdRequest;
use kennet_protocol::record::{BatchBuilder, ProducerStamp};
use kennet_protocol::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};

/// Retention that does not rest, so that tests don't wait.
const EAGER: &[(&str, &str)] = &[("log.retention.check.interval.ms", "50")];
const HOUR_MS: &str = "3600000";
/// A segment has three or four batches of the tests.
const SEGMENT_BYTES: &str = "1000";

/// A batch of one record of a few hundred bytes.
fn large(time: TimestampMs) -> Bytes {
    let mut builder = BatchBuilder::new(time);
    builder.push(time, Some(b"key"), Some("x".repeat(200).as_bytes()), &[]);
    builder.build().expect("the batch is made")
}

#[expect(clippy::disallowed_methods, reason = "retention compares with the wall clock")]
fn now() -> TimestampMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    TimestampMs(i64::try_from(elapsed.as_millis()).expect("a time of this age"))
}

/// Fills a topic's partition with as many old batches and as many new ones.
fn fill(client: &mut Client, topic: &str, configs: &[(&str, &str)], (old, new): (i32, i32)) {
    let configs: Vec<_> = configs.iter().copied().chain([("segment.bytes", SEGMENT_BYTES)]).collect();
    assert_eq!(client.create_topic(topic, 1, &configs).error_code, ErrorCode::None);
    for number in 0..old + new {
        let time = if number < old { TimestampMs(1_000) } else { now() };
        assert_eq!(client.produce(topic, large(time)).error_code, ErrorCode::None);
    }
}

/// Offsets of all records from `start` on, as a consumer reads them.
fn read(client: &mut Client, topic: &str, start: i64) -> Vec<i64> {
    let end = client.end_offset(topic);
    let mut found = Vec::new();
    while found.last().map_or(start, |last| last + 1) < end {
        let data = client.fetch(topic, found.last().map_or(start, |last| last + 1));
        assert_eq!(data.error_code, ErrorCode::None, "{topic}");
        found.extend(values(data).into_iter().map(|(offset, _)| offset));
    }
    found
}

#[test]
fn segments_that_are_too_old_go_and_newer_ones_stay() {
    let broker = TestBroker::with(EAGER);
    let mut client = broker.connect();
    fill(&mut client, "kept", &[("retention.ms", "-1")], (20, 10));
    fill(&mut client, "aged", &[("retention.ms", HOUR_MS)], (20, 10));
    let start = wait_until("old segments go", || {
        let start = client.list_offset("aged", -2).offset.0;
        (start > 15).then_some(start)
    });
    assert!(start <= 20, "a record that is not old is gone: the log starts at {start}");
    assert_eq!(client.fetch("aged", 0).error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!(read(&mut client, "aged", start), (start..30).collect::<Vec<_>>());
    // what was read and committed stays
    assert_eq!(client.committed("g", "kept"), -1);
    assert_eq!(read(&mut client, "kept", 0), (0..30).collect::<Vec<_>>());
    assert_eq!(client.commit("g", "kept", 30), ErrorCode::None);
    fill(&mut client, "aged-too", &[("retention.ms", HOUR_MS)], (20, 10));
    wait_until("there is one more look", || (client.list_offset("aged-too", -2).offset.0 > 15).then_some(()));
    assert_eq!(read(&mut client, "kept", 0), (0..30).collect::<Vec<_>>());
}

#[test]
fn the_oldest_segments_of_a_partition_that_is_too_large_go() {
    const RETENTION_BYTES: usize = 3_000;
    let broker = TestBroker::with(EAGER);
    let mut client = broker.connect();
    let configs = [("retention.bytes", "3000"), ("retention.ms", "-1")];
    fill(&mut client, "kept", &configs[1..], (0, 30));
    fill(&mut client, "sized", &configs, (0, 30));
    let size = large(now()).len();
    let left = |start: i64| usize::try_from(30 - start).expect("a part of 30") * size;
    let start = wait_until("the oldest segments go", || {
        let start = client.list_offset("sized", -2).offset.0;
        // a segment is not cut
        (left(start) < RETENTION_BYTES + 1_000).then_some(start)
    });
    assert!(left(start) >= RETENTION_BYTES, "{} bytes are left", left(start));
    assert_eq!(client.fetch("sized", start - 1).error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!(read(&mut client, "sized", start), (start..30).collect::<Vec<_>>());
    assert_eq!(read(&mut client, "kept", 0), (0..30).collect::<Vec<_>>());
    // the start is where it was, and goes on from there
    drop(client);
    let broker = TestBroker::on(broker.stop(), EAGER);
    let mut client = broker.connect();
    assert_eq!(client.list_offset("sized", -2).offset.0, start);
    assert_eq!(read(&mut client, "sized", start), (start..30).collect::<Vec<_>>());
}

/// A batch of an idempotent producer.
fn stamped(producer_id: ProducerId, sequence: i32) -> Bytes {
    let stamp = ProducerStamp { producer_id, producer_epoch: ProducerEpoch(0), base_sequence: sequence };
    let mut builder = BatchBuilder::new(TimestampMs(5)).producer(stamp);
    builder.push(TimestampMs(5), None, Some(b"value"), &[]);
    builder.build().expect("a batch")
}

#[test]
fn a_producer_that_is_silent_is_forgotten_and_one_that_writes_is_not() {
    let broker = TestBroker::with(&[EAGER[0], ("producer.id.expiration.ms", "3000")]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    let silent = client.call(4, &request).producer_id;
    let busy = client.call(4, &request).producer_id;
    assert_eq!(client.produce("t", stamped(silent, 0)).error_code, ErrorCode::None);
    let gap = client.produce("t", stamped(silent, 7)).error_code;
    assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber, "it is known yet");
    let mut sequence = 0;
    wait_until("the silent producer is forgotten", || {
        assert_eq!(client.produce("t", stamped(busy, sequence)).error_code, ErrorCode::None);
        sequence += 1;
        // a producer that is not known may go on with any number (KAFKA-5793); what is refused is no sign of life
        let found = client.produce("t", stamped(silent, 7)).error_code;
        assert!(matches!(found, ErrorCode::None | ErrorCode::OutOfOrderSequenceNumber), "{found:?}");
        (found == ErrorCode::None).then_some(())
    });
    assert!(sequence > 10, "it was remembered for {sequence} turns");
    let gap = client.produce("t", stamped(busy, sequence + 7)).error_code;
    assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber, "who writes is known");
    assert_eq!(
        client.produce("t", stamped(silent, 7)).base_offset.0,
        i64::from(sequence) + 1,
        "and so is who came back"
    );
}
