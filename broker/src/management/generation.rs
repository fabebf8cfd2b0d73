//! `/v1/applied-generation`: which spec of the KafkaCluster was applied last.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kennet_contract::PeerIdentity;
use kennet_contract::management::{AppliedGenerationChange, LastApplied};
use kennet_metadata::decisions::applied_generation::{AppliedGenerationError, decide};

use crate::controller::ChangeError;
use crate::management::routes::{Refusal, Serving, only_operators, problem};

pub(super) async fn read(State(serving): State<Serving>) -> Json<LastApplied> {
    last(&serving)
}

pub(super) async fn change(
    State(serving): State<Serving>,
    Extension(peer): Extension<PeerIdentity>,
    Json(change): Json<AppliedGenerationChange>,
) -> Result<Json<LastApplied>, Refusal> {
    only_operators(peer)?;
    let decided = serving.broker.controller.change(move |image| Ok((decide(image, &change)?, ())));
    decided.await.map_err(|error| refuse(&error))?;
    Ok(last(&serving))
}

fn last(serving: &Serving) -> Json<LastApplied> {
    Json(LastApplied { applied: serving.broker.controller.image().applied().cloned() })
}

/// The one place where refused generations become HTTP statuses and reasons.
fn refuse(error: &ChangeError<AppliedGenerationError>) -> Refusal {
    let (status, reason) = match error {
        ChangeError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "MetadataUnavailable"),
        ChangeError::Refused(AppliedGenerationError::Moved { .. }) => (StatusCode::CONFLICT, "GenerationMoved"),
        ChangeError::Refused(AppliedGenerationError::WentBack { .. }) => (StatusCode::CONFLICT, "SpecWentBack"),
        ChangeError::Refused(AppliedGenerationError::InvalidUid { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "InvalidUid")
        }
    };
    problem(status, reason, error)
}
