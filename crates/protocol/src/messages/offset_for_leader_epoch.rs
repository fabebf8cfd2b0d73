//! OffsetForLeaderEpoch (API key 23): where an epoch ends, so that a reader sees what was cut (KIP-101).
//!
//! v2 current leader epoch (KIP-320), throttle time | v3 replica id | v4 flexible.

use crate::{BrokerId, ErrorCode, LeaderEpoch, Message, Offset, PartitionIndex};

/// Asks where epochs end.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = OffsetForLeaderEpoch)]
pub struct OffsetForLeaderEpochRequest {
    /// The follower that asks; -1 for a consumer, -2 for a tool.
    #[kafka(versions = "3..", default = BrokerId(-2))]
    pub replica_id: BrokerId,
    pub topics: Vec<OffsetForLeaderTopic>,
}

/// One topic asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetForLeaderTopic {
    pub topic: String,
    pub partitions: Vec<OffsetForLeaderPartition>,
}

/// One partition asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetForLeaderPartition {
    pub partition: PartitionIndex,
    /// The epoch in which the client knows the leader; -1 skips the check (KIP-320).
    #[kafka(default = LeaderEpoch::NONE)]
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch whose end is wanted.
    pub leader_epoch: LeaderEpoch,
}

/// Where the epochs end.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = OffsetForLeaderEpoch)]
pub struct OffsetForLeaderEpochResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetForLeaderTopicResult>,
}

/// One topic's epochs.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetForLeaderTopicResult {
    pub topic: String,
    pub partitions: Vec<EpochEndOffset>,
}

/// Where an epoch ends.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct EpochEndOffset {
    pub error_code: ErrorCode,
    pub partition: PartitionIndex,
    /// The largest epoch up to the one asked for; -1 when there is none.
    #[kafka(default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// Where that epoch ends; -1 when unknown.
    #[kafka(default = Offset(-1))]
    pub end_offset: Offset,
}
