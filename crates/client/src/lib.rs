//! A Kafka client on tokio: connections with version negotiation, metadata, admin calls, a producer, consumers.
//!
//! Invariants: a request is sent in the newest version that both sides know; every wait has a deadline; every queue has a
//! limit; an error of a broker reaches the caller with the object that it is about. Offsets, records and names are passed on as they
//! are: what to do with them is the caller's business.

mod admin;
mod bootstrap;
mod client;
mod connection;
mod consumer;
mod error;
mod group;
mod partitioner;
mod producer;
mod retries;

pub use admin::{
    ClusterDescription, Committed, ConfigEntry, ConfigResource, CreatedTopic, GroupDescription, GroupListing,
    GroupMember, ListedOffset, NewTopic,
};
pub use bootstrap::BootstrapError;
pub use client::{BrokerAddress, Client, ClientOptions, PartitionMetadata, TopicMetadata, TopicPartition};
pub use consumer::{Consumer, ConsumerOptions, FetchedRecord, Start};
pub use error::ClientError;
pub use group::{GroupConsumer, GroupOptions};
pub use kennet_protocol::record::{Compression, Header, Record};
pub use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};
pub use partitioner::partition_of_key;
pub use producer::{Delivery, NewRecord, Producer, ProducerOptions, Written};
