//! DeleteTopics: by name, or by id from version 6 on. The files are gone when the answer leaves.

use std::sync::Arc;

use hashbrown::HashMap;
use kennet_metadata::decisions::delete_topics::{self, DeleteTopicError};
use kennet_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use kennet_protocol::{ErrorCode, Uuid};

use crate::broker::{Broker, Session};
use crate::controller::ChangeError;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let by_name = |name: String| DeleteTopicState { name: Some(name), topic_id: Uuid::nil() };
    let topics = if version < 6 { request.topic_names.into_iter().map(by_name).collect() } else { request.topics };
    let mut named: HashMap<(Option<String>, Uuid), usize> = HashMap::new();
    for topic in &topics {
        *named.entry((topic.name.clone(), topic.topic_id)).or_default() += 1;
    }
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        // what is named twice is answered once, and not deleted, as in Kafka
        match named.remove(&(topic.name.clone(), topic.topic_id)) {
            None => {}
            Some(1) => responses.push(delete(broker, topic).await),
            Some(_) => responses.push(refused(topic, "the request names the topic twice")),
        }
    }
    DeleteTopicsResponse { throttle_time_ms: 0, responses }
}

fn refused(topic: DeleteTopicState, why: &str) -> DeletableTopicResult {
    let DeleteTopicState { name, topic_id } = topic;
    DeletableTopicResult { name, topic_id, error_code: ErrorCode::InvalidRequest, error_message: Some(why.to_owned()) }
}

async fn delete(broker: &Arc<Broker>, topic: DeleteTopicState) -> DeletableTopicResult {
    let DeleteTopicState { name, topic_id } = topic;
    let wanted = name.clone();
    let result = broker
        .controller
        .change(move |image| {
            let records = match &wanted {
                Some(name) => delete_topics::by_name(image, name)?,
                None => delete_topics::by_id(image, topic_id)?,
            };
            let found = match &wanted {
                Some(name) => image.topic(name),
                None => image.topic_by_id(topic_id),
            };
            let found = found.map(|topic| (topic.name.to_string(), topic.id));
            Ok((records, found))
        })
        .await;
    match result {
        Ok(found) => {
            // a topic that is made again must not find the old one's offsets, not even after a crash
            broker.groups.settled().await;
            let (name, topic_id) = found.map_or((name, topic_id), |(name, id)| (Some(name), id));
            DeletableTopicResult { name, topic_id, error_code: ErrorCode::None, error_message: None }
        }
        Err(error) => {
            DeletableTopicResult { name, topic_id, error_code: code(&error), error_message: Some(error.to_string()) }
        }
    }
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &ChangeError<DeleteTopicError>) -> ErrorCode {
    match error {
        ChangeError::Unavailable { .. } => ErrorCode::KafkaStorageError,
        ChangeError::Refused(DeleteTopicError::UnknownName { .. }) => ErrorCode::UnknownTopicOrPartition,
        ChangeError::Refused(DeleteTopicError::UnknownId { .. }) => ErrorCode::UnknownTopicId,
        ChangeError::Refused(DeleteTopicError::Internal { .. }) => ErrorCode::InvalidRequest,
    }
}
