//! Which offsets belong to which leader epoch (KIP-101, KIP-279).
//!
//! Invariant: epochs and start offsets both rise from entry to entry. Rebuilt by recovery from the batches, so it needs
//! no file of its own.

use kennet_protocol::{LeaderEpoch, Offset};

/// The first offset of each leader epoch that wrote to the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// From entries in order, as a checkpoint has them; `None` when they don't rise.
    pub(crate) fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> Option<Self> {
        let rising = entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        rising.then_some(Self { entries })
    }

    pub(crate) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The epoch of the newest batch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` wrote at `offset`; only a higher epoch starts a new entry.
    pub(crate) fn note(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.latest().is_none_or(|latest| latest < epoch) {
            self.entries.push((epoch, offset));
        }
    }

    /// OffsetForLeaderEpoch: the largest epoch at or below `wanted`, and where the next larger one starts. The epoch of the leader,
    /// of which there may be no records yet, ends at `log_end`, and so does the one before it until the leader writes. `None` for an
    /// epoch that never was.
    pub(crate) fn end_of(
        &self,
        wanted: LeaderEpoch,
        leader: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let newest = self.latest().map_or(leader, |latest| latest.max(leader));
        if wanted < LeaderEpoch(0) || wanted > newest {
            return None;
        }
        if wanted == newest {
            return Some((wanted, log_end));
        }
        let after = self.entries.partition_point(|(epoch, _)| *epoch <= wanted);
        let end = self.entries.get(after).map_or(log_end, |(_, start)| *start);
        // An epoch below all of them: its records are deleted, or it had none. It ends where the oldest one starts, as in Kafka, so that
        // who had read all of it goes on; an unknown end would reset a consumer.
        let epoch = after.checked_sub(1).map_or(wanted, |at| self.entries[at].0);
        Some((epoch, end))
    }

    /// The epoch of the record at `offset`.
    pub(crate) fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        self.entries.get(after.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// The epochs of records below `end`.
    pub(crate) fn below(&self, end: Offset) -> Self {
        Self { entries: self.entries.iter().take_while(|(_, start)| *start < end).copied().collect() }
    }

    /// Forgets epochs that end at or before `log_start`; the one that holds it starts there.
    pub(crate) fn cut_front(&mut self, log_start: Offset) {
        let after = self.entries.partition_point(|(_, start)| *start <= log_start);
        if let Some(holder) = after.checked_sub(1) {
            self.entries.drain(..holder);
            self.entries[0].1 = log_start;
        }
    }
}

#[cfg(test)]
mod tests {
    use kennet_protocol::{LeaderEpoch, Offset};

    use super::LeaderEpochs;

    fn three() -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, offset) in [(1, 0), (1, 5), (3, 10), (7, 20)] {
            epochs.note(LeaderEpoch(epoch), Offset(offset));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_larger_one_starts() {
        for leader in [-1, 0, 7, 9] {
            let end = |epoch| {
                let found = three().end_of(LeaderEpoch(epoch), LeaderEpoch(leader), Offset(30));
                found.map(|(epoch, end)| (epoch.0, end.0))
            };
            assert_eq!(end(1), Some((1, 10)));
            assert_eq!(end(2), Some((1, 10)));
            assert_eq!(end(3), Some((3, 20)));
            assert_eq!(end(7), Some((7, 30)));
            assert_eq!(end(8), (leader == 9).then_some((7, 30)));
            assert_eq!(end(9), (leader == 9).then_some((9, 30)));
            assert_eq!(end(10), None);
            assert_eq!(end(0), Some((0, 0)));
            assert_eq!(end(-1), None);
        }
    }

    #[test]
    fn without_records_every_epoch_up_to_the_leaders_ends_where_the_log_does() {
        let end = |epoch| LeaderEpochs::default().end_of(LeaderEpoch(epoch), LeaderEpoch(2), Offset(5));
        for epoch in 0..=2 {
            assert_eq!(end(epoch), Some((LeaderEpoch(epoch), Offset(5))));
        }
        assert_eq!((end(3), end(-1)), (None, None));
    }

    #[test]
    fn a_moved_log_start_moves_the_epoch_that_holds_it() {
        let mut epochs = three();
        epochs.cut_front(Offset(12));
        assert_eq!(epochs.entries(), [(LeaderEpoch(3), Offset(12)), (LeaderEpoch(7), Offset(20))]);
        assert_eq!(epochs.epoch_of(Offset(12)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn entries_that_go_back_are_no_epochs() {
        assert_eq!(LeaderEpochs::from_entries(vec![(LeaderEpoch(2), Offset(0)), (LeaderEpoch(1), Offset(5))]), None);
    }
}
