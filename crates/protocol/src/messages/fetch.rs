//! Fetch (API key 1): reads record batches, for clients and for followers.
//!
//! v4 isolation level, aborted transactions (KIP-98) | v5 log start offset | v7 sessions (KIP-227) | v9 leader
//! epoch (KIP-320) | v10 zstd (KIP-110) | v11 rack and preferred replica (KIP-392) | v12 flexible, divergence
//! (KIP-595) | v13 topic ids (KIP-516) | v15 replica state (KIP-903) | v16 addresses of leaders (KIP-951) | v17
//! directory id (KIP-853) | v18 the follower's high watermark (KIP-1166).

use crate::{BrokerId, ErrorCode, LeaderEpoch, Message, Offset, PartitionIndex, ProducerId, Records, Uuid};

/// Reads from partitions, within a session or without.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = Fetch)]
pub struct FetchRequest {
    /// The cluster's id, null when the sender does not know it.
    #[kafka(versions = "12..", tag = 0)]
    pub cluster_id: Option<String>,
    /// The follower that asks; -1 for a client.
    #[kafka(versions = "..=14", default = BrokerId::NONE, strict)]
    pub replica_id: BrokerId,
    /// The follower that asks (KIP-903).
    #[kafka(versions = "15..", tag = 1, strict)]
    pub replica_state: ReplicaState,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Answer as soon as there is this much.
    pub min_bytes: i32,
    /// The size at which the answer stops to grow; the first batch always fits.
    #[kafka(default = i32::MAX)]
    pub max_bytes: i32,
    /// 0 reads everything up to the high watermark, 1 only what is committed (KIP-98).
    pub isolation_level: i8,
    /// The fetch session; 0 for none (KIP-227).
    #[kafka(versions = "7..")]
    pub session_id: i32,
    /// Counts the requests of a session; 0 opens one, -1 ends it (KIP-227).
    #[kafka(versions = "7..", default = -1)]
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    /// What leaves the session (KIP-227).
    #[kafka(versions = "7..", strict)]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// Where the client stands (KIP-392).
    #[kafka(versions = "11..")]
    pub rack_id: String,
}

/// The follower that fetches.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ReplicaState {
    /// The follower that asks; -1 for a client.
    #[kafka(default = BrokerId::NONE)]
    pub replica_id: BrokerId,
    /// The registration of that follower; -1 for none.
    #[kafka(default = -1)]
    pub replica_epoch: i64,
}

/// One topic to read from.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct FetchTopic {
    /// The topic's name, before ids.
    #[kafka(versions = "..=12")]
    pub topic: String,
    #[kafka(versions = "13..")]
    pub topic_id: Uuid,
    pub partitions: Vec<FetchPartition>,
}

/// One partition to read from.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct FetchPartition {
    pub partition: PartitionIndex,
    /// The epoch in which the client knows the leader; -1 skips the check (KIP-320).
    #[kafka(versions = "9..", default = LeaderEpoch::NONE)]
    pub current_leader_epoch: LeaderEpoch,
    /// Where to read from.
    pub fetch_offset: Offset,
    /// The epoch of the last record that the reader has; -1 skips the check for divergence (KIP-595).
    #[kafka(versions = "12..", default = LeaderEpoch::NONE, strict)]
    pub last_fetched_epoch: LeaderEpoch,
    /// The first offset that is still there; -1 when unknown.
    #[kafka(versions = "5..", default = Offset(-1))]
    pub log_start_offset: Offset,
    /// The size at which this partition's part stops to grow.
    pub partition_max_bytes: i32,
    /// The follower's directory (KIP-853).
    #[kafka(versions = "17..", tag = 0)]
    pub replica_directory_id: Uuid,
    /// The end of what is replicated and may be read.
    #[kafka(versions = "18..", tag = 1, default = Offset(i64::MAX))]
    pub high_watermark: Offset,
}

/// Partitions that leave a session.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ForgottenTopic {
    /// The topic's name, before ids.
    #[kafka(versions = "7..=12")]
    pub topic: String,
    #[kafka(versions = "13..")]
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionIndex>,
}

/// What was read; within a session only what changed.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = Fetch)]
pub struct FetchResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    #[kafka(versions = "7..")]
    pub error_code: ErrorCode,
    /// The fetch session; 0 for none (KIP-227).
    #[kafka(versions = "7..")]
    pub session_id: i32,
    /// By topic, in the request's order.
    pub responses: Vec<FetchableTopicResponse>,
    /// Addresses of the leaders named above (KIP-951).
    #[kafka(versions = "16..", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What was read from one topic.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct FetchableTopicResponse {
    /// The topic's name, before ids.
    #[kafka(versions = "..=12")]
    pub topic: String,
    #[kafka(versions = "13..")]
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionData>,
}

/// What was read from one partition.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct PartitionData {
    pub partition_index: PartitionIndex,
    pub error_code: ErrorCode,
    /// The end of what is replicated and may be read.
    pub high_watermark: Offset,
    /// The end of what transactions have decided; -1 when unknown.
    #[kafka(default = Offset(-1))]
    pub last_stable_offset: Offset,
    /// The first offset that is still there; -1 when unknown.
    #[kafka(versions = "5..", default = Offset(-1))]
    pub log_start_offset: Offset,
    /// Where the reader's log leaves the leader's (KIP-595).
    #[kafka(versions = "12..", tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    /// Who leads now, beside an error that says this broker does not (KIP-951).
    #[kafka(versions = "12..", tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    /// A snapshot to fetch instead; metadata log only.
    #[kafka(versions = "12..", tag = 2)]
    pub snapshot_id: SnapshotId,
    /// Transactions whose records a reader of committed data drops.
    #[kafka(default = Some(Vec::new()))]
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica that the client should read from instead; -1 for none (KIP-392).
    #[kafka(versions = "11..", default = BrokerId::NONE)]
    pub preferred_read_replica: BrokerId,
    /// Record batches as they are stored.
    pub records: Option<Records>,
}

/// Where an epoch ends.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct EpochEndOffset {
    /// A leader epoch; -1 for none.
    #[kafka(default = LeaderEpoch::NONE)]
    pub epoch: LeaderEpoch,
    /// Where that epoch ends; -1 when unknown.
    #[kafka(default = Offset(-1))]
    pub end_offset: Offset,
}

/// A partition's leader and its epoch.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct LeaderIdAndEpoch {
    /// The leading broker; -1 when there is none.
    #[kafka(default = BrokerId::NONE)]
    pub leader_id: BrokerId,
    /// The leader's epoch; -1 when unknown.
    #[kafka(default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
}

/// A snapshot of the metadata log.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct SnapshotId {
    /// Where the snapshot ends; -1 for none.
    #[kafka(default = Offset(-1))]
    pub end_offset: Offset,
    /// A leader epoch; -1 for none.
    #[kafka(default = LeaderEpoch::NONE)]
    pub epoch: LeaderEpoch,
}

/// An aborted transaction in the range that was read.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct AbortedTransaction {
    /// The producer's id; -1 for none.
    pub producer_id: ProducerId,
    /// The first offset of the transaction.
    pub first_offset: Offset,
}

/// A broker's address.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: BrokerId,
    /// Name or address to connect to.
    pub host: String,
    /// TCP port to connect to.
    pub port: i32,
    /// Where the broker stands, null when it was not told.
    pub rack: Option<String>,
}
