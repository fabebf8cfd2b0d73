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

    /// Waits until there is work; true when there never will be any. With a `pause`, because what was wanted could not be done, it is time again when that is
    /// over and not before, whatever is wanted.
    pub(super) fn wait(&self, pause: Option<Duration>) -> bool {
        let flags = locked(&self.flags);
        let goes_on = |flags: &mut Flags| !flags.is_last && (pause.is_some() || !flags.is_wanted);
        let mut flags = match pause {
            Some(pause) => {
                self.changed.wait_timeout_while(flags, pause, goes_on).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(flags, goes_on).unwrap_or_else(PoisonError::into_inner),
        };
        flags.is_wanted = false;
        flags.is_last
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
        assert!(!wanted.wait(None));
        wanted.want();
        wanted.stop();
        assert!(wanted.wait(None));
    }

    #[test]
    fn a_pause_is_kept_whatever_is_wanted_and_ends() {
        let wanted = Wanted::default();
        wanted.want();
        assert!(!wanted.wait(Some(Duration::from_millis(1))));
        wanted.stop();
        assert!(wanted.wait(Some(Duration::from_secs(3_600))));
    }
}
