//! What consumers get: whole batches, long polls, sessions, offsets by position and time.

use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::records::{batch, fetch_request, produce_request, values};
use kennet_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kennet_protocol::messages::delete_topics::DeleteTopicsRequest;
use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, ReplicaState};
use kennet_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kennet_protocol::{BrokerId, ErrorCode, Offset, PartitionIndex, TimestampMs, Uuid};

pub(crate) fn broker_with_topic(configs: &[(&str, &str)]) -> (TestBroker, Client) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, configs).error_code, ErrorCode::None);
    (broker, client)
}

pub(crate) fn topic_id(client: &mut Client) -> Uuid {
    let wanted = MetadataRequestTopic { name: Some("t".to_owned()), ..MetadataRequestTopic::default() };
    let request = MetadataRequest { topics: Some(vec![wanted]), ..MetadataRequest::default() };
    client.call(12, &request).topics[0].topic_id
}

#[test]
fn a_fetch_in_the_middle_of_a_batch_gets_the_whole_batch() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a", "b", "c"]));
    client.produce("t", batch(&["d"]));
    let found = values(client.fetch("t", 1));
    assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(values(client.fetch("t", 3)), [(3, "d".to_owned())]);
}

#[test]
fn the_first_batch_comes_however_large_it_is_and_limits_end_the_answer_at_a_batch() {
    let (_broker, mut client) = broker_with_topic(&[]);
    for _ in 0..3 {
        client.produce("t", batch(&["abc"]));
    }
    for bytes_max in [0, 1, -1] {
        let mut request = fetch_request("t", 0);
        request.max_bytes = bytes_max;
        request.topics[0].partitions[0].partition_max_bytes = bytes_max;
        let mut answer = client.call(12, &request);
        assert_eq!(values(answer.responses[0].partitions.remove(0)).len(), 1, "at most {bytes_max} bytes");
    }
    let one = batch(&["abc"]).len();
    let mut request = fetch_request("t", 0);
    request.topics[0].partitions[0].partition_max_bytes = i32::try_from(2 * one + 5).expect("small");
    assert_eq!(values(client.call(12, &request).responses[0].partitions.remove(0)).len(), 2);
}

/// Six partitions with two batches each, of nearly a megabyte.
fn broker_with_megabytes() -> (TestBroker, Client) {
    let broker = TestBroker::with_memory(256 << 20);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 6, &[]).error_code, ErrorCode::None);
    let value = "x".repeat(900_000);
    for partition in 0..6 {
        for _ in 0..2 {
            let mut request = produce_request("t", -1, Some(batch(&[&value])));
            request.topic_data[0].partition_data[0].index = PartitionIndex(partition);
            let answer = client.call(9, &request);
            assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::None);
        }
    }
    (broker, client)
}

/// A fetch of all six from these offsets.
fn fetch_of_all(offsets: [i64; 6], partition_max_bytes: i32) -> FetchRequest {
    let mut request = fetch_request("t", 0);
    let like = request.topics[0].partitions[0].clone();
    request.max_bytes = 50 << 20;
    request.topics[0].partitions = (0..6)
        .zip(offsets)
        .map(|(partition, offset)| FetchPartition {
            partition: PartitionIndex(partition),
            fetch_offset: Offset(offset),
            partition_max_bytes,
            ..like.clone()
        })
        .collect();
    request
}

#[test]
fn an_answer_has_some_megabytes_and_what_it_leaves_out_comes_with_the_next_one() {
    let (_broker, mut client) = broker_with_megabytes();
    let mut offsets = [0; 6];
    let mut answers = 0;
    while offsets != [2; 6] {
        let answer = client.call(12, &fetch_of_all(offsets, 1 << 20));
        let partitions = &answer.responses[0].partitions;
        assert_eq!(partitions.len(), 6, "each is told of");
        let mut bytes = 0;
        for data in partitions {
            assert_eq!((data.error_code, data.high_watermark), (ErrorCode::None, Offset(2)));
            let records = data.records.as_ref().map_or(0, |records| records.len());
            offsets[usize::try_from(data.partition_index.0).expect("small")] += i64::from(records > 0);
            bytes += records;
        }
        assert!((1 << 20..=4 << 20).contains(&bytes), "{bytes} bytes");
        answers += 1;
    }
    assert_eq!(answers, 4, "four partitions twice, then the two behind them twice");
}

#[test]
fn who_wants_more_of_a_partition_or_waits_for_more_gets_it() {
    let (_broker, mut client) = broker_with_megabytes();
    let bytes = |client: &mut Client, request: &FetchRequest| {
        let answer = client.call(12, request);
        let partitions = answer.responses[0].partitions.iter();
        partitions.map(|data| data.records.as_ref().map_or(0, |records| records.len())).sum::<usize>()
    };
    let much = bytes(&mut client, &fetch_of_all([0; 6], 8 << 20));
    assert!((6 << 20..=8 << 20).contains(&much), "{much} bytes");
    let waits = FetchRequest { min_bytes: 6 << 20, max_wait_ms: 9_000, ..fetch_of_all([0; 6], 2 << 20) };
    let much = bytes(&mut client, &waits);
    assert!((5 << 20..=6 << 20).contains(&much), "{much} bytes");
}

