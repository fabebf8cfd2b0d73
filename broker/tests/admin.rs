//! What admin clients count on in corner cases: configs, deletions, entries that come twice in one request.

use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::records::{batch, produce_request, values};
use kennet_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use kennet_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use kennet_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kennet_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use kennet_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use kennet_protocol::messages::incremental_alter_configs::{self, IncrementalAlterConfigsRequest};
use kennet_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kennet_protocol::{ErrorCode, Offset, PartitionIndex, TimestampMs, Uuid};

fn broker_with_topic(configs: &[(&str, &str)]) -> (TestBroker, Client) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, configs).error_code, ErrorCode::None);
    (broker, client)
}

/// Configs of a topic (2) or a broker (4).
fn configs(
    client: &mut Client,
    resource_type: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
    };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: false };
    let mut result = client.call(4, &request).results.remove(0);
    assert_eq!(result.error_code, ErrorCode::None, "{:?}", result.error_message);
    std::mem::take(&mut result.configs)
}

#[test]
fn no_config_keys_and_an_empty_list_of_them_both_mean_all() {
    let (_broker, mut client) = broker_with_topic(&[]);
    for (resource_type, name) in [(2, "t"), (4, "0")] {
        let all = configs(&mut client, resource_type, name, None);
        assert!(all.len() > 20);
        assert_eq!(configs(&mut client, resource_type, name, Some(&[])), all);
    }
    assert_eq!(configs(&mut client, 2, "t", Some(&["retention.ms"])).len(), 1);
}

#[test]
fn a_brokers_configs_say_who_and_where_it_is() {
    let (broker, mut client) = broker_with_topic(&[]);
    let all = configs(&mut client, 4, "0", None);
    let address = format!("PLAIN://127.0.0.1:{}", broker.address.port());
    let directory = broker.data().display().to_string();
    for (name, value) in [
        ("broker.id", "0"),
        ("node.id", "0"),
        ("log.dirs", directory.as_str()),
        ("listeners", address.as_str()),
        ("advertised.listeners", address.as_str()),
        ("process.roles", "broker,controller"),
    ] {
        let found = all.iter().find(|config| config.name == name).expect(name);
        assert_eq!((found.value.as_deref(), found.read_only), (Some(value), true), "{name}");
    }
    assert!(configs(&mut client, 4, "", None).is_empty(), "nothing was set for all brokers");
}

#[test]
fn acks_1_does_not_time_out() {
    let (_broker, mut client) = broker_with_topic(&[]);
    for number in 0..20 {
        let mut request = produce_request("t", 1, Some(batch(&["a"])));
        request.timeout_ms = 0;
        let answer = client.call(9, &request).responses.remove(0).partition_responses.remove(0);
        assert_eq!((answer.error_code, answer.base_offset.0), (ErrorCode::None, number));
    }
}

#[test]
fn records_of_a_topic_that_is_only_compacted_can_not_be_deleted() {
    for (policy, expected) in
        [("compact", ErrorCode::PolicyViolation), ("compact,delete", ErrorCode::None), ("delete", ErrorCode::None)]
    {
        let (_broker, mut client) = broker_with_topic(&[("cleanup.policy", policy)]);
        client.produce("t", batch(&["a"]));
        let partition = DeleteRecordsPartition { partition_index: PartitionIndex(0), offset: Offset(-1) };
        let topic = DeleteRecordsTopic { name: "t".to_owned(), partitions: vec![partition] };
        let answer = client.call(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000 });
        assert_eq!(answer.topics[0].partitions[0].error_code, expected, "{policy}");
    }
}

#[test]
fn of_a_partition_that_is_produced_to_twice_in_one_request_the_last_entry_counts() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let mut request = produce_request("t", -1, Some(batch(&["first"])));
    request.topic_data.extend(produce_request("t", -1, Some(batch(&["second"]))).topic_data);
    let last = produce_request("t", -1, Some(batch(&["last"]))).topic_data.remove(0).partition_data;
    request.topic_data[1].partition_data.extend(last);
    let answer = client.call(9, &request);
    assert_eq!((answer.responses.len(), answer.responses[0].partition_responses.len()), (1, 1));
    assert_eq!(values(client.fetch("t", 0)), [(0, "last".to_owned())]);
}

