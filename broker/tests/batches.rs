//! What a broker takes from producers and what it refuses: the record batch rules of Kafka (KIP-98, KIP-467), idempotence, acks.
//!
//! Whatever is refused leaves no trace: the next good batch gets the next offset.

use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::records::{batch, produce_request, sealed, values};
use bytes::Bytes;
use kennet_protocol::messages::init_producer_id::InitProducerIdRequest;
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kennet_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kennet_protocol::record::{Attributes, BatchBuilder, BatchHeader, Compression, HEADER_LENGTH, ProducerStamp};
use kennet_protocol::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, Uuid};

fn broker_with_topic(configs: &[(&str, &str)]) -> (TestBroker, Client) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, configs).error_code, ErrorCode::None);
    (broker, client)
}

/// A good batch of two records with other header fields, and the checksum that they call for.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let good = batch(&["a", "b"]);
    let mut header = BatchHeader::parse(&good).expect("a header");
    change(&mut header);
    sealed(header, &good[HEADER_LENGTH..])
}

/// A header that claims so many records, and as many offsets, before this payload.
fn claiming(count: i32, payload: &[u8]) -> Bytes {
    let mut header = BatchHeader::parse(&batch(&["a"])).expect("a header");
    (header.record_count, header.last_offset_delta) = (count, count - 1);
    sealed(header, payload)
}

fn with_byte(at: usize, value: u8) -> Bytes {
    let mut bytes = batch(&["a", "b"]).to_vec();
    bytes[at] = value;
    Bytes::from(bytes)
}

#[test]
fn a_batch_that_breaks_a_rule_is_refused_and_leaves_no_trace() {
    let (broker, mut client) = broker_with_topic(&[("max.message.bytes", "1000")]);
    let good = batch(&["a", "b"]);
    let two: Bytes = [good.clone(), good.clone()].concat().into();
    let cases: Vec<(&str, Bytes, ErrorCode)> = vec![
        ("a flipped checksum", with_byte(18, 0x55), ErrorCode::CorruptMessage),
        ("a flipped record", with_byte(good.len() - 1, 0x55), ErrorCode::CorruptMessage),
        ("a cut batch", good.slice(..good.len() - 1), ErrorCode::CorruptMessage),
        ("a cut header", good.slice(..40), ErrorCode::CorruptMessage),
        ("a batch length of 2 GiB", with_byte(8, 0x7f), ErrorCode::CorruptMessage),
        ("a negative batch length", with_byte(8, 0x80), ErrorCode::CorruptMessage),
        ("format 0", with_byte(16, 0), ErrorCode::InvalidRecord),
        ("format 1", with_byte(16, 1), ErrorCode::InvalidRecord),
        ("format 3", with_byte(16, 3), ErrorCode::CorruptMessage),
        ("two batches", two, ErrorCode::InvalidRecord),
        ("a first offset of 1", with_header(|header| header.base_offset.0 = 1), ErrorCode::InvalidRecord),
        ("no records", with_header(|header| header.record_count = 0), ErrorCode::InvalidRecord),
        ("a negative count", with_header(|header| header.record_count = -1), ErrorCode::InvalidRecord),
        ("2^31 - 1 records in no bytes", claiming(i32::MAX, &[]), ErrorCode::InvalidRecord),
        ("2^31 - 1 records in the bytes of two", claiming(i32::MAX, &good[HEADER_LENGTH..]), ErrorCode::InvalidRecord),
        ("a count too large", with_header(|header| header.record_count = 3), ErrorCode::InvalidRecord),
        ("a last offset too far", with_header(|header| header.last_offset_delta = i32::MAX), ErrorCode::InvalidRecord),
        ("a negative last offset", with_header(|header| header.last_offset_delta = -1), ErrorCode::InvalidRecord),
        ("control records", with_header(|header| header.attributes = Attributes(0x20)), ErrorCode::InvalidRecord),
        ("codec 5", with_header(|header| header.attributes = Attributes(5)), ErrorCode::InvalidRecord),
        ("codec 6", with_header(|header| header.attributes = Attributes(6)), ErrorCode::InvalidRecord),
        ("codec 7", with_header(|header| header.attributes = Attributes(7)), ErrorCode::InvalidRecord),
        ("a producer without a sequence", with_header(|header| header.producer_id.0 = 1), ErrorCode::InvalidRecord),
        ("a producer id of -2", with_header(|header| header.producer_id.0 = -2), ErrorCode::InvalidRecord),
        (
            "a transaction without a producer",
            with_header(|header| header.attributes = Attributes(0x10)),
            ErrorCode::InvalidRecord,
        ),
        ("a batch too large", batch(&[&"x".repeat(1_000)]), ErrorCode::MessageTooLarge),
    ];
    for (what, records, expected) in cases {
        let answer = client.produce("t", records);
        assert_eq!(answer.error_code, expected, "{what}: {:?}", answer.error_message);
        assert_eq!((answer.base_offset.0, answer.log_append_time_ms.0), (-1, -1), "{what}");
    }
    assert_eq!(client.produce("t", good).base_offset.0, 0, "offsets never skip");
    assert_eq!(client.end_offset("t"), 2);
    drop(broker);
}

