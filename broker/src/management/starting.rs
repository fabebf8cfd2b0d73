//! The routes of a broker that waits for its bootstrap record or opens its logs.
//!
//! They answer who it is and how far it has come; what they do not have yet is served once it serves clients.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use kennet_contract::management::{BootstrapRecord, BrokerState, Status};
use kennet_contract::{CONTRACT, PeerIdentity};
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::management::routes::Refusal;
use crate::management::{Ready, bootstrap};

#[derive(Clone)]
struct Starting {
    identity: Identity,
    ready: Ready,
    bootstrapped: CancellationToken,
}

/// The routes, and a token that is cancelled when the record for this directory was answered.
pub(super) fn router(identity: Identity, ready: Ready) -> (Router, CancellationToken) {
    let bootstrapped = CancellationToken::new();
    let starting = Starting { identity, ready, bootstrapped: bootstrapped.clone() };
    let router = Router::new().route("/status", get(status)).route("/v1/bootstrap", put(accept)).with_state(starting);
    (router, bootstrapped)
}

async fn status(State(Starting { identity, ready, .. }): State<Starting>) -> Json<Status> {
    Json(Status {
        cluster_id: identity.cluster_id,
        broker_id: identity.broker_id,
        directory_id: identity.directory_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contract: CONTRACT,
        state: until_serving(ready.state()),
        metadata_offset: -1,
        partitions: ready.recovery().logs_total,
        leaders: 0,
        offline: Vec::new(),
        under_min_isr: 0,
        recovery: ready.recovery(),
        disk_available_bytes: 0,
        disk_total_bytes: 0,
        config_hash: ready.config_hash(),
        certificate_expires: 0,
        voters: Vec::new(),
    })
}

/// A request that was accepted during the start may be answered behind it. These routes don't know what a serving broker has, so they don't say
/// that it serves.
fn until_serving(state: BrokerState) -> BrokerState {
    if state == BrokerState::Serving { BrokerState::Recovering } else { state }
}

async fn accept(
    State(starting): State<Starting>,
    Extension(peer): Extension<PeerIdentity>,
    Json(record): Json<BootstrapRecord>,
) -> Result<StatusCode, Refusal> {
    let accepted = bootstrap::accept(&record, peer, &starting.identity)?;
    starting.bootstrapped.cancel();
    Ok(accepted)
}
