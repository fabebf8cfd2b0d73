//! Bytes that no client should send: lengths, headers, bodies cut off anywhere, other protocols, too many connections.
//!
//! Whatever comes, no thread panics, the connection is closed or answered as documented, and the next client is served.

use crate::support::TestBroker;
use crate::support::client::{Client, frame_of, header};
use crate::support::records::{batch, fetch_request, produce_request};
use kennet_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use kennet_protocol::messages::{
    alter_configs, create_partitions, create_topics, delete_groups, delete_records, delete_topics, describe_cluster,
    describe_configs, describe_groups, describe_log_dirs, describe_topic_partitions, fetch, find_coordinator,
    heartbeat, incremental_alter_configs, init_producer_id, join_group, leave_group, list_groups, list_offsets,
    metadata, offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
};
use kennet_protocol::{ApiKey, Decoder, ErrorCode, Message, Request, decode_response_header};

#[test]
fn a_length_that_can_not_be_closes_the_connection() {
    let broker = TestBroker::start();
    for length in [0, -1, i32::MIN, i32::MAX, 100 * 1024 * 1024 + 1] {
        let mut client = broker.connect();
        client.send_bytes(&length.to_be_bytes());
        client.assert_closed(&format!("length {length}"));
    }
    broker.connect().assert_alive();
}

#[test]
fn a_large_length_alone_takes_no_memory() {
    let broker = TestBroker::start();
    let before = resident_kib();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = broker.connect();
            client.send_bytes(&(30 * 1024 * 1024_i32).to_be_bytes());
            client.send_bytes(&[0; 10]);
            client
        })
        .collect();
    let mut other = broker.connect();
    other.send(3, &ApiVersionsRequest::default());
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 50 * 1024, "50 unfinished frames took {grown} KiB");
    drop(clients);
    assert!(other.frame().is_some(), "who waits for memory gets it when it is given back");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells a process's memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn other_protocols_are_closed() {
    let broker = TestBroker::start();
    for hello in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01]] {
        let mut client = broker.connect();
        client.send_bytes(hello);
        client.assert_closed("not Kafka's protocol");
    }
    broker.connect().assert_alive();
}

#[test]
fn an_api_that_is_not_there_or_a_version_that_is_not_served_closes_the_connection() {
    let broker = TestBroker::start();
    let unknown = [(999, 0), (-1, 0), (i16::MAX, i16::MAX), (ApiKey::Metadata.code(), 99), (ApiKey::Fetch.code(), -1)];
    for (key, version) in unknown {
        let mut client = broker.connect();
        client.send_frame(&header(key, version));
        client.assert_closed(&format!("key {key} version {version}"));
    }
    for key in ApiKey::ALL.iter().filter(|key| key.versions().is_none()) {
        let mut client = broker.connect();
        client.send_frame(&header(key.code(), 0));
        client.assert_closed(key.name());
    }
    broker.connect().assert_alive();
}

#[test]
fn api_versions_is_answered_for_any_version() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for version in [5, 50, i16::MAX, -3] {
        client.send_frame(&header(ApiKey::ApiVersions.code(), version));
        let mut decoder = Decoder::new(client.frame().expect("an answer"));
        decode_response_header(ApiKey::ApiVersions, 0, &mut decoder).expect("a header");
        let answer = ApiVersionsResponse::decode(&mut decoder, 0).expect("an answer in version 0");
        assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion);
        assert!(answer.api_keys.iter().any(|api| api.api_key == ApiKey::ApiVersions.code() && api.max_version >= 3));
    }
    client.assert_alive();
}

#[test]
fn a_body_that_is_cut_off_anywhere_is_answered_or_closed() {
    let broker = TestBroker::start();
    for whole in requests() {
        for length in 1..whole.len() {
            let mut client = broker.connect();
            client.send_frame(&whole[..length]);
            // a body may make sense without its end; what matters is that there is no panic and no silence
            client.frame();
        }
    }
    broker.connect().assert_alive();
}

#[test]
fn bytes_that_are_flipped_anywhere_are_answered_or_closed() {
    let broker = TestBroker::start();
    for whole in requests() {
        // key and version stay: other requests have turns of their own
        for at in 4..whole.len() {
            let mut frame = whole.clone();
            frame[at] = !frame[at];
            let mut client = broker.connect();
            client.send_frame(&frame);
            client.stream.shutdown(std::net::Shutdown::Write).expect("nothing more is sent");
            client.frame();
        }
    }
    broker.connect().assert_alive();
}