#[test]
fn a_request_without_records_or_with_unknown_acks_is_refused() {
    let (_broker, mut client) = broker_with_topic(&[]);
    for (acks, records, expected) in [
        (-1, None, ErrorCode::InvalidRecord),
        (1, Some(Bytes::new()), ErrorCode::InvalidRecord),
        (2, Some(batch(&["a"])), ErrorCode::InvalidRequiredAcks),
        (-2, Some(batch(&["a"])), ErrorCode::InvalidRequiredAcks),
    ] {
        let answer = client.call(9, &produce_request("t", acks, records));
        assert_eq!(answer.responses[0].partition_responses[0].error_code, expected, "acks {acks}");
    }
    assert_eq!(client.end_offset("t"), 0);
}

#[test]
fn without_acks_there_is_no_answer_and_an_error_closes_the_connection() {
    let (broker, mut client) = broker_with_topic(&[]);
    client.send(9, &produce_request("t", 0, Some(batch(&["a"]))));
    client.assert_alive();
    client.send(9, &produce_request("nowhere", 0, Some(batch(&["a"]))));
    client.assert_closed("an error that can't be answered");
    let mut other = broker.connect();
    assert_eq!(other.produce("t", batch(&["b"])).base_offset.0, 1);
}

#[test]
fn topics_and_partitions_that_are_not_there_are_named_by_kafkas_codes() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let partition = |index| PartitionProduceData { index: PartitionIndex(index), records: Some(batch(&["a"])) };
    let topic = |name: &str, topic_id, index| TopicProduceData {
        name: name.to_owned(),
        topic_id,
        partition_data: vec![partition(index)],
    };
    for (version, topic, expected) in [
        (9, topic("nowhere", Uuid::nil(), 0), ErrorCode::UnknownTopicOrPartition),
        (9, topic("t", Uuid::nil(), 1), ErrorCode::UnknownTopicOrPartition),
        (9, topic("t", Uuid::nil(), -1), ErrorCode::UnknownTopicOrPartition),
        (9, topic("../../etc", Uuid::nil(), 0), ErrorCode::UnknownTopicOrPartition),
        (13, topic("", Uuid::from_u128(7), 0), ErrorCode::UnknownTopicId),
        (13, topic("", Uuid::nil(), 0), ErrorCode::UnknownTopicId),
    ] {
        let request =
            ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..ProduceRequest::default() };
        let answer = client.call(version, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, expected);
    }
}

#[test]
fn records_are_given_back_byte_for_byte_in_every_codec() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut expected = Vec::new();
    for (number, codec) in (0..).zip(codecs) {
        let value = format!("{codec:?} ").repeat(100);
        let mut builder = BatchBuilder::new(TimestampMs(5)).compression(codec);
        builder.push(TimestampMs(5), None, Some(value.as_bytes()), &[]);
        let answer = client.produce("t", builder.build().expect("a batch"));
        assert_eq!((answer.error_code, answer.base_offset.0), (ErrorCode::None, number), "{codec:?}");
        expected.push((number, value));
    }
    assert_eq!(values(client.fetch("t", 0)), expected);
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let mut builder = BatchBuilder::new(TimestampMs(5)).compression(Compression::Zstd);
    builder.push(TimestampMs(5), None, Some(b"value"), &[]);
    let request = produce_request("t", -1, Some(builder.build().expect("a batch")));
    let answer = client.call(6, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::UnsupportedCompressionType);
    let answer = client.call(7, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::None);
}

