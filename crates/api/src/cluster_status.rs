//! Status of a `KafkaCluster`. Every field is optional, and nothing in it changes by itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a KafkaCluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// Generation of the spec that this describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Kafka's cluster id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Pods of the pool `main`; for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Selector of those pods; for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Brokers that the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers_total: Option<i32>,
    /// Brokers that serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers_available: Option<i32>,
    /// Version that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A newer version that the operator offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_version: Option<String>,
    /// Listeners and where clients find them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<ListenerStatus>>,
    /// Pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<Vec<PoolStatus>>,
    /// Brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers: Option<Vec<BrokerStatus>>,
    /// Progress of a roll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Ready always; Reconciling and Stalled only when True.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What clients put into `bootstrap.servers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_servers: Option<String>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Brokers that the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// Brokers that serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<i32>,
    /// Brokers that run what the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<i32>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i32>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_id: Option<String>,
    /// Version that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Starting, Recovering, Serving, Failed (its disk) or Offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Progress of a roll.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Brokers that still have to restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<i32>>,
    /// The broker that restarts now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<i32>,
    /// Why it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}
