//! One TCP connection to a broker: requests go out in order and are answered in order.
//!
//! A writer task and a reader task share nothing but a bounded queue of who waits for which answer, which is also the limit of
//! requests in flight. When either ends, everybody who waits learns it at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kennet_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use kennet_protocol::{ApiKey, Decoder, ErrorCode, Message, Request, decode_response_header, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::ClientError;

/// Requests that may wait for an answer on one connection.
const IN_FLIGHT_MAX: usize = 64;
/// The longest answer that is read; a fetch asks for far less.
const FRAME_BYTES_MAX: u32 = 256 << 20;
/// What is reserved for an answer before its bytes have come.
const FRAME_BYTES_RESERVED: usize = 64 << 10;
/// The APIs whose newest versions name topics by id: this client names them by name.
const NAMED_TOPICS: [(ApiKey, i16); 2] = [(ApiKey::Produce, 12), (ApiKey::Fetch, 12)];

struct Outgoing {
    frame: Vec<Bytes>,
    waiting: Waiting,
}

struct Waiting {
    correlation_id: i32,
    reply: oneshot::Sender<Bytes>,
}

/// An open connection, and what the broker behind it serves.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    client_id: String,
    outgoing: mpsc::Sender<Outgoing>,
    served: HashMap<i16, (i16, i16)>,
    next_correlation_id: AtomicI32,
}

impl Connection {
    /// Connects and asks what is served.
    pub(crate) async fn open(address: &str, client_id: &str, limit: Duration) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { address: address.to_owned(), source };
        let late = |_| ClientError::TimedOut { address: address.to_owned(), api: "connect", after: limit };
        let stream = timeout(limit, TcpStream::connect(address)).await.map_err(late)?.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (reader, writer) = stream.into_split();
        let (outgoing, requests) = mpsc::channel(IN_FLIGHT_MAX);
        let (waiting, answers) = mpsc::channel(IN_FLIGHT_MAX);
        tokio::spawn(write(writer, requests, waiting));
        tokio::spawn(read(reader, answers));
        let mut connection = Self {
            address: address.to_owned(),
            client_id: client_id.to_owned(),
            outgoing,
            served: HashMap::new(),
            next_correlation_id: AtomicI32::new(0),
        };
        connection.served = connection.ask_versions(limit).await?;
        Ok(connection)
    }

    /// Sends a request in a version that [`Self::version`] gave, and reads the answer.
    pub(crate) async fn call<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let api = R::KEY.name();
        let closed = || ClientError::Disconnected { address: self.address.clone(), api };
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode_request(version, correlation_id, Some(&self.client_id), request)?;
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let outgoing = Outgoing { frame, waiting: Waiting { correlation_id, reply } };
            self.outgoing.send(outgoing).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())
        };
        let late = |_| ClientError::TimedOut { address: self.address.clone(), api, after: limit };
        let bytes = timeout(limit, exchange).await.map_err(late)??;
        let malformed = |source| ClientError::Decode { address: self.address.clone(), api, source };
        let mut input = Decoder::new(bytes);
        decode_response_header(R::KEY, version, &mut input).map_err(malformed)?;
        R::Response::decode(&mut input, version).map_err(malformed)
    }

    /// The newest version of an API that both sides know.
    pub(crate) fn version<R: Request>(&self) -> Result<i16, ClientError> {
        let unsupported = || ClientError::Unsupported { address: self.address.clone(), api: R::KEY.name() };
        let (min, max) = *self.served.get(&R::KEY.code()).ok_or_else(unsupported)?;
        let named = NAMED_TOPICS.iter().find(|(key, _)| *key == R::KEY).map_or(i16::MAX, |(_, version)| *version);
        let version = max.min(R::VERSIONS.max).min(named);
        if version >= min.max(R::VERSIONS.min) { Ok(version) } else { Err(unsupported()) }
    }

    /// Whether requests still have a chance.
    pub(crate) fn is_open(&self) -> bool {
        !self.outgoing.is_closed()
    }

    async fn ask_versions(&self, limit: Duration) -> Result<HashMap<i16, (i16, i16)>, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: "kennet".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut answer: ApiVersionsResponse = self.call(&request, 3, limit).await?;
        if answer.error_code == ErrorCode::UnsupportedVersion {
            answer = self.call(&ApiVersionsRequest::default(), 0, limit).await?;
        }
        ClientError::check("ApiVersions", || format!("broker {}", self.address), answer.error_code, None)?;
        Ok(answer.api_keys.into_iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect())
    }
}

async fn write(mut socket: OwnedWriteHalf, mut requests: mpsc::Receiver<Outgoing>, waiting: mpsc::Sender<Waiting>) {
    while let Some(Outgoing { frame, waiting: who }) = requests.recv().await {
        if waiting.send(who).await.is_err() {
            return;
        }
        for chunk in frame {
            if let Err(error) = socket.write_all(&chunk).await {
                tracing::debug!(%error, "connection lost while writing");
                return;
            }
        }
    }
}

async fn read(mut socket: OwnedReadHalf, mut answers: mpsc::Receiver<Waiting>) {
    loop {
        let bytes = match read_frame(&mut socket).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, "connection ended");
                return;
            }
        };
        // nobody waits: the broker speaks out of turn
        let Ok(Waiting { correlation_id, reply }) = answers.try_recv() else { return };
        if bytes.get(..4) != Some(&correlation_id.to_be_bytes()[..]) {
            return;
        }
        // the caller may have given up; the next answer still belongs to the next caller
        drop(reply.send(bytes));
    }
}

async fn read_frame(socket: &mut OwnedReadHalf) -> std::io::Result<Bytes> {
    let length = socket.read_u32().await?;
    if length > FRAME_BYTES_MAX {
        return Err(std::io::Error::other(format!("an answer of {length} bytes is longer than {FRAME_BYTES_MAX}")));
    }
    let expected = usize::try_from(length).map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(expected.min(FRAME_BYTES_RESERVED));
    socket.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if bytes.len() < expected {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}
