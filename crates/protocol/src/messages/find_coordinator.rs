//! FindCoordinator (API key 10): which broker coordinates a group.
//!
//! v1 type of the key (KIP-98), throttle time, error message | v3 flexible | v4 many keys at once (KIP-699) | v5
//! transactions can say that they must abort (KIP-890) | v6 share groups (KIP-932).

use crate::{BrokerId, ErrorCode, Message};

/// Asks who coordinates groups.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = FindCoordinator)]
pub struct FindCoordinatorRequest {
    /// What to find the coordinator of.
    #[kafka(versions = "..=3", strict)]
    pub key: String,
    /// 0 a group, 1 a transactional id, 2 a share group's partition.
    #[kafka(versions = "1..", strict)]
    pub key_type: i8,
    /// What to find the coordinators of (KIP-699).
    #[kafka(versions = "4..", strict)]
    pub coordinator_keys: Vec<String>,
}

/// The coordinators.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = FindCoordinator)]
pub struct FindCoordinatorResponse {
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    #[kafka(versions = "..=3")]
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(versions = "1..=3", default = Some(String::new()))]
    pub error_message: Option<String>,
    /// The broker.
    #[kafka(versions = "..=3")]
    pub node_id: BrokerId,
    /// Name or address to connect to.
    #[kafka(versions = "..=3")]
    pub host: String,
    /// TCP port to connect to.
    #[kafka(versions = "..=3")]
    pub port: i32,
    /// The coordinators, one for each key (KIP-699).
    #[kafka(versions = "4..")]
    pub coordinators: Vec<Coordinator>,
}

/// The coordinator of one key.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct Coordinator {
    /// What was asked for.
    pub key: String,
    /// The broker.
    pub node_id: BrokerId,
    /// Name or address to connect to.
    pub host: String,
    /// TCP port to connect to.
    pub port: i32,
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(default = Some(String::new()))]
    pub error_message: Option<String>,
}
