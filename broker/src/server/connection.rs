//! One connection: requests in, answers out in the same order.
//!
//! One request at a time is handled; only the wait for acknowledgements is overlapped with the requests behind it. Both halves run in
//! one task and are tied by a short queue, so a client that sends without reading is stopped by its own answers.

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
use crate::server::limits::FrameBudget;
use crate::server::write::write_all;

/// Answers that may wait for their acknowledgement or their turn. Kafka's producers keep five requests in flight.
const ANSWERS: usize = 64;
/// A stopping broker answers who waits, but not for longer.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

type Answer = (Pin<Box<dyn Future<Output = Vec<Bytes>> + Send>>, OwnedSemaphorePermit);

/// Serves a connection until it ends.
pub(crate) async fn run(
    broker: Arc<Broker>,
    session: Session,
    mut stream: TcpStream,
    peer: SocketAddr,
    budget: FrameBudget,
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
    let reading = read(broker, session, frames, answers, &stop);
    let writing = write(writer, queue);
    tokio::pin!(reading, writing);
    let reason = tokio::select! {
        reason = &mut reading => {
            // what was accepted is still answered
            let _ = tokio::time::timeout(LAST_ANSWERS, writing).await;
            reason
        }
        result = &mut writing => match result {
            Ok(()) => FrameError::Closed,
            Err(error) => FrameError::Io(error),
        },
    };
    report(&reason, peer);
}

fn report(reason: &FrameError, peer: SocketAddr) {
    match reason {
        FrameError::Closed | FrameError::Idle { .. } | FrameError::Stopping | FrameError::Io(_) => {
            tracing::debug!(%peer, %reason, "connection ended");
        }
        FrameError::Length { .. } | FrameError::Foreign { .. } | FrameError::Slow => {
            tracing::warn!(%peer, %reason, "connection closed");
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
    loop {
        let frame = tokio::select! {
            () = stop.cancelled() => return FrameError::Stopping,
            frame = frames.next() => match frame {
                Ok(frame) => frame,
                Err(error) => return error,
            },
        };
        let mut decoder = Decoder::new(frame.bytes);
        let header = match RequestHeader::decode(&mut decoder) {
            Ok(header) => header,
            Err(error) => {
                tracing::warn!(%error, "a request's header does not decode; connection closed");
                return FrameError::Closed;
            }
        };
        // a request that waits (a long poll, a rebalance) is given up when the broker stops
        let handled = tokio::select! {
            () = stop.cancelled() => return FrameError::Stopping,
            reply = handler::dispatch(&broker, &session, &header, &mut decoder) => reply,
        };
        let answer: Pin<Box<dyn Future<Output = Vec<Bytes>> + Send>> = match handled {
            Reply::Now(chunks) => Box::pin(std::future::ready(chunks)),
            Reply::Later(answer) => answer,
            Reply::Close => return FrameError::Closed,
        };
        if answers.send((answer, frame.charge)).await.is_err() {
            return FrameError::Closed;
        }
    }
}

async fn write(mut writer: WriteHalf<'_>, mut queue: mpsc::Receiver<Answer>) -> std::io::Result<()> {
    while let Some((answer, charge)) = queue.recv().await {
        let chunks = answer.await;
        write_all(&mut writer, chunks).await?;
        drop(charge);
    }
    Ok(())
}
