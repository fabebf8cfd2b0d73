//! OffsetDelete (API key 47): forgets positions of a group (KIP-496).
//!
//! v0 is the only version and is not flexible.

use crate::{ErrorCode, Message, PartitionIndex};

/// Forgets a group's positions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = OffsetDelete)]
pub struct OffsetDeleteRequest {
    pub group_id: String,
    pub topics: Vec<OffsetDeleteRequestTopic>,
}

/// One topic's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetDeleteRequestTopic {
    pub name: String,
    pub partitions: Vec<OffsetDeleteRequestPartition>,
}

/// One partition's position.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetDeleteRequestPartition {
    pub partition_index: PartitionIndex,
}

/// What became of the positions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = OffsetDelete)]
pub struct OffsetDeleteResponse {
    pub error_code: ErrorCode,
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetDeleteResponseTopic>,
}

/// What became of one topic's positions.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetDeleteResponseTopic {
    pub name: String,
    pub partitions: Vec<OffsetDeleteResponsePartition>,
}

/// What became of one position.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OffsetDeleteResponsePartition {
    pub partition_index: PartitionIndex,
    pub error_code: ErrorCode,
}