#[test]
fn a_long_poll_goes_on_when_one_partition_has_given_all_that_is_taken_of_it() {
    let (broker, mut client) = broker_with_megabytes();
    // one batch of the first partition nearly fills what is taken of it, and all others are at their ends
    let fetch = fetch_of_all([0, 2, 2, 2, 2, 2], 950_000);
    let waits = FetchRequest { min_bytes: 1_700_000, max_wait_ms: 9_000, ..fetch };
    let mut consumer = broker.connect();
    consumer.send(12, &waits);
    let mut more = produce_request("t", -1, Some(batch(&[&"x".repeat(900_000)])));
    more.topic_data[0].partition_data[0].index = PartitionIndex(1);
    client.call(9, &more);
    let answer = consumer.receive::<FetchRequest>(12, consumer.last_sent());
    let bytes = |at: usize| answer.responses[0].partitions[at].records.as_ref().map_or(0, |records| records.len());
    assert!(bytes(0) > 900_000 && bytes(1) > 900_000, "{} and {} bytes", bytes(0), bytes(1));
}

#[test]
fn an_offset_outside_of_the_log_is_told_also_behind_an_answer_that_is_full() {
    let (_broker, mut client) = broker_with_megabytes();
    let answer = client.call(12, &fetch_of_all([0, 0, 0, 0, 0, 99], 1 << 20));
    assert_eq!(answer.responses[0].partitions[5].error_code, ErrorCode::OffsetOutOfRange);
}

#[test]
fn a_fetch_outside_of_the_log_is_out_of_range_and_at_its_end_is_empty() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a", "b"]));
    for offset in [-1, -2, 3, i64::MAX, i64::MIN] {
        assert_eq!(client.fetch("t", offset).error_code, ErrorCode::OffsetOutOfRange, "offset {offset}");
    }
    let end = client.fetch("t", 2);
    assert_eq!((end.error_code, end.high_watermark.0), (ErrorCode::None, 2));
    assert!(values(end).is_empty());
}

#[test]
fn a_long_poll_ends_with_the_first_record_and_not_before() {
    let (broker, mut client) = broker_with_topic(&[]);
    let mut waiting = fetch_request("t", 0);
    waiting.max_wait_ms = 9_000;
    let mut consumer = broker.connect();
    consumer.send(12, &waiting);
    client.produce("t", batch(&["a"]));
    // far longer than it takes, far shorter than the wait
    consumer.stream.set_read_timeout(Some(std::time::Duration::from_secs(4))).expect("a deadline");
    let mut answer = consumer.receive::<FetchRequest>(12, consumer.last_sent());
    assert_eq!(values(answer.responses[0].partitions.remove(0)), [(0, "a".to_owned())]);
}

#[test]
fn a_long_poll_waits_for_as_many_bytes_as_it_was_told_to() {
    let (broker, mut client) = broker_with_topic(&[]);
    let size = batch(&["a"]).len();
    let mut waiting = fetch_request("t", 0);
    waiting.max_wait_ms = 9_000;
    waiting.min_bytes = i32::try_from(3 * size).expect("small");
    let mut consumer = broker.connect();
    consumer.send(12, &waiting);
    for _ in 0..3 {
        client.produce("t", batch(&["a"]));
    }
    let mut answer = consumer.receive::<FetchRequest>(12, consumer.last_sent());
    assert_eq!(values(answer.responses[0].partitions.remove(0)).len(), 3);
    waiting.max_wait_ms = 50;
    waiting.min_bytes = i32::MAX;
    let mut answer = consumer.call(12, &waiting);
    assert_eq!(values(answer.responses[0].partitions.remove(0)).len(), 3, "after the wait it gets what there is");
}

