//! Cluster metadata: what is recorded, what the records add up to, and every decision about them.
//!
//! Pure: no I/O, no clock, no randomness. A decision reads an [`Image`] and answers records; a record becomes true once a
//! [`MetadataLog`] committed it, and only then is it applied to the image that others see.

pub mod decisions;
mod image;
mod log;
mod record;
mod topic_name;

pub use image::{ApplyError, BrokerRegistration, Image, Partition, Topic};
pub use log::{Loaded, MetadataLog, MetadataLogError};
pub use record::{
    AppliedGenerationRecord, BrokerRecord, ConfigRecord, OwnerFields, PartitionRecord, ProducerIdsRecord, Record,
    RecordError, RemoveTopicRecord, ResourceType, TopicOwnerRecord, TopicRecord,
};
pub use topic_name::{TopicNameError, check_topic_name, collides};

/// Topics that belong to the coordinators.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Whether clients see the topic flagged as internal.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    topic == OFFSETS_TOPIC || topic == "__transaction_state"
}
