//! Snappy as Kafka's clients use it: Java's Xerial framing, or one raw block.
//!
//! Invariant: what is allocated is bounded by the bytes that are there, whatever a block states.

use std::io::{self, BufRead, Read};

/// First bytes of Xerial's snappy stream, version 1, as the Java client writes it.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Xerial cuts its input into blocks of this size.
const XERIAL_BLOCK: usize = 32 * 1024;
/// Snappy's best case is 64 bytes for 3: a block that claims more lies, and must not make us allocate.
const EXPANSION_MAX: usize = 32;
/// The largest block that is read as part of a stream, where several threads may do so in a small pod. Xerial's blocks are far smaller; a
/// raw block is a whole batch, which clients fill to a megabyte unless they are told otherwise.
const STREAMED_BLOCK_BYTES_MAX: usize = 16 << 20;

pub(super) fn compress(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in payload.chunks(XERIAL_BLOCK) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
        let length = i32::try_from(compressed.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

/// Decompresses all blocks; `None` when there is more than `limit`.
pub(super) fn decompress(payload: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let mut blocks = Blocks::new(payload);
    while let Some(block) = blocks.take_block()? {
        if !append(block, limit, &mut out)? {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// A payload as a stream: snappy has none of its own, so blocks are decompressed one at a time.
pub(super) struct Blocks<'a> {
    rest: &'a [u8],
    is_framed: bool,
    block: Vec<u8>,
    at: usize,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        // the version words behind Xerial's magic differ between writers; only the magic tells the framing
        let is_framed = payload.len() >= XERIAL_HEADER.len() && payload[..8] == XERIAL_HEADER[..8];
        let rest = if is_framed { &payload[XERIAL_HEADER.len()..] } else { payload };
        Self { rest, is_framed, block: Vec::new(), at: 0 }
    }

    fn take_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.is_framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        let length = self.rest.first_chunk::<4>().and_then(|bytes| usize::try_from(i32::from_be_bytes(*bytes)).ok());
        let block = length.and_then(|length| self.rest.get(4..4_usize.checked_add(length)?));
        let block = block.ok_or_else(|| io::Error::other("a snappy block is cut off"))?;
        self.rest = &self.rest[4 + block.len()..];
        Ok(Some(block))
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(out.len());
        out[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Blocks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.block.len() {
            let Some(block) = self.take_block()? else { break };
            self.block.clear();
            self.at = 0;
            if !append(block, STREAMED_BLOCK_BYTES_MAX, &mut self.block)? {
                return Err(io::Error::other("a snappy block is larger than any that is decompressed here"));
            }
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.block.len());
    }
}

/// Appends one raw block; false when the output would pass the limit. The stated length is checked before it is allocated.
fn append(block: &[u8], limit: usize, out: &mut Vec<u8>) -> io::Result<bool> {
    let length = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if length > limit.saturating_sub(out.len()) {
        return Ok(false);
    }
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(io::Error::other("a snappy block states a length that it can't have"));
    }
    let start = out.len();
    out.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(io::Error::other)?;
    Ok(true)
}
