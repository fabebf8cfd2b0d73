//! ListOffsets (API key 2): the offset at a timestamp, or one of the special positions.
//!
//! v1 one offset per partition | v2 isolation level (KIP-98) | v4 leader epoch (KIP-320) | v6 flexible | v7 max
//! timestamp (KIP-734) | v8 local log start (KIP-405) | v9 last tiered offset (KIP-1005) | v10 timeout for remote
//! lookups (KIP-1075).

use crate::{BrokerId, ErrorCode, LeaderEpoch, Message, Offset, PartitionIndex, TimestampMs};

/// Asks for offsets by time or by special position.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = ListOffsets)]
pub struct ListOffsetsRequest {
    /// The follower that asks; -1 for a client.
    pub replica_id: BrokerId,
    /// 0 reads everything up to the high watermark, 1 only what is committed (KIP-98).
    #[kafka(versions = "2..", strict)]
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    /// How long the broker may wait for a remote lookup, in milliseconds.
    #[kafka(versions = "10..")]
    pub timeout_ms: i32,
}

/// One topic asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ListOffsetsTopic {
    pub name: String,
    pub partitions: Vec<ListOffsetsPartition>,
}

/// One partition asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ListOffsetsPartition {
    pub partition_index: PartitionIndex,
    /// The epoch in which the client knows the leader; -1 skips the check (KIP-320).
    #[kafka(versions = "4..", default = LeaderEpoch::NONE)]
    pub current_leader_epoch: LeaderEpoch,
    /// Milliseconds since 1970, or one of the special positions.
    pub timestamp: TimestampMs,
}

/// The offsets.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = ListOffsets)]
pub struct ListOffsetsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "2..")]
    pub throttle_time_ms: i32,
    pub topics: Vec<ListOffsetsTopicResponse>,
}

/// One topic's offsets.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ListOffsetsTopicResponse {
    pub name: String,
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

/// One partition's offset.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ListOffsetsPartitionResponse {
    pub partition_index: PartitionIndex,
    pub error_code: ErrorCode,
    /// The timestamp of the record found; -1 for special positions.
    #[kafka(default = TimestampMs::NONE)]
    pub timestamp: TimestampMs,
    /// The offset found; -1 when there is none.
    #[kafka(default = Offset(-1))]
    pub offset: Offset,
    /// The leader's epoch; -1 when unknown.
    #[kafka(versions = "4..", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
}

/// Special positions in [`ListOffsetsPartition::timestamp`].
impl TimestampMs {
    /// The end of the log, as far as the reader may see it.
    pub const LATEST: Self = Self(-1);
    /// The first offset that is there, tiered or not.
    pub const EARLIEST: Self = Self(-2);
    /// The record with the largest timestamp (KIP-734).
    pub const MAX_TIMESTAMP: Self = Self(-3);
    /// The first offset on the broker's own disk (KIP-405).
    pub const EARLIEST_LOCAL: Self = Self(-4);
    /// The last offset that was tiered (KIP-1005).
    pub const LATEST_TIERED: Self = Self(-5);
}
