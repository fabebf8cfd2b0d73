//! What descriptions say: every partition on one page and no other, and what a client may do, if it asks.

use crate::support::TestBroker;
use crate::support::client::Client;
use kennet_protocol::messages::describe_cluster::DescribeClusterRequest;
use kennet_protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use kennet_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponseTopic,
    TopicRequest,
};
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use kennet_protocol::{ErrorCode, PartitionIndex};

/// Topics and how many partitions they have, in the order of their names.
const TOPICS: [(&str, i32); 4] = [("a", 3), ("b", 1), ("c", 5), ("d", 2)];

/// What Kafka without an authorizer answers: its numbers of operations are bits.
const TOPIC_OPERATIONS: i32 = bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
const GROUP_OPERATIONS: i32 = bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
const CLUSTER_OPERATIONS: i32 =
    bits(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);

const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

const fn bits(operations: &[u32]) -> i32 {
    let (mut bits, mut at) = (0, 0);
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

fn broker_with_topics() -> (TestBroker, Client) {
    let broker = TestBroker::with(&[("offsets.topic.num.partitions", "1"), ("group.initial.rebalance.delay.ms", "0")]);
    let mut client = broker.connect();
    for (name, partitions) in TOPICS {
        assert_eq!(client.create_topic(name, partitions, &[]).error_code, ErrorCode::None);
    }
    (broker, client)
}

fn all_partitions() -> Vec<(String, i32)> {
    TOPICS.iter().flat_map(|(name, count)| (0..*count).map(|index| ((*name).to_owned(), index))).collect()
}

fn page(
    client: &mut Client,
    names: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let cursor =
        cursor.map(|(topic, index)| Cursor { topic_name: topic.to_owned(), partition_index: PartitionIndex(index) });
    let topics = names.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect();
    client.call(0, &DescribeTopicPartitionsRequest { topics, response_partition_limit: limit, cursor })
}

fn partitions_of(page: &DescribeTopicPartitionsResponse) -> Vec<(String, i32)> {
    let of_topic = |topic: &DescribeTopicPartitionsResponseTopic| {
        let name = topic.name.clone().expect("a name");
        assert_eq!(topic.error_code, ErrorCode::None, "{name}");
        topic.partitions.iter().map(move |found| (name.clone(), found.partition_index.0)).collect::<Vec<_>>()
    };
    page.topics.iter().flat_map(of_topic).collect()
}

/// Follows the cursors to the end; no page is longer than the limit, and none but the last is shorter.
fn pages(client: &mut Client, names: &[&str], limit: i32) -> Vec<(String, i32)> {
    let mut found = Vec::new();
    let mut at: Option<(String, i32)> = None;
    loop {
        let answer = page(client, names, limit, at.as_ref().map(|(topic, index)| (topic.as_str(), *index)));
        let here = partitions_of(&answer);
        let full = usize::try_from(limit.max(1)).expect("a small limit");
        assert!(here.len() <= full, "{} partitions on a page of {limit}", here.len());
        found.extend(here.iter().cloned());
        let Some(next) = answer.next_cursor else { return found };
        assert_eq!(here.len(), full, "a page that is not the last one is full");
        at = Some((next.topic_name, next.partition_index.0));
    }
}

#[test]
fn pages_of_any_length_have_every_partition_once_and_in_order() {
    let (_broker, mut client) = broker_with_topics();
    let names: Vec<_> = TOPICS.iter().rev().map(|(name, _)| *name).collect();
    for limit in [i32::MIN, -1, 0, 1, 2, 3, 4, 5, 9, 10, 11, 12, i32::MAX] {
        assert_eq!(pages(&mut client, &[], limit), all_partitions(), "all topics by {limit}");
        assert_eq!(pages(&mut client, &names, limit), all_partitions(), "named topics by {limit}");
    }
    let twice: Vec<_> = names.iter().chain(&names).copied().collect();
    assert_eq!(pages(&mut client, &twice, 4), all_partitions(), "a topic that is named twice");
}

#[test]
fn a_cursor_whose_topic_is_gone_goes_on_behind_it() {
    let (_broker, mut client) = broker_with_topics();
    let first = page(&mut client, &[], 6, None);
    let next = first.next_cursor.expect("there is more");
    assert_eq!((next.topic_name.as_str(), next.partition_index.0), ("c", 2));
    assert_eq!(client.delete_topic("c"), ErrorCode::None);
    let rest = page(&mut client, &[], 6, Some(("c", 2)));
    assert_eq!(partitions_of(&rest), [("d".to_owned(), 0), ("d".to_owned(), 1)]);
    assert_eq!(rest.next_cursor, None);
    // who named it learns that it is gone
    let rest = page(&mut client, &["a", "c", "d"], 6, Some(("c", 2)));
    let told: Vec<_> = rest.topics.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect();
    assert_eq!(told, [(Some("c"), ErrorCode::UnknownTopicOrPartition), (Some("d"), ErrorCode::None)]);
    assert_eq!(rest.topics[1].partitions.len(), 2, "the cursor's partition is that of its topic only");
}

#[test]
fn a_cursor_beyond_everything_is_the_end() {
    let (_broker, mut client) = broker_with_topics();
    for cursor in [("d", 2), ("d", i32::MAX), ("e", 0), ("\u{10ffff}", 0)] {
        let answer = page(&mut client, &[], 6, Some(cursor));
        assert!(partitions_of(&answer).is_empty(), "{cursor:?}");
        assert_eq!(answer.next_cursor, None, "{cursor:?}");
    }
    // a topic that has fewer partitions than the cursor says
    assert_eq!(partitions_of(&page(&mut client, &[], 1, Some(("a", 7)))), [("b".to_owned(), 0)]);
}

fn metadata(client: &mut Client, version: i16, topic: &str, (of_topics, of_cluster): (bool, bool)) -> MetadataResponse {
    let wanted = MetadataRequestTopic { name: Some(topic.to_owned()), ..MetadataRequestTopic::default() };
    let request = MetadataRequest {
        topics: Some(vec![wanted]),
        allow_auto_topic_creation: false,
        include_topic_authorized_operations: of_topics,
        include_cluster_authorized_operations: of_cluster,
    };
    client.call(version, &request)
}

#[test]
fn metadata_says_what_a_client_may_do_with_topics_and_cluster_if_it_asks() {
    let (_broker, mut client) = broker_with_topics();
    for (version, asked, expected) in [
        (8, (false, false), (i32::MIN, i32::MIN)),
        (8, (true, false), (TOPIC_OPERATIONS, i32::MIN)),
        (8, (false, true), (i32::MIN, CLUSTER_OPERATIONS)),
        (10, (true, true), (TOPIC_OPERATIONS, CLUSTER_OPERATIONS)),
        // the cluster's are DescribeCluster's from version 11 on
        (12, (true, false), (TOPIC_OPERATIONS, i32::MIN)),
        (13, (false, false), (i32::MIN, i32::MIN)),
    ] {
        let answer = metadata(&mut client, version, "a", asked);
        let found = (answer.topics[0].topic_authorized_operations, answer.cluster_authorized_operations);
        assert_eq!(found, expected, "version {version}, asked for {asked:?}");
    }
    // a topic that is not there is as any other of its name
    let answer = metadata(&mut client, 12, "nowhere", (true, false));
    let found = (answer.topics[0].error_code, answer.topics[0].topic_authorized_operations);
    assert_eq!(found, (ErrorCode::UnknownTopicOrPartition, TOPIC_OPERATIONS));
}

#[test]
fn pages_say_what_a_client_may_do_with_their_topics_without_being_asked() {
    let (_broker, mut client) = broker_with_topics();
    let answer = page(&mut client, &["a", "nowhere"], 10, None);
    let found: Vec<_> =
        answer.topics.iter().map(|topic| (topic.error_code, topic.topic_authorized_operations)).collect();
    assert_eq!(found, [(ErrorCode::None, TOPIC_OPERATIONS), (ErrorCode::UnknownTopicOrPartition, TOPIC_OPERATIONS)]);
}

#[test]
fn the_clusters_description_says_what_a_client_may_do_if_it_asks() {
    let (_broker, mut client) = broker_with_topics();
    for version in 0..=2 {
        for (asked, expected) in [(false, i32::MIN), (true, CLUSTER_OPERATIONS)] {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: asked,
                ..DescribeClusterRequest::default()
            };
            assert_eq!(client.call(version, &request).cluster_authorized_operations, expected, "version {version}");
        }
    }
    // controllers are not here, and what could be done with them is not said
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        endpoint_type: 2,
        ..DescribeClusterRequest::default()
    };
    let answer = client.call(1, &request);
    assert_eq!(
        (answer.error_code, answer.cluster_authorized_operations),
        (ErrorCode::MismatchedEndpointType, i32::MIN)
    );
}

