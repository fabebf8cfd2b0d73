//! What clients are told of a partition whose files are damaged: it has no leader and answers nothing, as with Kafka's offline log directory.

use std::path::{Path, PathBuf};

use crate::limits::ask;
use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::records::{batch, fetch_request};
use kennet_protocol::messages::describe_topic_partitions::{DescribeTopicPartitionsRequest, TopicRequest};
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kennet_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex};

/// A broker with the topics "damaged" and "sound"; the first has a flipped bit on its disk, which a fetch has seen.
fn broker_with_damage() -> (TestBroker, Client) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("damaged", 1, &[]);
    assert_eq!(client.produce("damaged", batch(&["a", "b"])).error_code, ErrorCode::None);
    let folder = broker.stop();
    let segments = segments(&folder.path().join("data"));
    let segment = segments.iter().find(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0));
    let segment = segment.expect("a segment with records");
    let mut bytes = std::fs::read(segment).expect("the segment is read");
    bytes[70] ^= 4;
    std::fs::write(segment, bytes).expect("the segment is written");
    let broker = TestBroker::on(folder, &[]);
    let mut client = broker.connect();
    client.create_topic("sound", 1, &[]);
    assert_eq!(client.fetch("damaged", 0).error_code, ErrorCode::KafkaStorageError);
    (broker, client)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a directory is read") {
        let path = entry.expect("an entry is read").path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "log")
            && path.to_string_lossy().contains("0000000000")
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn metadata_shows_no_leader_and_an_offline_replica() {
    let (_broker, mut client) = broker_with_damage();
    let mut seen = |name: &str| {
        let wanted = MetadataRequestTopic { name: Some(name.to_owned()), ..MetadataRequestTopic::default() };
        let request = MetadataRequest { topics: Some(vec![wanted]), ..MetadataRequest::default() };
        let topic = client.call(12, &request).topics.remove(0);
        assert_eq!(topic.error_code, ErrorCode::None);
        let partition = topic.partitions[0].clone();
        (partition.error_code, partition.leader_id, partition.offline_replicas, partition.replica_nodes)
    };
    let this = vec![BrokerId(0)];
    assert_eq!(seen("damaged"), (ErrorCode::LeaderNotAvailable, BrokerId(-1), this.clone(), this.clone()));
    assert_eq!(seen("sound"), (ErrorCode::None, BrokerId(0), Vec::new(), this));
}

#[test]
fn describe_topic_partitions_shows_the_same() {
    let (_broker, mut client) = broker_with_damage();
    let topics = ["damaged", "sound"].map(|name| TopicRequest { name: name.to_owned() }).to_vec();
    let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, cursor: None };
    let answer = client.call(0, &request);
    let partition = |at: usize| answer.topics[at].partitions[0].clone();
    assert_eq!(partition(0).error_code, ErrorCode::LeaderNotAvailable);
    assert_eq!((partition(0).leader_id, partition(0).offline_replicas), (BrokerId(-1), vec![BrokerId(0)]));
    assert_eq!((partition(1).leader_id, partition(1).offline_replicas), (BrokerId(0), Vec::new()));
}

#[test]
fn the_end_of_an_epoch_is_not_answered() {
    let (_broker, mut client) = broker_with_damage();
    let mut end = |name: &str| {
        let partition = OffsetForLeaderPartition {
            partition: PartitionIndex(0),
            current_leader_epoch: LeaderEpoch(-1),
            leader_epoch: LeaderEpoch(0),
        };
        let topic = OffsetForLeaderTopic { topic: name.to_owned(), partitions: vec![partition] };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..OffsetForLeaderEpochRequest::default() };
        let answer = client.call(4, &request).topics.remove(0).partitions.remove(0);
        (answer.error_code, answer.end_offset.0)
    };
    assert_eq!(end("damaged"), (ErrorCode::KafkaStorageError, -1));
    assert_eq!(end("sound"), (ErrorCode::None, 0));
    // nor is a consumer that read beyond it sent back
    for (name, expected) in [("damaged", (ErrorCode::KafkaStorageError, -1)), ("sound", (ErrorCode::None, 0))] {
        let mut request = fetch_request(name, 9);
        request.topics[0].partitions[0].last_fetched_epoch = LeaderEpoch(0);
        let found = client.call(12, &request).responses.remove(0).partitions.remove(0);
        assert_eq!((found.error_code, found.diverging_epoch.end_offset.0), expected, "{name}");
    }
}

#[test]
fn a_broker_whose_journal_can_not_be_read_is_not_ready_and_takes_nothing() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", batch(&["a"])).error_code, ErrorCode::None);
    let folder = broker.stop();
    std::fs::remove_dir_all(folder.path().join("data/journal")).expect("the journal was there");
    let broker = TestBroker::on(folder, &[]);
    let answer = ask(broker.control_ports().0, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("Failed\n"), "{answer}");
    assert_eq!(broker.connect().produce("t", batch(&["b"])).error_code, ErrorCode::KafkaStorageError);
}
