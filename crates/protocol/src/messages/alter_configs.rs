//! AlterConfigs (API key 33): replaces all settings of a topic or broker (KIP-133); old clients still do.
//!
//! v1 throttles after it answered | v2 flexible.

use crate::{ErrorCode, Message};

/// Replaces all settings of a topic or broker.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = AlterConfigs)]
pub struct AlterConfigsRequest {
    /// What is asked about or changed.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// A topic or broker to change.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct AlterConfigsResource {
    /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic's name, or the broker's id; an empty broker id is the default of all brokers.
    pub resource_name: String,
    /// The changes.
    pub configs: Vec<AlterableConfig>,
}

/// A setting.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct AlterableConfig {
    pub name: String,
    /// The value; null resets it.
    #[kafka(default = Some(String::new()))]
    pub value: Option<String>,
}

/// What became of the changes.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = AlterConfigs)]
pub struct AlterConfigsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What became of each.
    pub responses: Vec<AlterConfigsResourceResponse>,
}

/// What became of one topic's or broker's changes.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct AlterConfigsResourceResponse {
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(default = Some(String::new()))]
    pub error_message: Option<String>,
    /// As in the request.
    pub resource_type: i8,
    /// As in the request.
    pub resource_name: String,
}
