//! What consumers say to each other inside of the group protocol: subscriptions and assignments.
//!
//! v1 owned partitions (KIP-429) | v2 generation (KIP-792) | v3 rack (KIP-881).
//!
//! Brokers pass them on as bytes; they read a subscription only to learn which topics are still in use.

use bytes::Bytes;

use crate::{DecodeError, Decoder, GenerationId, Message, PartitionIndex};

/// What a consumer wants.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=3")]
pub struct ConsumerProtocolSubscription {
    /// The topics that the member wants.
    pub topics: Vec<String>,
    /// Bytes of the assignor, null for none.
    pub user_data: Option<Bytes>,
    /// What the member has now.
    #[kafka(versions = "1..")]
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it got what it has; -1 when unknown (KIP-792).
    #[kafka(versions = "2..", default = GenerationId(-1))]
    pub generation_id: GenerationId,
    /// Where the member stands (KIP-881).
    #[kafka(versions = "3..")]
    pub rack_id: Option<String>,
}

/// Partitions of one topic.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct TopicPartition {
    pub topic: String,
    pub partitions: Vec<PartitionIndex>,
}

/// What a consumer gets.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=3")]
pub struct ConsumerProtocolAssignment {
    /// What the member gets.
    pub assigned_partitions: Vec<TopicPartition>,
    /// Bytes of the assignor, null for none.
    pub user_data: Option<Bytes>,
}

impl ConsumerProtocolSubscription {
    /// Reads a subscription with its version before it. A version above the last is read as the last, as Kafka's
    /// consumers do: later ones only append.
    pub fn from_any_version(bytes: Bytes) -> Result<Self, DecodeError> {
        read_any_version(bytes)
    }
}

impl ConsumerProtocolAssignment {
    /// Reads an assignment with its version before it. A version above the last is read as the last, as Kafka's
    /// consumers do: later ones only append.
    pub fn from_any_version(bytes: Bytes) -> Result<Self, DecodeError> {
        read_any_version(bytes)
    }
}

fn read_any_version<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut input = Decoder::new(bytes);
    let version = input.i16()?.min(M::VERSIONS.max);
    M::decode(&mut input, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_of_a_later_version_is_read_as_the_last_one() {
        let ours = ConsumerProtocolSubscription { topics: vec!["orders".to_owned()], ..Default::default() };
        let mut later = ours.to_versioned_bytes(3).unwrap().to_vec();
        later[1] = 4;
        later.extend_from_slice(b"what version 4 appends");
        assert_eq!(ConsumerProtocolSubscription::from_any_version(later.into()), Ok(ours));
    }

    #[test]
    fn a_negative_version_is_refused() {
        let bytes = Bytes::from_static(&[0xff, 0xff, 0, 0, 0, 0]);
        assert!(ConsumerProtocolAssignment::from_any_version(bytes).is_err());
    }
}
