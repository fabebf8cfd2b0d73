//! Decisions about metadata, one file each: from the image and a request to records, or to the reason why not.
//!
//! Nothing here is committed by being decided; the controller appends the records and applies them then.

pub mod alter_configs;
pub mod applied_generation;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod producer_ids;
pub mod register_broker;
pub mod topic_owners;