/// A small request of each kind that changes nothing which the others need.
fn requests() -> Vec<Vec<u8>> {
    fn of<R: Request>(request: R) -> Vec<u8> {
        frame_of(R::KEY.versions().expect("the API is served").max, &request)
    }
    vec![
        of(ApiVersionsRequest::default()),
        of(metadata::MetadataRequest::default()),
        frame_of(9, &produce_request("t", 1, Some(batch(&["a"])))),
        frame_of(12, &fetch_request("t", 0)),
        of(fetch::FetchRequest::default()),
        of(produce::ProduceRequest { acks: 1, ..produce::ProduceRequest::default() }),
        of(list_offsets::ListOffsetsRequest::default()),
        of(offset_for_leader_epoch::OffsetForLeaderEpochRequest::default()),
        of(create_topics::CreateTopicsRequest::default()),
        of(delete_topics::DeleteTopicsRequest::default()),
        of(create_partitions::CreatePartitionsRequest::default()),
        of(delete_records::DeleteRecordsRequest::default()),
        of(describe_configs::DescribeConfigsRequest::default()),
        of(incremental_alter_configs::IncrementalAlterConfigsRequest::default()),
        of(alter_configs::AlterConfigsRequest::default()),
        of(describe_cluster::DescribeClusterRequest::default()),
        of(describe_topic_partitions::DescribeTopicPartitionsRequest::default()),
        of(describe_log_dirs::DescribeLogDirsRequest::default()),
        of(init_producer_id::InitProducerIdRequest::default()),
        of(find_coordinator::FindCoordinatorRequest::default()),
        of(join_group::JoinGroupRequest::default()),
        of(sync_group::SyncGroupRequest::default()),
        of(heartbeat::HeartbeatRequest::default()),
        of(leave_group::LeaveGroupRequest::default()),
        of(offset_commit::OffsetCommitRequest::default()),
        of(offset_fetch::OffsetFetchRequest::default()),
        of(offset_delete::OffsetDeleteRequest::default()),
        of(describe_groups::DescribeGroupsRequest::default()),
        of(list_groups::ListGroupsRequest::default()),
        of(delete_groups::DeleteGroupsRequest::default()),
    ]
}

#[test]
fn a_count_larger_than_the_request_closes_the_connection() {
    let broker = TestBroker::start();
    for count in [2, 1_000_000, i32::MAX] {
        let mut frame = header(ApiKey::Metadata.code(), 4);
        frame.extend_from_slice(&count.to_be_bytes());
        let mut client = broker.connect();
        client.send_frame(&frame);
        client.assert_closed(&format!("{count} topics in no bytes"));
    }
    let mut flexible = header(ApiKey::Metadata.code(), 9);
    flexible.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let mut client = broker.connect();
    client.send_frame(&flexible);
    client.assert_closed("an overlong varint");
    broker.connect().assert_alive();
}

#[test]
fn bytes_that_follow_a_request_are_ignored_as_kafka_does() {
    let broker = TestBroker::start();
    let mut frame = frame_of(4, &metadata::MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    frame.extend_from_slice(b"more");
    let mut client = broker.connect();
    client.send_frame(&frame);
    assert!(client.frame().is_some());
    client.assert_alive();
}

#[test]
fn text_that_is_not_utf_8_closes_the_connection() {
    let broker = TestBroker::start();
    let mut frame = header(ApiKey::Metadata.code(), 4);
    frame.extend_from_slice(&1_i32.to_be_bytes());
    frame.extend_from_slice(&[0, 2, 0xff, 0xfe, 1]);
    let mut client = broker.connect();
    client.send_frame(&frame);
    client.assert_closed("a topic's name that is no text");
}

#[test]
fn nothing_where_something_has_to_be_closes_the_connection() {
    let broker = TestBroker::start();
    // a topic without a name in a version that has no ids, and a null array of topics that may not be one
    let mut nameless = header(ApiKey::Metadata.code(), 4);
    nameless.extend_from_slice(&1_i32.to_be_bytes());
    nameless.extend_from_slice(&[0xff, 0xff, 1]);
    let mut no_topics = header(ApiKey::DeleteTopics.code(), 5);
    no_topics.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    for (what, frame) in [("a null name", nameless), ("a null array", no_topics)] {
        let mut client = broker.connect();
        client.send_frame(&frame);
        client.assert_closed(what);
    }
    broker.connect().assert_alive();
}

#[test]
fn the_header_of_an_older_version_closes_the_connection() {
    let broker = TestBroker::start();
    // a flexible version behind a header without tagged fields
    let mut frame = header(ApiKey::Metadata.code(), 9);
    frame.pop();
    frame.extend_from_slice(&[2, 0, 0, 0]);
    let mut client = broker.connect();
    client.send_frame(&frame);
    client.assert_closed("no tagged fields");
    broker.connect().assert_alive();
}

#[test]
fn one_address_has_only_so_many_connections() {
    let broker = TestBroker::with(&[("max.connections.per.ip", "3")]);
    let mut clients: Vec<Client> = (0..3).map(|_| broker.connect()).collect();
    clients.iter_mut().for_each(Client::assert_alive);
    broker.connect().assert_closed("a fourth connection");
    clients.pop();
    let served = (0..100).any(|_| {
        let mut client = broker.connect();
        client.send(0, &ApiVersionsRequest::default());
        client.frame().is_some()
    });
    assert!(served, "a place is free again when its connection has ended");
}

#[test]
fn configs_of_more_topics_than_fit_into_memory_are_refused_and_told_what_to_do() {
    let broker = TestBroker::with_memory(16 << 20);
    let mut client = broker.connect();
    let mut resources = Vec::new();
    for number in 0..200 {
        let name = format!("t{number}");
        assert_eq!(client.create_topic(&name, 1, &[]).error_code, ErrorCode::None);
        resources.push(describe_configs::DescribeConfigsResource {
            resource_type: 2,
            resource_name: name,
            ..Default::default()
        });
    }
    let request =
        describe_configs::DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: true };
    let results = client.call(4, &request).results;
    let (first, last) = (&results[0], &results[199]);
    assert_eq!((first.error_code, first.configs.is_empty()), (ErrorCode::None, false));
    assert_eq!((last.error_code, last.configs.is_empty()), (ErrorCode::InvalidRequest, true));
    assert!(last.error_message.as_ref().is_some_and(|message| message.contains("ask for fewer")), "{last:?}");
}

