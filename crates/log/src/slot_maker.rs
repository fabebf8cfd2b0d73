//! Makes slots for the journal before they are needed, on a thread of its own: a pass of the filler may take long, and the journal must not wait for
//! its end while it may still grow.
//!
//! Invariant: a slot is known to the journal only when all its bytes are on the disk. The thread ends when there are as many as there may be.

use std::sync::Arc;
use std::time::Duration;

use crate::fs::{is_final, is_full, is_transient};
use crate::progress::Progress;
use crate::shared::{FULL_PAUSE, FailedByPanic, HANDLE_PAUSE, Opens, Shared};

/// Works until there are all slots, or it is told to stop.
pub(crate) fn run(shared: &Arc<Shared>) {
    let _told = FailedByPanic { shared, thread: "slot maker" };
    loop {
        let mut pause = None;
        while pause.is_none() && shared.wants_slot() {
            pause = grow(shared);
        }
        if shared.wait_for_growing(pause) {
            return;
        }
    }
}

/// Makes one more slot for the journal, before the last free one is taken; otherwise answers when that should be tried again.
pub(crate) fn grow(shared: &Arc<Shared>) -> Option<Duration> {
    if shared.failed().is_some() {
        return None;
    }
    let was_cramped = shared.is_cramped();
    let pause = match shared.add_slot() {
        Ok(true) => {
            shared.note_handle(Opens::MoreSlots);
            None
        }
        // somebody else is making one
        Ok(false) => return Some(HANDLE_PAUSE),
        Err(error) if is_transient(&error) => {
            shared.note_no_handle(Opens::MoreSlots, &error);
            return Some(HANDLE_PAUSE);
        }
        Err(error) if is_final(&error) => {
            shared.fail(&error.to_string());
            None
        }
        // with fewer slots it works as well, and with more again when there is room
        Err(error) => {
            if !was_cramped {
                shared.complain(shared.root(), &error);
            }
            is_full(&error).then_some(FULL_PAUSE)
        }
    };
    shared.progress().room();
    pause
}
