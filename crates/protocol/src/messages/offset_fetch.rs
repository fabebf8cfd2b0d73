//! OffsetFetch (API key 9): the positions of groups.
//!
//! v2 all partitions of a group, top-level error (KIP-88) | v3 throttle time | v5 leader epoch (KIP-320) | v6
//! flexible | v7 stable offsets (KIP-447) | v8 many groups (KIP-709) | v9 new consumer groups (KIP-848).

use crate::{ErrorCode, LeaderEpoch, Message, Offset, PartitionIndex};

/// Asks for groups' positions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = OffsetFetch)]
pub struct OffsetFetchRequest {
    #[kafka(versions = "..=7", strict)]
    pub group_id: String,
    /// The partitions asked for; null for all of the group.
    #[kafka(versions = "..=7", nullable = "2..=7", default = Some(Vec::new()), strict)]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    /// The groups asked for (KIP-709).
    #[kafka(versions = "8..", strict)]
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Whether to wait for offsets of open transactions (KIP-447).
    #[kafka(versions = "7..", strict)]
    pub require_stable: bool,
}

/// One topic asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchRequestTopic {
    pub name: String,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// One group asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchRequestGroup {
    pub group_id: String,
    /// The member that asks, null outside of a new consumer group (KIP-848).
    #[kafka(versions = "9..")]
    pub member_id: Option<String>,
    /// The member's epoch in a new consumer group; -1 otherwise (KIP-848).
    #[kafka(versions = "9..", default = -1)]
    pub member_epoch: i32,
    /// The partitions asked for; null for all of the group.
    #[kafka(default = Some(Vec::new()))]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

/// One topic asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchRequestTopics {
    pub name: String,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// The positions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = OffsetFetch)]
pub struct OffsetFetchResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "3..")]
    pub throttle_time_ms: i32,
    #[kafka(versions = "..=7")]
    pub topics: Vec<OffsetFetchResponseTopic>,
    #[kafka(versions = "2..=7")]
    pub error_code: ErrorCode,
    /// By group (KIP-709).
    #[kafka(versions = "8..")]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

/// One topic's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchResponseTopic {
    pub name: String,
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

/// One partition's position.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchResponsePartition {
    pub partition_index: PartitionIndex,
    /// The next offset to read; -1 when nothing was committed.
    pub committed_offset: Offset,
    /// The epoch of the record before it; -1 when unknown.
    #[kafka(versions = "5..=7", default = LeaderEpoch::NONE)]
    pub committed_leader_epoch: LeaderEpoch,
    /// Free text of the client that committed.
    #[kafka(default = Some(String::new()))]
    pub metadata: Option<String>,
    pub error_code: ErrorCode,
}

/// One group's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchResponseGroup {
    pub group_id: String,
    pub topics: Vec<OffsetFetchResponseTopics>,
    pub error_code: ErrorCode,
}

/// One topic's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchResponseTopics {
    pub name: String,
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

/// One partition's position.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetFetchResponsePartitions {
    pub partition_index: PartitionIndex,
    /// The next offset to read; -1 when nothing was committed.
    pub committed_offset: Offset,
    /// The epoch of the record before it; -1 when unknown.
    #[kafka(default = LeaderEpoch::NONE)]
    pub committed_leader_epoch: LeaderEpoch,
    /// Free text of the client that committed.
    #[kafka(default = Some(String::new()))]
    pub metadata: Option<String>,
    pub error_code: ErrorCode,
}
