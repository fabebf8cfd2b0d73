//! A broker that stops answers who waits for somebody else, so that a client moves on at once and knows what became of its request.

use crate::support::TestBroker;
use bytes::Bytes;
use kennet_protocol::ErrorCode;
use kennet_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kennet_protocol::messages::fetch::FetchRequest;
use kennet_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kennet_protocol::messages::metadata::MetadataRequest;
use kennet_protocol::messages::produce::ProduceRequest;
use kennet_protocol::messages::sync_group::SyncGroupRequest;

/// The newest version whose members need no second request for their id.
const JOIN_VERSION: i16 = 3;

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::from_static(b"t") };
    JoinGroupRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    }
}

#[test]
fn a_fetch_that_waits_is_answered_with_what_there_is() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let mut waiting = crate::support::records::fetch_request("t", 0);
    waiting.max_wait_ms = 60_000;
    client.send_and_wait_until_handled(12, &waiting);
    broker.stop();
    let answer = client.receive::<FetchRequest>(12, client.last_sent());
    assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::None);
    client.assert_closed("the broker has stopped");
}

#[test]
fn requests_behind_the_one_that_waits_are_answered_if_they_were_there() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let mut waiting = crate::support::records::fetch_request("t", 0);
    waiting.max_wait_ms = 60_000;
    let metadata = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let produce = crate::support::records::produce_request("t", 1, Some(crate::support::records::batch(&["a"])));
    let mut all = frame(12, 100, &metadata);
    all.extend(frame(12, 101, &waiting));
    for id in 102..110 {
        all.extend(frame(12, id, &metadata));
    }
    all.extend(frame(9, 110, &produce));
    client.send_bytes(&all);
    client.receive::<MetadataRequest>(12, 100);
    let folder = broker.stop();
    client.receive::<FetchRequest>(12, 101);
    for id in 102..110 {
        client.receive::<MetadataRequest>(12, id);
    }
    let produced = client.receive::<ProduceRequest>(9, 110).responses.remove(0).partition_responses.remove(0);
    assert_eq!(produced.error_code, ErrorCode::None);
    client.assert_closed("the broker has stopped");
    let broker = TestBroker::on(folder, &[]);
    assert_eq!(broker.connect().end_offset("t"), 1, "what was acknowledged is there");
}

fn frame<R: kennet_protocol::Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let frame = kennet_protocol::encode_request(version, correlation_id, Some("test"), request);
    frame.expect("the request encodes").concat()
}

#[test]
fn a_member_that_waits_for_the_others_looks_for_the_next_coordinator() {
    let broker = TestBroker::with(&[("group.initial.rebalance.delay.ms", "60000")]);
    let mut client = broker.connect();
    client.send_and_wait_until_handled(JOIN_VERSION, &join(""));
    broker.stop();
    let answer = client.receive::<JoinGroupRequest>(JOIN_VERSION, client.last_sent());
    assert_eq!(answer.error_code, ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn a_member_that_waits_for_its_assignment_looks_for_the_next_coordinator() {
    let broker = TestBroker::with(&[("group.initial.rebalance.delay.ms", "0")]);
    let (mut leader, mut follower) = (broker.connect(), broker.connect());
    let alone = leader.call(JOIN_VERSION, &join(""));
    assert_eq!(alone.error_code, ErrorCode::None);
    follower.send_and_wait_until_handled(JOIN_VERSION, &join(""));
    leader.call(JOIN_VERSION, &join(&alone.member_id));
    let joined = follower.receive::<JoinGroupRequest>(JOIN_VERSION, follower.last_sent());
    assert_eq!((joined.error_code, joined.leader), (ErrorCode::None, alone.member_id));
    let sync = SyncGroupRequest {
        group_id: "g".to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id,
        ..SyncGroupRequest::default()
    };
    follower.send_and_wait_until_handled(3, &sync);
    broker.stop();
    let answer = follower.receive::<SyncGroupRequest>(3, follower.last_sent());
    assert_eq!(answer.error_code, ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn topics_that_are_being_made_are_made_and_answered() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let topic = |number: i32| CreatableTopic {
        name: format!("t{number}"),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: (0..50).map(topic).collect(), ..CreateTopicsRequest::default() };
    client.send_and_wait_until_handled(7, &request);
    broker.stop();
    let answer = client.receive::<CreateTopicsRequest>(7, client.last_sent());
    assert!(answer.topics.iter().all(|topic| topic.error_code == ErrorCode::None), "{answer:?}");
}
