//! Writes and syncs that have not come back from the disk, and how long the oldest one takes already.
//!
//! A disk that hangs reports nothing; this is how it is noticed. One short lock for each write: there are as many as blocks of the journal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What has begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// Something that takes until it is dropped.
pub(super) struct Taking {
    unfinished: Arc<Unfinished>,
    number: u64,
}

impl Unfinished {
    pub(super) fn begin(self: &Arc<Self>) -> Taking {
        let mut begun = self.lock();
        let number = begun.next;
        begun.next += 1;
        begun.since.insert(number, now());
        Taking { unfinished: Arc::clone(self), number }
    }

    /// How long the oldest one takes; nothing when there is none.
    pub(super) fn oldest(&self) -> Duration {
        let begun = self.lock();
        begun.since.first_key_value().map_or(Duration::ZERO, |(_, since)| now().saturating_duration_since(*since))
    }

    fn lock(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.unfinished.lock().since.remove(&self.number);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operating system's files are the shell, and nothing decides by this"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Unfinished;

    #[test]
    fn the_oldest_write_counts_until_it_is_done() {
        let unfinished = Arc::new(Unfinished::default());
        assert_eq!(unfinished.oldest(), Duration::ZERO);
        let first = unfinished.begin();
        std::thread::park_timeout(Duration::from_millis(20));
        drop(unfinished.begin());
        assert!(unfinished.oldest() > Duration::ZERO);
        drop(first);
        assert_eq!(unfinished.oldest(), Duration::ZERO);
    }
}
