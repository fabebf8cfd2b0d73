//! ListGroups (API key 16): the groups that a broker coordinates.
//!
//! v1 throttle time | v3 flexible | v4 filter by state (KIP-518) | v5 filter by type (KIP-848).

use crate::{ErrorCode, Message};

/// Asks for the groups that this broker coordinates.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = ListGroups)]
pub struct ListGroupsRequest {
    /// Only groups in these states; all when empty (KIP-518).
    #[kafka(versions = "4..", strict)]
    pub states_filter: Vec<String>,
    /// Only groups of these types; all when empty (KIP-848).
    #[kafka(versions = "5..", strict)]
    pub types_filter: Vec<String>,
}

/// The groups.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = ListGroups)]
pub struct ListGroupsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// The groups of this broker.
    pub groups: Vec<ListedGroup>,
}

/// A group.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ListedGroup {
    pub group_id: String,
    /// What the group's members speak with each other, `consumer` for consumers.
    pub protocol_type: String,
    /// The state's name, as Kafka's tools show it.
    #[kafka(versions = "4..")]
    pub group_state: String,
    /// `classic` or `consumer`.
    #[kafka(versions = "5..")]
    pub group_type: String,
}
