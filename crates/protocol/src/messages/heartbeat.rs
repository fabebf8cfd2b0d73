//! Heartbeat (API key 12): a member is alive, and learns that a rebalance began.
//!
//! v1 throttle time | v3 static members (KIP-345) | v4 flexible.

use crate::{ErrorCode, GenerationId, Message};

/// Says that a member is alive.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = Heartbeat)]
pub struct HeartbeatRequest {
    pub group_id: String,
    /// The generation of the group; -1 for none.
    pub generation_id: GenerationId,
    pub member_id: String,
    /// The name of a static member, null for a dynamic one (KIP-345).
    #[kafka(versions = "3..", strict)]
    pub group_instance_id: Option<String>,
}

/// Whether the member is still in.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = Heartbeat)]
pub struct HeartbeatResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
}
