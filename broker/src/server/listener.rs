//! Ports: bound before anything is promised, accepted from until the broker stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kennet_contract::{BrokerConfig, ListenerConfig};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, ConnectionId, Session};
use crate::server::connection;
use crate::server::limits::{ByteBudget, ConnectionLimits};
use crate::start_error::StartError;

/// The client ports of a broker, bound.
pub(crate) struct Listeners(Vec<(Arc<ListenerConfig>, TcpListener)>);

impl Listeners {
    /// Binds every listener of the config.
    pub(crate) fn bind(config: &mut BrokerConfig) -> Result<Self, StartError> {
        let mut bound = Vec::with_capacity(config.listeners.len());
        for listener in &mut config.listeners {
            let what = format!("listener '{}'", listener.name);
            let socket = bind(&listener.bind, listener.port, &what)?;
            // port 0 asked for any: clients are told which one it became
            let port = socket.local_addr().map(|address| address.port()).unwrap_or(listener.port);
            if listener.advertised_port == 0 {
                listener.advertised_port = port;
            }
            listener.port = port;
            bound.push((Arc::new(listener.clone()), socket));
        }
        Ok(Self(bound))
    }
}

/// Binds one port.
pub(crate) fn bind(host: &str, port: u16, what: &str) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Port { address: format!("{host}:{port}"), what: what.to_owned(), source };
    kennet_process::listen(host, port).map_err(refused)
}

/// Accepts connections until `stop`, each in a task of its own that `tasks` waits for.
pub(crate) fn serve(
    broker: &Arc<Broker>,
    listeners: Listeners,
    limits: &Arc<ConnectionLimits>,
    budget: &ByteBudget,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    for (config, socket) in listeners.0 {
        let accept = Accept {
            broker: Arc::clone(broker),
            listener: config,
            limits: Arc::clone(limits),
            budget: budget.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(accept.run(socket));
    }
}

/// Connections that a port takes within each [`WINDOW`], so two thousand a second; those beyond it wait in the system's queue. A storm of
/// them leaves time for who is connected.
const ACCEPTED_AT_ONCE: u32 = 200;
const WINDOW: Duration = Duration::from_millis(100);

/// How fast connections are taken.
#[derive(Default)]
struct Pace {
    window_ends: Option<Instant>,
    taken: u32,
}

impl Pace {
    /// Waits until one more may be taken.
    async fn next(&mut self) {
        let now = Instant::now();
        let mut ends = self.window_ends.filter(|ends| now < *ends);
        if let Some(end) = ends
            && self.taken >= ACCEPTED_AT_ONCE
        {
            tokio::time::sleep_until(end).await;
            ends = None;
        }
        if ends.is_none() {
            self.window_ends = Some(Instant::now() + WINDOW);
            self.taken = 0;
        }
        self.taken += 1;
    }
}

struct Accept {
    broker: Arc<Broker>,
    listener: Arc<ListenerConfig>,
    limits: Arc<ConnectionLimits>,
    budget: ByteBudget,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Accept {
    async fn run(self, socket: TcpListener) {
        let mut pace = Pace::default();
        loop {
            let next = async {
                pace.next().await;
                socket.accept().await
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    // too many open files, most likely: accepting again at once would spin
                    tracing::warn!(listener = self.listener.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(WINDOW).await;
                }
            }
        }
    }

    fn take(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let place = match self.limits.enter(peer.ip().to_canonical()) {
            Ok(place) => place,
            Err(reason) => {
                tracing::warn!(peer = %peer.ip(), listener = self.listener.name, error = %reason, "a connection was refused");
                return;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let broker = Arc::clone(&self.broker);
        let session = Session {
            listener: Arc::clone(&self.listener),
            peer: peer.ip().to_canonical(),
            connection: ConnectionId::next(),
        };
        let (budget, stop) = (self.budget.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            connection::run(broker, session, stream, peer, budget, stop).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCEPTED_AT_ONCE, Pace, WINDOW};

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_connections_is_taken_at_a_pace_and_a_few_at_once() {
        let mut pace = Pace::default();
        let started = tokio::time::Instant::now();
        for _ in 0..ACCEPTED_AT_ONCE {
            pace.next().await;
        }
        assert!(started.elapsed().is_zero());
        for _ in 0..4 * ACCEPTED_AT_ONCE {
            pace.next().await;
        }
        assert!(started.elapsed() >= 4 * WINDOW && started.elapsed() < 5 * WINDOW, "{:?}", started.elapsed());
    }
}
