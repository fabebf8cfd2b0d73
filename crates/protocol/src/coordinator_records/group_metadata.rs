//! A group in `__consumer_offsets`: members and their assignment after each rebalance.
//!
//! v1 rebalance timeout | v2 time of the last change of state | v3 static members (KIP-345) | v4 flexible
//! (KIP-915).

use bytes::Bytes;

use crate::{GenerationId, Message, TimestampMs};

/// The key of a group's record.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0")]
pub struct GroupMetadataKey {
    pub group: String,
}

/// A group, as it was at the end of its last rebalance.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=4", flexible = "4..")]
pub struct GroupMetadataValue {
    /// What the group's members speak with each other, `consumer` for consumers.
    pub protocol_type: String,
    /// The generation of the group.
    pub generation: GenerationId,
    /// The assignor that the group chose, null without members.
    #[kafka(default = Some(String::new()))]
    pub protocol: Option<String>,
    /// The member that assigns, null without members.
    #[kafka(default = Some(String::new()))]
    pub leader: Option<String>,
    /// When the group came into its state; -1 when unknown.
    #[kafka(versions = "2..", default = TimestampMs::NONE)]
    pub current_state_timestamp: TimestampMs,
    /// The members.
    pub members: Vec<MemberMetadata>,
}

/// A member.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MemberMetadata {
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "3..")]
    pub group_instance_id: Option<String>,
    /// The member's own name for itself.
    pub client_id: String,
    /// Where the member connected from.
    pub client_host: String,
    /// How long members may take to rejoin, in milliseconds; -1: the session timeout.
    #[kafka(versions = "1..", default = -1)]
    pub rebalance_timeout: i32,
    /// A member that is silent for this long is out, in milliseconds.
    pub session_timeout: i32,
    /// The member's subscription, as it sent it.
    pub subscription: Bytes,
    /// What the member is assigned.
    pub assignment: Bytes,
}
