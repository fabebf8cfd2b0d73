//! Kennet's operator: KafkaCluster, Topic and OffsetReset in, StatefulSets of brokers, topics and offsets out.
//!
//! One folder per kind with the same parts: fetch reads, plan decides (pure), build renders (pure), apply writes, status says what
//! became of it. No decision reads a status; every reconcile starts from what is there.

mod arguments;
mod clock;
mod cluster;
mod conditions;
mod context;
mod error;
mod health;
mod leader;
mod management;
mod objects;
mod offset_reset;
mod pki;
mod program;
mod start;
mod topic;

pub use program::main;
