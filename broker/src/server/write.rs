//! Writes an answer's pieces to a socket, without copying them together.
//!
//! A client that does not read is closed after a minute without progress, so that it holds no answer for ever.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A client that takes nothing for so long is gone or stuck.
const STALL: Duration = Duration::from_secs(60);
/// Pieces that one call takes.
const PIECES: usize = 64;

/// Writes all of the pieces in order.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, pieces: Vec<Bytes>) -> io::Result<()> {
    let mut pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
        let written = timeout(STALL, writer.write_vectored(&slices)).await.map_err(io::Error::other)??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(&mut pieces, written);
    }
    timeout(STALL, writer.flush()).await.map_err(io::Error::other)?
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
    use bytes::Bytes;

    use super::write_all;

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
}
