//! Produce (API key 0): appends record batches.
//!
//! v3 transactional id, batches of magic 2 (KIP-98) | v5 log start offset | v7 zstd (KIP-110) | v8 errors by record
//! (KIP-467) | v9 flexible | v10 current leader (KIP-951) | v11 transactions can say that they must abort (KIP-890)
//! | v12 a transaction's partitions are added by producing | v13 topic ids (KIP-516).
//!
//! Versions 0 to 2 are listed by ApiVersions and refused (KAFKA-18659).

use bytes::Bytes;

use crate::{BrokerId, ErrorCode, LeaderEpoch, Message, Offset, PartitionIndex, TimestampMs, Uuid};

/// Appends record batches to partitions.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = Produce)]
pub struct ProduceRequest {
    /// The producer's transactional id, null without transactions.
    pub transactional_id: Option<String>,
    /// 0: no answer; 1: the leader; -1: all in-sync replicas.
    pub acks: i16,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    /// What to append, by topic.
    pub topic_data: Vec<TopicProduceData>,
}

/// One topic's part of a produce request.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct TopicProduceData {
    #[kafka(versions = "..=12")]
    pub name: String,
    #[kafka(versions = "13..")]
    pub topic_id: Uuid,
    /// What to append, by partition.
    pub partition_data: Vec<PartitionProduceData>,
}

/// One partition's batch.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct PartitionProduceData {
    /// The partition.
    pub index: PartitionIndex,
    /// Record batches as they are stored.
    pub records: Option<Bytes>,
}

/// What became of the batches.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = Produce)]
pub struct ProduceResponse {
    /// By topic, in the request's order.
    pub responses: Vec<TopicProduceResponse>,
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// Addresses of the leaders named above (KIP-951).
    #[kafka(versions = "10..", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic's part of a produce response.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct TopicProduceResponse {
    #[kafka(versions = "..=12")]
    pub name: String,
    #[kafka(versions = "13..")]
    pub topic_id: Uuid,
    /// By partition.
    pub partition_responses: Vec<PartitionProduceResponse>,
}

/// What became of one partition's batch.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct PartitionProduceResponse {
    /// The partition.
    pub index: PartitionIndex,
    pub error_code: ErrorCode,
    /// The offset of the first record appended; -1 on an error.
    pub base_offset: Offset,
    /// When the broker appended, where the topic keeps that time; otherwise -1.
    #[kafka(default = TimestampMs::NONE)]
    pub log_append_time_ms: TimestampMs,
    /// The first offset that is still there; -1 when unknown.
    #[kafka(versions = "5..", default = Offset(-1))]
    pub log_start_offset: Offset,
    /// The records that made the broker refuse the batch (KIP-467).
    #[kafka(versions = "8..")]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// What went wrong, in words; null when nothing did.
    #[kafka(versions = "8..")]
    pub error_message: Option<String>,
    /// Who leads now, beside an error that says this broker does not (KIP-951).
    #[kafka(versions = "10..", tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
}

/// A record that made the broker refuse its batch.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct BatchIndexAndErrorMessage {
    /// The record, counted from the start of its batch.
    pub batch_index: i32,
    /// What is wrong with that record.
    pub batch_index_error_message: Option<String>,
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
