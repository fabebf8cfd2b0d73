//! Reads requests off a socket: four bytes of length, then so many bytes.
//!
//! The length is bounded and charged to a budget before the body is read, and memory grows only as bytes arrive. A sender that
//! is slower than 64 KiB/s for 5 seconds, or than what brings its request in within a minute, is closed, so that a few slow ones
//! can't hold the budget. A request's bytes stay in the buffer until they are all there, so a read that is given up loses none.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{error::Elapsed, timeout};

use crate::server::limits::ByteBudget;

/// A request's bytes, without the length, and its share of the budget.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) charge: OwnedSemaphorePermit,
}

/// Why a connection ends without having asked for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("a request of {length} bytes is not possible: expected 1 to {limit} (socket.request.max.bytes)")]
    Length { length: i32, limit: usize },
    #[error("the client speaks {protocol} to a Kafka port")]
    Foreign { protocol: &'static str },
    #[error("the client was silent for {} seconds (connections.max.idle.ms)", limit.as_secs())]
    Idle { limit: Duration },
    #[error("the client sends its request of {length} bytes slower than {} KiB in {} seconds", pace(*length) / 1024, PACE.as_secs())]
    Slow { length: usize },
    #[error("the broker is stopping")]
    Stopping,
}

const PACE: Duration = Duration::from_secs(5);
/// 64 KiB a second.
const PACE_BYTES: usize = 5 * 64 * 1024;
/// A request has its share of the budget for a minute at most: two requests of 100 MiB at 64 KiB/s would keep all others out for half an hour.
const STEPS_MAX: usize = 60 / 5;
/// What a buffer grows by while a body arrives.
const GROWTH: usize = 64 * 1024;
/// The length before each request.
const PREFIX: usize = 4;

/// Reads frames from one connection.
pub(crate) struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
    budget: ByteBudget,
    length_max: usize,
    idle: Option<Duration>,
    is_first: bool,
    /// Set when nothing more is read: the share of the budget of what was read last, if there was room.
    ended: Option<Option<OwnedSemaphorePermit>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(reader: R, budget: ByteBudget, length_max: usize, idle: Option<Duration>) -> Self {
        Self { reader, buffer: BytesMut::new(), budget, length_max, idle, is_first: true, ended: None }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Result<Frame, FrameError> {
        let length = self.read_length().await?;
        let charge = self.budget.reserve(length).await.ok_or(FrameError::Stopping)?;
        self.read_body(length).await?;
        Ok(self.take(length, charge))
    }

    /// The next of the requests that had arrived when this was called first, [`FrameError::Stopping`] behind the last of them. It waits for no
    /// client: beyond what was read, it looks once at what the system has, and takes no more than one step of it.
    pub(crate) async fn next_arrived(&mut self) -> Result<Frame, FrameError> {
        if self.ended.is_none() {
            let room = self.budget.try_reserve(GROWTH);
            if room.is_some() {
                self.buffer.reserve(GROWTH);
                // a connection that broke is found when it is written to
                let _ = self.reader.read_buf(&mut self.buffer).now_or_never();
            }
            self.ended = Some(room);
        }
        if self.buffer.len() < PREFIX {
            return Err(FrameError::Stopping);
        }
        let length = self.length()?;
        if self.buffer.len() < PREFIX + length {
            return Err(FrameError::Stopping);
        }
        let charge = self.budget.reserve(length).await.ok_or(FrameError::Stopping)?;
        Ok(self.take(length, charge))
    }

    fn take(&mut self, length: usize, charge: OwnedSemaphorePermit) -> Frame {
        self.buffer.advance(PREFIX);
        Frame { bytes: self.buffer.split_to(length).freeze(), charge }
    }

    async fn read_length(&mut self) -> Result<usize, FrameError> {
        if self.buffer.is_empty() {
            let read = self.reader.read_buf(&mut self.buffer);
            let read = match self.idle {
                Some(limit) => timeout(limit, read).await.map_err(|_| FrameError::Idle { limit })?,
                None => read.await,
            };
            if read? == 0 {
                return Err(FrameError::Closed);
            }
        }
        self.fill(PREFIX, PREFIX).await?;
        self.length()
    }

    /// The length that the buffer begins with, which has to be there.
    fn length(&mut self) -> Result<usize, FrameError> {
        let prefix = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        let length = i32::from_be_bytes(prefix);
        if std::mem::take(&mut self.is_first)
            && let Some(protocol) = foreign_hello(&prefix)
        {
            return Err(FrameError::Foreign { protocol });
        }
        let wrong = FrameError::Length { length, limit: self.length_max };
        usize::try_from(length).ok().filter(|length| (1..=self.length_max).contains(length)).ok_or(wrong)
    }

    async fn read_body(&mut self, length: usize) -> Result<(), FrameError> {
        let end = PREFIX + length;
        while self.buffer.len() < end {
            let step = (self.buffer.len() + pace(length)).min(end);
            self.fill(step, length).await?;
        }
        Ok(())
    }

    /// Reads until the buffer has `step` of a request's bytes, within the time that the pace allows.
    async fn fill(&mut self, step: usize, length: usize) -> Result<(), FrameError> {
        let paced = async {
            while self.buffer.len() < step {
                let missing = step - self.buffer.len();
                self.buffer.reserve(missing.min(GROWTH));
                if self.reader.read_buf(&mut self.buffer).await? == 0 {
                    return Err(FrameError::Closed);
                }
            }
            Ok(())
        };
        let result: Result<_, Elapsed> = timeout(PACE, paced).await;
        result.map_err(|_| FrameError::Slow { length })?
    }
}

