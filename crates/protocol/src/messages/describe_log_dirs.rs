//! DescribeLogDirs (API key 35): what a broker's data directories hold (KIP-113).
//!
//! v2 flexible | v3 top-level error | v4 size of the volume and what is free (KIP-827).

use crate::{ErrorCode, Message, PartitionIndex};

/// Asks what data directories hold.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DescribeLogDirs)]
pub struct DescribeLogDirsRequest {
    /// What to describe; null for everything.
    #[kafka(default = Some(Vec::new()))]
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

/// One topic asked for.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribableLogDirTopic {
    pub topic: String,
    pub partitions: Vec<PartitionIndex>,
}

/// The directories.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DescribeLogDirs)]
pub struct DescribeLogDirsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    #[kafka(versions = "3..")]
    pub error_code: ErrorCode,
    /// What became of each.
    pub results: Vec<DescribeLogDirsResult>,
}

/// A directory.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeLogDirsResult {
    pub error_code: ErrorCode,
    /// The directory's path.
    pub log_dir: String,
    pub topics: Vec<DescribeLogDirsTopic>,
    /// The size of the volume; -1 when unknown.
    #[kafka(versions = "4..", default = -1)]
    pub total_bytes: i64,
    /// What is free on it; -1 when unknown.
    #[kafka(versions = "4..", default = -1)]
    pub usable_bytes: i64,
}

/// One topic in a directory.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeLogDirsTopic {
    pub name: String,
    pub partitions: Vec<DescribeLogDirsPartition>,
}

/// One partition in a directory.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeLogDirsPartition {
    pub partition_index: PartitionIndex,
    /// Bytes of the partition's log.
    pub partition_size: i64,
    /// How far a future replica is behind.
    pub offset_lag: i64,
    /// Whether this is a copy on its way to another directory.
    pub is_future_key: bool,
}