#[test]
fn a_session_answers_only_what_is_new() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a"]));
    let mut first = fetch_request("t", 0);
    first.session_epoch = 0;
    let opened = client.call(12, &first);
    assert!(opened.session_id > 0 && opened.responses.len() == 1);
    let mut request = fetch_request("t", 1);
    (request.session_id, request.session_epoch) = (opened.session_id, 1);
    assert_eq!(client.call(12, &request).responses.len(), 0, "nothing is new");
    client.produce("t", batch(&["b"]));
    let mut incremental =
        FetchRequest { session_id: opened.session_id, session_epoch: 2, min_bytes: 1, ..request.clone() };
    incremental.topics.clear();
    let mut answer = client.call(12, &incremental);
    assert_eq!(values(answer.responses.remove(0).partitions.remove(0)), [(1, "b".to_owned())]);
    assert_eq!(client.call(12, &incremental).error_code, ErrorCode::InvalidFetchSessionEpoch);
    incremental.session_id += 1;
    assert_eq!(client.call(12, &incremental).error_code, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn a_topic_is_known_by_its_id_and_a_topic_made_again_is_another() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a"]));
    let old = topic_id(&mut client);
    let by_id = |id| {
        let mut request = fetch_request("", 0);
        request.topics[0].topic_id = id;
        request
    };
    assert_eq!(values(client.call(13, &by_id(old)).responses[0].partitions.remove(0)).len(), 1);
    for unknown in [Uuid::nil(), Uuid::from_u128(7)] {
        assert_eq!(client.call(13, &by_id(unknown)).responses[0].partitions[0].error_code, ErrorCode::UnknownTopicId);
    }
    let delete =
        DeleteTopicsRequest { topic_names: vec!["t".to_owned()], timeout_ms: 1_000, ..DeleteTopicsRequest::default() };
    assert_eq!(client.call(5, &delete).responses[0].error_code, ErrorCode::None);
    client.create_topic("t", 1, &[]);
    assert_ne!(topic_id(&mut client), old);
    assert_eq!(client.call(13, &by_id(old)).responses[0].partitions[0].error_code, ErrorCode::UnknownTopicId);
    assert_eq!(client.end_offset("t"), 0, "nothing of the old topic is left");
}

#[test]
fn a_client_that_says_it_is_a_replica_gets_nothing() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a"]));
    let topic_id = topic_id(&mut client);
    let mut as_replica = |id| {
        let request = FetchRequest { replica_id: BrokerId(id), ..fetch_request("t", 0) };
        let old = client.call(12, &request);
        let replica_state = ReplicaState { replica_id: BrokerId(id), ..ReplicaState::default() };
        let mut request = FetchRequest { replica_state, ..fetch_request("t", 0) };
        request.topics[0].topic_id = topic_id;
        let new = client.call(15, &request);
        assert_eq!((old.error_code, old.responses.len()), (new.error_code, new.responses.len()), "replica {id}");
        (old.error_code, old.responses.len())
    };
    for id in [0, 1, i32::MAX, -3, i32::MIN] {
        assert_eq!(as_replica(id), (ErrorCode::ClusterAuthorizationFailed, 0), "replica {id}");
    }
    // an ordinary consumer, and Kafka's tool that looks for faults
    for id in [-1, -2] {
        assert_eq!(as_replica(id), (ErrorCode::None, 1), "replica {id}");
    }
}

#[test]
fn who_asks_for_offsets_as_a_replica_is_told_what_consumers_are_told() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a", "b"]));
    for id in [-1, -2, 0, 1, i32::MAX, i32::MIN] {
        for (timestamp, expected) in [(-1, 2), (-2, 0), (-3, 1), (1_001, 1)] {
            let partition =
                ListOffsetsPartition { timestamp: TimestampMs(timestamp), ..ListOffsetsPartition::default() };
            let topic = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![partition] };
            let request =
                ListOffsetsRequest { replica_id: BrokerId(id), topics: vec![topic], ..ListOffsetsRequest::default() };
            let found = client.call(9, &request).topics.remove(0).partitions.remove(0);
            assert_eq!((found.error_code, found.offset.0), (ErrorCode::None, expected), "replica {id} at {timestamp}");
        }
    }
}

#[test]
fn a_long_poll_of_a_topic_that_is_deleted_meanwhile_ends_at_once() {
    let (broker, mut client) = broker_with_topic(&[]);
    client.create_topic("stays", 1, &[]);
    for version in [12, 13] {
        let topic_id = topic_id(&mut client);
        let mut waiting = fetch_request("t", 0);
        waiting.max_wait_ms = 60_000;
        waiting.min_bytes = i32::MAX;
        waiting.topics[0].topic_id = topic_id;
        let mut consumer = broker.connect();
        consumer.send_and_wait_until_handled(version, &waiting);
        assert_eq!(client.delete_topic("t"), ErrorCode::None);
        // the client's patience is a sixth of the wait
        let answer = consumer.receive::<FetchRequest>(version, consumer.last_sent());
        let found = &answer.responses[0].partitions[0];
        // a fetch by id that had not looked yet finds no such id
        let gone = found.error_code == ErrorCode::UnknownTopicOrPartition
            || version == 13 && found.error_code == ErrorCode::UnknownTopicId;
        assert!(gone, "version {version}: {:?}", found.error_code);
        assert_eq!(found.high_watermark.0, -1);
        assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    }
}

