//! CreatePartitions: a topic grows.

use std::sync::Arc;

use kennet_metadata::decisions::create_partitions::{self, CreatePartitionsError};
use kennet_metadata::decisions::create_topics::CreateTopicError;
use kennet_protocol::ErrorCode;
use kennet_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use crate::broker::{Broker, Session};
use crate::controller::ChangeError;
use crate::handler::repeated;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: CreatePartitionsRequest,
    _: i16,
) -> CreatePartitionsResponse {
    let twice = repeated(&mut request.topics, |topic| topic.name.clone());
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        results.push(if twice.contains(&topic.name) {
            let message = format!("topic '{}' is there more than once in this request", topic.name);
            let (name, error_code) = (topic.name, ErrorCode::InvalidRequest);
            CreatePartitionsTopicResult { name, error_code, error_message: Some(message) }
        } else {
            grow(broker, topic, request.validate_only).await
        });
    }
    CreatePartitionsResponse { throttle_time_ms: 0, results }
}

async fn grow(broker: &Arc<Broker>, topic: CreatePartitionsTopic, validate_only: bool) -> CreatePartitionsTopicResult {
    let CreatePartitionsTopic { name, count, assignments } = topic;
    let given: Option<Vec<_>> = assignments.map(|list| list.into_iter().map(|one| one.broker_ids).collect());
    let wanted = name.clone();
    let result = broker
        .controller
        .change(move |image| {
            let records = create_partitions::decide(image, &wanted, count, given.as_deref())?;
            Ok((if validate_only { Vec::new() } else { records }, ()))
        })
        .await;
    match result {
        Ok(()) => CreatePartitionsTopicResult { name, error_code: ErrorCode::None, error_message: None },
        Err(error) => {
            CreatePartitionsTopicResult { name, error_code: code(&error), error_message: Some(error.to_string()) }
        }
    }
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &ChangeError<CreatePartitionsError>) -> ErrorCode {
    match error {
        ChangeError::Unavailable { .. } => ErrorCode::KafkaStorageError,
        ChangeError::Refused(error) => match error {
            CreatePartitionsError::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            CreatePartitionsError::Count { .. } => ErrorCode::InvalidPartitions,
            CreatePartitionsError::Internal { .. } => ErrorCode::InvalidTopicException,
            CreatePartitionsError::Assignment { .. } => ErrorCode::InvalidReplicaAssignment,
            CreatePartitionsError::Placement(CreateTopicError::ClusterPartitions { .. }) => ErrorCode::PolicyViolation,
            CreatePartitionsError::Placement(_) => ErrorCode::InvalidReplicationFactor,
        },
    }
}
