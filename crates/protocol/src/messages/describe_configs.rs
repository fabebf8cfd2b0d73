//! DescribeConfigs (API key 32): settings of topics and brokers (KIP-133).
//!
//! v1 synonyms, source (KIP-226) | v3 types and documentation (KIP-569) | v4 flexible.

use crate::{ErrorCode, Message};

/// Asks for settings of topics and brokers.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DescribeConfigs)]
pub struct DescribeConfigsRequest {
    /// What is asked about or changed.
    pub resources: Vec<DescribeConfigsResource>,
    /// Whether to list where each value would come from otherwise.
    pub include_synonyms: bool,
    /// Whether to explain each setting.
    #[kafka(versions = "3..", strict)]
    pub include_documentation: bool,
}

/// A topic or broker asked about.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeConfigsResource {
    /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic's name, or the broker's id; an empty broker id is the default of all brokers.
    pub resource_name: String,
    /// The settings wanted; null for all.
    #[kafka(default = Some(Vec::new()))]
    pub configuration_keys: Option<Vec<String>>,
}

/// The settings.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DescribeConfigs)]
pub struct DescribeConfigsResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What became of each.
    pub results: Vec<DescribeConfigsResult>,
}

/// One topic's or broker's settings.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeConfigsResult {
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    #[kafka(default = Some(String::new()))]
    pub error_message: Option<String>,
    /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic's name, or the broker's id; an empty broker id is the default of all brokers.
    pub resource_name: String,
    /// The settings.
    pub configs: Vec<DescribeConfigsResourceResult>,
}

/// A setting.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeConfigsResourceResult {
    pub name: String,
    /// The value, null for none.
    #[kafka(default = Some(String::new()))]
    pub value: Option<String>,
    /// Whether it can't be changed.
    pub read_only: bool,
    /// Where the value comes from (1 topic, 2 dynamic broker, 3 dynamic default, 4 file, 5 default, 6 logger).
    #[kafka(default = -1)]
    pub config_source: i8,
    /// Whether the value is hidden.
    pub is_sensitive: bool,
    /// Where the value would come from otherwise, the strongest first.
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
    #[kafka(versions = "3..")]
    pub config_type: i8,
    /// What the setting does.
    #[kafka(versions = "3..", default = Some(String::new()))]
    pub documentation: Option<String>,
}

/// A place that a value could come from.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeConfigsSynonym {
    pub name: String,
    /// The value, null for none.
    #[kafka(default = Some(String::new()))]
    pub value: Option<String>,
    /// As `config_source`.
    pub source: i8,
}
