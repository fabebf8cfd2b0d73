//! The journal's thread: takes what is pending, makes it durable block by block, and tells who waits.
//!
//! Invariant: a log's durable end rises only behind the block that has its entries. Without a free slot or room on the volume it waits for the
//! filler, without a file handle for others to close theirs; any other error is final for the directory, because what is on the disk is unknown then, and a write that succeeds later would lie.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use kennet_protocol::Offset;

use crate::journal::writer::{Queued, WriteError};
use crate::partition::{LogId, PartitionLog};
use crate::progress::{Advance, Progress};
use crate::shared::{FailedByPanic, Opens, Shared};

/// The pause from one block's beginning to the next one's. A fast disk could make ten thousand small blocks a second, each of which costs more than the records
/// in it; four thousand carry as much. Who appends alone notices nothing: its answer takes longer than this.
const BLOCK_PAUSE: Duration = Duration::from_micros(250);
/// The pause when entries kept coming while the last block was written, so more of them come now: half as many blocks for them. Who waits for an answer before he
/// sends again meets it once at most: from then on what he sends comes behind the block that answers him, together with the others.
const BUSY_PAUSE: Duration = Duration::from_micros(500);
/// So many entries that came while one block was written are more than chance.
const BUSY_FROM: usize = 2;
/// A block of so many bytes is worth making at once.
const BLOCK_WORTH_BYTES: u64 = 64 << 10;

/// What belongs to an entry on its way: the log, and the end that it raises.
pub(crate) struct Tag {
    pub(crate) log: Arc<PartitionLog>,
    pub(crate) end: Offset,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All that was pending is durable.
    Idle,
    /// There is more to write.
    More,
    /// Something has to be filled first.
    NoSlot,
    /// The volume is full.
    Full,
    /// There is no file handle for a slot.
    NoHandle,
    /// Nothing is written any more.
    Failed,
}

/// When the directory is closed and a slot can't be opened, it is tried so often, a tenth of a second apart: by then nearly all handles of the
/// process are closed, or never will be.
const LAST_TRIES: u32 = 50;

/// Works until it is told to stop; everything that was pushed before is written, unless the directory fails.
pub(crate) fn run(shared: &Arc<Shared>) {
    // also when it panics, and in this order
    let _closed = ClosedAtTheEnd(shared);
    let _told = FailedByPanic { shared, thread: "journal" };
    let mut begun = None;
    let mut came_meanwhile = 0;
    let mut last_tries = LAST_TRIES;
    loop {
        begun = Some(keep_pause(begun, shared.pending_bytes(), came_meanwhile));
        let done = step(shared);
        came_meanwhile = shared.pending_entries();
        match done {
            Step::More => {}
            Step::Idle => {
                if shared.wait_for_entries() {
                    return;
                }
            }
            Step::NoSlot | Step::Full => {
                if shared.wait_for_slot() {
                    return;
                }
            }
            Step::NoHandle => {
                if shared.wait_for_slot() {
                    return;
                }
                last_tries -= u32::from(shared.is_last());
                // what was never durable was never acknowledged
                if last_tries == 0 {
                    return;
                }
            }
            Step::Failed => {
                if shared.wait_for_entries() {
                    return;
                }
            }
        }
    }
}

/// How long the next block waits when the last one was begun `since` ago, so many bytes wait, and so many entries came while it was written.
fn pause(since: Duration, pending_bytes: u64, came_meanwhile: usize) -> Duration {
    if pending_bytes >= BLOCK_WORTH_BYTES {
        return Duration::ZERO;
    }
    let pause = if came_meanwhile >= BUSY_FROM { BUSY_PAUSE } else { BLOCK_PAUSE };
    pause.saturating_sub(since)
}

/// Waits out the pause behind the block that was begun at `begun`; returns when the next one begins.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread is the shell, and nothing but the time of a block depends on it"
)]
fn keep_pause(begun: Option<Instant>, pending_bytes: u64, came_meanwhile: usize) -> Instant {
    if let Some(begun) = begun {
        let left = pause(begun.elapsed(), pending_bytes, came_meanwhile);
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }
    Instant::now()
}

struct ClosedAtTheEnd<'a>(&'a Shared);

impl Drop for ClosedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.note_closed();
    }
}

/// Writes one block.
pub(crate) fn step(shared: &Arc<Shared>) -> Step {
    let mut writer = shared.writer();
    let pending = shared.take_pending();
    if let Some(reason) = shared.failed() {
        // appended just before the failure was known: whoever waits for it has to be told as well
        if !pending.is_empty() {
            shared.progress().failed(&reason.to_string());
        }
        return Step::Failed;
    }
    writer.push(pending);
    match writer.write_block() {
        Ok(done) => {
            let (is_idle, is_buffered) = (writer.is_empty(), writer.is_buffered());
            drop(writer);
            if !done.is_empty() {
                shared.note_handle(Opens::Slots);
            }
            if is_buffered {
                shared.note_buffered();
            }
            complete(shared, &done);
            if is_idle { Step::Idle } else { Step::More }
        }
        Err(WriteError::NoSlot) => Step::NoSlot,
        Err(WriteError::Full) => {
            shared.note_full();
            Step::Full
        }
        Err(WriteError::NoHandle(error)) => {
            shared.note_no_handle(Opens::Slots, &error);
            Step::NoHandle
        }
        Err(WriteError::Failed(error)) => {
            drop(writer);
            if !shared.rules().failed_blocks_are_final {
                return Step::More;
            }
            shared.fail(&error.to_string());
            Step::Failed
        }
    }
}

fn complete(shared: &Arc<Shared>, done: &[Queued<Tag>]) {
    let Some(last) = done.last() else { return };
    let mut advances: Vec<Advance> = Vec::new();
    let mut dropped: Vec<Arc<PartitionLog>> = Vec::new();
    let mut places: HashMap<LogId, usize> = HashMap::new();
    for Queued { tag: Tag { log, end }, .. } in done {
        let Some(durable_end) = log.complete(*end) else {
            if !dropped.iter().any(|known| Arc::ptr_eq(known, log)) {
                dropped.push(Arc::clone(log));
            }
            continue;
        };
        match places.get(log.id()) {
            Some(place) => advances[*place].durable_end = durable_end,
            None => {
                places.insert(log.id().clone(), advances.len());
                advances.push(Advance { log: Arc::clone(log), durable_end });
            }
        }
    }
    shared.progress().durable(&advances);
    if !dropped.is_empty() {
        shared.progress().dropped(&dropped);
    }
    // last, so that who waits for the entry finds everybody told
    shared.note_durable(last.number, done);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BLOCK_PAUSE, BLOCK_WORTH_BYTES, BUSY_FROM, BUSY_PAUSE, pause};

    #[test]
    fn small_blocks_keep_a_pause_and_large_ones_do_not() {
        let since = Duration::from_micros(100);
        assert_eq!(pause(since, 1, 0), BLOCK_PAUSE - since);
        assert_eq!(pause(since, BLOCK_WORTH_BYTES, BUSY_FROM), Duration::ZERO);
        assert_eq!(pause(Duration::from_secs(1), 1, BUSY_FROM), Duration::ZERO);
    }

    #[test]
    fn the_pause_is_longer_where_entries_keep_coming() {
        let since = Duration::from_micros(300);
        assert_eq!(pause(since, 1, BUSY_FROM - 1), Duration::ZERO);
        assert_eq!(pause(since, 1, BUSY_FROM), BUSY_PAUSE - since);
    }
}
