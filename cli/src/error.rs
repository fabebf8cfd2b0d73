//! Why a command failed, and the exit code for it.

use std::io;

use kennet_client::ClientError;
use kennet_contract::ExitCode;
use serde_json::{Map, Value};

use crate::advice;

/// The exit code that shells give whoever SIGTERM ends: 128 and the signal's number.
pub(crate) const TERMINATED: u8 = 128 + 15;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The cluster refused or did not answer.
    #[error("{}", advice::sentence(.0))]
    Client(#[from] ClientError),
    /// The arguments don't fit together.
    #[error("{0}")]
    Usage(String),
    /// A file or a stream.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the object.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest or a state file is wrong.
    #[error("{0}")]
    Config(String),
    /// A port is taken.
    #[error("{0}")]
    Port(String),
    /// The broker that was started ended by itself.
    #[error("{message}")]
    Broker {
        /// Its exit code, whose meaning is ours too.
        code: Option<i32>,
        /// Its last words.
        message: String,
    },
    /// Anything else that is one sentence.
    #[error("{0}")]
    Failed(String),
    /// Some of it was done, and what is told in words is there in numbers too.
    #[error("{message}")]
    Partly {
        /// One sentence with the numbers.
        message: String,
        /// The numbers by name, for programs.
        numbers: Map<String, Value>,
    },
    /// Nobody reads our output any more: an end, not a failure.
    #[error("the output was closed")]
    BrokenPipe,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// SIGTERM.
    #[error("terminated")]
    Terminated,
}

impl CliError {
    pub(crate) fn failed(what: &str, source: io::Error) -> Self {
        Self::Io { what: what.to_owned(), source }
    }

    /// For programs: the sentence, and what else is known by name.
    pub(crate) fn json(&self) -> Value {
        let mut told = match self {
            Self::Partly { numbers, .. } => numbers.clone(),
            _ => Map::new(),
        };
        told.insert("error".to_owned(), self.to_string().into());
        told.into()
    }

    /// The exit code of README's table.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::Usage,
            Self::Config(_) | Self::Broker { code: Some(3), .. } => ExitCode::Config,
            Self::Broker { code: Some(4), .. } => ExitCode::DataDirectory,
            Self::Port(_) | Self::Broker { code: Some(5), .. } => ExitCode::Port,
            _ => ExitCode::Failed,
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Io { what: "writing the output".to_owned(), source: error }
    }
}
