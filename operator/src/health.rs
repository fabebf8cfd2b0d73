//! Probes and metrics over plain HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::start::StartError;

/// Probes come over whichever family the cluster has.
const EVERY_ADDRESS: &str = "::";

/// Labels of a reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReconcileLabels {
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

/// Labels of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClusterLabels {
    pub(crate) namespace: String,
    pub(crate) cluster: String,
}

/// Counters of the operator.
pub(crate) struct Metrics {
    registry: Registry,
    /// Reconciles by kind and reason.
    pub(crate) reconciles: Family<ReconcileLabels, Counter>,
    /// Topics that nobody looks after any more.
    pub(crate) topics_retained: Family<ClusterLabels, Gauge>,
    /// Whether this operator holds the lease.
    pub(crate) leader: Gauge,
    /// Whether the definitions are there and the lease is held or waited for.
    pub(crate) ready: AtomicBool,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kennet_operator");
        let (reconciles, topics_retained, leader) = (Family::default(), Family::default(), Gauge::default());
        registry.register("reconciles", "Reconciles by kind and what became of them", reconciles.clone());
        registry.register("topics_retained", "Topics whose object is gone and that were kept", topics_retained.clone());
        registry.register("leader", "1 while this operator holds the lease", leader.clone());
        Self { registry, reconciles, topics_retained, leader, ready: AtomicBool::new(false) }
    }
}

/// The ports, bound.
pub(crate) struct Ports {
    probes: TcpListener,
    metrics: TcpListener,
}

impl Ports {
    /// Binds both.
    pub(crate) fn bind(probes: u16, metrics: u16) -> Result<Self, StartError> {
        let bind = |what: &'static str, port| {
            kennet_process::listen(EVERY_ADDRESS, port).map_err(|source| StartError::Port { what, port, source })
        };
        Ok(Self { probes: bind("probes", probes)?, metrics: bind("metrics", metrics)? })
    }
}

/// Serves both ports until the process ends.
pub(crate) fn serve(ports: Ports, context: Arc<crate::context::Context>) {
    let probes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Arc::clone(&context));
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(context);
    for (endpoint, socket, router) in [("probes", ports.probes, probes), ("metrics", ports.metrics, metrics)] {
        tokio::spawn(async move {
            if let Err(error) = axum::serve(socket, router).await {
                tracing::error!(%error, endpoint, "an endpoint ended");
            }
        });
    }
}

async fn readyz(State(context): State<Arc<crate::context::Context>>) -> (StatusCode, &'static str) {
    if context.metrics.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the definitions are missing or older than this operator\n")
    }
}

async fn metrics(State(context): State<Arc<crate::context::Context>>) -> impl IntoResponse {
    let mut text = String::new();
    let status = match encode(&mut text, &context.metrics.registry) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
