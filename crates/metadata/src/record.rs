//! The records of the metadata log. Each has a type, a version, and fields; the format version in identity.json gates changes.

use bytes::{BufMut, Bytes, BytesMut};
use kennet_protocol::{BrokerId, DecodeError, EncodeError, LeaderEpoch, Message, PartitionIndex, Uuid};

/// A broker's incarnation registered.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct BrokerRecord {
    /// The broker.
    pub broker_id: BrokerId,
    /// Its data directory.
    pub directory_id: Uuid,
    /// Raised with each registration; older incarnations are fenced.
    pub broker_epoch: i64,
}

/// A topic came to be.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct TopicRecord {
    /// Its name.
    pub name: String,
    /// Its id, which is never used again.
    pub topic_id: Uuid,
}

/// A partition came to be or changed.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct PartitionRecord {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: PartitionIndex,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Replicas that have everything that is acknowledged.
    pub isr: Vec<BrokerId>,
    /// Its leader, or -1.
    pub leader: BrokerId,
    /// Raised with each change of leader or of the leader's incarnation.
    pub leader_epoch: LeaderEpoch,
    /// Raised with each change.
    pub partition_epoch: i32,
}

/// A topic is gone.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct RemoveTopicRecord {
    /// The topic.
    pub topic_id: Uuid,
}

/// A config was set, or unset.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct ConfigRecord {
    /// Kafka's number of the resource type: 2 topic, 4 broker.
    pub resource_type: i8,
    /// The topic's name or the broker's id; empty for all brokers.
    pub resource_name: String,
    /// The key.
    pub name: String,
    /// The value; none goes back to the default.
    #[kafka(nullable = "0..")]
    pub value: Option<String>,
}

/// Producer ids below this one may be in use.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct ProducerIdsRecord {
    /// The first id that was never given out.
    pub next_producer_id: i64,
}

/// Who looks after a topic, and whether it is to be deleted.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct TopicOwnerRecord {
    /// The topic.
    pub topic_id: Uuid,
    /// Its owner; none when it was given up.
    #[kafka(nullable = "0..")]
    pub owner: Option<OwnerFields>,
    /// Configs that the owner sets.
    pub managed_keys: Vec<String>,
    /// Generation of the owner's object that was applied last; 0 none.
    pub generation: i64,
    /// How long the topic outlives its owner, milliseconds; -1 for ever.
    #[kafka(default = -1)]
    pub delete_after_ms: i64,
    /// When it is deleted, milliseconds since 1970; -1 never.
    #[kafka(default = -1)]
    pub delete_at_ms: i64,
}

/// The spec of the cluster's own Kubernetes object that was applied last.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(versions = "0..=0", flexible = "0..")]
pub struct AppliedGenerationRecord {
    /// The object's uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// A Kubernetes object.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct OwnerFields {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What a config belongs to (Kafka's `ConfigResource.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceType {
    /// A topic.
    Topic,
    /// A broker, or all of them.
    Broker,
}

impl ResourceType {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
        }
    }

    /// From the number on the wire.
    #[must_use]
    pub fn from_number(number: i8) -> Option<Self> {
        [Self::Topic, Self::Broker].into_iter().find(|kind| kind.number() == number)
    }
}

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer version, or damaged.
    #[error("metadata record type {found} is not known: use the version of Kennet that wrote it")]
    UnknownType {
        /// The type's number.
        found: u8,
    },
    /// No bytes at all.
    #[error("a metadata record is empty")]
    Empty,
    /// The fields do not decode.
    #[error("a metadata record does not decode")]
    Decode(#[from] DecodeError),
    /// The fields do not encode.
    #[error("a metadata record does not encode")]
    Encode(#[from] EncodeError),
}

macro_rules! records {
    ($($number:literal $name:ident($fields:ty)),* $(,)?) => {
        /// One record of the metadata log.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $(#[doc = stringify!($fields)] $name($fields),)*
        }

        impl Record {
            /// The record's bytes: type, version, fields.
            ///
            /// # Errors
            /// When a text is longer than its length field can say.
            pub fn encode(&self) -> Result<Bytes, RecordError> {
                let (number, body) = match self {
                    $(Self::$name(fields) => ($number, fields.to_versioned_bytes(0)?),)*
                };
                let mut out = BytesMut::with_capacity(1 + body.len());
                out.put_u8(number);
                out.put(body);
                Ok(out.freeze())
            }

            /// Reads one record.
            ///
            /// # Errors
            /// When the bytes are none, or of a newer version.
            pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
                let number = *bytes.first().ok_or(RecordError::Empty)?;
                let body = bytes.slice(1..);
                match number {
                    $($number => Ok(Self::$name(<$fields>::from_versioned_bytes(body)?)),)*
                    found => Err(RecordError::UnknownType { found }),
                }
            }
        }
    };
}

records! {
    1 Broker(BrokerRecord),
    2 Topic(TopicRecord),
    3 Partition(PartitionRecord),
    4 RemoveTopic(RemoveTopicRecord),
    5 Config(ConfigRecord),
    6 ProducerIds(ProducerIdsRecord),
    7 TopicOwner(TopicOwnerRecord),
    8 AppliedGeneration(AppliedGenerationRecord),
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{AppliedGenerationRecord, ConfigRecord, OwnerFields, Record, TopicOwnerRecord};
    use kennet_protocol::Uuid;

    #[test]
    fn a_record_comes_back() {
        let owner = OwnerFields { namespace: "n".to_owned(), name: "a".to_owned(), uid: "u".to_owned() };
        let records = [
            Record::Config(ConfigRecord {
                resource_type: 2,
                resource_name: "t".to_owned(),
                name: "k".to_owned(),
                value: None,
            }),
            Record::TopicOwner(TopicOwnerRecord {
                topic_id: Uuid::from_u128(5),
                owner: Some(owner),
                managed_keys: vec!["k".to_owned()],
                generation: 3,
                delete_after_ms: 7,
                delete_at_ms: 9,
            }),
            Record::AppliedGeneration(AppliedGenerationRecord { uid: "u".to_owned(), generation: 4 }),
        ];
        for record in records {
            assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Record::decode(&Bytes::from(bytes));
        }
    }
}
