//! `/livez`, `/readyz` and `/metrics`, plain HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kennet_contract::management::BrokerState;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::management::Ready;

pub(super) fn serve_probes(socket: TcpListener, ready: Ready) {
    let router = Router::new()
        // that this is answered shows that the event loop turns; it is true during recovery
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(ready);
    spawn(socket, router, "probes");
}

async fn readyz(State(ready): State<Ready>) -> (StatusCode, String) {
    let state = ready.state();
    let status = if state == BrokerState::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{state:?}\n"))
}

pub(super) fn serve_metrics(socket: TcpListener, broker: Arc<Broker>) {
    let router = Router::new().route("/metrics", get(metrics)).with_state(broker);
    spawn(socket, router, "metrics");
}

async fn metrics(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    let mut text = String::new();
    let status = match encode(&mut text, &registry(&broker)) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// All metrics, read when they are asked for, so that an idle broker counts nothing.
fn registry(broker: &Broker) -> Registry {
    let mut registry = Registry::with_prefix("kennet_broker");
    let mut gauge = |name: &str, help: &str, value: u64| {
        let metric = Gauge::<i64>::default();
        metric.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, metric);
    };
    let partitions = broker.partitions.all();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let offline = partitions.iter().filter(|partition| partition.log.unavailable().is_some()).count();
    let bytes = partitions.iter().map(|partition| partition.log.summary().size_bytes).sum();
    let directory = broker.partitions.directory();
    let space = directory.space().ok();
    gauge("partitions", "Partitions of this broker", count(partitions.len()));
    gauge("partitions_offline", "Partitions that can't be used", count(offline));
    gauge("log_size_bytes", "Bytes of all logs", bytes);
    gauge("log_pending_bytes", "Bytes that wait for the disk", count(directory.pending_bytes()));
    gauge("disk_available_bytes", "Bytes that can still be written", space.map_or(0, |space| space.available));
    gauge("disk_total_bytes", "Bytes of the volume", space.map_or(0, |space| space.total));
    let offset = *broker.controller.changes().borrow();
    gauge("metadata_offset", "Offset of the newest committed metadata record", u64::try_from(offset).unwrap_or(0));
    registry
}

fn spawn(socket: TcpListener, router: Router, what: &'static str) {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(socket, router).await {
            tracing::error!(%error, endpoint = what, "an endpoint ended");
        }
    });
}
