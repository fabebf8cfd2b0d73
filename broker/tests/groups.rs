//! Groups and their offsets over a real socket: what survives, what is refused, and what is bounded.

use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::groups::{commit_request, join_request, sync_request};
use bytes::Bytes;
use kennet_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use kennet_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest};
use kennet_protocol::messages::heartbeat::HeartbeatRequest;
use kennet_protocol::messages::leave_group::LeaveGroupRequest;
use kennet_protocol::messages::list_groups::ListGroupsRequest;
use kennet_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kennet_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kennet_protocol::{ErrorCode, GenerationId, PartitionIndex, TimestampMs};

/// Few partitions, so that starting is quick; no delay before the first generation.
const QUICK: &[(&str, &str)] = &[("offsets.topic.num.partitions", "3"), ("group.initial.rebalance.delay.ms", "0")];

fn broker_with_topic() -> (TestBroker, Client) {
    let broker = TestBroker::with(QUICK);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    (broker, client)
}

fn heartbeat(client: &mut Client, group_id: &str, member_id: &str, generation: i32) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group_id.to_owned(),
        generation_id: GenerationId(generation),
        member_id: member_id.to_owned(),
        ..HeartbeatRequest::default()
    };
    client.call(3, &request).error_code
}

fn groups(client: &mut Client) -> Vec<String> {
    let answer = client.call(4, &ListGroupsRequest::default());
    assert_eq!(answer.error_code, ErrorCode::None);
    answer.groups.into_iter().map(|group| group.group_id).collect()
}

#[test]
fn who_asks_for_the_coordinator_of_a_transaction_is_told_for_good_that_there_is_none() {
    let (_broker, mut client) = broker_with_topic();
    // INVALID_REQUEST is fatal for clients, which show the message; COORDINATOR_NOT_AVAILABLE would be asked again for ever
    for (key_type, reason) in
        [(1, "does not serve transactions"), (2, "no coordinator of that type"), (-1, "no coordinator")]
    {
        for version in [1, 3, 4, 6] {
            let mut request = FindCoordinatorRequest { key_type, ..FindCoordinatorRequest::default() };
            if version < 4 {
                "tx".clone_into(&mut request.key);
            } else {
                request.coordinator_keys = vec!["tx".to_owned(), "ty".to_owned()];
            }
            let answer = client.call(version, &request);
            let told: Vec<_> = if version < 4 {
                vec![(answer.error_code, answer.node_id, answer.error_message)]
            } else {
                let of_one = |found: Coordinator| (found.error_code, found.node_id, found.error_message);
                answer.coordinators.into_iter().map(of_one).collect()
            };
            assert_eq!(told.len(), if version < 4 { 1 } else { 2 }, "version {version}");
            for (code, node_id, message) in told {
                assert_eq!((code, node_id.0), (ErrorCode::InvalidRequest, -1), "type {key_type}, version {version}");
                assert!(message.as_deref().is_some_and(|text| text.contains(reason)), "{message:?}");
            }
        }
    }
}

#[test]
fn the_oldest_clients_join_too() {
    let (_broker, mut client) = broker_with_topic();
    for version in [0, 1, 9] {
        let group = format!("g{version}");
        let mut joined = client.call(version, &join_request(&group, ""));
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MemberIdRequired);
            joined = client.call(version, &join_request(&group, &joined.member_id));
        }
        assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::None, GenerationId(1)), "version {version}");
        assert_eq!((joined.leader, joined.members.len()), (joined.member_id, 1), "version {version}");
    }
}

#[test]
fn members_and_offsets_are_there_after_a_restart() {
    let (broker, mut client) = broker_with_topic();
    let member = client.become_member("g");
    let mut commit = commit_request("g", "t", 42);
    commit.member_id.clone_from(&member);
    commit.generation_id_or_member_epoch = GenerationId(1);
    assert_eq!(client.call(8, &commit).topics[0].partitions[0].error_code, ErrorCode::None);
    drop(client);
    let broker = TestBroker::on(broker.stop(), QUICK);
    let mut client = broker.connect();
    assert_eq!(client.committed("g", "t"), 42);
    assert_eq!(heartbeat(&mut client, "g", &member, 1), ErrorCode::None);
    assert_eq!(client.call(8, &commit).topics[0].partitions[0].error_code, ErrorCode::None);
    commit.generation_id_or_member_epoch = GenerationId(0);
    assert_eq!(client.call(8, &commit).topics[0].partitions[0].error_code, ErrorCode::IllegalGeneration);
}

#[test]
fn groups_that_can_not_be_read_say_so_and_the_others_are_listed() {
    let broker = TestBroker::with(&[("offsets.topic.num.partitions", "2")]);
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    // hash codes 97 and 98
    for group in ["a", "b"] {
        for offset in 0..3 {
            assert_eq!(client.commit(group, "t", offset), ErrorCode::None);
        }
    }
    drop(client);
    let folder = broker.stop();
    damage_first_batch(&folder.path().join("data").join("topics"), "0001");
    let broker = TestBroker::on(folder, &[]);
    let mut client = broker.connect();
    assert_eq!(client.committed("b", "t"), 2);
    while client.commit("a", "t", 5) == ErrorCode::CoordinatorLoadInProgress {}
    assert_eq!(client.commit("a", "t", 5), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(client.call(3, &join_request("a", "")).error_code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(groups(&mut client), ["b"]);
}

/// Flips a byte of the first batch in the partition of that index, in every topic that has one.
fn damage_first_batch(topics: &std::path::Path, partition: &str) {
    for topic in std::fs::read_dir(topics).expect("the folder of topics").flatten() {
        let folder = topic.path().join(partition);
        for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "log") {
                let mut bytes = std::fs::read(file.path()).expect("the segment");
                bytes[70] ^= 0x55;
                std::fs::write(file.path(), bytes).expect("the segment is written");
            }
        }
    }
}

