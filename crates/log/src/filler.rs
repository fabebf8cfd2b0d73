//! The filler: moves what is in the journal and in memory into segments, so that both can be used again.
//!
//! Invariant: order. Segment and index bytes, then their sync and that of their directories, then the checkpoint and its sync, and only then
//! are slots of the journal free. It is driven by how much of the journal and of the memory is used, never by size or age of a single log; so
//! the small logs of a large cluster are written once a lap, not once a record. A full volume is waited out, and so is a lack of file handles: whatever
//! has to be opened is, before anything counts as written. Any other error is final.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::checkpoint::{Item, LogCheckpoint};
use crate::fs::{Directory, File, final_error, is_full, is_transient};
use crate::journal::entry::LogNumber;
use crate::partition::{Filled, PartitionLog};
use crate::shared::{FULL_PAUSE, FailedByPanic, HANDLE_PAUSE, Opens, Shared, Unsynced};

/// Which logs a pass takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Those that hold the oldest slot, and the largest ones, as far as journal and memory ask for it.
    AsNeeded,
    /// Those that compaction waits for: a segment is complete and not written.
    Sealed,
    /// All of them.
    All,
    /// All of them, with all their indexes: nothing is to be read at the next start.
    Closing,
}

/// So many logs are filled before they are synced: each has up to three files and a directory open until then, and the journal's writes wait for the disk
/// behind them. With 64, p99 of 10 000 requests a second over a thousand partitions was three times as long.
const LOGS_AT_ONCE: usize = 16;

/// What is in segments and synced, and in no checkpoint yet: the volume was full. It goes first in the next pass.
#[derive(Default)]
pub(crate) struct Unfinished {
    logs: HashMap<LogNumber, (Arc<PartitionLog>, LogCheckpoint)>,
    removed: BTreeMap<u64, LogNumber>,
    /// Of the mutant that frees slots too early.
    late: Vec<Item>,
}

/// Works until it is told to stop.
pub(crate) fn run(shared: &Arc<Shared>) {
    let _told = FailedByPanic { shared, thread: "filler" };
    let mut pause = None;
    while !shared.wait_for_filling(pause) {
        pause = pass(shared, Pass::AsNeeded);
    }
}

/// Fills once; what goes wrong is told to the directory. Answers when it should be tried again, if something has to be waited out.
pub(crate) fn pass(shared: &Arc<Shared>, which: Pass) -> Option<Duration> {
    let mut unfinished = shared.unfinished();
    if shared.failed().is_some() {
        return None;
    }
    // before anything is looked at: whoever is refused from here on asks for a pass of its own
    let is_urgent = which != Pass::Sealed && shared.take_urgency();
    match try_pass(shared, &mut unfinished, which, is_urgent) {
        Ok(freed) => {
            shared.note_filled(freed);
            None
        }
        Err(error) => {
            if is_urgent {
                shared.keep_urgency();
            }
            let has_to_wait = if is_full(&error) {
                shared.note_full();
                FULL_PAUSE
            } else if is_transient(&error) {
                shared.note_no_handle(Opens::Segments, &error);
                HANDLE_PAUSE
            } else {
                shared.fail(&error.to_string());
                return None;
            };
            Some(has_to_wait)
        }
    }
}

fn try_pass(shared: &Arc<Shared>, unfinished: &mut Unfinished, which: Pass, is_urgent: bool) -> io::Result<bool> {
    let durable = shared.durable_entry();
    let chosen = choose(shared, which, durable, is_urgent);
    for logs in chosen.logs.chunks(LOGS_AT_ONCE) {
        fill_together(shared, unfinished, logs, durable, which)?;
    }
    unfinished.removed.extend(chosen.removed);
    let freed = finish(shared, unfinished)?;
    if is_urgent && !freed {
        // what is in the way is not durable yet
        shared.stays_urgent(durable);
    }
    Ok(freed)
}

