//! `KafkaCluster`: brokers, their volumes, listeners and config.
//!
//! The top level describes the pool `main` with broker ids from 0. A field whose behaviour is not built yet is not in the spec.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;
use crate::cluster_status::KafkaClusterStatus;
use crate::duration::Duration;
use crate::quantity::Quantity;

/// A Kafka-compatible cluster.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kennet.dev",
    version = "v1alpha1",
    kind = "KafkaCluster",
    namespaced,
    doc = "A Kafka-compatible cluster.",
    derive = "PartialEq",
    shortname = "knc",
    category = "kennet",
    status = "KafkaClusterStatus",
    validation = Rule::new("size(self.metadata.name) <= 36 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("metadata.name: at most 36 characters a-z, 0-9 and '-', beginning with a letter, because hosts of brokers are made of it"),
    scale(spec_replicas_path = ".spec.brokers", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Brokers", json_path = ".spec.brokers", type_ = "integer"),
    printcolumn(name = "Available", json_path = ".status.brokersAvailable", type_ = "integer"),
    printcolumn(name = "Version", json_path = ".status.version", type_ = "string"),
    printcolumn(name = "Ready", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, type_ = "string"),
    printcolumn(name = "Reason", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, type_ = "string"),
    printcolumn(name = "Age", json_path = ".metadata.creationTimestamp", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterSpec {
    /// Number of brokers of the pool `main`. 0 stops the cluster and keeps its data.
    #[schemars(range(min = 0, max = 100))]
    #[x_kube(validation = Rule::new("self <= 1").message("more than one broker comes with replication; set brokers to 0 or 1"))]
    pub brokers: i32,
    /// Version of the brokers, the tag of their image. Absent: the running version; for a new cluster the operator's default.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Image of the brokers without a tag. Absent: the operator's.
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{1,5}/[a-z0-9._-]+)?(/[a-z0-9._-]+)*$")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Volumes of the brokers.
    pub storage: Storage,
    /// Resources of each broker. Absent: requests 100m and 128Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What else the brokers' pods carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Ports that clients connect to. Absent: one internal listener `plain` on 9092.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.port == b.port))").message("each listener needs a port of its own"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Kafka's broker configs by name, values as strings.
    #[schemars(schema_with = "bounds::config")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// How changes reach running brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Who limits evictions of brokers. Absent: Managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
}

/// Volumes of a pool.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each broker's volume. It can grow, never shrink.
    pub size: Quantity,
    /// Storage class. Absent: the default class. A change applies to new volumes only.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// What becomes of the volumes when the KafkaCluster is deleted. Absent: Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_deleted: Option<WhenDeleted>,
}

/// What becomes of the volumes when the KafkaCluster is deleted. Absent: Retain. Retain keeps them with the cluster's identity, and a
/// KafkaCluster of the same name finds its data again; Delete deletes both, and the data with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum WhenDeleted {
    /// They stay, and a cluster of the same name finds its data again.
    #[default]
    Retain,
    /// They go with the KafkaCluster.
    Delete,
}

/// Resources of a container.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceAmounts>,
    /// What is never exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceAmounts>,
}

/// CPU and memory.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceAmounts {
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// What pods carry; small and typed on purpose.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Labels besides Kennet's own.
    #[schemars(schema_with = "bounds::label_values")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations besides Kennet's own.
    #[schemars(schema_with = "bounds::labels")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[schemars(schema_with = "bounds::label_values")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Priority class.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Secrets for pulling the image.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalReference>,
    /// How long a broker may take to stop. Absent: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period: Option<Duration>,
}

/// As in Kubernetes' core API.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's key; absent matches all.
    #[schemars(length(max = 317))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Exists or Equal.
    #[schemars(length(max = 16), regex(pattern = "^(Exists|Equal)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The taint's value.
    #[schemars(length(max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect; absent matches all.
    #[schemars(length(max = 32), regex(pattern = "^(NoSchedule|PreferNoSchedule|NoExecute)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How long a NoExecute taint is tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// An object of the same namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A port that clients connect to.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The listener's name, which also names the port of Services.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!self.contains('--') && !(self in ['management', 'metrics', 'probes'])").message("a listener names a port: no '--', and not management, metrics or probes, which are Kennet's own"))]
    pub name: String,
    /// The port; 9190 to 9199 are Kennet's own.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self < 9190 || self > 9199").message("ports 9190 to 9199 are Kennet's own; choose another"))]
    pub port: i32,
    /// From where it can be reached. Absent: Internal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// From where a listener can be reached.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The way.
    #[serde(rename = "type")]
    pub kind: ExposureType,
}

/// Ways to reach a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExposureType {
    /// Inside the Kubernetes cluster.
    Internal,
}

/// How changes reach running brokers.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Restart nothing for now. Absent: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// What to do while a partition has one replica only; Kafka's own topics do not count. Absent: Restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprotected_partitions: Option<UnprotectedPartitions>,
}

/// What to do while a partition has one replica only. Absent: Restart. Restart restarts its broker, and the partition is unavailable for that
/// time; Block neither restarts nor evicts its broker. Partitions of Kafka's own topics do not count: nobody could take them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UnprotectedPartitions {
    /// Restart its broker; it is unavailable for that time.
    #[default]
    Restart,
    /// Neither restart nor evict its broker.
    Block,
}

/// Who limits evictions of brokers. Absent: Managed. Managed: the operator keeps a PodDisruptionBudget; Disabled: it keeps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DisruptionBudget {
    /// The operator keeps a PodDisruptionBudget.
    #[default]
    Managed,
    /// Somebody else does.
    Disabled,
}
