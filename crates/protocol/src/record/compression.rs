//! The four codecs that a batch may be compressed with.
//!
//! A broker passes compressed payloads through; this is for those who must see records (time look-ups, keyless checks,
//! clients). Output is limited by the caller, because a few bytes can stand for gigabytes.

use std::io::{self, BufRead, BufReader, Read, Write};

use bytes::Bytes;

use crate::record::snappy;

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
            Self::Snappy => snappy::compress(payload),
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
            Self::Snappy => snappy::decompress(payload, limit),
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
    read_limited(zstd_reader(payload)?, limit)
}

fn zstd_reader(payload: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// A payload as a stream, whose memory is bounded by the codec's window or largest block, not by its output.
pub(super) fn reader(codec: Compression, payload: &[u8]) -> io::Result<Box<dyn BufRead + '_>> {
    Ok(match codec {
        Compression::None => Box::new(payload),
        Compression::Gzip => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(payload))),
        Compression::Snappy => Box::new(snappy::Blocks::new(payload)),
        Compression::Lz4 => Box::new(BufReader::new(lz4_flex::frame::FrameDecoder::new(payload))),
        Compression::Zstd => Box::new(BufReader::new(zstd_reader(payload)?)),
    })
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
