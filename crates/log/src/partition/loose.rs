//! Entries of a log that no batch in the tail stands for and that no durable checkpoint has: that it was made, where it starts, and batches that were
//! deleted before they came to segments.
//!
//! Invariant: whatever a checkpoint holds that a pass is writing meanwhile, [`Loose::oldest_behind`] is not newer than the oldest entry here that it does not
//! have. A restart that began to read behind such an entry would find a log that starts behind its end.

use kennet_protocol::Offset;

/// More ranges than this are merged: the oldest of a range stays known, so merging only keeps the journal longer.
const RANGES_MAX: usize = 64;

/// Of one log.
#[derive(Debug, Default)]
pub(super) struct Loose {
    /// The oldest and the newest entry of each range.
    ranges: Vec<(u64, u64)>,
    /// Log starts that nobody was told yet.
    starts: Vec<(u64, Offset)>,
}

impl Loose {
    /// An entry that is not about a batch.
    pub(super) fn note(&mut self, entry: u64) {
        self.add(entry, entry);
    }

    /// An entry that moves the log start to `offset`, which may not be durable yet.
    pub(super) fn note_start(&mut self, entry: u64, offset: Offset) {
        self.add(entry, entry);
        self.starts.push((entry, offset));
    }

    /// Batches whose oldest entry is `first` were deleted by `entry`.
    pub(super) fn note_deleted(&mut self, first: u64, entry: u64) {
        self.add(first, entry);
    }

    fn add(&mut self, first: u64, last: u64) {
        self.ranges.push((first, last));
        if self.ranges.len() > RANGES_MAX {
            let merged = |pair: &[(u64, u64)]| {
                pair.iter().copied().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
            };
            self.ranges = self.ranges.chunks(2).filter_map(merged).collect();
        }
    }

    /// The log start is `offset` or more now, which `entry` says. Another one that is further may have been journaled before, and not be visible yet.
    pub(super) fn start_is_visible(&mut self, entry: u64, offset: Offset) {
        self.starts.retain(|(pending, start)| *pending > entry || *start > offset);
    }

    /// The log start that entries up to `through` say, or the one that is visible, if that is further.
    pub(super) fn log_start(&self, through: u64, visible: Offset) -> Offset {
        let starts = self.starts.iter().filter(|(entry, _)| *entry <= through).map(|(_, offset)| *offset);
        starts.fold(visible, Offset::max)
    }

    /// Whether a checkpoint with entries up to `durable` has something to say. Of a deletion that is newer it has not: it would say what becomes of batches
    /// behind `durable`.
    pub(super) fn is_known_by(&self, durable: u64) -> bool {
        self.ranges.iter().any(|(_, last)| *last <= durable)
    }

    /// An entry of the log that is not newer than the oldest one here behind `through`.
    pub(super) fn oldest_behind(&self, through: u64) -> Option<u64> {
        self.ranges.iter().filter(|(_, last)| *last > through).map(|(first, _)| *first).min()
    }

    /// A checkpoint with entries up to `through` is durable.
    pub(super) fn forget(&mut self, through: u64) {
        self.ranges.retain(|(_, last)| *last > through);
    }
}

#[cfg(test)]
mod tests {
    use kennet_protocol::Offset;

    use super::{Loose, RANGES_MAX};

    #[test]
    fn a_newer_entry_does_not_hide_an_older_one() {
        let mut loose = Loose::default();
        loose.note_start(5, Offset(10));
        loose.note_start(9, Offset(20));
        loose.note_deleted(3, 5);
        assert_eq!(
            (loose.oldest_behind(2), loose.oldest_behind(4), loose.oldest_behind(5)),
            (Some(3), Some(3), Some(9))
        );
        loose.forget(4);
        assert_eq!(loose.oldest_behind(4), Some(3));
        loose.forget(5);
        assert_eq!((loose.oldest_behind(5), loose.oldest_behind(9)), (Some(9), None));
        assert!(loose.is_known_by(9) && !loose.is_known_by(8));
    }

    #[test]
    fn a_nearer_start_does_not_hide_a_further_one_that_was_journaled_before() {
        let mut loose = Loose::default();
        loose.note_start(5, Offset(100));
        loose.note_start(6, Offset(50));
        loose.start_is_visible(6, Offset(50));
        assert_eq!(loose.log_start(6, Offset(50)), Offset(100));
        assert_eq!(loose.log_start(4, Offset(50)), Offset(50));
        loose.start_is_visible(5, Offset(100));
        assert_eq!(loose.log_start(6, Offset(0)), Offset(0));
    }

    #[test]
    fn many_take_little_and_forget_nothing() {
        let mut loose = Loose::default();
        (1..=10_000).for_each(|entry| loose.note(2 * entry));
        assert!(loose.ranges.len() <= RANGES_MAX);
        for through in 0..20_000 {
            let oldest = loose.oldest_behind(through).unwrap_or(u64::MAX);
            assert!(oldest <= through + 2, "{oldest} behind {through}");
        }
        loose.forget(20_000);
        assert_eq!(loose.oldest_behind(0), None);
    }
}
