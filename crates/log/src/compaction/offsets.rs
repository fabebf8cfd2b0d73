//! The newest offset of each key, in bounded memory.
//!
//! Keys are known by 128 bits of keyed hashes whose secret is drawn for each round, so that no client can make two keys look the same.
//! Invariant: of every record below `end` the key is in here with an offset at or above the record's.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashMap;
use kennet_protocol::Offset;

/// An entry: 16 bytes of hash, 8 of offset, one of the table's own.
const ENTRY_BYTES: usize = 25;
/// A table is at most this full, in eighths.
const LOAD_EIGHTHS: usize = 7;

/// Newest offsets by key.
pub(crate) struct NewestOffsets {
    secrets: [RandomState; 2],
    by_key: HashMap<[u8; 16], i64>,
    entries_max: usize,
    end: Offset,
}

impl NewestOffsets {
    /// For records from `start` on, in at most `bytes_max`; `records` is how many there are at most, if that is known.
    pub(crate) fn new(start: Offset, bytes_max: usize, records: usize) -> Self {
        // the table's size is a power of two; it is made at once, because growing would need half as much again
        let buckets = (bytes_max / ENTRY_BYTES).max(8);
        let buckets = 1 << buckets.ilog2();
        let entries_max = buckets / 8 * LOAD_EIGHTHS;
        Self {
            secrets: [RandomState::new(), RandomState::new()],
            by_key: HashMap::with_capacity(entries_max.min(records)),
            entries_max,
            end: start,
        }
    }

    /// Notes a record; false when there is no room for one more key.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        if self.by_key.len() >= self.entries_max && !self.by_key.contains_key(&hash) {
            return false;
        }
        self.by_key.insert(hash, offset.0);
        true
    }

    /// All records below are noted now.
    pub(crate) fn reach(&mut self, end: Offset) {
        self.end = self.end.max(end);
    }

    /// All records below are noted, from the start on.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// Whether a newer record with this key was noted.
    pub(crate) fn hides(&self, key: &[u8], offset: Offset) -> bool {
        self.by_key.get(&self.hash(key)).is_some_and(|newest| *newest > offset.0)
    }

    fn hash(&self, key: &[u8]) -> [u8; 16] {
        let mut hash = [0; 16];
        for (half, secret) in hash.chunks_exact_mut(8).zip(&self.secrets) {
            half.copy_from_slice(&secret.hash_one(key).to_le_bytes());
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use kennet_protocol::Offset;

    use super::NewestOffsets;

    #[test]
    fn only_older_records_of_the_same_key_are_hidden() {
        let mut offsets = NewestOffsets::new(Offset(0), 10_000, 10);
        assert!(offsets.put(b"a", Offset(3)) && offsets.put(b"b", Offset(4)) && offsets.put(b"a", Offset(7)));
        assert!(offsets.hides(b"a", Offset(3)));
        assert!(!offsets.hides(b"a", Offset(7)));
        assert!(!offsets.hides(b"b", Offset(4)));
        assert!(!offsets.hides(b"c", Offset(0)));
    }

    #[test]
    fn a_full_table_still_takes_keys_that_it_has() {
        let mut offsets = NewestOffsets::new(Offset(0), 1_000, 1_000);
        let taken = (0..1_000_u32).take_while(|key| offsets.put(&key.to_be_bytes(), Offset(i64::from(*key)))).count();
        assert_eq!(taken, 28, "of 32 places seven eighths");
        assert!(offsets.put(&0_u32.to_be_bytes(), Offset(5_000)));
        assert!(!offsets.put(&5_000_u32.to_be_bytes(), Offset(5_001)));
    }
}
