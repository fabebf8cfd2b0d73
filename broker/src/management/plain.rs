//! `/livez`, `/readyz` and `/metrics`, plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kennet_contract::management::BrokerState;
use prometheus_client::encoding::text::encode;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::management::Ready;
use crate::management::control::Control;
use crate::management::http::{self, Port};
use crate::metrics::registry;

/// How long the clients' event loop may take to turn; a kubelet waits a second.
const TURN: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Probed {
    ready: Ready,
    clients: Handle,
}

/// Serves probes that say how the runtime of the clients is.
pub(super) fn serve_probes(control: &Control, socket: TcpListener, ready: Ready, clients: Handle) {
    let router =
        Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(Probed { ready, clients });
    spawn(control, socket, router, "probes");
}

/// That this is answered shows that the event loop turns; it is true during recovery.
async fn livez(State(Probed { clients, .. }): State<Probed>) -> (StatusCode, &'static str) {
    match timeout(TURN, clients.spawn(async {})).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the event loop does not turn\n"),
    }
}

async fn readyz(State(Probed { ready, .. }): State<Probed>) -> (StatusCode, String) {
    let state = ready.state();
    let status = if state == BrokerState::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{state:?}\n"))
}

pub(super) fn serve_metrics(control: &Control, socket: TcpListener, broker: Arc<Broker>) {
    let router = Router::new().route("/metrics", get(metrics)).with_state(broker);
    spawn(control, socket, router, "metrics");
}

async fn metrics(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    let mut text = String::new();
    let status = match encode(&mut text, &registry(&broker)) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

fn spawn(control: &Control, socket: TcpListener, router: Router, what: &'static str) {
    let port = Port::new(Arc::new(socket), what);
    control.spawn(async move {
        while let Some((stream, _, place)) = port.accept().await {
            let router = router.clone();
            tokio::spawn(async move {
                http::answer(stream, router, CancellationToken::new()).await;
                drop(place);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use axum::extract::State;
    use axum::http::StatusCode;
    use tokio::runtime::{Builder, Handle};

    use super::{Probed, TURN, livez};
    use crate::management::Ready;

    #[tokio::test(start_paused = true)]
    async fn a_broker_is_alive_as_long_as_the_loop_of_its_clients_turns() {
        let probed = |clients| State(Probed { ready: Ready::new(String::new()), clients });
        assert_eq!(livez(probed(Handle::current())).await.0, StatusCode::OK);
        // a runtime that nobody drives is one that hangs
        let hung = Builder::new_current_thread().build().unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(livez(probed(hung.handle().clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(started.elapsed(), TURN);
        hung.shutdown_background();
    }
}
