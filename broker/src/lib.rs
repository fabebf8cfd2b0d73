//! Kennet's broker: Kafka's protocol over its own log.
//!
//! `run` is the whole program but for its command line. The folders are: `server` (sockets), `handler` (one file per API key),
//! `partition` (what is led here), `management` (the operator's endpoint); the decisions are in the crates log and metadata.

mod broker;
mod cleaner;
mod clock;
mod config;
mod controller;
mod fetch_session;
mod group;
mod handler;
mod identity;
mod management;
mod memory;
mod metadata_log;
mod metrics;
mod offline;
mod partition;
mod read_pool;
mod retention;
mod server;
mod start;
mod start_error;
mod system;

pub use config::{LoadedConfig, load};
pub use offline::{OfflineError, dump_file, verify_directory};
pub use start::{Running, run, start};
pub use start_error::StartError;
