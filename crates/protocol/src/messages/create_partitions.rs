//! CreatePartitions (API key 37): adds partitions to topics (KIP-195).
//!
//! v1 throttles after it answered | v2 flexible | v3 may be throttled by quota (KIP-599).

use crate::{BrokerId, ErrorCode, Message};

/// Adds partitions to topics.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = CreatePartitions)]
pub struct CreatePartitionsRequest {
    /// The topics that grow.
    pub topics: Vec<CreatePartitionsTopic>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// A topic that grows.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatePartitionsTopic {
    pub name: String,
    /// How many partitions the topic shall have in all.
    pub count: i32,
    /// Brokers for each new partition; null leaves it to the cluster.
    #[kafka(default = Some(Vec::new()))]
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

/// The brokers for one new partition.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatePartitionsAssignment {
    /// The replicas, the preferred leader first.
    pub broker_ids: Vec<BrokerId>,
}

/// What became of the topics.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = CreatePartitions)]
pub struct CreatePartitionsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What became of each.
    pub results: Vec<CreatePartitionsTopicResult>,
}

/// What became of one topic.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatePartitionsTopicResult {
    pub name: String,
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    pub error_message: Option<String>,
}
