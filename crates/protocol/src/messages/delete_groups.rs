//! DeleteGroups (API key 42): deletes groups that have no members (KIP-229).
//!
//! v1 throttles after it answered | v2 flexible.

use crate::{ErrorCode, Message};

/// Deletes groups without members.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DeleteGroups)]
pub struct DeleteGroupsRequest {
    /// The groups to delete.
    pub groups_names: Vec<String>,
}

/// What became of the groups.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DeleteGroups)]
pub struct DeleteGroupsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What became of each.
    pub results: Vec<DeletableGroupResult>,
}

/// What became of one group.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeletableGroupResult {
    pub group_id: String,
    pub error_code: ErrorCode,
}
