//! What planning has to ask a cluster, as a trait, so that plans can be made and tested without one.
//!
//! Offsets and partitions are plain numbers here: this crate knows no wire format.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use serde::{Deserialize, Serialize};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// The topic's name in Kafka.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
}

impl Partition {
    /// A partition by name.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The oldest record.
    Earliest,
    /// The end.
    Latest,
    /// The first record of this time or later, in milliseconds since 1970; the end when there is none.
    At(i64),
}

/// Whether a group's offsets can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// There is no such group.
    Missing,
    /// It has offsets and no members.
    Empty,
    /// It has members.
    Active,
}

/// A cluster that answers questions.
pub trait Admin {
    /// Why it could not.
    type Error: std::error::Error + Send + Sync + 'static;

    /// How many partitions a topic has; none when it does not exist.
    fn partition_count(&self, topic: &str) -> impl Future<Output = Result<Option<i32>, Self::Error>> + Send;

    /// The state of a group.
    fn group_state(&self, group: &str) -> impl Future<Output = Result<GroupState, Self::Error>> + Send;

    /// Every offset that a group has committed.
    fn committed(&self, group: &str) -> impl Future<Output = Result<BTreeMap<Partition, i64>, Self::Error>> + Send;

    /// The offset at one position of each partition, all of which exist.
    fn offsets(
        &self,
        partitions: &[Partition],
        position: Position,
    ) -> impl Future<Output = Result<BTreeMap<Partition, i64>, Self::Error>> + Send;
}
