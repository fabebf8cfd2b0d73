//! A cluster's id: 16 random bytes, written as Kafka writes them (22 characters of base64url without padding).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 128 bits in characters of six.
const LENGTH: usize = 22;

/// A cluster's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId([u8; 16]);

/// Why a text is no cluster id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a cluster id: expected 22 characters of base64url, as kafka-storage random-uuid prints them")]
pub struct ClusterIdError {
    text: String,
}

impl ClusterId {
    /// From 16 bytes, which the caller took from a random source.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for at in 0..LENGTH {
            // the last character holds two bits and four zeros
            let six = if at < LENGTH - 1 { bits >> (128 - 6 * (at + 1)) } else { bits << 4 };
            let index = usize::try_from(six & 63).unwrap_or(0);
            write!(f, "{}", char::from(ALPHABET[index]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, ClusterIdError> {
        let wrong = || ClusterIdError { text: text.chars().take(40).collect() };
        if text.len() != LENGTH {
            return Err(wrong());
        }
        let mut bits = 0_u128;
        for (at, letter) in text.bytes().enumerate() {
            let value = ALPHABET.iter().position(|known| *known == letter).ok_or_else(wrong)?;
            let value = u128::try_from(value).map_err(|_| wrong())?;
            bits = if at < LENGTH - 1 { bits << 6 | value } else { bits << 2 | value >> 4 };
        }
        let id = Self(bits.to_be_bytes());
        // bits that are cut off at the end must be zero, so that every id has one form
        if id.to_string() == text { Ok(id) } else { Err(wrong()) }
    }
}

impl Serialize for ClusterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::ClusterId;

    #[test]
    fn an_id_of_kafkas_comes_back() {
        for text in ["5L6g3nShT-eMCtK--X86sw", "AAAAAAAAAAAAAAAAAAAAAA", "_____________________w"] {
            assert_eq!(text.parse::<ClusterId>().unwrap().to_string(), text);
        }
        assert_eq!(ClusterId::from_bytes([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "short", "5L6g3nShT-eMCtK--X86s!", "_____________________x", "5L6g3nShT-eMCtK--X86sww"] {
            assert!(text.parse::<ClusterId>().is_err(), "{text}");
        }
    }
}
