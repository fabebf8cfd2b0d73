//! JoinGroup (API key 11): enters a classic group and waits for its next generation.
//!
//! v1 rebalance timeout (KIP-62) | v2 throttle time | v4 a new member is first told its id and joins with it
//! (KIP-394) | v5 static members (KIP-345) | v6 flexible | v7 protocol type and nullable protocol name (KIP-559) |
//! v8 reason (KIP-800) | v9 the leader may skip the assignment (KIP-814).

use bytes::Bytes;

use crate::{ErrorCode, GenerationId, Message};

/// Enters a group, or enters again.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = JoinGroup)]
pub struct JoinGroupRequest {
    pub group_id: String,
    /// A member that is silent for this long is out, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long members may take to rejoin, in milliseconds; -1 (and v0): the session timeout.
    #[kafka(versions = "1..", default = -1)]
    pub rebalance_timeout_ms: i32,
    /// Empty at first; the broker makes one up.
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "5..", strict)]
    pub group_instance_id: Option<String>,
    /// What the group's members speak with each other, `consumer` for consumers.
    pub protocol_type: String,
    /// What the member can do, the preferred one first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// Why, in the client's words (KIP-800).
    #[kafka(versions = "8..")]
    pub reason: Option<String>,
}

/// One thing that the member can do.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct JoinGroupRequestProtocol {
    pub name: String,
    /// The member's subscription for this protocol.
    pub metadata: Bytes,
}

/// The generation that the member is in.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = JoinGroup)]
pub struct JoinGroupResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "2..")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// The generation of the group; -1 for none.
    #[kafka(default = GenerationId(-1))]
    pub generation_id: GenerationId,
    /// What the group's members speak with each other, `consumer` for consumers.
    #[kafka(versions = "7..")]
    pub protocol_type: Option<String>,
    /// The assignor (or other protocol) that the group chose.
    #[kafka(nullable = "7..", default = Some(String::new()))]
    pub protocol_name: Option<String>,
    /// The member that assigns.
    pub leader: String,
    /// Whether the leader leaves the assignment as it was (KIP-814).
    #[kafka(versions = "9..")]
    pub skip_assignment: bool,
    pub member_id: String,
    /// All members, for the leader; empty for the others.
    pub members: Vec<JoinGroupResponseMember>,
}

/// A member, for the leader.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct JoinGroupResponseMember {
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "5..")]
    pub group_instance_id: Option<String>,
    /// The member's subscription, as it sent it.
    pub metadata: Bytes,
}