/// Bytes of a request of `length` that have to arrive within each [`PACE`].
fn pace(length: usize) -> usize {
    PACE_BYTES.max(length.div_ceil(STEPS_MAX))
}

/// Other protocols' first four bytes, so that a wrong port is named in the log.
fn foreign_hello(prefix: &[u8]) -> Option<&'static str> {
    match prefix {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PRI " => Some("HTTP"),
        [0x16, 0x03, _, _] => Some("TLS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use futures::FutureExt;

    use super::{FrameError, FrameReader};
    use crate::server::limits::ByteBudget;

    async fn read(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut reader = FrameReader::new(Cursor::new(bytes.to_vec()), ByteBudget::new(1 << 20), 1_000, None);
        reader.next().await.map(|frame| frame.bytes.to_vec())
    }

    #[tokio::test]
    async fn a_frame_is_read_whole() {
        assert_eq!(read(b"\0\0\0\x03abcdef").await.unwrap(), b"abc");
    }

    #[tokio::test]
    async fn lengths_that_can_not_be_close_the_connection() {
        for length in [0_i32, -1, 1_001, i32::MAX, i32::MIN] {
            let error = read(&length.to_be_bytes()).await.unwrap_err();
            assert!(matches!(error, FrameError::Length { .. }), "{length}: {error}");
        }
    }

    #[tokio::test]
    async fn a_cut_off_frame_is_a_closed_connection() {
        assert!(matches!(read(b"\0\0").await, Err(FrameError::Closed)));
        assert!(matches!(read(b"\0\0\0\x05ab").await, Err(FrameError::Closed)));
        assert!(matches!(read(b"").await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn a_reader_that_ends_gives_what_has_arrived_whole_and_loses_no_byte() {
        use tokio::io::AsyncWriteExt;
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let mut reader = FrameReader::new(server, ByteBudget::new(1 << 20), 1_000, None);
        client.write_all(b"\0\0\0\x03ab").await.unwrap();
        assert!(reader.next().now_or_never().is_none(), "a read that is given up in the middle");
        client.write_all(b"c\0\0\0\x02de\0\0\0\x09part").await.unwrap();
        assert_eq!(reader.next_arrived().await.unwrap().bytes, "abc");
        client.write_all(b" end!").await.unwrap();
        assert_eq!(reader.next_arrived().await.unwrap().bytes, "de");
        assert!(matches!(reader.next_arrived().await, Err(FrameError::Stopping)), "what came later is not read");
    }

    #[tokio::test]
    async fn other_protocols_are_named() {
        assert!(matches!(read(b"GET / HTTP/1.1").await, Err(FrameError::Foreign { protocol: "HTTP" })));
        assert!(matches!(read(b"\x16\x03\x01\x02\0").await, Err(FrameError::Foreign { protocol: "TLS" })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_of_a_byte_now_and_then_is_closed() {
        let (mut client, server) = tokio::io::duplex(64);
        let sender = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            client.write_all(&100_i32.to_be_bytes()).await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        let mut reader = FrameReader::new(server, ByteBudget::new(1 << 20), 1_000, None);
        assert!(matches!(reader.next().await, Err(FrameError::Slow { length: 100 })));
        drop(reader);
        sender.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_has_to_be_there_within_a_minute_or_so() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let sender = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            client.write_all(&(100_i32 << 20).to_be_bytes()).await.unwrap();
            // 128 KiB/s, twice what is asked of small requests
            while client.write_all(&[0; 128 << 10]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let started = tokio::time::Instant::now();
        let mut reader = FrameReader::new(server, ByteBudget::new(200 << 20), 100 << 20, None);
        assert!(matches!(reader.next().await, Err(FrameError::Slow { .. })));
        assert!(started.elapsed() < Duration::from_secs(70));
        drop(reader);
        sender.await.unwrap();
    }
}
