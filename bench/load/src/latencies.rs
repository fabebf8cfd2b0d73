//! Latencies of all requests, kept one by one: a percentile is a value that was measured.

use serde_json::{Value, json};

/// Microseconds, in no order until they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// Room for so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// One more.
    pub(crate) fn push(&mut self, us: u32) {
        self.0.push(us);
    }

    /// All of another connection's.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Percentiles and maximum, in microseconds.
    pub(crate) fn summary(mut self) -> Value {
        self.0.sort_unstable();
        json!({
            "measured": self.0.len(),
            "p50_us": at(&self.0, 500),
            "p99_us": at(&self.0, 990),
            "p999_us": at(&self.0, 999),
            "max_us": self.0.last(),
        })
    }
}

/// The value below which so many of a thousand lie; none of an empty list.
fn at(sorted: &[u32], per_mille: usize) -> Option<u32> {
    let index = (sorted.len() * per_mille / 1000).min(sorted.len().checked_sub(1)?);
    sorted.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let sorted: Vec<u32> = (0..1000).collect();
        assert_eq!([at(&sorted, 500), at(&sorted, 990), at(&sorted, 999)], [Some(500), Some(990), Some(999)]);
        assert_eq!(at(&sorted[..1], 999), Some(0));
        assert_eq!(at(&[], 500), None);
    }
}
