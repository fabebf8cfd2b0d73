//! CreateTopics (API key 19): creates topics and answers what they are.
//!
//! v2 throttle time | v4 counts may be left to the broker (KIP-464) | v5 flexible, answers counts and settings
//! (KIP-525) | v6 may be throttled by quota (KIP-599) | v7 answers the topic's id (KIP-516).

use crate::{BrokerId, ErrorCode, Message, PartitionIndex, Uuid};

/// Creates topics.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = CreateTopics)]
pub struct CreateTopicsRequest {
    /// The topics to create.
    pub topics: Vec<CreatableTopic>,
    /// How long the broker may take, in milliseconds.
    #[kafka(default = 60_000)]
    pub timeout_ms: i32,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatableTopic {
    pub name: String,
    /// How many partitions; -1 for the broker's default.
    pub num_partitions: i32,
    /// How many replicas; -1 for the broker's default.
    pub replication_factor: i16,
    /// Which brokers hold which partition, instead of the two numbers; empty otherwise.
    pub assignments: Vec<CreatableReplicaAssignment>,
    /// Settings of the topic.
    pub configs: Vec<CreatableTopicConfig>,
}

/// The brokers for one partition.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatableReplicaAssignment {
    /// Partitions are numbered from 0 without gaps.
    pub partition_index: PartitionIndex,
    /// The replicas, the preferred leader first.
    pub broker_ids: Vec<BrokerId>,
}

/// A setting.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatableTopicConfig {
    pub name: String,
    /// The value, null for none.
    #[kafka(default = Some(String::new()))]
    pub value: Option<String>,
}

/// What became of each topic.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = CreateTopics)]
pub struct CreateTopicsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub topics: Vec<CreatableTopicResult>,
}

/// A created topic, or why it was not created.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatableTopicResult {
    pub name: String,
    #[kafka(versions = "7..")]
    pub topic_id: Uuid,
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(default = Some(String::new()))]
    pub error_message: Option<String>,
    /// Why the settings are not listed.
    #[kafka(versions = "5..", tag = 0)]
    pub topic_config_error_code: ErrorCode,
    /// How many partitions; -1 for the broker's default.
    #[kafka(versions = "5..", default = -1)]
    pub num_partitions: i32,
    /// How many replicas; -1 for the broker's default.
    #[kafka(versions = "5..", default = -1)]
    pub replication_factor: i16,
    /// The settings that the topic has now.
    #[kafka(versions = "5..", default = Some(Vec::new()))]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

/// A setting that the topic has now.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct CreatableTopicConfigs {
    pub name: String,
    /// The value, null for none.
    #[kafka(default = Some(String::new()))]
    pub value: Option<String>,
    /// Whether it can't be changed.
    pub read_only: bool,
    /// Where the value comes from (1 topic, 2 dynamic broker, 3 dynamic default, 4 file, 5 default, 6 logger).
    #[kafka(default = -1)]
    pub config_source: i8,
    /// Whether the value is hidden.
    pub is_sensitive: bool,
}
