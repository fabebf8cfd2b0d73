//! How a thread is told that there is work for it.
//!
//! Invariant: what is wanted while it works is not forgotten, and it is told once, however often it was wanted.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::shared::locked;

#[derive(Default)]
struct Flags {
    is_wanted: bool,
    is_last: bool,
}

/// Of one thread.
#[derive(Default)]
pub(super) struct Wanted {
    flags: Mutex<Flags>,
    changed: Condvar,
}

impl Wanted {
    pub(super) fn want(&self) {
        locked(&self.flags).is_wanted = true;
        self.changed.notify_all();
    }

    /// There will be no more work.
    pub(super) fn stop(&self) {
        locked(&self.flags).is_last = true;
        self.changed.notify_all();
    }

    /// Waits until there is work, or until it is time to look again, if `look_again` says when; true when there never will be any.
    pub(super) fn wait(&self, look_again: impl Fn() -> Option<Duration>) -> bool {
        let mut flags = locked(&self.flags);
        let mut is_time = false;
        loop {
            if flags.is_last {
                return true;
            }
            if std::mem::take(&mut flags.is_wanted) || is_time {
                return false;
            }
            flags = match look_again() {
                Some(time) => {
                    is_time = true;
                    self.changed.wait_timeout(flags, time).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(flags).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Wanted;

    #[test]
    fn what_is_wanted_before_the_wait_is_told_once() {
        let wanted = Wanted::default();
        wanted.want();
        wanted.want();
        assert!(!wanted.wait(|| None));
        assert!(!wanted.wait(|| Some(Duration::from_millis(1))));
        wanted.want();
        wanted.stop();
        assert!(wanted.wait(|| None));
    }
}
