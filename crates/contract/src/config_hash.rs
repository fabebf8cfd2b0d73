//! Short names of texts; that of a config file's content is how an operator tells which config a broker has loaded.

use sha2::{Digest, Sha256};

/// Bytes of the hash that are kept: enough to tell the texts of one cluster apart, short enough for an object's name.
const HASH_BYTES: usize = 5;

/// The hash of a config file's bytes, as it stands in the name of the ConfigMap and in `GET /status`.
#[must_use]
pub fn config_hash(text: &str) -> String {
    short_hash(text)
}

/// Ten hexadecimal digits that stand for a text.
#[must_use]
pub fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::config_hash;

    #[test]
    fn a_hash_is_the_front_of_sha_256() {
        assert_eq!(config_hash("abc"), "ba7816bf8f");
        assert_ne!(config_hash("abc"), config_hash("abc\n"));
    }
}
