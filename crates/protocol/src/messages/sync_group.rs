//! SyncGroup (API key 14): the leader brings the assignment, every member gets its part.
//!
//! v1 throttle time | v3 static members (KIP-345) | v4 flexible | v5 protocol type and name (KIP-559).

use bytes::Bytes;

use crate::{ErrorCode, GenerationId, Message};

/// Asks for the assignment; the leader brings it.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = SyncGroup)]
pub struct SyncGroupRequest {
    pub group_id: String,
    /// The generation of the group; -1 for none.
    pub generation_id: GenerationId,
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "3..", strict)]
    pub group_instance_id: Option<String>,
    /// What the group's members speak with each other, `consumer` for consumers.
    #[kafka(versions = "5..")]
    pub protocol_type: Option<String>,
    /// The assignor (or other protocol) that the group chose.
    #[kafka(versions = "5..")]
    pub protocol_name: Option<String>,
    /// What the leader assigns to each member; empty from the others.
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

/// What the leader assigns to one member.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct SyncGroupRequestAssignment {
    pub member_id: String,
    /// What the member is assigned.
    pub assignment: Bytes,
}

/// The member's assignment.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = SyncGroup)]
pub struct SyncGroupResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// What the group's members speak with each other, `consumer` for consumers.
    #[kafka(versions = "5..")]
    pub protocol_type: Option<String>,
    /// The assignor (or other protocol) that the group chose.
    #[kafka(versions = "5..")]
    pub protocol_name: Option<String>,
    /// What the member is assigned.
    pub assignment: Bytes,
}
