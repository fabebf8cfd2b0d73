//! Makes slots for the journal before they are needed, on a thread of its own: a pass of the filler may take long, and the journal must not wait for
//! its end while it may still grow.
//!
//! Invariant: a slot is known to the journal only when all its bytes are on the disk. The thread ends when there are as many as there may be.

use std::sync::Arc;

use crate::fs::{is_final, is_transient};
use crate::progress::Progress;
use crate::shared::{FailedByPanic, Shared};

/// Works until there are all slots, or it is told to stop.
pub(crate) fn run(shared: &Arc<Shared>) {
    let _told = FailedByPanic { shared, thread: "slot maker" };
    loop {
        while shared.wants_slot() && grow(shared) {}
        if shared.wait_for_growing() {
            return;
        }
    }
}

/// Makes one more slot for the journal, before the last free one is taken; false when that has to be tried again later.
pub(crate) fn grow(shared: &Arc<Shared>) -> bool {
    if shared.failed().is_none() {
        match shared.add_slot() {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) if is_transient(&error) => {
                shared.note_no_handle(&error);
                return false;
            }
            Err(error) if is_final(&error) => shared.fail(&error.to_string()),
            // with fewer slots it works as well
            Err(error) => shared.complain(shared.root(), &error),
        }
    }
    shared.progress().room();
    true
}
