//! A committed position in `__consumer_offsets`.
//!
//! v1 expiry | v2 no expiry | v3 leader epoch (KIP-320) | v4 flexible (KIP-915), topic id in a tag.

use crate::{LeaderEpoch, Message, Offset, PartitionIndex, TimestampMs, Uuid};

/// The key of a position.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0")]
pub struct OffsetCommitKey {
    pub group: String,
    pub topic: String,
    pub partition: PartitionIndex,
}

/// A position.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=4", flexible = "4..")]
pub struct OffsetCommitValue {
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the record before it; -1 when unknown.
    #[kafka(versions = "3..", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// Free text of the client.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp: TimestampMs,
    /// When it expires; -1 leaves that to the broker's setting.
    #[kafka(versions = "1", default = TimestampMs::NONE)]
    pub expire_timestamp: TimestampMs,
    /// The topic's id, all zeros when unknown.
    #[kafka(versions = "4..", tag = 0)]
    pub topic_id: Uuid,
}
