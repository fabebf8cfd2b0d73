//! Writes an answer's pieces to a socket, without copying them together.
//!
//! A client that does not read, or hardly, is closed after a minute, so that it holds no answer for ever.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A client has to take something worth the name in each of these.
const PACE: Duration = Duration::from_secs(60);
/// 4 KiB a second: less is a client that holds answers, not one with a slow line. What is left of an answer may be less.
const PACE_BYTES: usize = 60 * 4 * 1024;
/// Pieces that one call takes.
const PIECES: usize = 64;

/// Writes all of the pieces in order.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, pieces: Vec<Bytes>) -> io::Result<()> {
    let mut pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    while !pieces.is_empty() {
        timeout(PACE, write_some(writer, &mut pieces)).await.map_err(io::Error::other)??;
    }
    timeout(PACE, writer.flush()).await.map_err(io::Error::other)?
}

/// Writes until the client has taken as much as it has to in one go, or everything.
async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
    let mut taken = 0;
    while taken < PACE_BYTES && !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
        let written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(pieces, written);
        taken += written;
    }
    Ok(())
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::{PACE, write_all};

    #[tokio::test]
    async fn pieces_arrive_in_order_whatever_the_socket_takes() {
        let (mut writer, mut reader) = tokio::io::duplex(7);
        let pieces: Vec<Bytes> =
            (0..200_u8).map(|number| Bytes::from(vec![number; usize::from(number % 11)])).collect();
        let expected: Vec<u8> = pieces.concat();
        let sent = tokio::spawn(async move { write_all(&mut writer, pieces).await });
        let mut found = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut found).await.unwrap();
        sent.await.unwrap().unwrap();
        assert_eq!(found, expected);
    }

    async fn closed_after(read_each_10_s: usize) -> Option<Duration> {
        let (mut writer, mut reader) = tokio::io::duplex(1 << 10);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; read_each_10_s];
            while read_each_10_s == 0 || tokio::io::AsyncReadExt::read_exact(&mut reader, &mut buffer).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        });
        let started = tokio::time::Instant::now();
        let result = write_all(&mut writer, vec![Bytes::from(vec![0; 1 << 20])]).await;
        drop(writer);
        reading.abort();
        result.is_err().then(|| started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_or_a_byte_now_and_then_is_closed_after_a_minute() {
        assert_eq!(closed_after(0).await, Some(PACE));
        assert_eq!(closed_after(1).await, Some(PACE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_on_a_slow_line_gets_everything() {
        assert_eq!(closed_after(64 << 10).await, None);
    }
}
