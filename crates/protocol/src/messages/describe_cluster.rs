//! DescribeCluster (API key 60): the cluster's id, controller and brokers (KIP-700).
//!
//! v1 type of endpoint (KIP-919) | v2 fenced brokers (KIP-1073). All versions are flexible.

use crate::{BrokerId, ErrorCode, Message};

/// Asks for the cluster's id and brokers.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = DescribeCluster)]
pub struct DescribeClusterRequest {
    /// Whether the answer says what the client may do with the cluster.
    pub include_cluster_authorized_operations: bool,
    /// 1 brokers, 2 controllers (KIP-919).
    #[kafka(versions = "1..", default = 1, strict)]
    pub endpoint_type: i8,
    /// Whether brokers that are not up are listed (KIP-1073).
    #[kafka(versions = "2..", strict)]
    pub include_fenced_brokers: bool,
}

/// The cluster.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = DescribeCluster)]
pub struct DescribeClusterResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// What went wrong, in words; null when nothing did.
    pub error_message: Option<String>,
    /// 1 brokers, 2 controllers (KIP-919).
    #[kafka(versions = "1..", default = 1)]
    pub endpoint_type: i8,
    /// The cluster's id.
    pub cluster_id: String,
    /// A broker that takes admin requests; -1 when there is none.
    #[kafka(default = BrokerId::NONE)]
    pub controller_id: BrokerId,
    pub brokers: Vec<DescribeClusterBroker>,
    /// Bits of what the client may do with the cluster; `i32::MIN` when it did not ask.
    #[kafka(default = i32::MIN)]
    pub cluster_authorized_operations: i32,
}

/// A broker.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct DescribeClusterBroker {
    /// The broker.
    pub broker_id: BrokerId,
    /// Name or address to connect to.
    pub host: String,
    /// TCP port to connect to.
    pub port: i32,
    /// Where the broker stands, null when it was not told.
    pub rack: Option<String>,
    /// Whether the broker is registered and not up.
    #[kafka(versions = "2..")]
    pub is_fenced: bool,
}
