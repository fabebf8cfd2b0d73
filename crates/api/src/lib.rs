//! Kennet's Kubernetes kinds (group `kennet.dev`, version `v1alpha1`) as Rust types, and their definitions as JSON.
//!
//! A spec has no schema defaults and nothing nullable; what a field means when it is absent is computed by `kennet-model`.
//! Every string, list and map of a spec is bounded. No client, no I/O.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a copy of each struct inside a function, with the struct's visibility"
)]

mod bounds;
mod cluster;
mod cluster_status;
mod condition;
mod crds;
mod duration;
pub mod names;
mod offset_reset;
mod offset_reset_status;
mod quantity;
mod topic;

pub use cluster::{
    DisruptionBudget, Exposure, ExposureType, KafkaCluster, KafkaClusterSpec, Listener, LocalReference, Pods,
    ResourceAmounts, Resources, Rollout, Storage, Toleration, UnprotectedPartitions, WhenDeleted,
};
pub use cluster_status::{BrokerStatus, KafkaClusterStatus, ListenerStatus, PoolStatus, RolloutStatus};
pub use condition::{Condition, Conditions};
pub use crds::{CrdError, SCHEMA_REVISION, SCHEMA_REVISION_ANNOTATION, crd_files, crds};
pub use duration::{Duration, DurationError};
pub use offset_reset::{
    Approval, ClusterReference, OffsetReset, OffsetResetSpec, PartitionOffset, ResetReference, ResetTarget, ResetTopic,
    TargetType,
};
pub use offset_reset_status::{OffsetResetStatus, PlanStatus, PlannedPartition};
pub use quantity::{Quantity, QuantityError};
pub use topic::{Adoption, Drift, DriftedKey, OnDelete, Topic, TopicSpec, TopicStatus};
