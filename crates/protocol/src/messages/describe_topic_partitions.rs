//! DescribeTopicPartitions (API key 75): topics and partitions, page by page (KIP-966).
//!
//! v0 is the only version and is flexible.

use crate::{BrokerId, ErrorCode, LeaderEpoch, Message, PartitionIndex, Uuid};

/// Asks for topics' partitions, page by page.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DescribeTopicPartitions)]
pub struct DescribeTopicPartitionsRequest {
    pub topics: Vec<TopicRequest>,
    /// The most partitions in the answer.
    #[kafka(default = 2000)]
    pub response_partition_limit: i32,
    /// Where the last answer ended; null starts.
    pub cursor: Option<Cursor>,
}

/// A topic asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct TopicRequest {
    pub name: String,
}

/// A place between two pages.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct Cursor {
    /// The topic to go on with.
    pub topic_name: String,
    pub partition_index: PartitionIndex,
}

/// One page.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DescribeTopicPartitions)]
pub struct DescribeTopicPartitionsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where this answer ended; null when it is complete.
    pub next_cursor: Option<Cursor>,
}

/// A topic, or why it is not described.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeTopicPartitionsResponseTopic {
    pub error_code: ErrorCode,
    /// The topic's name.
    #[kafka(default = Some(String::new()))]
    pub name: Option<String>,
    pub topic_id: Uuid,
    /// Whether the broker itself keeps this topic.
    pub is_internal: bool,
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    /// Bits of what the client may do with the topic; `i32::MIN` when it did not ask.
    #[kafka(default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

/// A partition, its leader and replicas.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeTopicPartitionsResponsePartition {
    pub error_code: ErrorCode,
    pub partition_index: PartitionIndex,
    /// The leading broker; -1 when there is none.
    pub leader_id: BrokerId,
    /// The leader's epoch; -1 when unknown.
    #[kafka(default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replica_nodes: Vec<BrokerId>,
    /// The replicas that are in sync.
    pub isr_nodes: Vec<BrokerId>,
    /// Replicas that may lead although they are not in sync (KIP-966).
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// The last of them that were known.
    pub last_known_elr: Option<Vec<BrokerId>>,
    /// The replicas that are on brokers which are down.
    pub offline_replicas: Vec<BrokerId>,
}
