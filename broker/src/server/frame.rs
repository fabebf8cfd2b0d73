//! Reads requests off a socket: four bytes of length, then so many bytes.
//!
//! The length is bounded and charged to a budget before the body is read, and memory grows only as bytes arrive. A sender that
//! is slower than 64 KiB/s for 5 seconds, or than what brings its request in within a minute, is closed, so that a few slow ones
//! can't hold the budget. A request's bytes stay here until they are all there, so a read that is given up loses none.
//!
//! Invariant: a frame's bytes are all of their allocation, so who keeps a part of them knows what that keeps.

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
    #[error("a request of {length} bytes is not possible: expected 1 to {limit} (an eighth of the broker's memory)")]
    Memory { length: i32, limit: usize },
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
/// What a buffer begins with when a body arrives: a producer's largest batch (1 MiB, its defaults) is read without being moved. All of the request is charged to
/// the budget before, and the system gives memory only for bytes that came.
const BODY: usize = (1 << 20) + GROWTH;
/// What is read in one step of a connection that ends.
const GROWTH: usize = 64 * 1024;
/// What is read before it is known how long a request is. An idle connection keeps so much; a record of a kilobyte comes in one read.
const READ_AHEAD: usize = 2 * 1024;
/// The length before each request.
const PREFIX: usize = 4;

/// Reads frames from one connection.
pub(crate) struct FrameReader<R> {
    reader: R,
    /// What was read ahead: the beginning of the next request, or small ones.
    buffer: BytesMut,
    /// A request that does not fit there while it arrives, without its length, and how long it will be.
    body: Option<(Vec<u8>, usize)>,
    budget: ByteBudget,
    length_max: usize,
    idle: Option<Duration>,
    is_first: bool,
    /// Set when nothing more is read: the share of the budget of what was read last, if there was room.
    ended: Option<Option<OwnedSemaphorePermit>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// No request may be longer than `length_max`, nor than the whole budget.
    pub(crate) fn new(reader: R, budget: ByteBudget, length_max: usize, idle: Option<Duration>) -> Self {
        let buffer = BytesMut::new();
        Self { reader, buffer, body: None, budget, length_max, idle, is_first: true, ended: None }
    }

    /// The next request. When this is given up, the next call goes on where it was.
    pub(crate) async fn next(&mut self) -> Result<Frame, FrameError> {
        let length = match &self.body {
            Some((_, length)) => *length,
            None => self.read_length().await?,
        };
        let charge = self.budget.reserve(length).await.ok_or(FrameError::Stopping)?;
        if PREFIX + length <= READ_AHEAD {
            self.fill(PREFIX + length, length).await?;
            return Ok(self.take(length, charge));
        }
        let bytes = self.read_body(length).await?;
        Ok(Frame { bytes, charge })
    }

