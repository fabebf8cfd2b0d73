//! Metadata (API key 3): brokers, topics, partitions and their leaders.
//!
//! v1 null asks for all topics, rack, controller, internal topics | v2 cluster id | v3 throttle time | v4
//! auto-creation can be declined | v5 offline replicas | v7 leader epoch (KIP-320) | v8 authorized operations
//! (KIP-430) | v9 flexible | v10 topic ids in the answer | v11 no more authorized operations of the cluster
//! (KIP-700) | v12 asks by topic id (KIP-516) | v13 top-level error (KIP-1102).

use crate::{BrokerId, ErrorCode, LeaderEpoch, Message, PartitionIndex, Uuid};

/// Asks for brokers, topics and leaders.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = Metadata)]
pub struct MetadataRequest {
    /// The topics; null (in v0 an empty list) asks for all, an empty list for none.
    #[kafka(nullable = "1..", default = Some(Vec::new()))]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// Whether asking for a topic that is not there creates it, where the broker is configured so.
    #[kafka(versions = "4..", default = true, strict)]
    pub allow_auto_topic_creation: bool,
    /// Whether the answer says what the client may do with the cluster.
    #[kafka(versions = "8..=10", strict)]
    pub include_cluster_authorized_operations: bool,
    /// Whether the answer says what the client may do with each topic.
    #[kafka(versions = "8..", strict)]
    pub include_topic_authorized_operations: bool,
}

/// A topic, by name or by id.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MetadataRequestTopic {
    #[kafka(versions = "10..")]
    pub topic_id: Uuid,
    /// The name, null when asked for by id.
    #[kafka(nullable = "10..", default = Some(String::new()))]
    pub name: Option<String>,
}

/// The cluster as its clients see it.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = Metadata)]
pub struct MetadataResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "3..")]
    pub throttle_time_ms: i32,
    pub brokers: Vec<MetadataResponseBroker>,
    /// The cluster's id, null when the sender does not know it.
    #[kafka(versions = "2..")]
    pub cluster_id: Option<String>,
    /// A broker that takes admin requests; -1 when there is none.
    #[kafka(versions = "1..", default = BrokerId::NONE)]
    pub controller_id: BrokerId,
    pub topics: Vec<MetadataResponseTopic>,
    /// Bits of what the client may do with the cluster; `i32::MIN` when it did not ask.
    #[kafka(versions = "8..=10", default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    #[kafka(versions = "13..")]
    pub error_code: ErrorCode,
}

/// A broker that is up.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MetadataResponseBroker {
    /// The broker.
    pub node_id: BrokerId,
    /// Name or address to connect to.
    pub host: String,
    /// TCP port to connect to.
    pub port: i32,
    /// Where the broker stands, null when it was not told.
    #[kafka(versions = "1..")]
    pub rack: Option<String>,
}

/// A topic, or why it is not described.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MetadataResponseTopic {
    pub error_code: ErrorCode,
    /// The name, null when an id is not known.
    #[kafka(nullable = "12..", default = Some(String::new()))]
    pub name: Option<String>,
    #[kafka(versions = "10..")]
    pub topic_id: Uuid,
    /// Whether the broker itself keeps this topic.
    #[kafka(versions = "1..")]
    pub is_internal: bool,
    pub partitions: Vec<MetadataResponsePartition>,
    /// Bits of what the client may do with the topic; `i32::MIN` when it did not ask.
    #[kafka(versions = "8..", default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

/// A partition, its leader and replicas.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MetadataResponsePartition {
    pub error_code: ErrorCode,
    pub partition_index: PartitionIndex,
    /// The leading broker; -1 when there is none.
    pub leader_id: BrokerId,
    /// The leader's epoch; -1 when unknown.
    #[kafka(versions = "7..", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replica_nodes: Vec<BrokerId>,
    /// The replicas that are in sync.
    pub isr_nodes: Vec<BrokerId>,
    /// The replicas that are on brokers which are down.
    #[kafka(versions = "5..")]
    pub offline_replicas: Vec<BrokerId>,
}
