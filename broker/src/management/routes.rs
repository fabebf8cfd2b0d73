//! The routes of a serving broker.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use kennet_contract::management::{BootstrapRecord, BrokerState, Changes, OfflinePartition, Problem, Status};
use kennet_contract::{CONTRACT, PeerIdentity};
use serde::Deserialize;

use crate::broker::Broker;
use crate::management::{Ready, bootstrap, generation, ownership, tls};
use crate::partition::Partition;

/// A long poll is answered after this at the latest.
const CHANGES_WAIT: Duration = Duration::from_secs(30);
/// Offline partitions that a status lists.
const OFFLINE_LISTED: usize = 20;

#[derive(Clone)]
pub(super) struct Serving {
    pub(super) broker: Arc<Broker>,
    ready: Ready,
    tls: tls::Tls,
}

/// An answer that is not a success.
pub(super) type Refusal = (StatusCode, Json<Problem>);

/// A refusal as JSON.
pub(super) fn problem(status: StatusCode, reason: &str, error: &dyn std::fmt::Display) -> Refusal {
    let details = std::collections::BTreeMap::new();
    (status, Json(Problem { reason: reason.to_owned(), message: error.to_string(), details }))
}

/// Refuses a peer that may look but change nothing: a broker.
pub(super) fn only_operators(peer: PeerIdentity) -> Result<(), Refusal> {
    match peer {
        PeerIdentity::Operator { .. } | PeerIdentity::Cli { .. } => Ok(()),
        PeerIdentity::Broker { .. } => {
            let message =
                format!("{peer} may not change anything here: use a certificate of the operator or of the CLI");
            Err(problem(StatusCode::FORBIDDEN, "Forbidden", &message))
        }
    }
}

pub(super) fn router(broker: Arc<Broker>, ready: Ready, tls: tls::Tls) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/v1/changes", get(changes))
        .route("/v1/bootstrap", put(put_bootstrap))
        .route("/v1/topic-owners", get(ownership::list).post(ownership::change).put(ownership::create))
        .route("/v1/applied-generation", get(generation::read).put(generation::change))
        .with_state(Serving { broker, ready, tls })
}

async fn status(State(Serving { broker, ready, tls }): State<Serving>) -> Json<Status> {
    let partitions = broker.partitions.all();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut offline: Vec<_> = partitions.iter().filter_map(|partition| offline(partition)).collect();
    let leaders = count(partitions.len() - offline.len());
    offline.truncate(OFFLINE_LISTED);
    let directory = broker.partitions.directory();
    let space = directory.space().ok();
    Json(Status {
        cluster_id: broker.config.cluster_id,
        broker_id: broker.config.id(),
        directory_id: broker.identity.directory_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contract: CONTRACT,
        state: if directory.failed().is_some() { BrokerState::Failed } else { ready.state() },
        metadata_offset: *broker.controller.changes().borrow(),
        partitions: count(partitions.len()),
        leaders,
        offline,
        under_min_isr: count(under_min_isr(&broker)),
        recovery: ready.recovery(),
        disk_available_bytes: space.map_or(0, |space| space.available),
        disk_total_bytes: space.map_or(0, |space| space.total),
        config_hash: ready.config_hash(),
        certificate_expires: tls.expires(),
        voters: vec![broker.config.id()],
    })
}

fn offline(partition: &Partition) -> Option<OfflinePartition> {
    let reason = partition.log.unavailable()?.to_string();
    Some(OfflinePartition { topic: partition.topic.to_string(), partition: partition.index.0, reason })
}

/// Partitions whose in-sync replicas are fewer than their topic's `min.insync.replicas`.
pub(crate) fn under_min_isr(broker: &Broker) -> usize {
    let image = broker.controller.image();
    let under = image.topics().map(|topic| {
        let wanted = broker.configs(&image, Some(topic)).topic_number("min.insync.replicas");
        let wanted = usize::try_from(wanted).unwrap_or(0);
        topic.partitions.iter().filter(|partition| partition.isr.len() < wanted).count()
    });
    under.sum()
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
    let news = tokio::time::timeout(CHANGES_WAIT, offset.wait_for(|offset| *offset > after));
    let _ = broker.unless_stopping(async { news.await.is_ok() }).await;
    let metadata_offset = *offset.borrow();
    Json(Changes { metadata_offset })
}

async fn put_bootstrap(
    State(Serving { broker, .. }): State<Serving>,
    Extension(peer): Extension<PeerIdentity>,
    Json(record): Json<BootstrapRecord>,
) -> Result<StatusCode, Refusal> {
    bootstrap::accept(&record, peer, &broker.identity)
}
