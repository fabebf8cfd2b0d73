//! `/v1/topic-owners`: who looks after which topic.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kennet_contract::PeerIdentity;
use kennet_contract::management::{Problem, TopicOwnerChange, TopicOwners, TopicOwnership};
use kennet_metadata::decisions::topic_owners::{self, TopicOwnerError};
use kennet_metadata::{Topic, is_internal};

use crate::controller::ChangeError;
use crate::management::routes::{Refusal, Serving, only_operators};

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
    let problem =
        Problem { reason: reason.to_owned(), message: error.to_string(), details: std::collections::BTreeMap::new() };
    (status, Json(problem))
}