#[test]
fn limits_below_zero_are_none_and_wait_for_nothing() {
    let (_broker, mut client) = broker_with_topic(&[]);
    for produced in [false, true] {
        if produced {
            client.produce("t", batch(&["a"]));
        }
        for (max_wait_ms, min_bytes, limit) in [(-1, 1, 1 << 20), (i32::MIN, i32::MAX, -1), (60_000, -1, i32::MIN)] {
            let mut request = FetchRequest { max_wait_ms, min_bytes, max_bytes: limit, ..fetch_request("t", 0) };
            request.topics[0].partitions[0].partition_max_bytes = limit;
            let mut answer = client.call(12, &request);
            let found = values(answer.responses[0].partitions.remove(0));
            assert_eq!(found.len(), usize::from(produced), "wait {max_wait_ms}, bytes {min_bytes} to {limit}");
        }
    }
}

#[test]
fn a_fetch_of_more_partitions_than_can_be_is_refused() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let mut request = fetch_request("t", 0);
    let partition = |index| FetchPartition { partition: PartitionIndex(index), ..FetchPartition::default() };
    request.topics[0].partitions = (0..100_001).map(partition).collect();
    assert_eq!(client.call(12, &request).error_code, ErrorCode::InvalidRequest);
    client.assert_alive();
}

#[test]
fn list_offsets_knows_positions_and_times() {
    let (_broker, mut client) = broker_with_topic(&[]);
    assert_eq!((client.list_offset("t", -1).offset.0, client.list_offset("t", -2).offset.0), (0, 0));
    assert_eq!(client.list_offset("t", -3).offset.0, -1, "an empty log has no newest record");
    // times 1000, 1001, 1002 and then 1000, 1001 again
    client.produce("t", batch(&["a", "b", "c"]));
    client.produce("t", batch(&["d", "e"]));
    let mut at = |timestamp| {
        let found = client.list_offset("t", timestamp);
        assert_eq!(found.error_code, ErrorCode::None);
        (found.offset.0, found.timestamp.0)
    };
    assert_eq!(at(-1), (5, -1));
    assert_eq!(at(-2), (0, -1));
    assert_eq!(at(-3), (2, 1_002));
    assert_eq!(at(-4), (0, -1));
    assert_eq!(at(-5), (-1, -1));
    assert_eq!(at(0), (0, 1_000));
    assert_eq!(at(1_001), (1, 1_001));
    assert_eq!(at(1_002), (2, 1_002));
    assert_eq!(at(1_003), (-1, -1));
    assert_ne!(client.list_offset("t", -99).error_code, ErrorCode::None);
    assert_eq!(client.list_offset("nowhere", -1).error_code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn deleted_records_stay_deleted_and_the_start_never_goes_back() {
    let (broker, mut client) = broker_with_topic(&[]);
    for value in ["a", "b", "c"] {
        client.produce("t", batch(&[value]));
    }
    let delete = |offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".to_owned(),
            partitions: vec![DeleteRecordsPartition { partition_index: PartitionIndex(0), offset: Offset(offset) }],
        }],
        timeout_ms: 1_000,
    };
    let low = |client: &mut Client, offset| {
        let answer = client.call(2, &delete(offset)).topics.remove(0).partitions.remove(0);
        (answer.error_code, answer.low_watermark.0)
    };
    assert_eq!(low(&mut client, 2), (ErrorCode::None, 2));
    assert_eq!(low(&mut client, 1), (ErrorCode::None, 2));
    assert_eq!(low(&mut client, 4), (ErrorCode::OffsetOutOfRange, -1));
    assert_eq!(low(&mut client, -2), (ErrorCode::OffsetOutOfRange, -1));
    assert_eq!(client.fetch("t", 1).error_code, ErrorCode::OffsetOutOfRange);
    drop(client);
    let broker = TestBroker::on(broker.stop(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.list_offset("t", -2).offset.0, 2);
    assert_eq!(low(&mut client, -1), (ErrorCode::None, 3));
    assert_eq!(client.list_offset("t", -2).offset.0, 3);
    assert_eq!(client.produce("t", batch(&["d"])).base_offset.0, 3);
}

#[test]
fn partitions_that_can_not_be_are_unknown_and_of_one_named_twice_the_last_entry_counts() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a"]));
    client.produce("t", batch(&["b"]));
    for index in [-1, 1, i32::MIN, i32::MAX] {
        let mut request = fetch_request("t", 0);
        request.topics[0].partitions[0].partition = PartitionIndex(index);
        let answer = client.call(12, &request);
        assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition, "{index}");
    }
    let mut request = fetch_request("t", 0);
    let last = FetchPartition { fetch_offset: Offset(1), ..request.topics[0].partitions[0].clone() };
    request.topics[0].partitions.push(last);
    let mut answer = client.call(12, &request);
    assert_eq!(answer.responses[0].partitions.len(), 1);
    assert_eq!(values(answer.responses[0].partitions.remove(0)), [(1, "b".to_owned())]);
}
