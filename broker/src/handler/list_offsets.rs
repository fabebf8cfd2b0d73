//! ListOffsets: the offset at a timestamp, or one of the special positions.
//!
//! Answers come from the log, below the high watermark: an offset told to a client never goes back. Look-ups by time read the disk, so
//! they run on the read pool.

use std::sync::Arc;

use hashbrown::HashSet;
use kennet_log::{ReadError, TimestampOffset, Unavailable};
use kennet_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use kennet_protocol::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};

use crate::broker::{Broker, Session};
use crate::handler::fetch::epoch_code;
use crate::partition::{EpochError, Partition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The first offset that is on local disk (KIP-405); here that is the log's first.
const EARLIEST_LOCAL: i64 = -4;
/// The last offset in tiered storage (KIP-1005); there is none.
const LATEST_TIERED: i64 = -5;

#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error("there is no such topic or partition")]
    Unknown,
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error("timestamp {0} is no special position that is served")]
    Special(i64),
    #[error("the request names the partition twice")]
    Twice,
    #[error("too many look-ups wait for the disk")]
    Busy,
    #[error(transparent)]
    Read(#[from] ReadError),
}

pub(super) async fn handle(
    broker: &Arc<Broker>,
    session: &Session,
    request: ListOffsetsRequest,
    _: i16,
) -> ListOffsetsResponse {
    let image = broker.controller.image();
    let twice = named_twice(&request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = broker.topic(&image, &topic.name, Uuid::nil());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let partition = found.as_ref().and_then(|topic| broker.partition(topic, wanted.partition_index));
            let place = if !twice.is_empty() && twice.contains(&(topic.name.clone(), wanted.partition_index)) {
                Err(LookupError::Twice)
            } else {
                partition.ok_or(LookupError::Unknown)
            };
            partitions.push(answer(broker, session, place, wanted).await);
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { throttle_time_ms: 0, topics }
}

/// Partitions that a request names more than once; Kafka answers none of them.
fn named_twice(request: &ListOffsetsRequest) -> HashSet<(String, PartitionIndex)> {
    let mut seen = HashSet::new();
    let named = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index)));
    named.filter(|place| !seen.insert(*place)).map(|(name, index)| (name.to_owned(), index)).collect()
}

async fn answer(
    broker: &Broker,
    session: &Session,
    partition: Result<Arc<Partition>, LookupError>,
    wanted: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let result = match partition {
        Ok(partition) => look_up(broker, session, &partition, wanted).await,
        Err(error) => Err(error),
    };
    let none = TimestampOffset { timestamp: TimestampMs::NONE, offset: Offset(-1), leader_epoch: LeaderEpoch::NONE };
    let (error_code, found) = match result {
        Ok(found) => (ErrorCode::None, found.unwrap_or(none)),
        Err(error) => (code(&error), none),
    };
    ListOffsetsPartitionResponse {
        partition_index: wanted.partition_index,
        error_code,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: found.leader_epoch,
    }
}

async fn look_up(
    broker: &Broker,
    session: &Session,
    partition: &Arc<Partition>,
    wanted: &ListOffsetsPartition,
) -> Result<Option<TimestampOffset>, LookupError> {
    partition.check_epoch(wanted.current_leader_epoch)?;
    if let Some(reason) = partition.log.unavailable() {
        return Err(ReadError::from(reason).into());
    }
    let upper = partition.high_watermark();
    let at =
        |offset: Offset, leader_epoch| Ok(Some(TimestampOffset { timestamp: TimestampMs::NONE, offset, leader_epoch }));
    let log = Arc::clone(&partition.log);
    match wanted.timestamp.0 {
        LATEST => at(upper, partition.leader_epoch()),
        EARLIEST | EARLIEST_LOCAL => {
            let start = log.log_start();
            at(start, log.epoch_of(start).unwrap_or(LeaderEpoch::NONE))
        }
        LATEST_TIERED => Ok(None),
        MAX_TIMESTAMP => on_disk(broker, session, move || log.newest_timestamp(upper)).await,
        time if time >= 0 => on_disk(broker, session, move || log.first_at_or_after(TimestampMs(time), upper)).await,
        other => Err(LookupError::Special(other)),
    }
}

async fn on_disk(
    broker: &Broker,
    session: &Session,
    job: impl FnOnce() -> Result<Option<TimestampOffset>, ReadError> + Send + 'static,
) -> Result<Option<TimestampOffset>, LookupError> {
    Ok(broker.reads.run_for(session.peer, job).await.map_err(|_| LookupError::Busy)??)
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &LookupError) -> ErrorCode {
    match error {
        LookupError::Unknown | LookupError::Read(ReadError::Unavailable(Unavailable::Deleted)) => {
            ErrorCode::UnknownTopicOrPartition
        }
        LookupError::Epoch(error) => epoch_code(*error),
        LookupError::Special(_) => ErrorCode::UnsupportedVersion,
        LookupError::Twice => ErrorCode::InvalidRequest,
        LookupError::Busy | LookupError::Read(_) => ErrorCode::KafkaStorageError,
    }
}
