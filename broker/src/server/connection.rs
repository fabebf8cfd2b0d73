//! One connection: requests in, answers out in the same order.
//!
//! One request at a time is handled; only the wait for acknowledgements is overlapped with the requests behind it. Both halves run in
//! one task and are tied by a queue that is short in number and bytes, so a client that sends without reading is stopped by its own answers.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kennet_protocol::{Decoder, RequestHeader};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Session};
use crate::handler::{self, Reply};
use crate::server::frame::{FrameError, FrameReader};
use crate::server::limits::ByteBudget;
use crate::server::write::write_all;

/// Answers that may wait for their acknowledgement or their turn. Kafka's producers keep five requests in flight.
const ANSWERS: usize = 64;
/// Bytes of answers that may wait to be sent, beside the one that is being sent and the one that was made last.
const UNSENT_BYTES: u64 = 1 << 20;
/// Answers that are longer are charged to the budget of lists; the others are bounded by each connection's own.
const LIST_BYTES: usize = 16 << 10;
/// A stopping broker answers who waits, but not for longer.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// An answer, and what it holds until it is sent.
struct Answer {
    chunks: Pin<Box<dyn Future<Output = Vec<Bytes>> + Send>>,
    _held: [Option<OwnedSemaphorePermit>; 3],
}

/// Serves a connection until it ends.
pub(crate) async fn run(
    broker: Arc<Broker>,
    session: Session,
    mut stream: TcpStream,
    peer: SocketAddr,
    budget: ByteBudget,
    stop: CancellationToken,
) {
    let (reader, writer) = stream.split();
    let image = broker.controller.image();
    let configs = broker.configs(&image, None);
    let length_max = usize::try_from(configs.broker_number("socket.request.max.bytes")).unwrap_or(0);
    let idle = u64::try_from(configs.broker_number("connections.max.idle.ms")).ok().map(Duration::from_millis);
    drop(image);
    let frames = FrameReader::new(reader, budget, length_max, idle);
    let (answers, queue) = mpsc::channel(ANSWERS);
    let listener = session.listener.name.clone();
    let reading = read(broker, session, frames, answers, &stop);
    let writing = write(writer, queue);
    let overdue = overdue(&stop);
    tokio::pin!(reading, writing, overdue);
    let reason = tokio::select! {
        reason = &mut reading => {
            // what was accepted is still answered
            tokio::select! {
                _ = tokio::time::timeout(LAST_ANSWERS, writing) => reason,
                () = overdue => reason,
            }
        }
        result = &mut writing => match result {
            Ok(()) => FrameError::Closed,
            Err(error) => FrameError::Io(error),
        },
        () = &mut overdue => FrameError::Stopping,
    };
    report(&reason, peer, &listener);
}

/// Completes when a stopping broker has waited long enough for handlers and for a client that does not take its answers.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_ANSWERS).await;
}

fn report(error: &FrameError, peer: SocketAddr, listener: &str) {
    match error {
        FrameError::Closed | FrameError::Idle { .. } | FrameError::Stopping | FrameError::Io(_) => {
            tracing::debug!(%peer, listener, %error, "connection ended");
        }
        FrameError::Length { .. }
        | FrameError::Memory { .. }
        | FrameError::Foreign { .. }
        | FrameError::Slow { .. } => {
            tracing::warn!(%peer, listener, %error, "connection closed");
        }
    }
}

async fn read(
    broker: Arc<Broker>,
    session: Session,
    mut frames: FrameReader<ReadHalf<'_>>,
    answers: mpsc::Sender<Answer>,
    stop: &CancellationToken,
) -> FrameError {
    let unsent = ByteBudget::new(UNSENT_BYTES);
    let decoded_max = usize::try_from(broker.shares.decoded).unwrap_or(usize::MAX);
    loop {
        let frame = tokio::select! {
            // Requests that arrived with the one that was answered are answered too; those behind them are left to the next broker. Nobody has
            // begun to handle these, so a client that tries again does nothing twice.
            biased;
            () = stop.cancelled() => frames.next_arrived().await,
            frame = frames.next() => frame,
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        let mut decoder = Decoder::new(frame.bytes).within(decoded_max);
        let header = match RequestHeader::decode(&mut decoder) {
            Ok(header) => header,
            Err(error) => {
                tracing::warn!(peer = %session.peer, listener = session.listener.name, %error, "a request's header does not decode; connection closed");
                return FrameError::Closed;
            }
        };
        let expected = handler::list_bytes(&broker, &header);
        let list = if expected > LIST_BYTES { broker.lists.reserve(expected).await } else { None };
        // when the broker stops, a handler that waits (a long poll, a rebalance) is woken and answers
        let handled = handler::dispatch(&broker, &session, &header, &mut decoder).await;
        let request = Some(frame.charge);
        let answer = match handled {
            Reply::Now(chunks, charge) => {
                let length = chunks.iter().map(Bytes::len).sum();
                let charge = match (charge, list) {
                    (Some(charge), _) => Some(charge),
                    (None, Some(list)) if length <= expected => Some(broker.lists.shrink(list, length)),
                    (None, list) => {
                        drop(list);
                        if length > LIST_BYTES { broker.lists.reserve(length).await } else { None }
                    }
                };
                let room = unsent.reserve(length).await;
                Answer { chunks: Box::pin(std::future::ready(chunks)), _held: [request, charge, room] }
            }
            // an answer to Produce is small, and its request stays charged
            Reply::Later(chunks) => Answer { chunks, _held: [request, None, None] },
            Reply::Nothing => continue,
            Reply::Close => return FrameError::Closed,
        };
        if answers.send(answer).await.is_err() {
            return FrameError::Closed;
        }
    }
}

async fn write(mut writer: WriteHalf<'_>, mut queue: mpsc::Receiver<Answer>) -> std::io::Result<()> {
    while let Some(mut answer) = queue.recv().await {
        let chunks = answer.chunks.as_mut().await;
        write_all(&mut writer, chunks).await?;
    }
    Ok(())
}
