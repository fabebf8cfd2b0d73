//! Why a broker does not start: one sentence, and an exit code by the contract.

use std::io;
use std::path::PathBuf;

use kennet_contract::{ClusterId, ConfigError, ExitCode};
use kennet_log::OpenError;
use kennet_metadata::MetadataLogError;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config file can't be read.
    #[error(
        "cannot read config file {path}: {source}; expected a file that this process may read: mount it or name another with --config"
    )]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The config file is not TOML, or has a field too many or too few.
    #[error("config file {path} is wrong{}: {what}", at_line(*line))]
    ParseConfig {
        /// The file.
        path: PathBuf,
        /// Where in it, if it is one place.
        line: Option<usize>,
        /// Key, value, what was expected, what to do.
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
    #[error(
        "cannot use {path} for mutual TLS: {what}; expected CA, certificate and its key in PEM: mount the cluster's Secret or correct management.certificates"
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The data directory can't be opened.
    #[error("{}", data_directory(.0))]
    DataDirectory(#[from] OpenError),
    /// Another process has the data directory, and did not end.
    #[error(
        "data directory {path} is in use by another process, and was for the {seconds} s that this one waited: stop that one first, or give this one its own directory"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// How long it was tried.
        seconds: u64,
    },
    /// The data directory can't be used.
    #[error("cannot use data directory {path}: {source}; {FOLDER_EXPECTED}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The data directory was formatted by Apache Kafka.
    #[error(
        "data directory {path} belongs to Apache Kafka (it has a meta.properties), whose records this broker does not take over: mount an empty volume and copy the records with a client"
    )]
    KafkasDirectory {
        /// The directory.
        path: PathBuf,
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
    #[error(
        "{path} is damaged: {what}; expected the JSON that was written when the directory was formatted: restore it, or start with an empty data directory"
    )]
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
    #[error("{}", metadata_log(.0))]
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
    #[error(
        "cannot {what}: {source}; expected a system that allows it: raise the limits on threads, memory and open files"
    )]
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
            | Self::Locked { .. }
            | Self::Io { .. }
            | Self::KafkasDirectory { .. }
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

const FOLDER_EXPECTED: &str =
    "expected a folder that this process may read and write: mount a volume there or change data_directory";

fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" at line {line}"))
}

/// The log crate does not know what is configured, so what to do is said here.
fn data_directory(error: &OpenError) -> String {
    let said = with_source(error);
    match error {
        OpenError::Locked { .. } => said,
        OpenError::Io { .. } => format!("{said}; {FOLDER_EXPECTED}"),
    }
}

/// The same for the metadata log. What is damaged says so itself, with file and place.
fn metadata_log(error: &MetadataLogError) -> String {
    let said = with_source(error);
    match error {
        MetadataLogError::Damaged { .. } | MetadataLogError::Full { .. } => said,
        MetadataLogError::Io { .. } => format!("{said}; {FOLDER_EXPECTED}"),
        MetadataLogError::Record(_) | MetadataLogError::Apply(_) => format!(
            "the metadata log can't be replayed: {said}; expected records of this version in order: use the version of Kennet that wrote it, or restore the folder quorum"
        ),
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

#[cfg(test)]
mod tests {
    use std::io;

    use kennet_log::OpenError;
    use kennet_metadata::MetadataLogError;

    use super::StartError;

    /// Those that a test can't make a process run into; `tests/process.rs` has the others.
    #[test]
    fn errors_of_the_system_say_what_to_do() {
        let refused = || io::Error::from_raw_os_error(11);
        let said = [
            StartError::System { what: "start the runtime", source: refused() },
            StartError::DataDirectory(OpenError::Io { path: "/data/topics".into(), source: refused() }),
            StartError::MetadataLog(MetadataLogError::Io {
                path: "/data/quorum/metadata.log".into(),
                source: refused(),
            }),
            StartError::Stopped,
        ]
        .map(|error| format!("{} {error}", error.exit_code() as u8));
        insta::assert_snapshot!(said.join("\n"));
    }
}