/// Fills some logs and makes what was written durable together.
fn fill_together(
    shared: &Arc<Shared>,
    unfinished: &mut Unfinished,
    logs: &[Arc<PartitionLog>],
    durable: u64,
    which: Pass,
) -> io::Result<()> {
    let rules = shared.rules();
    let mut files = Vec::new();
    let mut directories = HashMap::new();
    let mut filled = Vec::new();
    let mut result = Ok(());
    for log in logs {
        match log.fill(durable, which == Pass::Closing) {
            Ok(Some(Filled { item, files: written, indexes, directories: changed })) => {
                filled.push((Arc::clone(log), item));
                files.extend(written.into_iter().filter(|_| rules.segments_are_synced));
                files.extend(indexes.into_iter().filter(|_| rules.indexes_are_synced));
                directories.extend(changed.into_iter().filter(|_| rules.directories_are_synced));
            }
            Ok(None) => {}
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let synced = sync_all(shared, &files, &directories);
    let is_final = synced.is_ok() || rules.failed_syncs_are_final;
    let synced = if is_final { synced } else { sync_all(shared, &files, &directories) };
    synced.map_err(|error| final_error(&error))?;
    for (log, item) in filled {
        unfinished.add(log, item);
    }
    result
}

fn sync_all(
    shared: &Arc<Shared>,
    files: &[Arc<dyn File>],
    directories: &HashMap<PathBuf, Arc<dyn Directory>>,
) -> io::Result<()> {
    shared.fs().sync_files(files)?;
    directories.values().try_for_each(|directory| directory.sync())
}

impl Unfinished {
    /// What a log's newer part says replaces what an older one said, but for producers, of which each part has its own.
    fn add(&mut self, log: Arc<PartitionLog>, mut item: LogCheckpoint) {
        if let Some((_, older)) = self.logs.remove(&item.number) {
            let newer = std::mem::replace(&mut item.producers, older.producers);
            item.producers.extend(newer);
        }
        self.logs.insert(item.number, (log, item));
    }

    fn items(&self) -> Vec<Item> {
        let logs = self.logs.values().map(|(_, item)| Item::Log(item.clone()));
        // last: what is said of a log that was deleted meanwhile must not bring it back
        logs.chain(self.removed.values().copied().map(Item::Removed)).collect()
    }
}

/// The checkpoint, then what it frees. False when there is nothing to say.
fn finish(shared: &Arc<Shared>, unfinished: &mut Unfinished) -> io::Result<bool> {
    let synced = synced(shared, unfinished);
    let anchor = shared.ledger().anchor(synced);
    let mut items = unfinished.items();
    if items.is_empty() && anchor == shared.last_anchor() {
        return Ok(false);
    }
    items.push(Item::NextNumber(shared.next_number()));
    items.push(Item::Anchor(anchor));
    if shared.rules().slots_wait_for_the_checkpoint {
        shared.write_checkpoint(&items)?;
    }
    for (_, (log, item)) in unfinished.logs.drain() {
        log.note_synced(item.through);
    }
    for entry in std::mem::take(&mut unfinished.removed).into_keys() {
        shared.forget_unsynced(entry);
    }
    shared.free_slots(anchor);
    if !shared.rules().slots_wait_for_the_checkpoint {
        let late = std::mem::replace(&mut unfinished.late, items);
        shared.write_checkpoint(&late)?;
    }
    Ok(true)
}

/// The newest entry up to which everything will be in segments once the checkpoint is durable.
fn synced(shared: &Arc<Shared>, unfinished: &Unfinished) -> u64 {
    // read first: what is pushed meanwhile is newer
    let durable = shared.durable_entry();
    let oldest = shared.unsynced(durable).into_iter().filter_map(|(entry, unsynced)| match unsynced {
        Unsynced::Removed(_) => Some(entry).filter(|entry| !unfinished.removed.contains_key(entry)),
        Unsynced::Found(_) => Some(entry),
        Unsynced::Log(log) => {
            let item = log.known_number().and_then(|number| unfinished.logs.get(&number));
            item.map_or(Some(entry), |(_, item)| log.first_unsynced_after(item.through))
        }
    });
    oldest.min().map_or(durable, |oldest| durable.min(oldest - 1))
}

struct Chosen {
    logs: Vec<Arc<PartitionLog>>,
    removed: Vec<(u64, LogNumber)>,
}

fn choose(shared: &Arc<Shared>, which: Pass, durable: u64, is_urgent: bool) -> Chosen {
    let mut logs = Vec::new();
    let mut removed = Vec::new();
    let oldest_slot = shared.oldest_slot_to_free(is_urgent);
    for (entry, unsynced) in shared.unsynced(durable) {
        match unsynced {
            Unsynced::Removed(number) => removed.push((entry, number)),
            Unsynced::Log(log) => logs.push((entry, log)),
            // metadata has not named it, or will not: its records are kept all the same
            Unsynced::Found(id) => logs.extend(shared.open_found(&id).map(|log| (entry, log))),
        }
    }
    if which != Pass::AsNeeded {
        let mut logs: Vec<_> = logs.into_iter().map(|(_, log)| log).collect();
        match which {
            Pass::Closing => logs = shared.all_logs(),
            Pass::Sealed => logs.retain(|log| log.has_sealed_tail()),
            Pass::AsNeeded | Pass::All => {}
        }
        return Chosen { logs, removed };
    }
    let (held, mut others): (Vec<_>, Vec<_>) =
        logs.into_iter().partition(|(entry, _)| oldest_slot.is_some_and(|last| *entry <= last));
    let mut chosen: Vec<_> = held.into_iter().map(|(_, log)| log).collect();
    let mut excess =
        shared.tail_bytes_to_free(is_urgent).saturating_sub(chosen.iter().map(|log| log.tail_bytes()).sum());
    if excess > 0 {
        others.sort_by_cached_key(|(_, log)| std::cmp::Reverse(log.tail_bytes()));
        for (_, log) in others {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(log.tail_bytes());
            chosen.push(log);
        }
    }
    Chosen { logs: chosen, removed }
}
