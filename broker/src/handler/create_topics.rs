//! CreateTopics: one decision per topic, each committed before it is answered.

use std::sync::Arc;

use kennet_contract::config_keys::{self, Effect, Source};
use kennet_metadata::decisions::create_topics::{self, CreateTopicError, NewTopic, TopicDefaults};
use kennet_metadata::{Image, Topic};
use kennet_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use kennet_protocol::{ErrorCode, Uuid};

use crate::broker::{Broker, Session};
use crate::controller::ChangeError;
use crate::handler::describe_configs::source_number;
use crate::handler::repeated;

/// An answer lists the configs of so many topics: some kilobytes for each.
const CONFIGS_OF_TOPICS_MAX: usize = 1_000;

/// A decision that was made, or only tried.
enum Outcome {
    Created,
    Valid(Arc<Topic>),
}

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: CreateTopicsRequest,
    _: i16,
) -> CreateTopicsResponse {
    let twice = repeated(&mut request.topics, |topic| topic.name.clone());
    let mut topics: Vec<CreatableTopicResult> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        if twice.contains(&topic.name) {
            let message = format!("topic '{}' is there more than once in this request", topic.name);
            topics.push(failed(&topic.name, ErrorCode::InvalidRequest, message));
        } else {
            let mut created = create(broker, topic, request.validate_only).await;
            created.configs.take_if(|_| topics.len() >= CONFIGS_OF_TOPICS_MAX);
            topics.push(created);
        }
    }
    CreateTopicsResponse { throttle_time_ms: 0, topics }
}

async fn create(broker: &Arc<Broker>, topic: &CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let wanted = wanted(topic);
    let image = broker.controller.image();
    let defaults = topic_defaults(broker, &image);
    let id = Uuid::new_v4();
    let result = broker
        .controller
        .change(move |image| {
            let records = create_topics::decide(image, &wanted, defaults, id)?;
            if !validate_only {
                return Ok((records, Outcome::Created));
            }
            let mut tried = Image::clone(image);
            records.iter().for_each(|record| drop(tried.apply(record)));
            let topic = tried.topic_by_id(id).cloned();
            Ok((Vec::new(), topic.map_or(Outcome::Created, Outcome::Valid)))
        })
        .await;
    match result {
        Ok(Outcome::Created) => {
            let image = broker.controller.image();
            match image.topic_by_id(id) {
                Some(made) => succeeded(broker, &image, made, id),
                // deleted again already; it was made all the same
                None => CreatableTopicResult {
                    name: topic.name.clone(),
                    topic_id: id,
                    error_message: None,
                    ..CreatableTopicResult::default()
                },
            }
        }
        Ok(Outcome::Valid(made)) => succeeded(broker, &broker.controller.image(), &made, Uuid::nil()),
        Err(error) => failed(&topic.name, code(&error), error.to_string()),
    }
}

/// What counts when a request leaves it open.
pub(crate) fn topic_defaults(broker: &Broker, image: &Image) -> TopicDefaults {
    let configs = broker.configs(image, None);
    TopicDefaults {
        partitions: i32::try_from(configs.broker_number("num.partitions")).unwrap_or(1),
        replication_factor: i16::try_from(configs.broker_number("default.replication.factor")).unwrap_or(1),
        compaction_lags: configs.compaction_lags(),
    }
}

fn wanted(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.clone(),
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignments: topic
            .assignments
            .iter()
            .map(|assigned| (assigned.partition_index, assigned.broker_ids.clone()))
            .collect(),
        configs: topic.configs.iter().map(|config| (config.name.clone(), config.value.clone())).collect(),
    }
}

fn succeeded(broker: &Broker, image: &Image, topic: &Topic, topic_id: Uuid) -> CreatableTopicResult {
    let configs = broker.configs(image, Some(topic));
    let config = |key: &'static config_keys::ConfigKey| {
        let source = configs.topic_values(key).first().map_or(Source::Default, |value| value.source);
        CreatableTopicConfigs {
            name: key.name.to_owned(),
            value: Some(configs.topic_text(key.name)),
            read_only: matches!(key.effect, Effect::Fixed(_)),
            config_source: source_number(source),
            is_sensitive: false,
        }
    };
    let replicas = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    CreatableTopicResult {
        name: topic.name.to_string(),
        topic_id,
        error_message: None,
        num_partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: Some(config_keys::TOPIC_KEYS.iter().map(config).collect()),
        ..CreatableTopicResult::default()
    }
}

fn failed(name: &str, error_code: ErrorCode, message: String) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code,
        error_message: Some(message),
        configs: None,
        ..CreatableTopicResult::default()
    }
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &ChangeError<CreateTopicError>) -> ErrorCode {
    match error {
        ChangeError::Unavailable { .. } => ErrorCode::KafkaStorageError,
        ChangeError::Refused(error) => match error {
            CreateTopicError::Name(_) | CreateTopicError::Collides { .. } => ErrorCode::InvalidTopicException,
            CreateTopicError::Exists { .. } => ErrorCode::TopicAlreadyExists,
            CreateTopicError::Partitions { .. } => ErrorCode::InvalidPartitions,
            CreateTopicError::ClusterPartitions { .. } => ErrorCode::PolicyViolation,
            CreateTopicError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            CreateTopicError::Assignment { .. } => ErrorCode::InvalidReplicaAssignment,
            CreateTopicError::CountsAndAssignment => ErrorCode::InvalidRequest,
            CreateTopicError::Config(_) | CreateTopicError::NoValue { .. } => ErrorCode::InvalidConfig,
        },
    }
}
