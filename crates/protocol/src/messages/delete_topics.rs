//! DeleteTopics (API key 20): deletes topics by name or id.
//!
//! v1 throttle time | v4 flexible | v5 error message (KIP-599) | v6 topic ids (KIP-516).

use crate::{ErrorCode, Message, Uuid};

/// Deletes topics.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DeleteTopics)]
pub struct DeleteTopicsRequest {
    /// The topics, by name or id (KIP-516).
    #[kafka(versions = "6..", strict)]
    pub topics: Vec<DeleteTopicState>,
    /// The topics, by name.
    #[kafka(versions = "..=5")]
    pub topic_names: Vec<String>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
}

/// A topic to delete.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeleteTopicState {
    /// The topic, null when it is named by its id.
    pub name: Option<String>,
    pub topic_id: Uuid,
}

/// What became of the topics.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DeleteTopics)]
pub struct DeleteTopicsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What became of each.
    pub responses: Vec<DeletableTopicResult>,
}

/// What became of one topic.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DeletableTopicResult {
    /// The topic, null when an id is not known.
    #[kafka(nullable = "6..", default = Some(String::new()))]
    pub name: Option<String>,
    #[kafka(versions = "6..")]
    pub topic_id: Uuid,
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(versions = "5..")]
    pub error_message: Option<String>,
}