#[test]
fn a_groups_records_are_in_the_partition_in_which_kafka_has_them() {
    let broker = TestBroker::with(&[("offsets.topic.num.partitions", "7")]);
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    // hash codes -1738392088 and 97
    for group in ["consumer-group", "a"] {
        assert_eq!(client.commit(group, "t", 1), ErrorCode::None);
    }
    let partition = |index| ListOffsetsPartition {
        partition_index: PartitionIndex(index),
        timestamp: TimestampMs(-1),
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic { name: "__consumer_offsets".to_owned(), partitions: (0..7).map(partition).collect() };
    let answer = client.call(9, &ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() });
    let ends: Vec<i64> = answer.topics[0].partitions.iter().map(|partition| partition.offset.0).collect();
    assert_eq!(ends, [0, 0, 0, 0, 0, 0, 2], "both are 6 modulo 7");
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let broker = TestBroker::with(&[("group.max.size", "3"), ("offsets.topic.num.partitions", "3")]);
    let mut client = broker.connect();
    let mut join = || client.call(4, &join_request("g", "")).error_code;
    assert_eq!([join(), join(), join()], [ErrorCode::MemberIdRequired; 3], "ids that are given out count");
    assert_eq!(join(), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn ids_that_nobody_comes_back_with_do_not_fill_the_memory() {
    let (_broker, mut client) = broker_with_topic();
    let mut join = join_request("g", "");
    // the id that a static or named client gets begins with its name, here as long as a text may be
    join.group_instance_id = None;
    let name = "n".repeat(32_000);
    let refused = (0..3_000).find(|_| {
        client.send_as(4, &name, &join);
        let answer = client.receive::<kennet_protocol::messages::join_group::JoinGroupRequest>(4, client.last_sent());
        answer.error_code == ErrorCode::GroupMaxSizeReached
    });
    assert!(refused.is_some_and(|number| number > 100), "{refused:?}");
    client.assert_alive();
}

#[test]
fn a_members_metadata_is_bounded() {
    let (_broker, mut client) = broker_with_topic();
    let mut join = join_request("g", "");
    join.protocols[0].metadata = Bytes::from(vec![0; (1 << 20) + 1]);
    assert_eq!(client.call(3, &join).error_code, ErrorCode::InvalidRequest);
    assert!(groups(&mut client).is_empty(), "a join that is refused makes no group");
    join.protocols[0].metadata = Bytes::from(vec![0; 1 << 19]);
    assert_eq!(client.call(3, &join).error_code, ErrorCode::None);
}

#[test]
fn an_id_that_was_not_given_out_is_nobodys() {
    let (_broker, mut client) = broker_with_topic();
    let unknown = ErrorCode::UnknownMemberId;
    for version in [3, 9] {
        assert_eq!(client.call(version, &join_request("g", "forged")).error_code, unknown);
    }
    assert!(groups(&mut client).is_empty());
    let member = client.become_member("g");
    assert_eq!(client.call(3, &join_request("g", "forged")).error_code, unknown);
    assert_eq!(client.call(5, &sync_request("g", "forged", 1)).error_code, unknown);
    assert_eq!(heartbeat(&mut client, "g", "forged", 1), unknown);
    let leave =
        LeaveGroupRequest { group_id: "g".to_owned(), member_id: "forged".to_owned(), ..LeaveGroupRequest::default() };
    assert_eq!(client.call(2, &leave).error_code, unknown);
    let mut commit = commit_request("g", "t", 1);
    commit.member_id = "forged".to_owned();
    commit.generation_id_or_member_epoch = GenerationId(1);
    assert_eq!(client.call(8, &commit).topics[0].partitions[0].error_code, unknown);
    assert_eq!(heartbeat(&mut client, "g", &member, 1), ErrorCode::None, "the member did not notice");
}

#[test]
fn a_member_that_joins_again_and_again_leaves_nothing_behind() {
    let (_broker, mut client) = broker_with_topic();
    let member = client.become_member("g");
    for round in 2_u8..=200 {
        let mut join = join_request("g", &member);
        join.protocols[0].metadata = Bytes::copy_from_slice(&[round]);
        let joined = client.call(3, &join);
        assert_eq!((joined.error_code, joined.members.len()), (ErrorCode::None, 1));
        assert_eq!(joined.generation_id, GenerationId(i32::from(round)), "one generation for each change");
        let again = client.call(3, &join);
        assert_eq!(again.generation_id, joined.generation_id, "and none where nothing changes");
    }
    assert_eq!(groups(&mut client), ["g"]);
    let synced = client.call(5, &sync_request("g", &member, 200));
    assert_eq!(synced.error_code, ErrorCode::None);
}

#[test]
fn the_coordinators_topic_is_not_the_clients() {
    let (_broker, mut client) = broker_with_topic();
    assert_eq!(client.commit("g", "t", 5), ErrorCode::None);
    assert_eq!(client.delete_topic("__consumer_offsets"), ErrorCode::InvalidRequest);
    let topic = CreatePartitionsTopic { name: "__consumer_offsets".to_owned(), count: 60, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false };
    assert_eq!(client.call(3, &request).results[0].error_code, ErrorCode::InvalidTopicException);
    assert_eq!(client.committed("g", "t"), 5);
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
