//! Topics that are made because somebody asks for them: only by metadata, and only if both the client and the broker want it.

use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::records::{batch, produce_request};
use kennet_protocol::ErrorCode;
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};

/// The first version in which a client can say that it wants no topic made.
const CLIENT_CHOOSES: i16 = 4;

fn ask_for(client: &mut Client, version: i16, name: &str, allow_auto_topic_creation: bool) -> MetadataResponseTopic {
    let wanted = MetadataRequestTopic { name: Some(name.to_owned()), ..MetadataRequestTopic::default() };
    let request =
        MetadataRequest { topics: Some(vec![wanted]), allow_auto_topic_creation, ..MetadataRequest::default() };
    client.call(version, &request).topics.remove(0)
}

/// The names of all topics; asking for all of them makes none.
fn topics(client: &mut Client) -> Vec<String> {
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    client.call(12, &request).topics.into_iter().filter_map(|topic| topic.name).collect()
}

#[test]
fn a_topic_that_is_asked_for_is_made_if_both_client_and_broker_want_it() {
    let broker = TestBroker::with(&[("auto.create.topics.enable", "true"), ("num.partitions", "3")]);
    let mut client = broker.connect();
    for version in 0..=13 {
        if version >= CLIENT_CHOOSES {
            let name = format!("refused-{version}");
            let answer = ask_for(&mut client, version, &name, false);
            assert_eq!(answer.error_code, ErrorCode::UnknownTopicOrPartition, "version {version}");
            assert!(!topics(&mut client).contains(&name), "version {version}");
        }
        let name = format!("made-{version}");
        let answer = ask_for(&mut client, version, &name, true);
        assert_eq!((answer.error_code, answer.partitions.len()), (ErrorCode::None, 3), "version {version}");
        assert!(topics(&mut client).contains(&name), "version {version}");
        let again = ask_for(&mut client, version, &name, true);
        assert_eq!((again.error_code, again.topic_id), (ErrorCode::None, answer.topic_id), "version {version}");
    }
}

#[test]
fn a_broker_that_makes_no_topics_says_so_to_every_client() {
    let broker = TestBroker::with(&[("auto.create.topics.enable", "false")]);
    let mut client = broker.connect();
    for version in 0..=13 {
        for allowed in [false, true] {
            if version < CLIENT_CHOOSES && !allowed {
                continue;
            }
            let answer = ask_for(&mut client, version, "t", allowed);
            let found = (answer.error_code, answer.name.as_deref(), answer.partitions.len());
            assert_eq!(found, (ErrorCode::UnknownTopicOrPartition, Some("t"), 0), "version {version}, {allowed}");
        }
    }
    assert!(topics(&mut client).is_empty());
    // what admins ask for is made all the same
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    assert_eq!(ask_for(&mut client, 12, "t", false).error_code, ErrorCode::None);
}

#[test]
fn producing_fetching_and_looking_up_make_no_topic() {
    let broker = TestBroker::with(&[("auto.create.topics.enable", "true")]);
    let mut client = broker.connect();
    let answer = client.call(9, &produce_request("t", -1, Some(batch(&["a"]))));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(client.fetch("t", 0).error_code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(client.list_offset("t", -1).error_code, ErrorCode::UnknownTopicOrPartition);
    assert!(topics(&mut client).is_empty());
}
