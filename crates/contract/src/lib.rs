//! What operator and broker agree on: the config file, Kafka's config keys, the management endpoint's JSON, ports, paths, identities.
//!
//! Both sides link this crate and neither links the other. Everything here is data and checks; reading files, sockets and
//! certificates belongs to those who use it. A change that an older side could not read raises [`CONTRACT`].

mod broker_config;
mod cluster_id;
mod config_hash;
pub mod config_keys;
mod exit;
mod identity;
pub mod management;
mod nearest;
pub mod paths;
pub mod ports;

pub use broker_config::{
    BrokerConfig, BrokerIdField, CONTRACT, CertificatePaths, ConfigError, ListenerConfig, LogFormat, ManagementConfig,
    PlainEndpoint,
};
pub use cluster_id::{ClusterId, ClusterIdError};
pub use config_hash::{config_hash, short_hash};
pub use exit::ExitCode;
pub use identity::{PeerIdentity, PeerIdentityError};
pub use nearest::nearest;
