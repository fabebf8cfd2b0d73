//! DescribeTopicPartitions: topics page by page, in the order of their names (KIP-966).

use std::sync::Arc;

use kennet_metadata::{Image, Topic, is_internal};
use kennet_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use kennet_protocol::{ErrorCode, PartitionIndex, Uuid};

use crate::broker::{Broker, Session};
use crate::handler::{Seen, TOPIC_OPERATIONS};

/// `max.request.partition.size.limit` of Kafka.
const PARTITIONS_MAX: usize = 2_000;

pub(super) fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: DescribeTopicPartitionsRequest,
    _: i16,
) -> DescribeTopicPartitionsResponse {
    let image = broker.controller.image();
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let start = request.cursor.as_ref();
    let mut page = Page { topics: Vec::new(), left: limit, next: None };
    for name in names(&image, &request) {
        if start.is_some_and(|cursor| name < cursor.topic_name) {
            continue;
        }
        let resumed = start.filter(|cursor| cursor.topic_name == name);
        let from = resumed.map_or(0, |cursor| usize::try_from(cursor.partition_index.0).unwrap_or(0));
        if !page.add(broker, image.topic(&name).map(AsRef::as_ref), &name, from) {
            break;
        }
    }
    DescribeTopicPartitionsResponse { throttle_time_ms: 0, topics: page.topics, next_cursor: page.next }
}

/// The topics that are asked for, or all, sorted and each once.
fn names(image: &Image, request: &DescribeTopicPartitionsRequest) -> Vec<String> {
    let mut names: Vec<String> = if request.topics.is_empty() {
        image.topics().map(|topic| topic.name.to_string()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.clone()).collect()
    };
    names.sort_unstable();
    names.dedup();
    names
}

struct Page {
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    left: usize,
    next: Option<Cursor>,
}

impl Page {
    /// Adds a topic's partitions from `from` on; false when the page is full.
    fn add(&mut self, broker: &Broker, topic: Option<&Topic>, name: &str, from: usize) -> bool {
        let Some(topic) = topic else {
            self.topics.push(unknown(name));
            return true;
        };
        let rest = topic.partitions.len().saturating_sub(from);
        if self.left == 0 && rest > 0 {
            self.next = Some(cursor(name, from));
            return false;
        }
        let taken = rest.min(self.left);
        self.left -= taken;
        let describe = |(index, partition)| describe(broker, topic, index, partition);
        let partitions = (0..).zip(&topic.partitions).skip(from).take(taken).map(describe).collect();
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None,
            name: Some(name.to_owned()),
            topic_id: topic.id,
            is_internal: is_internal(name),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
        });
        if taken < rest {
            self.next = Some(cursor(name, from + taken));
        }
        taken == rest
    }
}

fn cursor(topic: &str, partition: usize) -> Cursor {
    Cursor {
        topic_name: topic.to_owned(),
        partition_index: PartitionIndex(i32::try_from(partition).unwrap_or(i32::MAX)),
    }
}

fn describe(
    broker: &Broker,
    topic: &Topic,
    index: i32,
    partition: &kennet_metadata::Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let seen = Seen::of(broker, topic, index, partition);
    DescribeTopicPartitionsResponsePartition {
        error_code: seen.error_code,
        partition_index: PartitionIndex(index),
        leader_id: seen.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: seen.offline_replicas,
    }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let legal = kennet_metadata::check_topic_name(name).is_ok();
    DescribeTopicPartitionsResponseTopic {
        error_code: if legal { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException },
        name: Some(name.to_owned()),
        topic_id: Uuid::nil(),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
