//! Metadata: brokers, topics, leaders, by the addresses of the listener that the client came through.
//!
//! A topic that does not exist is made if both the client and the broker allow it; it is answered in the same response, because
//! making it is one commit.

use std::sync::Arc;

use kennet_metadata::decisions::create_topics::{self, CreateTopicError, NewTopic};
use kennet_metadata::{Image, Topic, is_internal};
use kennet_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use kennet_protocol::{ErrorCode, PartitionIndex, Uuid};

use crate::broker::{Broker, Session};
use crate::controller::ChangeError;
use crate::handler::create_topics::topic_defaults;
use crate::handler::{CLUSTER_OPERATIONS, NOT_ASKED, Seen, TOPIC_OPERATIONS, once};

pub(super) async fn handle(
    broker: &Arc<Broker>,
    session: &Session,
    mut request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let mut topics = Vec::new();
    if let Some(topics) = &mut request.topics {
        once(topics, |topic| (topic.name.clone(), topic.topic_id));
    }
    let operations = if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { NOT_ASKED };
    match wanted(request.topics.as_deref(), version) {
        None => topics.extend(broker.controller.image().topics().map(|topic| describe(broker, topic, operations))),
        Some(names) => {
            let create = version < 4 || request.allow_auto_topic_creation;
            for name in names {
                topics.push(one(broker, name, create, operations).await);
            }
        }
    }
    let cluster_operations = request.include_cluster_authorized_operations;
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: broker.id(),
            host: session.listener.advertised_host.clone(),
            port: i32::from(session.listener.advertised_port),
            rack: broker.config.rack.clone(),
        }],
        cluster_id: Some(broker.cluster_id()),
        controller_id: broker.id(),
        topics,
        cluster_authorized_operations: if cluster_operations { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..MetadataResponse::default()
    }
}

/// The topics that are asked for; none for all. An empty list means all in version 0 only.
fn wanted(topics: Option<&[MetadataRequestTopic]>, version: i16) -> Option<&[MetadataRequestTopic]> {
    topics.filter(|topics| !(topics.is_empty() && version == 0))
}

async fn one(
    broker: &Arc<Broker>,
    wanted: &MetadataRequestTopic,
    create: bool,
    operations: i32,
) -> MetadataResponseTopic {
    let image = broker.controller.image();
    if let Some(topic) = find(&image, wanted) {
        return describe(broker, topic, operations);
    }
    let Some(name) = &wanted.name else {
        return missing(None, wanted.topic_id, NOT_ASKED, ErrorCode::UnknownTopicId);
    };
    let allowed = create && broker.configs(&image, None).broker_switch("auto.create.topics.enable");
    if !allowed || is_internal(name) {
        let known = kennet_metadata::check_topic_name(name)
            .map_or(ErrorCode::InvalidTopicException, |()| ErrorCode::UnknownTopicOrPartition);
        return missing(Some(name), Uuid::nil(), operations, known);
    }
    match auto_create(broker, &image, name).await {
        Ok(()) | Err(ErrorCode::TopicAlreadyExists) => match broker.controller.image().topic(name) {
            Some(topic) => describe(broker, topic, operations),
            None => missing(Some(name), Uuid::nil(), operations, ErrorCode::LeaderNotAvailable),
        },
        Err(error) => missing(Some(name), Uuid::nil(), operations, error),
    }
}

fn find<'a>(image: &'a Image, wanted: &MetadataRequestTopic) -> Option<&'a Arc<Topic>> {
    match &wanted.name {
        Some(name) => image.topic(name),
        None => image.topic_by_id(wanted.topic_id),
    }
}

async fn auto_create(broker: &Arc<Broker>, image: &Image, name: &str) -> Result<(), ErrorCode> {
    let defaults = topic_defaults(broker, image);
    let topic = NewTopic { name: name.to_owned(), ..NewTopic::default() };
    let id = Uuid::new_v4();
    let made = broker
        .controller
        .change(move |image| create_topics::decide(image, &topic, defaults, id).map(|records| (records, ())));
    made.await.map_err(|error| match error {
        ChangeError::Refused(CreateTopicError::Name(_) | CreateTopicError::Collides { .. }) => {
            ErrorCode::InvalidTopicException
        }
        ChangeError::Refused(CreateTopicError::Exists { .. }) => ErrorCode::TopicAlreadyExists,
        ChangeError::Refused(CreateTopicError::ClusterPartitions { .. }) => ErrorCode::PolicyViolation,
        ChangeError::Refused(_) => ErrorCode::InvalidReplicationFactor,
        ChangeError::Unavailable { .. } => ErrorCode::LeaderNotAvailable,
    })
}

fn describe(broker: &Broker, topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partition = |(index, partition): (i32, &kennet_metadata::Partition)| {
        let seen = Seen::of(broker, topic, index, partition);
        MetadataResponsePartition {
            error_code: seen.error_code,
            partition_index: PartitionIndex(index),
            leader_id: seen.leader,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
            offline_replicas: seen.offline_replicas,
        }
    };
    MetadataResponseTopic {
        error_code: ErrorCode::None,
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: (0..).zip(&topic.partitions).map(partition).collect(),
        topic_authorized_operations: operations,
    }
}

fn missing(name: Option<&str>, topic_id: Uuid, operations: i32, error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code,
        name: name.map(str::to_owned),
        topic_id,
        is_internal: false,
        partitions: Vec::new(),
        topic_authorized_operations: operations,
    }
}
