//! Produce: checks each partition's batch, appends it, and answers when all of them are acknowledged.
//!
//! Whatever acks the client asked for, an answer leaves after its records are durable; acks=0 gets none. On one node acks=1 and acks=all
//! are the same promise.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashSet;
use kennet_log::{AppendError, Appended};
use kennet_metadata::{Image, Topic, is_internal};
use kennet_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use kennet_protocol::record::{BatchError, InvalidBatch, ProduceRules, check_produced};
use kennet_protocol::{ErrorCode, Offset, RequestHeader, TimestampMs};

use crate::broker::Broker;
use crate::clock;
use crate::handler::{Reply, encode};
use crate::partition::{AckError, AckWait};

/// One partition's part of the answer, and what it waits for.
struct Part {
    response: PartitionProduceResponse,
    wait: Option<AckWait>,
}

/// Why a partition's batch was not appended.
#[derive(Debug, thiserror::Error)]
enum ProduceError {
    #[error("there is no such topic or partition")]
    UnknownTopicOrPartition,
    #[error("there is no topic with this id")]
    UnknownTopicId,
    #[error("topic '{0}' is written by the broker only")]
    Internal(Arc<str>),
    #[error("no records were sent")]
    NoRecords,
    #[error("acks must be -1, 0 or 1, not {0}")]
    Acks(i16),
    #[error("this broker does not serve transactions yet; leave transactional.id unset")]
    Transactional,
    #[error("the topic needs {needed} in-sync replicas (min.insync.replicas) and has {present}")]
    NotEnoughReplicas { needed: i64, present: usize },
    #[error(transparent)]
    Batch(#[from] InvalidBatch),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// What all partitions of a request have in common.
struct Produced<'a> {
    request: &'a ProduceRequest,
    version: i16,
    /// The allocation that the records lie in.
    frame_bytes: usize,
    now: TimestampMs,
}

/// The records of a request lie in one allocation of `frame_bytes`.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    header: &RequestHeader,
    mut request: ProduceRequest,
    frame_bytes: usize,
) -> Reply {
    keep_last_entries(&mut request);
    let image = broker.controller.image();
    let produced = Produced { request: &request, version: header.api_version, frame_bytes, now: clock::now() };
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for data in &request.topic_data {
        let parts = append_topic(broker, &image, &produced, data).await;
        topics.push((data.name.clone(), data.topic_id, parts));
    }
    if request.acks == 0 {
        let failed = topics.iter().flat_map(|(_, _, parts)| parts).any(|part| !part.response.error_code.is_ok());
        // a client that wants no answer learns of an error by its connection's end
        if failed {
            return Reply::Close;
        }
        // what was appended is the log's to charge and to keep; who is not answered holds up no answer behind it
        return Reply::Nothing;
    }
    let header = RequestHeader::clone(header);
    // the timeout is for replicas (acks=-1) only; with acks=1 Kafka answers when its own append is done, however long that takes
    let timeout = request_timeout(&request);
    let timeout = (request.acks == -1).then_some(timeout);
    Reply::Later(Box::pin(async move {
        let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let mut responses = Vec::with_capacity(topics.len());
        for (name, topic_id, parts) in topics {
            let mut partition_responses = Vec::with_capacity(parts.len());
            for part in parts {
                partition_responses.push(finish(part, deadline).await);
            }
            responses.push(TopicProduceResponse { name, topic_id, partition_responses });
        }
        answer(&header, &ProduceResponse { responses, ..ProduceResponse::default() })
    }))
}

/// Of a partition that is named twice the last entry counts, and is answered once, as in Kafka.
fn keep_last_entries(request: &mut ProduceRequest) {
    if request.topic_data.iter().map(|topic| topic.partition_data.len()).sum::<usize>() < 2 {
        return;
    }
    let mut seen = HashSet::new();
    for topic in request.topic_data.iter_mut().rev() {
        let mut first = Vec::with_capacity(topic.partition_data.len());
        for partition in std::mem::take(&mut topic.partition_data).into_iter().rev() {
            if seen.insert((topic.name.clone(), topic.topic_id, partition.index)) {
                first.push(partition);
            }
        }
        first.reverse();
        topic.partition_data = first;
    }
    request.topic_data.retain(|topic| !topic.partition_data.is_empty());
}