    /// The next of the requests that had arrived when this was called first, [`FrameError::Stopping`] behind the last of them. It waits for no
    /// client: beyond what was read, it looks once at what the system has, and takes no more than one step of it.
    pub(crate) async fn next_arrived(&mut self) -> Result<Frame, FrameError> {
        if self.ended.is_none() {
            if let Some((body, length)) = self.body.take() {
                self.buffer.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
                self.buffer.extend_from_slice(&body);
            }
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

    /// Takes a request out of the buffer, into memory of its own: what was read ahead is not kept with it.
    fn take(&mut self, length: usize, charge: OwnedSemaphorePermit) -> Frame {
        self.buffer.advance(PREFIX);
        let bytes = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        Frame { bytes, charge }
    }

    async fn read_length(&mut self) -> Result<usize, FrameError> {
        if self.buffer.is_empty() {
            self.buffer.clear();
            self.buffer.reserve(READ_AHEAD);
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
        let memory = self.budget.bytes();
        let wrong = if memory < self.length_max {
            FrameError::Memory { length, limit: memory }
        } else {
            FrameError::Length { length, limit: self.length_max }
        };
        let limit = self.length_max.min(memory);
        usize::try_from(length).ok().filter(|length| (1..=limit).contains(length)).ok_or(wrong)
    }

    /// Reads until the buffer has `end` bytes, which are no more than it holds.
    async fn fill(&mut self, end: usize, length: usize) -> Result<(), FrameError> {
        let Self { reader, buffer, .. } = self;
        let paced = async {
            while buffer.len() < end {
                buffer.reserve(end - buffer.len());
                if reader.read_buf(buffer).await? == 0 {
                    return Err(FrameError::Closed);
                }
            }
            Ok(())
        };
        let result: Result<_, Elapsed> = timeout(PACE, paced).await;
        result.map_err(|_| FrameError::Slow { length })?
    }

    /// Reads a request that is longer than the buffer, straight into memory that is as long as the request in the end.
    async fn read_body(&mut self, length: usize) -> Result<Bytes, FrameError> {
        let Self { reader, buffer, body, .. } = self;
        let (bytes, _) = body.get_or_insert_with(|| {
            buffer.advance(PREFIX);
            let mut bytes = Vec::with_capacity(length.min(BODY));
            let ahead = buffer.len().min(length);
            bytes.extend_from_slice(&buffer[..ahead]);
            buffer.advance(ahead);
            (bytes, length)
        });
        while bytes.len() < length {
            let step = (bytes.len() + pace(length)).min(length);
            let paced = async {
                while bytes.len() < step {
                    grow(bytes, length);
                    if reader.read_buf(bytes).await? == 0 {
                        return Err(FrameError::Closed);
                    }
                }
                Ok(())
            };
            let result: Result<_, Elapsed> = timeout(PACE, paced).await;
            result.map_err(|_| FrameError::Slow { length })??;
        }
        Ok(body.take().map(|(bytes, _)| Bytes::from(bytes)).unwrap_or_default())
    }
}

/// Makes room in a full buffer: as much again as has arrived, and never beyond `length`.
fn grow(bytes: &mut Vec<u8>, length: usize) {
    if bytes.len() == bytes.capacity() {
        bytes.reserve_exact(bytes.len().max(BODY).min(length - bytes.len()));
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

    #[tokio::test]
    async fn a_request_larger_than_all_requests_may_be_together_is_refused_at_once() {
        let length = (2_i32 << 20).to_be_bytes().to_vec();
        let mut reader = FrameReader::new(Cursor::new(length), ByteBudget::new(1 << 20), 100 << 20, None);
        assert!(matches!(reader.next().await, Err(FrameError::Memory { limit: 1_048_576, .. })));
    }

    /// Frames of these lengths, one after the other.
    fn frames(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, length) in (0_u8..).zip(lengths) {
            bytes.extend_from_slice(&i32::try_from(*length).unwrap().to_be_bytes());
            bytes.resize(bytes.len() + length, number);
        }
        bytes
    }

    #[tokio::test]
    async fn requests_of_all_sizes_come_whole_and_keep_no_memory_but_their_own() {
        let lengths = [1, 2_000, 2_044, 2_045, 10, 65_536, 3, 65_537, 300_000, 1];
        for step in [1, 7, 4_096, usize::MAX] {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let bytes = frames(&lengths);
            let sender = tokio::spawn(async move {
                use tokio::io::AsyncWriteExt;
                for part in bytes.chunks(step.min(bytes.len())) {
                    client.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            let mut reader = FrameReader::new(server, ByteBudget::new(1 << 20), 1 << 20, None);
            for (number, length) in (0_u8..).zip(lengths) {
                let frame = reader.next().await.unwrap();
                assert_eq!(frame.bytes, vec![number; length], "frame {number} in steps of {step}");
                assert!(frame.bytes.is_unique());
                assert_eq!(Vec::from(frame.bytes).capacity(), length, "frame {number} in steps of {step}");
            }
            assert!(matches!(reader.next().await, Err(FrameError::Closed)));
            sender.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_large_request_that_is_given_up_in_the_middle_is_read_on_or_given_when_it_has_arrived() {
        use tokio::io::AsyncWriteExt;
        let whole = frames(&[10_000, 20_000, 5]);
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(server, ByteBudget::new(1 << 20), 1 << 20, None);
        client.write_all(&whole[..5_000]).await.unwrap();
        assert!(reader.next().now_or_never().is_none());
        client.write_all(&whole[5_000..15_000]).await.unwrap();
        assert_eq!(reader.next().await.unwrap().bytes, vec![0; 10_000]);
        assert!(reader.next().now_or_never().is_none());
        client.write_all(&whole[15_000..]).await.unwrap();
        assert_eq!(reader.next_arrived().await.unwrap().bytes, vec![1; 20_000]);
        assert_eq!(reader.next_arrived().await.unwrap().bytes, vec![2; 5]);
        assert!(matches!(reader.next_arrived().await, Err(FrameError::Stopping)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_for_as_long_as_is_allowed_is_closed() {
        let (_client, server) = tokio::io::duplex(64);
        let limit = Duration::from_secs(600);
        let started = tokio::time::Instant::now();
        let mut reader = FrameReader::new(server, ByteBudget::new(1 << 20), 1_000, Some(limit));
        assert!(matches!(reader.next().await, Err(FrameError::Idle { .. })));
        assert_eq!(started.elapsed(), limit);
    }
}
