//! When the filler works, and what it waits out.

use std::io;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::filler::Unfinished;
use crate::progress::Progress;
use crate::shared::{LOOK_AGAIN, Shared, locked};

/// What failed for lack of room is tried again after so long.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(1);
/// And what failed for lack of a file handle: others close theirs any moment, and nobody tells.
pub(crate) const HANDLE_PAUSE: Duration = LOOK_AGAIN;

/// Who opens files, and tells once of it that there is no handle for that, until there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Opens {
    Slots = 1,
    MoreSlots = 2,
    Segments = 4,
    Logs = 8,
}

impl Shared {
    pub(crate) fn unfinished(&self) -> MutexGuard<'_, Unfinished> {
        locked(&self.unfinished)
    }

    pub(crate) fn want_filling(&self) {
        self.filling.want();
    }

    pub(crate) fn stop_filling(&self) {
        self.filling.stop();
    }

    /// Waits until something should be filled, after a `pause` if the last pass had to end; true when the filler should end.
    pub(crate) fn wait_for_filling(&self, pause: Option<Duration>) -> bool {
        self.filling.wait(pause.or_else(|| self.is_full.load(Ordering::Acquire).then_some(FULL_PAUSE)))
    }

    /// Whether somebody was refused since the last pass; the pass that asks will see to it.
    pub(crate) fn take_urgency(&self) -> bool {
        self.is_urgent.swap(false, Ordering::Relaxed)
    }

    /// A pass that was urgent failed for now: the next one is urgent as well.
    pub(crate) fn keep_urgency(&self) {
        self.is_urgent.store(true, Ordering::Relaxed);
    }

    /// A pass freed nothing of what was durable up to `durable`: more may be free once more is durable.
    pub(crate) fn stays_urgent(&self, durable: u64) {
        self.is_urgent.store(true, Ordering::Relaxed);
        // the lock in there orders this with `note_durable`: either it sees that it is urgent, or we see its entry
        if self.durable_entry() > durable {
            self.want_filling();
        }
    }

    /// Something could not be opened. It is tried again, and told once until it goes.
    pub(crate) fn note_no_handle(&self, who: Opens, error: &io::Error) {
        let bit = who as u8;
        if self.lacks_handles.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.progress.complain(&format!(
                "{} waits for files that can't be opened: {error}; raise the limit of open files or lower max.connections",
                self.root.display()
            ));
        }
    }

    /// What could not be opened was.
    pub(crate) fn note_handle(&self, who: Opens) {
        let bit = who as u8;
        if self.lacks_handles.load(Ordering::Relaxed) & bit != 0 {
            self.lacks_handles.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Waits for others to close files.
    pub(crate) fn wait_for_handle(&self, error: &io::Error) {
        self.note_no_handle(Opens::Logs, error);
        // nobody tells of a file that was closed
        std::thread::park_timeout(HANDLE_PAUSE);
    }

    /// A pass went through. `freed`: it changed something.
    pub(crate) fn note_filled(&self, freed: bool) {
        if self.is_full.load(Ordering::Acquire) {
            self.probe();
        }
        if freed {
            self.note_handle(Opens::Segments);
            self.progress.room();
            if self.needs_filling() {
                self.want_filling();
            }
        }
    }
}
