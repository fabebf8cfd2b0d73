//! `OffsetReset`: sets a consumer group's offsets once, after approval of a plan.
//!
//! All of the spec is immutable except `approvedPlan`; undoing one is another OffsetReset with a target of type RollbackOf.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;
use crate::duration::Duration;
use crate::offset_reset_status::OffsetResetStatus;

/// Sets a consumer group's offsets once.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kennet.dev",
    version = "v1alpha1",
    kind = "OffsetReset",
    namespaced,
    doc = "Sets a consumer group's offsets once, after approval of a plan.",
    derive = "PartialEq",
    shortname = "kno",
    category = "kennet",
    status = "OffsetResetStatus",
    selectable = ".spec.clusterRef.name",
    validation = Rule::new("size(self.metadata.name) <= 200").message("metadata.name: at most 200 characters, because names of plans and Jobs are made of it"),
    printcolumn(name = "Group", json_path = ".spec.groupId", type_ = "string"),
    printcolumn(name = "Target", json_path = ".spec.target.type", type_ = "string"),
    printcolumn(name = "Skipped", json_path = ".status.plan.recordsSkipped", type_ = "integer"),
    printcolumn(name = "Replayed", json_path = ".status.plan.recordsReplayed", type_ = "integer"),
    printcolumn(name = "Applied", json_path = r#".status.conditions[?(@.type=="Applied")].status"#, type_ = "string"),
    printcolumn(name = "Reason", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, type_ = "string"),
    printcolumn(name = "Age", json_path = ".metadata.creationTimestamp", type_ = "date")
)]
#[x_kube(validation = Rule::new(
    "self.clusterRef == oldSelf.clusterRef && self.groupId == oldSelf.groupId && self.target == oldSelf.target \
     && has(self.topics) == has(oldSelf.topics) && (!has(self.topics) || self.topics == oldSelf.topics) \
     && has(self.approval) == has(oldSelf.approval) && (!has(self.approval) || self.approval == oldSelf.approval) \
     && has(self.notAfter) == has(oldSelf.notAfter) && (!has(self.notAfter) || self.notAfter == oldSelf.notAfter)")
    .message("only approvedPlan can change; create a new OffsetReset instead"))]
#[x_kube(validation = Rule::new("!has(self.approval) || self.approval != 'Automatic' || has(self.notAfter)")
    .message("approval: Automatic requires notAfter, so that a re-created object can not run at any later time"))]
#[serde(rename_all = "camelCase")]
pub struct OffsetResetSpec {
    /// The cluster, in the same namespace.
    pub cluster_ref: ClusterReference,
    /// The consumer group.
    #[schemars(length(min = 1, max = 255))]
    pub group_id: String,
    /// Topics and partitions. Absent: all that the group has offsets for.
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<ResetTopic>,
    /// Where the offsets go.
    pub target: ResetTarget,
    /// Who approves the plan. Absent: Manual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Never applied after this instant.
    #[schemars(schema_with = "bounds::instant")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The hash of the plan that may be applied, copied from status.plan.hash.
    #[schemars(length(max = 71), regex(pattern = "^sha256-[0-9a-f]{8,64}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_plan: Option<String>,
}

/// A KafkaCluster of the same namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReference {
    /// Its name.
    #[schemars(length(min = 1, max = 36))]
    pub name: String,
}

/// A topic, or some partitions of it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetTopic {
    /// The topic's name in Kafka.
    #[schemars(length(min = 1, max = 249))]
    pub name: String,
    /// Partitions. Absent: all.
    #[schemars(length(max = 10000), inner(range(min = 0, max = 9999)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<i32>,
}

/// Where offsets go: a type, and the member that belongs to it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(self.type == 'Offset') == has(self.offset)").message("offset: set it for type Offset, and only then"))]
#[x_kube(validation = Rule::new("(self.type == 'Timestamp') == has(self.timestamp)").message("timestamp: set it for type Timestamp, and only then"))]
#[x_kube(validation = Rule::new("(self.type == 'Duration') == has(self.duration)").message("duration: set it for type Duration, and only then"))]
#[x_kube(validation = Rule::new("(self.type == 'ShiftBy') == has(self.shiftBy)").message("shiftBy: set it for type ShiftBy, and only then"))]
#[x_kube(validation = Rule::new("(self.type == 'Offsets') == has(self.offsets)").message("offsets: set them for type Offsets, and only then"))]
#[x_kube(validation = Rule::new("(self.type == 'RollbackOf') == has(self.rollbackOf)").message("rollbackOf: set it for type RollbackOf, and only then"))]
#[serde(rename_all = "camelCase")]
pub struct ResetTarget {
    /// What is aimed at.
    #[serde(rename = "type")]
    pub kind: TargetType,
    /// One offset for every partition.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The first record at or after this instant.
    #[schemars(schema_with = "bounds::instant")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The first record of this last stretch of time, counted back from the object's creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// So many records forward, or back if negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift_by: Option<i64>,
    /// An offset for each partition.
    #[schemars(length(min = 1, max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topic".into(), "partition".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<PartitionOffset>,
    /// What another OffsetReset replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<ResetReference>,
}

/// What a reset aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetType {
    /// The oldest record.
    Earliest,
    /// The end.
    Latest,
    /// One offset.
    Offset,
    /// The first record at or after an instant.
    Timestamp,
    /// The first record of the last stretch of time.
    Duration,
    /// So many records forward or back.
    ShiftBy,
    /// An offset for each partition.
    Offsets,
    /// What another OffsetReset replaced.
    RollbackOf,
}

/// An offset of one partition.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionOffset {
    /// The topic's name in Kafka.
    #[schemars(length(min = 1, max = 249))]
    pub topic: String,
    /// The partition.
    #[schemars(range(min = 0, max = 9999))]
    pub partition: i32,
    /// The offset.
    #[schemars(range(min = 0))]
    pub offset: i64,
}

/// Another OffsetReset of the same namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Who approves the plan. Absent: Manual. Manual: a person, who copies the plan's hash to approvedPlan; Automatic: nobody needs to, and the plan
/// is applied once the group has no members, until notAfter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// A person, through approvedPlan.
    #[default]
    Manual,
    /// Nobody needs to, until notAfter.
    Automatic,
}
