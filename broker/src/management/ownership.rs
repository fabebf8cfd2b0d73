//! `/v1/topic-owners`: who looks after which topic.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kennet_contract::PeerIdentity;
use kennet_contract::management::{TopicCreation, TopicOwnerChange, TopicOwners, TopicOwnership};
use kennet_metadata::decisions::create_topics::CreateTopicError;
use kennet_metadata::decisions::topic_owners::{self, CreateOwnedError, TopicOwnerError};
use kennet_metadata::{Topic, is_internal};
use kennet_protocol::Uuid;

use crate::controller::ChangeError;
use crate::handler::create_topics::topic_defaults;
use crate::management::routes::{Refusal, Serving, only_operators, problem};

pub(super) async fn list(State(serving): State<Serving>) -> Json<TopicOwners> {
    let metadata_offset = *serving.broker.controller.changes().borrow();
    let image = serving.broker.controller.image();
    let topics = image.topics().filter(|topic| !is_internal(&topic.name)).map(|topic| ownership(topic)).collect();
    Json(TopicOwners { topics, metadata_offset })
}

pub(super) async fn change(
    State(serving): State<Serving>,
    Extension(peer): Extension<PeerIdentity>,
    Json(change): Json<TopicOwnerChange>,
) -> Result<Json<TopicOwnership>, Refusal> {
    only_operators(peer)?;
    let TopicOwnerChange { topic: name, action } = change;
    let wanted = name.clone();
    let decided =
        serving.broker.controller.change(move |image| Ok((topic_owners::decide(image, &wanted, &action)?, ())));
    decided.await.map_err(|error| refuse(&error))?;
    let image = serving.broker.controller.image();
    match image.topic(&name) {
        Some(topic) => Ok(Json(ownership(topic))),
        None => Err(refuse(&ChangeError::Refused(TopicOwnerError::UnknownTopic { name }))),
    }
}

/// Makes a topic together with its owner.
pub(super) async fn create(
    State(serving): State<Serving>,
    Extension(peer): Extension<PeerIdentity>,
    Json(wanted): Json<TopicCreation>,
) -> Result<Json<TopicOwnership>, Refusal> {
    only_operators(peer)?;
    let broker = &serving.broker;
    let defaults = topic_defaults(broker, &broker.controller.image());
    let (id, name) = (Uuid::new_v4(), wanted.topic.clone());
    let decided = broker.controller.change(move |image| Ok((topic_owners::create(image, &wanted, defaults, id)?, ())));
    decided.await.map_err(refuse_creation)?;
    match broker.controller.image().topic_by_id(id) {
        Some(topic) => Ok(Json(ownership(topic))),
        None => Err(refuse(&ChangeError::Refused(TopicOwnerError::UnknownTopic { name }))),
    }
}

/// The one place where refused topics become HTTP statuses and reasons.
fn refuse_creation(error: ChangeError<CreateOwnedError>) -> Refusal {
    let refused = match error {
        ChangeError::Refused(CreateOwnedError::Topic(refused)) => refused,
        ChangeError::Refused(CreateOwnedError::Owner(refused)) => return refuse(&ChangeError::Refused(refused)),
        ChangeError::Unavailable { .. } => {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "MetadataUnavailable", &error);
        }
    };
    let (status, reason) = match &refused {
        CreateTopicError::Exists { .. } => (StatusCode::CONFLICT, "TopicExists"),
        CreateTopicError::Name(_) | CreateTopicError::Collides { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "InvalidTopicName")
        }
        CreateTopicError::Partitions { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "InvalidPartitions"),
        CreateTopicError::ClusterPartitions { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "PolicyViolation"),
        CreateTopicError::ReplicationFactor { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "InvalidReplicationFactor"),
        CreateTopicError::Config(_) | CreateTopicError::NoValue { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "InvalidConfig")
        }
        CreateTopicError::Assignment { .. } | CreateTopicError::CountsAndAssignment => {
            (StatusCode::UNPROCESSABLE_ENTITY, "InvalidRequest")
        }
    };
    problem(status, reason, &refused)
}

fn ownership(topic: &Topic) -> TopicOwnership {
    TopicOwnership {
        topic: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        owner: topic.owner.clone(),
        managed_keys: topic.managed_keys.clone(),
        generation: topic.owner_generation,
        delete_after_ms: topic.delete_after_ms,
        delete_at_ms: topic.delete_at_ms,
    }
}

/// The one place where changes of ownership become HTTP statuses and reasons.
fn refuse(error: &ChangeError<TopicOwnerError>) -> Refusal {
    let (status, reason) = match error {
        ChangeError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "MetadataUnavailable"),
        ChangeError::Refused(TopicOwnerError::UnknownTopic { .. }) => (StatusCode::NOT_FOUND, "UnknownTopic"),
        ChangeError::Refused(TopicOwnerError::Claimed { .. }) => (StatusCode::CONFLICT, "TopicClaimed"),
        ChangeError::Refused(TopicOwnerError::Internal { .. }) => (StatusCode::UNPROCESSABLE_ENTITY, "InternalTopic"),
        ChangeError::Refused(TopicOwnerError::TooManyKeys { .. }) => (StatusCode::UNPROCESSABLE_ENTITY, "TooManyKeys"),
    };
    problem(status, reason, error)
}
