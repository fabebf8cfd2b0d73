//! Why a broker does not start: one sentence, and an exit code by the contract.

use std::io;
use std::path::PathBuf;

use kennet_contract::{ClusterId, ConfigError, ExitCode};
use kennet_metadata::MetadataLogError;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config file can't be read.
    #[error("cannot read config file {path}: {source}")]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The config file is not TOML, or has a field too many or too few.
    #[error("config file {path} is wrong: {what}")]
    ParseConfig {
        /// The file.
        path: PathBuf,
        /// The parser's words, in one line.
        what: String,
    },
    /// A value in the config file can't be used.
    #[error("config file {path} is wrong: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// The management certificates can't be used.
    #[error("cannot use certificate {path}: {what}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The data directory can't be opened.
    #[error("{}", with_source(.0))]
    DataDirectory(#[from] kennet_log::OpenError),
    /// The data directory can't be used.
    #[error("cannot use data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The data directory belongs to another cluster.
    #[error(
        "data directory {path} belongs to cluster {found}, not {expected}: mount the right volume or start with an empty one"
    )]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// Its cluster.
        found: ClusterId,
        /// This broker's cluster.
        expected: ClusterId,
    },
    /// The data directory belongs to another broker.
    #[error(
        "data directory {path} belongs to broker {found}, not {expected}: mount the right volume or start with an empty one"
    )]
    ForeignBroker {
        /// The directory.
        path: PathBuf,
        /// Its broker.
        found: i32,
        /// This broker.
        expected: i32,
    },
    /// Written by a version with other formats.
    #[error(
        "data directory {path} has format version {found}, and this broker reads {expected}: use the version of Kennet that wrote it"
    )]
    FormatVersion {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// This broker's.
        expected: u32,
    },
    /// The identity file is damaged.
    #[error("{path} is damaged: {what}; restore it, or start with an empty data directory")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Topics without the metadata that names them.
    #[error(
        "data directory {path} holds {topics} topics and no metadata: restore its folder quorum, or start with an empty data directory"
    )]
    MetadataLost {
        /// The directory.
        path: PathBuf,
        /// Topics that have files.
        topics: usize,
    },
    /// It was stopped before it had started.
    #[error("the broker was stopped while it waited for its bootstrap record")]
    Stopped,
    /// The metadata log can't be used.
    #[error("{}", with_source(.0))]
    MetadataLog(#[from] MetadataLogError),
    /// A port is taken or not allowed.
    #[error("cannot listen on {address} for {what}: {source}; free the port or choose another")]
    Port {
        /// The address and port.
        address: String,
        /// Which endpoint.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses something that every process needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl StartError {
    /// The exit code by the contract.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::ReadConfig { .. } | Self::ParseConfig { .. } | Self::Config { .. } | Self::Certificate { .. } => {
                ExitCode::Config
            }
            Self::DataDirectory(_)
            | Self::Io { .. }
            | Self::ForeignCluster { .. }
            | Self::ForeignBroker { .. }
            | Self::FormatVersion { .. }
            | Self::Identity { .. }
            | Self::MetadataLost { .. }
            | Self::MetadataLog(_) => ExitCode::DataDirectory,
            Self::Port { .. } => ExitCode::Port,
            Self::System { .. } | Self::Stopped => ExitCode::Failed,
        }
    }
}

/// An error and its causes in one sentence.
pub(crate) fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