#[test]
fn a_compacted_topic_names_each_record_without_a_key() {
    let (_broker, mut client) = broker_with_topic(&[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::new(TimestampMs(5));
    builder.push(TimestampMs(5), Some(b"key"), Some(b"1"), &[]);
    builder.push(TimestampMs(5), None, Some(b"2"), &[]);
    builder.push(TimestampMs(5), None, Some(b"3"), &[]);
    let answer = client.produce("t", builder.build().expect("a batch"));
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord);
    assert_eq!(answer.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(client.end_offset("t"), 0);
}

#[test]
fn timestamps_are_bounded_where_the_topic_says_so() {
    let (_broker, mut client) = broker_with_topic(&[("message.timestamp.before.max.ms", "60000")]);
    assert_eq!(client.produce("t", batch(&["from 1970"])).error_code, ErrorCode::InvalidTimestamp);
    client.create_topic("u", 1, &[]);
    for timestamp in [-1, 0, 5, i64::MAX, i64::MIN] {
        let mut builder = BatchBuilder::new(TimestampMs(timestamp));
        builder.push(TimestampMs(timestamp), None, Some(b"x"), &[]);
        let answer = client.produce("u", builder.build().expect("a batch"));
        // -1 is a record without a time
        let far = timestamp == i64::MAX || timestamp == i64::MIN;
        assert_eq!(answer.error_code, if far { ErrorCode::InvalidTimestamp } else { ErrorCode::None }, "{timestamp}");
        assert_eq!(answer.log_append_time_ms.0, -1, "the producer's time counts");
    }
}

#[test]
fn a_topic_with_append_time_answers_it_and_stores_it() {
    let (_broker, mut client) = broker_with_topic(&[("message.timestamp.type", "LogAppendTime")]);
    let answer = client.produce("t", batch(&["a", "b"]));
    assert!(answer.log_append_time_ms.0 > 1_600_000_000_000);
    assert_eq!(client.list_offset("t", -3).timestamp, answer.log_append_time_ms);
    // the checksum was made anew: a reader checks it
    assert_eq!(values(client.fetch("t", 0)).len(), 2);
}

fn stamped(producer_id: ProducerId, epoch: i16, sequence: i32, value: &str) -> Bytes {
    let stamp = ProducerStamp { producer_id, producer_epoch: ProducerEpoch(epoch), base_sequence: sequence };
    let mut builder = BatchBuilder::new(TimestampMs(5)).producer(stamp);
    builder.push(TimestampMs(5), None, Some(value.as_bytes()), &[]);
    builder.build().expect("a batch")
}

fn new_producer(client: &mut Client) -> ProducerId {
    let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    client.call(4, &request).producer_id
}

#[test]
fn an_idempotent_producer_writes_each_batch_once_and_in_order() {
    let (broker, mut client) = broker_with_topic(&[]);
    let id = new_producer(&mut client);
    let other = new_producer(&mut client);
    assert!(id.0 >= 0 && id != other, "ids are unique");
    for sequence in 0..6 {
        assert_eq!(client.produce("t", stamped(id, 0, sequence, "x")).base_offset.0, i64::from(sequence));
    }
    let again = client.produce("t", stamped(id, 0, 3, "x"));
    assert_eq!(
        (again.error_code, again.base_offset.0),
        (ErrorCode::None, 3),
        "a repetition is answered as the first time"
    );
    assert_eq!(client.produce("t", stamped(id, 0, 8, "x")).error_code, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(client.produce("t", stamped(id, 1, 0, "x")).base_offset.0, 6, "a new epoch starts at 0");
    assert_eq!(client.produce("t", stamped(id, 0, 6, "x")).error_code, ErrorCode::InvalidProducerEpoch);
    assert_eq!(client.end_offset("t"), 7);
    // what is known of producers survives a restart
    drop(client);
    let broker = TestBroker::on(broker.stop(), &[]);
    let mut client = broker.connect();
    let again = client.produce("t", stamped(id, 1, 0, "x"));
    assert_eq!((again.error_code, again.base_offset.0), (ErrorCode::None, 6));
    let third = new_producer(&mut client);
    assert!(third != id && third != other, "ids are unique for ever");
}

#[test]
fn transactions_are_refused_at_once() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let request = InitProducerIdRequest { transactional_id: Some("tx".to_owned()), ..InitProducerIdRequest::default() };
    assert_ne!(client.call(4, &request).error_code, ErrorCode::None);
    let mut request = produce_request("t", -1, Some(batch(&["a"])));
    request.transactional_id = Some("tx".to_owned());
    assert_ne!(client.call(9, &request).responses[0].partition_responses[0].error_code, ErrorCode::None);
    assert_eq!(client.end_offset("t"), 0);
}

#[test]
fn topic_names_that_can_not_be_are_refused_everywhere() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.create_topic("a.b", 1, &[]);
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "../../etc/passwd", "a b", "a\0b", "\u{e4}", "a_b", &long] {
        let answer = client.create_topic(name, 1, &[]);
        assert_eq!(answer.error_code, ErrorCode::InvalidTopicException, "{name:?}");
        let wanted = MetadataRequestTopic { name: Some(name.to_owned()), ..MetadataRequestTopic::default() };
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        let answer = client.call(9, &request);
        assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidTopicException, "{name:?} by metadata");
    }
    assert_eq!(client.create_topic("x", 1_000_000, &[]).error_code, ErrorCode::InvalidPartitions);
    assert_eq!(client.create_topic("x", 1, &[("no.such.key", "1")]).error_code, ErrorCode::InvalidConfig);
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::TopicAlreadyExists);
}
