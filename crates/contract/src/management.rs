//! The JSON of the broker's management endpoint.
//!
//! Unknown fields are ignored and unknown words of an enum become `Other`, so that either side may be newer. Field names are
//! camelCase, as in Kubernetes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster_id::ClusterId;

/// `GET /status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// This broker.
    pub broker_id: i32,
    /// The data directory's id, made when it was formatted.
    pub directory_id: String,
    /// The program's version.
    pub version: String,
    /// [`crate::CONTRACT`] of the program; 0 of one that does not say it.
    #[serde(default)]
    pub contract: u32,
    /// How far it has come.
    pub state: BrokerState,
    /// Offset of the newest committed metadata record.
    pub metadata_offset: i64,
    /// Partitions that this broker has.
    pub partitions: u32,
    /// Partitions that it leads.
    pub leaders: u32,
    /// Partitions that are offline, with the reason; at most 20.
    pub offline: Vec<OfflinePartition>,
    /// Partitions with fewer in-sync replicas than they need.
    pub under_min_isr: u32,
    /// Recovery's progress while starting.
    pub recovery: Recovery,
    /// Bytes that can still be written.
    pub disk_available_bytes: u64,
    /// Bytes of the volume.
    pub disk_total_bytes: u64,
    /// Checksum of the config file that was loaded.
    pub config_hash: String,
    /// When the loaded certificate ends, seconds since 1970.
    pub certificate_expires: i64,
    /// The committed voters of the metadata quorum.
    pub voters: Vec<i32>,
}

/// How far a broker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerState {
    /// It waits for its bootstrap record.
    AwaitingBootstrap,
    /// It opens its logs.
    Recovering,
    /// It serves.
    Serving,
    /// It is stopping.
    Stopping,
    /// Its disk failed.
    Failed,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

/// A partition that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfflinePartition {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub reason: String,
}

/// Progress of opening logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Logs that are open.
    pub logs_done: u32,
    /// Logs in all.
    pub logs_total: u32,
}

/// `GET /v1/changes?after=<offset>`: answered when metadata is beyond that offset, or after half a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Offset of the newest committed metadata record.
    pub metadata_offset: i64,
}

/// `PUT /v1/bootstrap`: which directory forms the first quorum of which cluster. Written once, by whoever made the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapRecord {
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// Directory ids of the first voters; one.
    pub voters: Vec<String>,
}

/// Who looks after a topic: the Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOwner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// One row of `GET /v1/topic-owners`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOwnership {
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub topic_id: String,
    /// Its owner; none for a topic that nobody claimed or that was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<TopicOwner>,
    /// Config keys that the owner sets.
    #[serde(default)]
    pub managed_keys: Vec<String>,
    /// Generation of the owner's object that was applied last; 0 none.
    #[serde(default)]
    pub generation: i64,
    /// How long the topic outlives its owner, milliseconds; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after_ms: Option<i64>,
    /// When the topic will be deleted, milliseconds since 1970, if that is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at_ms: Option<i64>,
}

/// `GET /v1/topic-owners`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOwners {
    /// All topics that are not internal.
    pub topics: Vec<TopicOwnership>,
    /// The metadata offset that this shows.
    pub metadata_offset: i64,
}

/// `POST /v1/topic-owners`: one change to a topic's ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOwnerChange {
    /// The topic's name.
    pub topic: String,
    /// What to do.
    #[serde(flatten)]
    pub action: TopicOwnerAction,
}

/// `PUT /v1/topic-owners`: a topic that has its owner from the first moment, so that nothing is left in between that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicCreation {
    /// The topic's name.
    pub topic: String,
    /// Partitions; none for the cluster's default.
    #[serde(default)]
    pub partitions: Option<i32>,
    /// Replicas; none for the cluster's default.
    #[serde(default)]
    pub replication_factor: Option<i16>,
    /// Its configs.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Its owner.
    pub owner: TopicOwner,
    /// Config keys that the owner sets.
    #[serde(default)]
    pub managed_keys: Vec<String>,
    /// Generation of the owner's object that is applied; 0 none.
    #[serde(default)]
    pub generation: i64,
    /// How long the topic outlives its owner, milliseconds; none for ever.
    #[serde(default)]
    pub delete_after_ms: Option<i64>,
}

/// What to do with a topic's ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TopicOwnerAction {
    /// Become the owner, if the present one is `expected` (none: nobody). Cancels a scheduled deletion.
    Claim {
        /// The new owner.
        owner: TopicOwner,
        /// The owner that is replaced.
        #[serde(default)]
        expected: Option<TopicOwner>,
        /// Config keys that the new owner sets.
        #[serde(default)]
        managed_keys: Vec<String>,
        /// Generation of the owner's object that was applied last; 0 none.
        #[serde(default)]
        generation: i64,
        /// How long the topic outlives its owner, milliseconds; none for ever.
        #[serde(default)]
        delete_after_ms: Option<i64>,
    },
    /// Give the topic up and keep it.
    Release {
        /// Who gives it up.
        owner: TopicOwner,
    },
    /// Delete it at a time, unless that is cancelled.
    ScheduleDeletion {
        /// Who may.
        owner: TopicOwner,
        /// Milliseconds since 1970.
        delete_at_ms: i64,
    },
    /// Keep it after all.
    CancelDeletion {
        /// Who may.
        owner: TopicOwner,
    },
}

/// A spec of the KafkaCluster that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedGeneration {
    /// The object's uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// `GET /v1/applied-generation`, and the answer to a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastApplied {
    /// What was applied last; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedGeneration>,
}

/// `PUT /v1/applied-generation`: what is applied from now on, if what was applied last is `expected`. It never goes down for one uid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedGenerationChange {
    /// What is applied.
    pub applied: AppliedGeneration,
    /// What was applied before, as whoever asks has seen it.
    #[serde(default)]
    pub expected: Option<AppliedGeneration>,
}

/// Any answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A CamelCase word for programs, for example `TopicClaimed`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// More, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::{BrokerState, TopicOwnerAction, TopicOwnerChange};

    #[test]
    fn a_word_of_a_newer_version_is_other() {
        assert_eq!(serde_json::from_str::<BrokerState>("\"Levitating\"").unwrap(), BrokerState::Other);
    }

    #[test]
    fn a_change_reads_as_it_is_written() {
        let text = r#"{"topic":"a","action":"scheduleDeletion","owner":{"namespace":"n","name":"a","uid":"u"},"deleteAtMs":5}"#;
        let change: TopicOwnerChange = serde_json::from_str(text).unwrap();
        assert!(matches!(change.action, TopicOwnerAction::ScheduleDeletion { delete_at_ms: 5, .. }));
        assert_eq!(serde_json::to_string(&change).unwrap(), text);
    }
}
