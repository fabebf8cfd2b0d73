//! LeaveGroup (API key 13): members leave at once instead of timing out.
//!
//! v1 throttle time | v3 many members, static ones too (KIP-345) | v4 flexible | v5 reason (KIP-800).

use crate::{ErrorCode, Message};

/// Takes members out of a group.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = LeaveGroup)]
pub struct LeaveGroupRequest {
    pub group_id: String,
    #[kafka(versions = "..=2", strict)]
    pub member_id: String,
    /// Who leaves (KIP-345).
    #[kafka(versions = "3..", strict)]
    pub members: Vec<MemberIdentity>,
}

/// A member that leaves.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MemberIdentity {
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    pub group_instance_id: Option<String>,
    /// Why, in the client's words (KIP-800).
    #[kafka(versions = "5..")]
    pub reason: Option<String>,
}

/// What became of the members.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = LeaveGroup)]
pub struct LeaveGroupResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// What became of each.
    #[kafka(versions = "3..")]
    pub members: Vec<MemberResponse>,
}

/// What became of one member.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct MemberResponse {
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(default = Some(String::new()))]
    pub group_instance_id: Option<String>,
    pub error_code: ErrorCode,
}
