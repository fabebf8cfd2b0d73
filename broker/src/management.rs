//! The operator's endpoint (JSON over mutual TLS), probes and metrics on ports of their own, on a thread of their own.
//!
//! A peer is known by the URI in its certificate, never by being signed; it must be of this cluster. Probes and metrics name no topic and no
//! group and need no certificate.

mod bootstrap;
mod control;
mod generation;
mod http;
mod ownership;
mod plain;
mod routes;
mod starting;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kennet_contract::BrokerConfig;
use kennet_contract::management::{BrokerState, Recovery};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use bootstrap::check_bootstrap;
pub(crate) use control::Control;
pub(crate) use routes::under_min_isr;

use crate::broker::Broker;
use crate::identity::Identity;
use crate::server::bind;
use crate::start_error::StartError;

/// How far the broker has come, for probes and status.
#[derive(Clone)]
pub(crate) struct Ready(Arc<Progress>);

struct Progress {
    config_hash: String,
    state: watch::Sender<BrokerState>,
    logs_total: AtomicU32,
    logs_done: AtomicU32,
}

impl Ready {
    pub(crate) fn new(config_hash: String) -> Self {
        Self(Arc::new(Progress {
            config_hash,
            state: watch::Sender::new(BrokerState::AwaitingBootstrap),
            logs_total: AtomicU32::new(0),
            logs_done: AtomicU32::new(0),
        }))
    }

    pub(crate) fn set(&self, state: BrokerState) {
        self.0.state.send_replace(state);
    }

    pub(crate) fn state(&self) -> BrokerState {
        *self.0.state.borrow()
    }

    /// Recovery begins, of so many logs.
    pub(crate) fn recovering(&self, logs: usize) {
        self.0.logs_total.store(u32::try_from(logs).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.set(BrokerState::Recovering);
    }

    /// One more log is open.
    pub(crate) fn recovered_one(&self) {
        self.0.logs_done.fetch_add(1, Ordering::Relaxed);
    }

    fn config_hash(&self) -> String {
        self.0.config_hash.clone()
    }

    fn recovery(&self) -> Recovery {
        Recovery {
            logs_done: self.0.logs_done.load(Ordering::Relaxed),
            logs_total: self.0.logs_total.load(Ordering::Relaxed),
        }
    }
}

/// The ports, bound.
pub(crate) struct Endpoints {
    control: Control,
    management: Arc<TcpListener>,
    tls: tls::Tls,
    metrics: TcpListener,
}

impl Endpoints {
    /// Binds the three ports; probes are answered from now on, and tell of the runtime that this is called on.
    pub(crate) fn bind(config: &mut BrokerConfig, ready: &Ready) -> Result<Self, StartError> {
        let system = |source| StartError::System { what: "start the control thread", source };
        let clients = Handle::current();
        let control = Control::start().map_err(system)?;
        let entered = control.enter();
        let tls = tls::Tls::load(&config.management.certificates, config.cluster_id)?;
        let management = bind(&config.management.bind, config.management.port, "management")?;
        let probes = bind(&config.probes.bind, config.probes.port, "probes")?;
        let metrics = bind(&config.metrics.bind, config.metrics.port, "metrics")?;
        let port = |socket: &TcpListener, wanted| socket.local_addr().map_or(wanted, |address| address.port());
        config.management.port = port(&management, config.management.port);
        config.probes.port = port(&probes, config.probes.port);
        config.metrics.port = port(&metrics, config.metrics.port);
        drop(entered);
        plain::serve_probes(&control, probes, ready.clone(), clients);
        Ok(Self { control, management: Arc::new(management), tls, metrics })
    }

    /// Serves `/status` and `PUT /v1/bootstrap` until the record for this directory comes, or until `stop`.
    ///
    /// # Errors
    /// When `stop` came first: nothing may be initialised then.
    pub(crate) async fn wait_for_bootstrap(
        &self,
        identity: &Identity,
        ready: &Ready,
        stop: &CancellationToken,
    ) -> Result<(), StartError> {
        tracing::info!(directory = identity.directory_id, "waiting for the bootstrap record (PUT /v1/bootstrap)");
        let (router, bootstrapped) = starting::router(identity.clone(), ready.clone());
        let until = stop.child_token();
        let served = tls::serve(Arc::clone(&self.management), self.tls.clone(), router, until.clone());
        tokio::select! {
            _ = self.control.spawn(served) => return Err(StartError::Stopped),
            () = bootstrapped.cancelled() => {}
        }
        until.cancel();
        Ok(())
    }

    /// Serves `/status` while the logs are opened.
    pub(crate) async fn serve_during<T>(
        &self,
        identity: &Identity,
        ready: &Ready,
        recovery: impl Future<Output = T>,
    ) -> T {
        let (router, _) = starting::router(identity.clone(), ready.clone());
        let until = CancellationToken::new();
        let _ended = until.clone().drop_guard();
        self.control.spawn(tls::serve(Arc::clone(&self.management), self.tls.clone(), router, until));
        recovery.await
    }

    /// Serves everything, until `stop`, and probes and metrics for as long as the answer is kept.
    pub(crate) fn serve(self, broker: &Arc<Broker>, ready: &Ready, stop: &CancellationToken) -> Control {
        plain::serve_metrics(&self.control, self.metrics, Arc::clone(broker));
        let router = routes::router(Arc::clone(broker), ready.clone(), self.tls.clone());
        let (socket, tls, stop) = (self.management, self.tls, stop.clone());
        self.control.spawn(tls::serve(socket, tls, router, stop));
        self.control
    }
}
