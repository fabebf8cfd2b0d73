//! `Topic`: a topic of a KafkaCluster of the same namespace.
//!
//! Deleting the object deletes the topic only under `onDelete: Delete`, after `deletionDelay`, and without a finalizer.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;
use crate::duration::Duration;
use crate::offset_reset::ClusterReference;

/// A topic.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kennet.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    doc = "A topic of a KafkaCluster.",
    derive = "PartialEq",
    shortname = "knt",
    category = "kennet",
    status = "TopicStatus",
    selectable = ".spec.clusterRef.name",
    validation = Rule::new("has(self.spec.topicName) || (size(self.metadata.name) <= 249)")
        .message("spec.topicName: needed when metadata.name is longer than 249 characters"),
    printcolumn(name = "Cluster", json_path = ".spec.clusterRef.name", type_ = "string"),
    printcolumn(name = "Topic", json_path = ".status.topicName", type_ = "string"),
    printcolumn(name = "Partitions", json_path = ".status.partitions", type_ = "integer"),
    printcolumn(name = "RF", json_path = ".status.replicationFactor", type_ = "integer"),
    printcolumn(name = "Ready", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, type_ = "string"),
    printcolumn(name = "Reason", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, type_ = "string"),
    printcolumn(name = "Age", json_path = ".metadata.creationTimestamp", type_ = "date")
)]
#[x_kube(validation = Rule::new("has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)")
    .message("topicName is immutable; create another Topic"))]
#[serde(rename_all = "camelCase")]
pub struct TopicSpec {
    /// The cluster, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterRef is immutable; create another Topic"))]
    pub cluster_ref: ClusterReference,
    /// The topic's name in Kafka. Absent: metadata.name.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("self != '.' && self != '..' && !self.startsWith('__')")
        .message("topicName: neither '.' nor '..', and names that begin with '__' are Kafka's own"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Number of partitions; it only grows. Absent: the cluster's default.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Number of replicas. Absent: the cluster's default.
    #[schemars(range(min = 1, max = 15))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// Kafka's topic configs by name, values as strings. A key that is removed here goes back to its default.
    #[schemars(schema_with = "bounds::config")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// What to do about configs that were changed elsewhere. Absent: Revert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// When to take over a topic that exists already. Absent: IfIdentical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// What becomes of the topic when this object is deleted. Absent: Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
    /// How long a topic lives on after its object under onDelete: Delete. Absent: 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_delay: Option<Duration>,
}

/// What to do about configs that the spec names and somebody else changed. Absent: Revert. Revert sets them back; Report leaves them and lists
/// them in status.drift. Configs that the spec does not name are only listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Drift {
    /// Set them back to what the spec says.
    #[default]
    Revert,
    /// Leave them and show them in status.drift.
    Report,
}

/// When to take over a topic that exists already. Absent: IfIdentical. IfIdentical takes it over if it has the partitions, replicas and configs
/// of the spec and no other config, so that nothing of it changes; Always takes it over and makes it as the spec says; Never leaves it alone.
/// A topic that is not taken over stalls this object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// When it has the partitions, replicas and configs of the spec and no other config.
    #[default]
    IfIdentical,
    /// Always, and make it so.
    Always,
    /// Never.
    Never,
}

/// What becomes of the topic when this object is deleted. Absent: Retain. Retain keeps it with its records; Delete deletes it with its records
/// after deletionDelay, unless the object is applied again before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It stays, with its records.
    #[default]
    Retain,
    /// It is deleted after deletionDelay.
    Delete,
}

/// What became of a Topic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Generation of the spec that this describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Kafka's topic id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// The topic's name in Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Partitions that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// Configs that differ from the spec, or that somebody else set; at most 20.
    #[schemars(length(max = 20))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Vec<DriftedKey>>,
    /// Ready always; Reconciling and Stalled only when True.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// A config that differs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftedKey {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the spec says; absent for a key that the spec does not name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// What the cluster has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}
