//! When topics may go: never more than a few in any hour, whatever their delays, so that a deleted namespace or a broken sync can be noticed
//! and undone. Pure; what went in the last hour is no longer among the owners, so it comes from what was written down.

use std::collections::BTreeMap;

/// The stretch of time that the limit is for, milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// In any hour at most so many topics go, or a tenth of all owned ones.
const HOURLY_MIN: usize = 10;
/// How far a broker's clock may be ahead of ours.
const SKEW_MS: i64 = 60_000;
/// Deletions that wait at one time; those beyond come with a later audit. What is written down of them stays far below an object's 1 MiB.
const PENDING_MAX: usize = 10_000;

/// Topics that may go in any hour.
pub(super) fn hourly_limit(owned: usize) -> usize {
    HOURLY_MIN.max(owned / 10)
}

/// Times of deletions, those of the last hour and those to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    /// In order.
    times_ms: Vec<i64>,
    limit: usize,
    now_ms: i64,
}

impl Ledger {
    /// From what was written down, and the times of topics that wait. A time that is in both is one deletion. What was written down for
    /// later and does not wait was cancelled; what is overdue goes now.
    pub(super) fn new(written: &str, waiting_ms: &[i64], limit: usize, now_ms: i64) -> Self {
        let past = now_ms.saturating_sub(HOUR_MS).saturating_add(1)..=now_ms.saturating_add(SKEW_MS);
        let mut gone: BTreeMap<i64, usize> = BTreeMap::new();
        for time in written.split_whitespace().filter_map(|time| time.parse().ok()).filter(|time| past.contains(time)) {
            *gone.entry(time).or_default() += 1;
        }
        let mut times_ms = Vec::new();
        for time in waiting_ms {
            if let Some(count) = gone.get_mut(time) {
                *count = count.saturating_sub(1);
            }
            times_ms.push(now_ms.max(*time));
        }
        times_ms.extend(gone.into_iter().flat_map(|(time, count)| std::iter::repeat_n(time, count)));
        times_ms.sort_unstable();
        Self { times_ms, limit, now_ms }
    }

    /// Books one more deletion, not before `earliest_ms`; none when too many wait already.
    pub(super) fn book(&mut self, earliest_ms: i64) -> Option<i64> {
        if self.times_ms.len() >= PENDING_MAX.max(2 * self.limit) {
            return None;
        }
        let from = self.times_ms.partition_point(|time| time.saturating_add(HOUR_MS) <= earliest_ms);
        let later = self.times_ms[from..].iter().map(|time| time.saturating_add(HOUR_MS));
        let time = std::iter::once(earliest_ms).chain(later).find(|time| self.fits(*time))?;
        self.times_ms.insert(self.times_ms.partition_point(|other| *other <= time), time);
        Some(time)
    }

    /// Whether one more at that time leaves every hour around it within the limit.
    fn fits(&self, time: i64) -> bool {
        let at = self.times_ms.partition_point(|other| *other <= time);
        let with = |index: usize| match index.cmp(&at) {
            std::cmp::Ordering::Less => self.times_ms.get(index).copied(),
            std::cmp::Ordering::Equal => Some(time),
            std::cmp::Ordering::Greater => self.times_ms.get(index - 1).copied(),
        };
        (at.saturating_sub(self.limit)..=at).all(|first| match (with(first), with(first + self.limit)) {
            (Some(first), Some(last)) => last.saturating_sub(first) >= HOUR_MS,
            _ => true,
        })
    }

    /// Deletions that wait for others to go first: [`Self::book`] put them exactly an hour after one of those. Others wait for their own delay.
    pub(super) fn held(&self) -> usize {
        let put_off =
            |time: &&i64| **time > self.now_ms && self.times_ms.binary_search(&time.saturating_sub(HOUR_MS)).is_ok();
        self.times_ms.iter().filter(put_off).count()
    }

    /// To be written down before a topic is scheduled.
    pub(super) fn text(&self) -> String {
        self.times_ms.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HOUR_MS, Ledger, hourly_limit};

    #[test]
    fn a_tenth_may_go_and_ten_always() {
        assert_eq!(hourly_limit(0), 10);
        assert_eq!(hourly_limit(500), 50);
    }

    #[test]
    fn ten_that_went_at_once_hold_the_next_for_an_hour() {
        let mut first = Ledger::new("", &[], 10, 1000);
        for _ in 0..10 {
            assert_eq!(first.book(1000), Some(1000));
        }
        // they are gone from the owners when the next audit looks
        let mut next = Ledger::new(&first.text(), &[], 10, 2000);
        assert_eq!(next.book(2000), Some(1000 + HOUR_MS));
    }

    #[test]
    fn more_than_an_hour_s_worth_is_held() {
        let mut ledger = Ledger::new("", &[], 10, 0);
        let times: Vec<_> = (0..25).filter_map(|_| ledger.book(5)).collect();
        assert_eq!(times.len(), 25);
        assert_eq!(ledger.held(), 15);
        assert_eq!(Ledger::new(&ledger.text(), &times, 10, 5).times_ms, ledger.times_ms);
    }

    #[test]
    fn topics_that_wait_for_their_own_delay_are_not_held() {
        let waiting: Vec<i64> = (0..30).map(|day| 1 + day * 24 * HOUR_MS).collect();
        assert_eq!(Ledger::new("", &waiting, 10, 0).held(), 0);
    }

    #[test]
    fn a_few_are_held_until_they_go_even_if_the_others_have_gone() {
        let mut ledger = Ledger::new("", &[], 10, 1000);
        let times: Vec<_> = (0..12).filter_map(|_| ledger.book(1000)).collect();
        assert_eq!(ledger.held(), 2);
        let later = |now| Ledger::new(&ledger.text(), &times[10..], 10, now).held();
        assert_eq!((later(2000), later(HOUR_MS), later(1000 + HOUR_MS)), (2, 2, 0));
        // their Topics are there again
        assert_eq!(Ledger::new(&ledger.text(), &[], 10, 2000).held(), 0);
    }

    proptest! {
        #[test]
        fn no_hour_sees_more_than_the_limit(
            audits in prop::collection::vec((0..2 * HOUR_MS, prop::collection::vec(0..3 * HOUR_MS, 0..30)), 1..6),
            limit in 1_usize..12,
        ) {
            let (mut now, mut written) = (0, String::new());
            let (mut all, mut waiting): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
            for (pause, delays) in audits {
                now += pause;
                // what fell due has gone
                waiting.retain(|time| *time > now);
                let mut ledger = Ledger::new(&written, &waiting, limit, now);
                for delay in delays {
                    let time = ledger.book(now + delay).unwrap();
                    prop_assert!(time >= now + delay);
                    all.push(time);
                    waiting.push(time);
                }
                written = ledger.text();
            }
            all.sort_unstable();
            for window in all.windows(limit + 1) {
                prop_assert!(window[limit] - window[0] >= HOUR_MS, "{window:?}");
            }
        }
    }
}
