//! The four codecs that a batch may be compressed with.
//!
//! A broker passes compressed payloads through; this is for those who must see records (time look-ups, keyless checks,
//! clients). Output is limited by the caller, because a few bytes can stand for gigabytes.

use std::io::{self, Read, Write};

use bytes::Bytes;

/// A codec, by its number in the attributes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// 0
    #[default]
    None,
    /// 1
    Gzip,
    /// 2: Java's Xerial framing is written; raw blocks are read too, as other clients send them
    Snappy,
    /// 3: the frame format
    Lz4,
    /// 4 (KIP-110)
    Zstd,
}

/// Why a payload could not be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The payload is not what its codec writes.
    #[error("a {codec} payload does not decompress")]
    Codec {
        /// The codec's name.
        codec: &'static str,
        /// What the library says.
        #[source]
        source: io::Error,
    },
    /// More output than allowed.
    #[error("a {codec} payload decompresses to more than {limit} bytes")]
    TooLarge {
        /// The codec's name.
        codec: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

/// First bytes of Xerial's snappy stream, version 1, as the Java client writes it.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Xerial cuts its input into blocks of this size.
const XERIAL_BLOCK: usize = 32 * 1024;
/// The largest window of a zstd frame that is read, as a power of two: 8 MiB, which is what level 19 uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl Compression {
    /// All codecs.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub(super) fn from_number(number: i16) -> Result<Self, i16> {
        Self::ALL.into_iter().find(|codec| codec.number() == number).ok_or(number)
    }

    pub(super) fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in configs (`compression.type`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Compresses a payload.
    ///
    /// # Errors
    /// When the codec's library fails.
    pub fn compress(self, payload: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let result = match self {
            Self::None => Ok(payload.to_vec()),
            Self::Gzip => compress_gzip(payload),
            Self::Snappy => compress_xerial(payload),
            Self::Lz4 => compress_lz4(payload),
            Self::Zstd => zstd::bulk::compress(payload, zstd::DEFAULT_COMPRESSION_LEVEL),
        };
        result.map_err(|source| CompressionError::Codec { codec: self.name(), source })
    }

    /// Decompresses a payload to at most `limit` bytes.
    ///
    /// # Errors
    /// When the payload is not intact, or its output is longer than `limit`.
    pub fn decompress(self, payload: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        let result = match self {
            Self::None => return Ok(payload.clone()),
            Self::Gzip => read_limited(flate2::read::MultiGzDecoder::new(payload.as_ref()), limit),
            Self::Snappy => decompress_snappy(payload, limit),
            Self::Lz4 => read_limited(lz4_flex::frame::FrameDecoder::new(payload.as_ref()), limit),
            Self::Zstd => decompress_zstd(payload, limit),
        };
        match result {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(CompressionError::TooLarge { codec: self.name(), limit }),
            Err(source) => Err(CompressionError::Codec { codec: self.name(), source }),
        }
    }
}

/// Reads to the end; `None` when there is more than `limit`.
fn read_limited(reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(allowed).read_to_end(&mut out)?;
    Ok((out.len() <= limit).then_some(out))
}

fn compress_gzip(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(payload)?;
    encoder.finish()
}

fn compress_lz4(payload: &[u8]) -> io::Result<Vec<u8>> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(payload)?;
    encoder.finish().map_err(io::Error::other)
}

fn decompress_zstd(payload: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_limited(decoder, limit)
}

fn compress_xerial(payload: &[u8]) -> io::Result<Vec<u8>> {
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

fn decompress_snappy(payload: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    // the version words behind Xerial's magic differ between writers; only the magic tells the framing
    if payload.len() < XERIAL_HEADER.len() || payload[..8] != XERIAL_HEADER[..8] {
        return Ok(append_snappy_block(payload, limit, &mut out)?.then_some(out));
    }
    let mut rest = &payload[XERIAL_HEADER.len()..];
    while !rest.is_empty() {
        let length = rest.first_chunk::<4>().and_then(|bytes| usize::try_from(i32::from_be_bytes(*bytes)).ok());
        let block = length.and_then(|length| rest.get(4..4_usize.checked_add(length)?));
        let block = block.ok_or_else(|| io::Error::other("a snappy block is cut off"))?;
        if !append_snappy_block(block, limit, &mut out)? {
            return Ok(None);
        }
        rest = &rest[4 + block.len()..];
    }
    Ok(Some(out))
}

/// Appends one raw block; false when the output would pass the limit. The stated length is checked before it is allocated.
fn append_snappy_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> io::Result<bool> {
    let length = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if length > limit.saturating_sub(out.len()) {
        return Ok(false);
    }
    // snappy's best case is 64 bytes for 3: a block that claims more lies, and must not make us allocate
    if length > block.len().saturating_mul(32) {
        return Err(io::Error::other("a snappy block states a length that it can't have"));
    }
    let start = out.len();
    out.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(io::Error::other)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Compression, CompressionError};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_payload_comes_back_from_every_codec(payload in prop::collection::vec(0_u8..4, 0..80_000)) {
            for codec in Compression::ALL {
                let compressed = Bytes::from(codec.compress(&payload).unwrap());
                prop_assert_eq!(codec.decompress(&compressed, payload.len()).unwrap(), &payload);
            }
        }

        #[test]
        fn no_bytes_panic_or_pass_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
                if let Ok(out) = codec.decompress(&bytes, 1_000) {
                    prop_assert!(out.len() <= 1_000);
                }
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let bomb = Bytes::from(codec.compress(&vec![0; 4 << 20]).unwrap());
            let error = codec.decompress(&bomb, 1 << 20).unwrap_err();
            assert!(matches!(error, CompressionError::TooLarge { .. }), "{codec:?}: {error}");
        }
    }

    #[test]
    fn raw_snappy_is_read_as_well_as_javas() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(Compression::Snappy.decompress(&raw.into(), 100).unwrap().as_ref(), b"hello hello hello");
    }
}
