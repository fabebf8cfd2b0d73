//! HTTP/1 on a port of ours, with bounds: so many connections at a time, and none that does not say what it wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections of one port. Its clients are an operator, a kubelet, a scraper or two; more wait until one ends.
const CONNECTIONS_MAX: usize = 256;
/// A connection on which no request arrives for so long is closed; clients connect again when they have one.
const REQUEST_HEAD: Duration = Duration::from_secs(10);
/// What is being answered when the server ends may take so long.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// A port and who may use it at a time.
pub(super) struct Port {
    socket: Arc<TcpListener>,
    places: Arc<Semaphore>,
    what: &'static str,
}

/// A connection that was accepted; its place is free again when the last part is dropped.
pub(super) type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

impl Port {
    pub(super) fn new(socket: Arc<TcpListener>, what: &'static str) -> Self {
        Self { socket, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), what }
    }

    /// The next connection, when there is a place for it; none in a program that ends.
    pub(super) async fn accept(&self) -> Option<Accepted> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                Err(error) => {
                    // too many open files, most likely: accepting again at once would spin
                    tracing::warn!(%error, endpoint = self.what, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Answers the requests of one connection until it ends, or until `stop`.
pub(super) async fn answer<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: I,
    router: Router,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // how a connection ends is the client's affair
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::{CONNECTIONS_MAX, Port, REQUEST_HEAD, answer};

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_closed_and_a_whole_one_answered() {
        for (sent, answered) in [("GET / HTTP/1.1\r\nhos", ""), ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200")] {
            let (mut client, server) = tokio::io::duplex(1 << 10);
            let router = Router::new().route("/", get(|| async { "ok" }));
            let started = tokio::time::Instant::now();
            tokio::spawn(answer(server, router, CancellationToken::new()));
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            assert!(said.starts_with(answered), "{said}");
            let waited = started.elapsed();
            assert!(waited >= REQUEST_HEAD && waited < 2 * REQUEST_HEAD, "{waited:?}");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_place() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let port = Port::new(Arc::new(socket), "test");
        let mut clients = Vec::new();
        let mut accepted = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            clients.push(TcpStream::connect(address).await.unwrap());
            accepted.push(port.accept().await.unwrap());
        }
        clients.push(TcpStream::connect(address).await.unwrap());
        let next = port.accept();
        tokio::pin!(next);
        assert!(futures::poll!(next.as_mut()).is_pending());
        accepted.pop();
        assert!(next.await.is_some());
    }
}