/// A group's description, once the coordinator is loaded.
fn describe_group(client: &mut Client, version: i16, group_id: &str, asked: bool) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![group_id.to_owned()], include_authorized_operations: asked };
    loop {
        let group = client.call(version, &request).groups.remove(0);
        if group.error_code != ErrorCode::CoordinatorLoadInProgress {
            return group;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_groups_description_says_what_a_client_may_do_if_it_asks() {
    let (_broker, mut client) = broker_with_topics();
    client.become_member("g");
    for version in 3..=6 {
        for (asked, expected) in [(false, i32::MIN), (true, GROUP_OPERATIONS)] {
            let group = describe_group(&mut client, version, "g", asked);
            let found = (group.error_code, group.group_state.as_str(), group.authorized_operations);
            assert_eq!(found, (ErrorCode::None, "Stable", expected), "version {version}");
        }
    }
    // one that is not there is a dead group until version 6, and an error then, of which nothing more is said
    for (version, code, expected) in [(5, ErrorCode::None, GROUP_OPERATIONS), (6, ErrorCode::GroupIdNotFound, i32::MIN)]
    {
        let group = describe_group(&mut client, version, "nobody", true);
        let found = (group.error_code, group.group_state.as_str(), group.authorized_operations);
        assert_eq!(found, (code, "Dead", expected), "version {version}");
    }
}