fn answer(header: &RequestHeader, response: &ProduceResponse) -> Vec<Bytes> {
    match encode(header, response) {
        Reply::Now(chunks, _) => chunks,
        Reply::Later(_) | Reply::Nothing | Reply::Close => Vec::new(),
    }
}

async fn append_topic(broker: &Broker, image: &Image, produced: &Produced<'_>, data: &TopicProduceData) -> Vec<Part> {
    let Produced { request, version, .. } = *produced;
    let topic = broker.topic(image, &data.name, data.topic_id);
    let rules = topic.as_ref().map(|topic| rules_of(broker, image, topic, version));
    let append = |partition: &PartitionProduceData| {
        check_request(request)?;
        let (Some(topic), Some(rules)) = (&topic, &rules) else {
            // from version 13 on topics have no name here
            return Err(if version >= 13 {
                ProduceError::UnknownTopicId
            } else {
                ProduceError::UnknownTopicOrPartition
            });
        };
        append_partition(broker, image, produced, topic, rules, partition)
    };
    let mut parts = Vec::with_capacity(data.partition_data.len());
    for partition in &data.partition_data {
        // a disk that is behind slows the sender down: its connection is not read meanwhile
        let appended = broker.partitions.when_there_is_room(request_timeout(request), || append(partition), is_busy);
        parts.push(match appended.await {
            Ok((appended, wait)) => accepted(partition, &appended, wait),
            Err(error) => refused(partition, &error),
        });
    }
    parts
}

fn is_busy(error: &ProduceError) -> bool {
    matches!(error, ProduceError::Append(AppendError::Busy { .. }))
}

/// How long an append may wait for room.
fn request_timeout(request: &ProduceRequest) -> Duration {
    Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0))
}

fn check_request(request: &ProduceRequest) -> Result<(), ProduceError> {
    if !(-1..=1).contains(&request.acks) {
        return Err(ProduceError::Acks(request.acks));
    }
    if request.transactional_id.is_some() { Err(ProduceError::Transactional) } else { Ok(()) }
}

fn append_partition(
    broker: &Broker,
    image: &Image,
    produced: &Produced<'_>,
    topic: &Topic,
    rules: &ProduceRules,
    data: &PartitionProduceData,
) -> Result<(Appended, AckWait), ProduceError> {
    if is_internal(&topic.name) {
        return Err(ProduceError::Internal(Arc::clone(&topic.name)));
    }
    let partition = broker.partition(topic, data.index).ok_or(ProduceError::UnknownTopicOrPartition)?;
    if produced.request.acks == -1 {
        let needed = broker.configs(image, Some(topic)).topic_number("min.insync.replicas");
        let present = topic.partition(data.index).map_or(0, |partition| partition.isr.len());
        if i64::try_from(present).is_ok_and(|present| present < needed) {
            return Err(ProduceError::NotEnoughReplicas { needed, present });
        }
    }
    let records = data.records.as_ref().filter(|records| !records.is_empty()).ok_or(ProduceError::NoRecords)?;
    let batch = check_produced(records, rules, produced.now)?;
    if batch.header().attributes.is_transactional() {
        return Err(ProduceError::Transactional);
    }
    // the log keeps it longer than the request is charged
    Ok(partition.append(&batch.part_of(produced.frame_bytes), produced.now)?)
}

fn rules_of(broker: &Broker, image: &Image, topic: &Topic, version: i16) -> ProduceRules {
    let configs = broker.configs(image, Some(topic));
    ProduceRules {
        batch_bytes_max: usize::try_from(configs.topic_number("max.message.bytes")).unwrap_or(0),
        before_ms_max: configs.topic_number("message.timestamp.before.max.ms"),
        after_ms_max: configs.topic_number("message.timestamp.after.max.ms"),
        log_append_time: configs.topic_text("message.timestamp.type") == "LogAppendTime",
        keys_required: configs.topic_text("cleanup.policy").split(',').any(|word| word.trim() == "compact"),
        zstd_allowed: version >= 7,
    }
}

