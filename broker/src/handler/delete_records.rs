//! DeleteRecords: moves a partition's log start; the new start is durable before it is answered.

use std::sync::Arc;

use kennet_log::{DeleteRecordsError, Unavailable};
use kennet_metadata::is_internal;
use kennet_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use kennet_protocol::{ErrorCode, Offset, Uuid};

use crate::broker::{Broker, Session};
use crate::clock;
use crate::partition::Partition;

/// The log end, as clients write it.
const HIGH_WATERMARK: i64 = -1;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    session: &Session,
    request: DeleteRecordsRequest,
    _: i16,
) -> DeleteRecordsResponse {
    let image = broker.controller.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = broker.topic(&image, &topic.name, Uuid::nil());
        // who keeps the newest record of each key may count on it
        let policy =
            found.as_ref().map(|topic| broker.configs(&image, Some(topic.as_ref())).topic_text("cleanup.policy"));
        let is_kept = policy.is_some_and(|policy| !policy.split(',').any(|word| word.trim() == "delete"));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let partition = found.as_ref().and_then(|topic| broker.partition(topic, wanted.partition_index));
            let result = match partition {
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(_) if is_internal(&topic.name) => Err(ErrorCode::InvalidTopicException),
                Some(_) if is_kept => Err(ErrorCode::PolicyViolation),
                Some(partition) => delete(broker, session, partition, wanted).await,
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: result.unwrap_or(Offset(-1)),
                error_code: result.err().unwrap_or(ErrorCode::None),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { throttle_time_ms: 0, topics }
}

async fn delete(
    broker: &Broker,
    session: &Session,
    partition: Arc<Partition>,
    wanted: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    let high_watermark = partition.high_watermark();
    let offset = if wanted.offset.0 == HIGH_WATERMARK { high_watermark } else { wanted.offset };
    let job = move || partition.log.delete_records(offset, high_watermark, clock::now());
    match broker.reads.run_for(session.peer, job).await {
        Err(_) => Err(ErrorCode::RequestTimedOut),
        Ok(result) => result.map_err(|error| code(&error)),
    }
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        DeleteRecordsError::Unavailable(Unavailable::Deleted) => ErrorCode::UnknownTopicOrPartition,
        DeleteRecordsError::Unavailable(_) | DeleteRecordsError::Io(_) => ErrorCode::KafkaStorageError,
    }
}
