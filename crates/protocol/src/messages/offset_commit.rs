//! OffsetCommit (API key 8): stores the positions of a group.
//!
//! v2 retention time | v3 throttle time | v5 no more retention time (KIP-211) | v6 leader epoch (KIP-320) | v7
//! static members (KIP-345) | v8 flexible | v9 new consumer groups (KIP-848).

use crate::{ErrorCode, GenerationId, LeaderEpoch, Message, Offset, PartitionIndex};

/// Stores a group's positions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = OffsetCommit)]
pub struct OffsetCommitRequest {
    pub group_id: String,
    /// The generation of a classic group; -1 commits from outside.
    #[kafka(default = GenerationId(-1))]
    pub generation_id_or_member_epoch: GenerationId,
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "7..", strict)]
    pub group_instance_id: Option<String>,
    /// How long to keep the offsets, in milliseconds; -1 for the broker's setting.
    #[kafka(versions = "..=4", default = -1)]
    pub retention_time_ms: i64,
    pub topics: Vec<OffsetCommitRequestTopic>,
}

/// One topic's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetCommitRequestTopic {
    pub name: String,
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

/// One partition's position.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetCommitRequestPartition {
    pub partition_index: PartitionIndex,
    /// The next offset to read; -1 when nothing was committed.
    pub committed_offset: Offset,
    /// The epoch of the record before it; -1 when unknown.
    #[kafka(versions = "6..", default = LeaderEpoch::NONE)]
    pub committed_leader_epoch: LeaderEpoch,
    /// Free text of the client.
    #[kafka(default = Some(String::new()))]
    pub committed_metadata: Option<String>,
}

/// What became of the positions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = OffsetCommit)]
pub struct OffsetCommitResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "3..")]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetCommitResponseTopic>,
}

/// What became of one topic's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetCommitResponseTopic {
    pub name: String,
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

/// What became of one position.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetCommitResponsePartition {
    pub partition_index: PartitionIndex,
    pub error_code: ErrorCode,
}
