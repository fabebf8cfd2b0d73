//! DescribeGroups (API key 15): state and members of classic groups.
//!
//! v1 throttle time | v3 authorized operations (KIP-430) | v4 static members (KIP-345) | v5 flexible | v6 a group
//! that is not there is an error (KIP-1043).

use bytes::Bytes;

use crate::{ErrorCode, Message};

/// Asks what groups are.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DescribeGroups)]
pub struct DescribeGroupsRequest {
    /// The groups asked for.
    pub groups: Vec<String>,
    /// Whether the answer says what the client may do with each group.
    #[kafka(versions = "3..", strict)]
    pub include_authorized_operations: bool,
}

/// The groups.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DescribeGroups)]
pub struct DescribeGroupsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    /// By group.
    pub groups: Vec<DescribedGroup>,
}

/// A group, its state and members.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribedGroup {
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(versions = "6..")]
    pub error_message: Option<String>,
    pub group_id: String,
    /// The state's name, as Kafka's tools show it.
    pub group_state: String,
    /// What the group's members speak with each other, `consumer` for consumers.
    pub protocol_type: String,
    /// The chosen assignor; empty unless the group is stable.
    pub protocol_data: String,
    /// The members.
    pub members: Vec<DescribedGroupMember>,
    /// Bits of what the client may do with the group; `i32::MIN` when it did not ask.
    #[kafka(versions = "3..", default = i32::MIN)]
    pub authorized_operations: i32,
}

/// A member.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribedGroupMember {
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "4..")]
    pub group_instance_id: Option<String>,
    /// The member's own name for itself.
    pub client_id: String,
    /// Where the member connected from.
    pub client_host: String,
    /// The member's subscription, as it sent it.
    pub member_metadata: Bytes,
    /// The member's assignment, as the leader sent it.
    pub member_assignment: Bytes,
}
