//! The routes of a serving broker.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use kennet_contract::management::{BootstrapRecord, Changes, OfflinePartition, Problem, Recovery, Status};
use serde::Deserialize;

use crate::broker::Broker;
use crate::management::{Ready, check_bootstrap, ownership};

/// A long poll is answered after this at the latest.
const CHANGES_WAIT: Duration = Duration::from_secs(30);
/// Offline partitions that a status lists.
const OFFLINE_LISTED: usize = 20;

#[derive(Clone)]
pub(super) struct Serving {
    pub(super) broker: Arc<Broker>,
    ready: Ready,
}

/// An answer that is not a success.
pub(super) type Refusal = (StatusCode, Json<Problem>);

pub(super) fn router(broker: Arc<Broker>, ready: Ready) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/v1/changes", get(changes))
        .route("/v1/bootstrap", put(bootstrap))
        .route("/v1/topic-owners", get(ownership::list).post(ownership::change))
        .with_state(Serving { broker, ready })
}

async fn status(State(Serving { broker, ready }): State<Serving>) -> Json<Status> {
    let partitions = broker.partitions.all();
    let offline = partitions.iter().filter_map(|partition| {
        let reason = partition.log.unavailable()?;
        Some(OfflinePartition {
            topic: partition.topic.to_string(),
            partition: partition.index.0,
            reason: reason.to_string(),
        })
    });
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    let space = broker.partitions.directory().space().ok();
    Json(Status {
        cluster_id: broker.config.cluster_id,
        broker_id: broker.config.id(),
        directory_id: broker.identity.directory_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: ready.state(),
        metadata_offset: *broker.controller.changes().borrow(),
        partitions: count,
        leaders: count,
        offline: offline.take(OFFLINE_LISTED).collect(),
        under_min_isr: 0,
        recovery: Recovery { logs_done: count, logs_total: count },
        disk_available_bytes: space.map_or(0, |space| space.available),
        disk_total_bytes: space.map_or(0, |space| space.total),
        config_hash: String::new(),
        certificate_expires: 0,
        voters: vec![broker.config.id()],
    })
}

#[derive(Deserialize)]
struct After {
    #[serde(default = "nothing")]
    after: i64,
}

fn nothing() -> i64 {
    -1
}

async fn changes(State(Serving { broker, .. }): State<Serving>, Query(After { after }): Query<After>) -> Json<Changes> {
    let mut offset = broker.controller.changes();
    // a broker that stops, or half a minute without news, is answered with what there is
    let _ = tokio::time::timeout(CHANGES_WAIT, offset.wait_for(|offset| *offset > after)).await;
    let metadata_offset = *offset.borrow();
    Json(Changes { metadata_offset })
}

/// The cluster exists: the same record again is fine, another one is refused.
async fn bootstrap(
    State(Serving { broker, .. }): State<Serving>,
    Json(record): Json<BootstrapRecord>,
) -> Result<StatusCode, Refusal> {
    check_bootstrap(&record, &broker.identity).map_err(|problem| (StatusCode::CONFLICT, Json(problem)))?;
    Ok(StatusCode::NO_CONTENT)
}
