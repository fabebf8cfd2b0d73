//! DeleteRecords (API key 21): moves the start of partitions (KIP-107).
//!
//! v1 throttles after it answered | v2 flexible.

use crate::{ErrorCode, Message, Offset, PartitionIndex};

/// Deletes records from the start of partitions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DeleteRecords)]
pub struct DeleteRecordsRequest {
    pub topics: Vec<DeleteRecordsTopic>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
}

/// One topic's part.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeleteRecordsTopic {
    pub name: String,
    pub partitions: Vec<DeleteRecordsPartition>,
}

/// Where one partition shall start.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeleteRecordsPartition {
    pub partition_index: PartitionIndex,
    /// The first offset to keep; -1 deletes all up to the high watermark.
    pub offset: Offset,
}

/// Where the partitions start now.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DeleteRecords)]
pub struct DeleteRecordsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub topics: Vec<DeleteRecordsTopicResult>,
}

/// One topic's part.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeleteRecordsTopicResult {
    pub name: String,
    pub partitions: Vec<DeleteRecordsPartitionResult>,
}

/// Where one partition starts now.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeleteRecordsPartitionResult {
    pub partition_index: PartitionIndex,
    /// The first offset that is still there; -1 on an error.
    pub low_watermark: Offset,
    pub error_code: ErrorCode,
}