fn accepted(data: &PartitionProduceData, appended: &Appended, wait: AckWait) -> Part {
    let response = PartitionProduceResponse {
        index: data.index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time.unwrap_or(TimestampMs::NONE),
        log_start_offset: appended.log_start,
        error_message: None,
        ..PartitionProduceResponse::default()
    };
    Part { response, wait: Some(wait) }
}

fn refused(data: &PartitionProduceData, error: &ProduceError) -> Part {
    let record_errors = match error {
        ProduceError::Batch(InvalidBatch::MissingKeys { indexes }) => indexes
            .iter()
            .map(|index| BatchIndexAndErrorMessage {
                batch_index: *index,
                batch_index_error_message: Some("a compacted topic needs a key in every record".to_owned()),
            })
            .collect(),
        _ => Vec::new(),
    };
    let mut response = failed(data.index, code(error), error.to_string());
    response.record_errors = record_errors;
    Part { response, wait: None }
}

fn failed(index: kennet_protocol::PartitionIndex, error_code: ErrorCode, message: String) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code,
        base_offset: Offset(-1),
        log_append_time_ms: TimestampMs::NONE,
        log_start_offset: Offset(-1),
        error_message: Some(message),
        ..PartitionProduceResponse::default()
    }
}

async fn finish(part: Part, deadline: Option<tokio::time::Instant>) -> PartitionProduceResponse {
    let Some(wait) = part.wait else { return part.response };
    let index = part.response.index;
    let acknowledged = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, wait).await,
        None => Ok(wait.await),
    };
    match acknowledged {
        Ok(Ok(())) => part.response,
        Ok(Err(error)) => {
            let code = match &error {
                AckError::NotLeader => ErrorCode::NotLeaderOrFollower,
                AckError::Deleted => ErrorCode::UnknownTopicOrPartition,
                AckError::Storage { .. } => ErrorCode::KafkaStorageError,
            };
            failed(index, code, error.to_string())
        }
        Err(_) => failed(index, ErrorCode::RequestTimedOut, "the records were not acknowledged in time".to_owned()),
    }
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &ProduceError) -> ErrorCode {
    match error {
        ProduceError::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        ProduceError::UnknownTopicId => ErrorCode::UnknownTopicId,
        ProduceError::Internal(_) => ErrorCode::InvalidTopicException,
        ProduceError::NoRecords => ErrorCode::InvalidRecord,
        ProduceError::Acks(_) => ErrorCode::InvalidRequiredAcks,
        ProduceError::Transactional => ErrorCode::UnsupportedVersion,
        ProduceError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        ProduceError::Batch(error) => match error {
            InvalidBatch::Batch(
                BatchError::Checksum { .. } | BatchError::Truncated { .. } | BatchError::Length { .. },
            ) => ErrorCode::CorruptMessage,
            // Kafka knows formats 0 and 1 and refuses them; others it can't read
            InvalidBatch::Batch(BatchError::Magic { magic: 0 | 1 }) => ErrorCode::InvalidRecord,
            InvalidBatch::Batch(BatchError::Magic { .. }) => ErrorCode::CorruptMessage,
            // a producer that sent several records sends them again in smaller batches
            InvalidBatch::TooLarge { .. } | InvalidBatch::Decompressed { .. } => ErrorCode::MessageTooLarge,
            InvalidBatch::Timestamp { .. } => ErrorCode::InvalidTimestamp,
            InvalidBatch::Compression { .. } => ErrorCode::UnsupportedCompressionType,
            InvalidBatch::MoreThanOne { .. }
            | InvalidBatch::Invalid { .. }
            | InvalidBatch::MissingKeys { .. }
            | InvalidBatch::Records(_) => ErrorCode::InvalidRecord,
        },
        ProduceError::Append(error) => match error {
            AppendError::OldProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            AppendError::Busy { .. } => ErrorCode::RequestTimedOut,
            AppendError::DiskFull | AppendError::Unavailable(_) => ErrorCode::KafkaStorageError,
        },
    }
}
