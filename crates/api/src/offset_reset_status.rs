//! Status of an `OffsetReset`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of an OffsetReset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffsetResetStatus {
    /// Generation of the spec that this describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// The Job that applies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// When the new offsets were read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<String>,
    /// Ready and Applied always; Reconciling and Stalled only when True.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// A plan in short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// What approvedPlan must say; absent while the group has members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Empty, Active or Missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Partitions whose offset changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Records that will not be read: those of all partitions that move forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_skipped: Option<i64>,
    /// Records that will be read again: those of all partitions that move back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_replayed: Option<i64>,
    /// Records between the new offsets and the ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_after: Option<i64>,
    /// ConfigMap with the full plan and what it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,
    /// The largest changes; at most 20.
    #[schemars(length(max = 20))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Vec<PlannedPartition>>,
}

/// One partition of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPartition {
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The committed offset; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<i64>,
    /// The new offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<i64>,
    /// Current less target: how many records will be read again, and below zero how many will be skipped. -30 here are 30 in recordsSkipped.
    /// Absent when there is no committed offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<i64>,
}
