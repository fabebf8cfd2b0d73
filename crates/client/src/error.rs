//! What can go wrong between a client and a cluster.
//!
//! One enum for the whole crate, because every call shares the same path: connect, ask, read the answer. An answer's error code keeps
//! the object that it is about.

use std::io;
use std::time::Duration;

use kennet_protocol::record::{BatchError, BuildError, RecordError};
use kennet_protocol::{DecodeError, EncodeError, ErrorCode, Offset};

use crate::TopicPartition;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answers at any address.
    #[error("no broker answers at {addresses}: {source}")]
    NoBroker {
        /// All that were tried.
        addresses: String,
        /// The last failure.
        source: Box<ClientError>,
    },
    /// The connection ended before the answer came.
    #[error("{address} closed the connection before it answered {api}")]
    Disconnected {
        /// Host and port.
        address: String,
        /// What was asked.
        api: &'static str,
    },
    /// No answer in time.
    #[error("{address} did not answer {api} within {} ms", after.as_millis())]
    TimedOut {
        /// Host and port.
        address: String,
        /// What was asked.
        api: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The broker serves no version of the API that we know.
    #[error("{address} serves no version of {api} that this client knows: is it Kafka 2.1 or newer?")]
    Unsupported {
        /// Host and port.
        address: String,
        /// What was asked.
        api: &'static str,
    },
    /// The request can't be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The answer can't be read.
    #[error("the answer of {address} to {api} is malformed: {source}")]
    Decode {
        /// Host and port.
        address: String,
        /// What was asked.
        api: &'static str,
        /// Where it went wrong.
        source: DecodeError,
    },
    /// The broker answered with an error.
    #[error("{object}: {api} failed with {code}{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// What was asked.
        api: &'static str,
        /// What it was about, such as `topic 'orders'`.
        object: String,
        /// The code.
        code: ErrorCode,
        /// What the broker said about it.
        message: Option<String>,
    },
    /// The answer lacks what was asked for.
    #[error("{object}: the answer to {api} says nothing about it")]
    Missing {
        /// What was asked.
        api: &'static str,
        /// What it was about.
        object: String,
    },
    /// A partition that the topic does not have.
    #[error("topic '{topic}' has no partition {partition}: it has {count}, from 0")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition that was asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// Nobody leads the partition: an election goes on, or the broker that has it found its log damaged.
    #[error("{partition} has no leader: the log of the broker that has it says why")]
    NoLeader {
        /// The partition.
        partition: TopicPartition,
    },
    /// The position lies outside of the log.
    #[error("offset {offset} of {topic}-{partition} does not exist (any more, or yet)")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The position.
        offset: Offset,
    },
    /// A fetched batch is damaged.
    #[error("{topic}-{partition} at offset {offset}: {source}")]
    Batch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading stood.
        offset: Offset,
        /// What is wrong.
        source: BatchError,
    },
    /// A fetched record is damaged.
    #[error("{topic}-{partition} at offset {offset}: {source}")]
    Record {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading stood.
        offset: Offset,
        /// What is wrong.
        source: RecordError,
    },
    /// Records can't be packed into a batch.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The producer has ended.
    #[error("the producer has been closed")]
    Closed,
    /// A request about several objects failed, or one of a batch's records made it fail: each of them has this failure.
    #[error("{message}")]
    Shared {
        /// The failure, in words.
        message: String,
        /// Its code, if a broker gave one.
        code: Option<ErrorCode>,
        /// Whether asking again may help.
        retriable: bool,
    },
}

impl ClientError {
    /// Whether asking again may help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::NoBroker { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::NoLeader { .. } => ErrorCode::LeaderNotAvailable.is_retriable(),
            Self::Shared { retriable, .. } => *retriable,
            _ => false,
        }
    }

    /// The broker's error code, if it is a broker that refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::NoLeader { .. } => Some(ErrorCode::LeaderNotAvailable),
            Self::Shared { code, .. } => *code,
            _ => None,
        }
    }

    /// The same failure for another object that the request was about.
    pub(crate) fn share(&self) -> Self {
        Self::Shared { message: self.to_string(), code: self.code(), retriable: self.is_retriable() }
    }

    /// The error of an answer, unless its code is none.
    pub(crate) fn check(
        api: &'static str,
        object: impl FnOnce() -> String,
        code: ErrorCode,
        message: Option<String>,
    ) -> Result<(), Self> {
        if code.is_ok() {
            return Ok(());
        }
        Err(Self::Refused { api, object: object(), code, message: message.filter(|text| !text.is_empty()) })
    }
}