#[test]
fn a_partition_that_is_looked_up_twice_in_one_request_is_refused() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.create_topic("u", 1, &[]);
    let topic = |name: &str| ListOffsetsTopic {
        name: name.to_owned(),
        partitions: vec![ListOffsetsPartition { timestamp: TimestampMs(-1), ..ListOffsetsPartition::default() }],
    };
    let topics = vec![topic("t"), topic("u"), topic("t")];
    let answer = client.call(9, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() });
    let codes: Vec<_> = answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest, ErrorCode::None, ErrorCode::InvalidRequest]);
}

#[test]
fn a_topic_that_is_deleted_twice_in_one_request_is_answered_once_and_stays() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.create_topic("u", 1, &[]);
    let named = |name: &str| DeleteTopicState { name: Some(name.to_owned()), topic_id: Uuid::nil() };
    let topics = vec![named("t"), named("u"), named("t")];
    let answer = client.call(6, &DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() });
    let codes: Vec<_> = answer.responses.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect();
    assert_eq!(codes, [(Some("t"), ErrorCode::InvalidRequest), (Some("u"), ErrorCode::None)]);
    assert_eq!(client.list_offset("t", -1).error_code, ErrorCode::None);
    assert_eq!(client.list_offset("u", -1).error_code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn what_is_to_be_made_or_changed_twice_in_one_request_is_answered_once_and_stays_as_it_is() {
    let (_broker, mut client) = broker_with_topic(&[]);
    let topic = |name: &str| CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let topics = vec![topic("a"), topic("b"), topic("a")];
    let answer = client.call(7, &CreateTopicsRequest { topics, ..CreateTopicsRequest::default() });
    let codes: Vec<_> = answer.topics.iter().map(|topic| (topic.name.as_str(), topic.error_code)).collect();
    assert_eq!(codes, [("a", ErrorCode::InvalidRequest), ("b", ErrorCode::None)]);

    let grow = |count| CreatePartitionsTopic { name: "t".to_owned(), count, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![grow(2), grow(3)], timeout_ms: 1_000, validate_only: false };
    let answer = client.call(3, &request);
    assert_eq!((answer.results.len(), answer.results[0].error_code), (1, ErrorCode::InvalidRequest));
    assert_eq!(client.list_offset("t", -1).error_code, ErrorCode::None);

    let set = |value: &str| incremental_alter_configs::AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".to_owned(),
        configs: vec![incremental_alter_configs::AlterableConfig {
            name: "retention.ms".to_owned(),
            config_operation: 0,
            value: Some(value.to_owned()),
        }],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![set("1000"), set("2000")], validate_only: false };
    let answer = client.call(1, &request);
    assert_eq!((answer.responses.len(), answer.responses[0].error_code), (1, ErrorCode::InvalidRequest));
    let found = configs(&mut client, 2, "t", Some(&["retention.ms"]));
    assert_eq!(found[0].value.as_deref(), Some("604800000"));
}

#[test]
fn more_replicas_than_brokers_and_assignments_to_nobody_are_refused() {
    let (_broker, mut client) = broker_with_topic(&[]);
    for replication_factor in [2, 0, -2, i16::MAX] {
        let topic =
            CreatableTopic { name: "x".to_owned(), num_partitions: 1, replication_factor, ..CreatableTopic::default() };
        let answer = client.call(7, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
        assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidReplicationFactor, "{replication_factor}");
    }
    let assignments = vec![CreatableReplicaAssignment {
        partition_index: PartitionIndex(0),
        broker_ids: vec![kennet_protocol::BrokerId(7)],
    }];
    let topic = CreatableTopic {
        name: "x".to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        assignments,
        ..CreatableTopic::default()
    };
    let answer = client.call(7, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
    assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidReplicaAssignment);
}