#[test]
fn a_request_that_is_larger_than_memory_allows_is_closed_at_once() {
    let broker = TestBroker::with_memory(64 << 20);
    let mut client = broker.connect();
    client.send_bytes(&(9 * 1024 * 1024_i32).to_be_bytes());
    client.assert_closed("a request of more than an eighth of the memory");
    broker.connect().assert_alive();
}

#[test]
fn requests_without_acks_hold_up_no_answer_and_take_no_place_among_answers() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    // more than answers may wait
    for _ in 0..500 {
        client.send(9, &produce_request("t", 0, Some(batch(&["a"]))));
    }
    client.assert_alive();
    let answer = client.produce("t", batch(&["last"]));
    assert_eq!((answer.error_code, answer.base_offset.0), (ErrorCode::None, 500), "they were appended before it");
}

#[test]
fn a_request_behind_a_produce_request_sees_what_that_one_appended() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let empty = client.call(1, &describe_log_dirs::DescribeLogDirsRequest::default()).results[0].topics.clone();
    let first = client.last_sent() + 1;
    for _ in 0..50 {
        client.send(9, &produce_request("t", -1, Some(batch(&["a"]))));
        client.send(1, &describe_log_dirs::DescribeLogDirsRequest { topics: None });
    }
    let size = |topics: &[describe_log_dirs::DescribeLogDirsTopic]| {
        topics.iter().find(|topic| topic.name == "t").map_or(0, |topic| topic.partitions[0].partition_size)
    };
    let one = i64::try_from(batch(&["a"]).len()).expect("a small batch");
    assert_eq!(size(&empty), 0);
    for number in 0..50 {
        client.receive::<produce::ProduceRequest>(9, first + 2 * number);
        let answer = client.receive::<describe_log_dirs::DescribeLogDirsRequest>(1, first + 2 * number + 1);
        assert_eq!(size(&answer.results[0].topics), one * i64::from(number + 1));
    }
}

#[test]
fn connections_are_limited_in_all_too() {
    let broker = TestBroker::with(&[("max.connections", "2")]);
    let mut clients: Vec<Client> = (0..2).map(|_| broker.connect()).collect();
    clients.iter_mut().for_each(Client::assert_alive);
    broker.connect().assert_closed("a third connection");
    clients.iter_mut().for_each(Client::assert_alive);
}

#[test]
fn answers_come_in_the_order_of_requests() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let first = client.last_sent() + 1;
    for _ in 0..100 {
        client.send(9, &produce_request("t", -1, Some(batch(&["a"]))));
        client.send(0, &ApiVersionsRequest::default());
    }
    for number in 0..100 {
        let answer = client.receive::<produce::ProduceRequest>(9, first + 2 * number);
        assert_eq!(answer.responses[0].partition_responses[0].base_offset.0, i64::from(number));
        client.receive::<ApiVersionsRequest>(0, first + 2 * number + 1);
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_holds_little_memory() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("max.message.bytes", "2000000")]);
    let value = "x".repeat(1_000_000);
    for _ in 0..4 {
        assert_eq!(client.produce("t", batch(&[&value])).error_code, ErrorCode::None);
    }
    let before = resident_kib();
    let mut greedy = fetch_request("t", 0);
    greedy.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    let first = client.last_sent() + 1;
    for _ in 0..60 {
        client.send(12, &greedy);
    }
    broker.connect().assert_alive();
    // as long as it takes that a broker without a limit would have read them all
    let mut other = broker.connect();
    for _ in 0..60 {
        assert_eq!(other.call(12, &greedy).responses.len(), 1);
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 100 * 1024, "sixty answers of 4 MB that nobody reads took {grown} KiB");
    for number in 0..60 {
        client.receive::<fetch::FetchRequest>(12, first + number);
    }
}
