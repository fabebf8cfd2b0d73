//! `/livez`, `/readyz` and `/metrics`, plain HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kennet_contract::management::BrokerState;
use prometheus_client::encoding::text::encode;
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::management::Ready;
use crate::metrics::registry;

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

fn spawn(socket: TcpListener, router: Router, what: &'static str) {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(socket, router).await {
            tracing::error!(%error, endpoint = what, "an endpoint ended");
        }
    });
}
