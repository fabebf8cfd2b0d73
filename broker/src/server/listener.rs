//! Ports: bound before anything is promised, accepted from until the broker stops.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use kennet_contract::{BrokerConfig, ListenerConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Session};
use crate::server::connection;
use crate::server::limits::{ByteBudget, ConnectionLimits};
use crate::start_error::StartError;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

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

/// Binds one port. `::` takes IPv4 too, and where there is no IPv6 the same port of IPv4 is taken instead.
pub(crate) fn bind(host: &str, port: u16, what: &str) -> Result<TcpListener, StartError> {
    let refused =
        |source: io::Error| StartError::Port { address: format!("{host}:{port}"), what: what.to_owned(), source };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = (host, port).to_socket_addrs().map_err(refused)?.next();
    let address = address.ok_or_else(|| refused(io::Error::other("the host has no address")))?;
    let socket = match open(address) {
        Err(error) if is_without_v6(&error) && host == "::" => open(SocketAddr::from(([0, 0, 0, 0], port))),
        other => other,
    };
    socket.and_then(|socket| TcpListener::from_std(socket.into())).map_err(refused)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn is_without_v6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
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
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    // too many open files, most likely: accepting again at once would spin
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn take(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let place = match self.limits.enter(peer.ip().to_canonical()) {
            Ok(place) => place,
            Err(reason) => {
                tracing::warn!(peer = %peer.ip(), error = %reason, "a connection was refused");
                return;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let broker = Arc::clone(&self.broker);
        let session = Session { listener: Arc::clone(&self.listener), peer: peer.ip().to_canonical() };
        let (budget, stop) = (self.budget.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            connection::run(broker, session, stream, peer, budget, stop).await;
            drop(place);
        });
    }
}
