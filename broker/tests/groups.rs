//! Groups and their offsets over a real socket: what survives, what is refused, and what is bounded.

mod support;

use kennet_protocol::messages::heartbeat::HeartbeatRequest;
use kennet_protocol::messages::leave_group::LeaveGroupRequest;
use kennet_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kennet_protocol::{ErrorCode, PartitionIndex};
use support::TestBroker;
use support::client::Client;
use support::groups::sync_request;

/// Few partitions, so that starting is quick; no delay before the first generation.
const QUICK: &[(&str, &str)] = &[("offsets.topic.num.partitions", "3"), ("group.initial.rebalance.delay.ms", "0")];

fn broker_with_topic() -> (TestBroker, Client) {
    let broker = TestBroker::with(QUICK);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    (broker, client)
}

#[test]
fn a_topic_that_is_made_again_has_no_committed_offsets() {
    let (broker, mut client) = broker_with_topic();
    for group in ["a", "b", "c", "d"] {
        assert_eq!(client.commit(group, "t", 5), ErrorCode::None);
        assert_eq!(client.committed(group, "t"), 5);
    }
    assert_eq!(client.delete_topic("t"), ErrorCode::None);
    assert_eq!(client.commit("a", "t", 6), ErrorCode::UnknownTopicOrPartition);
    client.create_topic("t", 1, &[]);
    assert_eq!(client.committed("a", "t"), -1);
    assert_eq!(client.commit("a", "t", 1), ErrorCode::None);
    drop(client);
    let broker = TestBroker::on(broker.stop(), QUICK);
    let mut client = broker.connect();
    assert_eq!(["a", "b", "c", "d"].map(|group| client.committed(group, "t")), [1, -1, -1, -1]);
}

#[test]
fn a_group_needs_an_id() {
    let (_broker, mut client) = broker_with_topic();
    assert_eq!(client.call(3, &HeartbeatRequest::default()).error_code, ErrorCode::InvalidGroupId);
    assert_eq!(client.call(3, &LeaveGroupRequest::default()).error_code, ErrorCode::InvalidGroupId);
    assert_eq!(client.call(5, &sync_request("", "a", 1)).error_code, ErrorCode::InvalidGroupId);
}

#[test]
fn a_member_says_from_version_5_on_what_it_believes_to_be_chosen() {
    let (_broker, mut client) = broker_with_topic();
    let member = client.become_member("g");
    let mut request = sync_request("g", &member, 1);
    request.protocol_name = None;
    assert_eq!(client.call(5, &request).error_code, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(client.call(4, &request).error_code, ErrorCode::None);
    request.protocol_name = Some("sticky".to_owned());
    assert_eq!(client.call(5, &request).error_code, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn offsets_are_deleted_of_topics_that_exist_and_nobody_reads() {
    let (_broker, mut client) = broker_with_topic();
    assert_eq!(client.commit("g", "t", 5), ErrorCode::None);
    let mut delete = |topic: &str| {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: PartitionIndex(0) }];
        let topics = vec![OffsetDeleteRequestTopic { name: topic.to_owned(), partitions }];
        let answer = client.call(0, &OffsetDeleteRequest { group_id: "g".to_owned(), topics });
        answer.topics[0].partitions[0].error_code
    };
    assert_eq!(delete("nowhere"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete("t"), ErrorCode::None);
    assert_eq!(client.committed("g", "t"), -1);
    client.become_member("g");
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: PartitionIndex(0) }];
    let topics = vec![OffsetDeleteRequestTopic { name: "t".to_owned(), partitions }];
    let answer = client.call(0, &OffsetDeleteRequest { group_id: "g".to_owned(), topics });
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::GroupSubscribedToTopic);
}
