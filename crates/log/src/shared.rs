//! What the logs of a data directory share: what is pending, what is durable, what is only in the journal, and how much of everything is used.
//!
//! Lock order: a partition's locks come first; of the locks here none is taken while another one is held, but `unsynced` under `pending`, and what the filler takes
//! under its own.

mod filling;
mod room;
mod slots;
mod wanted;

pub(crate) use filling::{FULL_PAUSE, HANDLE_PAUSE, Opens};
pub(crate) use room::Whose;
pub use slots::JournalUse;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
#[cfg(any(test, feature = "sim"))]
use std::sync::TryLockError;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_protocol::{Offset, TimestampMs};

use crate::checkpoint::{CheckpointFile, Item};
use crate::config::LogConfig;
use crate::error::Unavailable;
use crate::filler::{self, Pass, Unfinished};
use crate::fs::FileSystem;
use crate::journal::JournalLimits;
use crate::journal::block::{FRAGMENT_BYTES, HEADER_BYTES};
use crate::journal::entry::{Entry, LogNumber};
use crate::journal::ledger::{Ledger, Place};
use crate::journal::writer::{Queued, Writer};
use crate::journal_thread::{self, Step, Tag};
use crate::partition::{LogId, PartitionLog, RecoveredLog};
use crate::progress::{LateProgress, Progress};
use crate::rules::Rules;
use crate::scan::to_u64;
use crate::segment::OpenFiles;
use crate::shared::wanted::Wanted;
use crate::slot_maker;

/// Whoever waits for a thing that another thread does looks again this often, whatever it was told.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An entry that is only in the journal belongs to one of these.
#[derive(Clone)]
pub(crate) enum Unsynced {
    Log(Arc<PartitionLog>),
    /// A log that a restart found and nobody has opened.
    Found(LogId),
    /// A log that was deleted; the checkpoint has to forget it.
    Removed(LogNumber),
}

/// How the directory is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drive {
    /// By two threads of its own.
    Threads,
    /// By whoever waits, one step after the other: every run with the same calls is the same.
    Manual,
}

/// Limits of a data directory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory that batches may keep until they are in segments; the filler starts at half of it.
    pub memory_bytes_max: usize,
    /// Bytes of the journal; `None` is 5 % of the volume, within bounds.
    pub journal_bytes_max: Option<u64>,
    /// Segment files that may be open.
    pub open_files_max: u64,
}

impl Default for Limits {
    /// For a pod of 512 MiB.
    fn default() -> Self {
        Self { memory_bytes_max: 64 << 20, journal_bytes_max: None, open_files_max: 10_000 }
    }
}

#[derive(Default)]
struct Pending {
    entries: Vec<Queued<Tag>>,
    /// The number that the next entry gets.
    next: u64,
    is_last: bool,
}

/// Fails the directory when its thread panics: what it would have done is waited for.
pub(crate) struct FailedByPanic<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) thread: &'static str,
}

impl Drop for FailedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(&format!("the {}'s thread panicked", self.thread));
        }
    }
}

/// What the logs of a directory share.
pub(crate) struct Shared {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    limits: Limits,
    journal: JournalLimits,
    rules: Rules,
    drive: Drive,
    failed: OnceLock<Unavailable>,
    progress: Arc<LateProgress>,
    open_files: OpenFiles,
    logs: Mutex<HashMap<LogId, Arc<PartitionLog>>>,
    /// Logs that a restart found and nobody has opened.
    found: Mutex<HashMap<LogId, RecoveredLog>>,
    pending: Mutex<Pending>,
    pending_changed: Condvar,
    /// Bytes of entries that are not durable yet, with their fragments' heads.
    pending_bytes: AtomicU64,
    writer: Mutex<Writer<Tag>>,
    ledger: Arc<Mutex<Ledger>>,
    journal_used: AtomicU64,
    journal_capacity: AtomicU64,
    /// What the largest entry needs that was refused for now.
    room_wanted: AtomicU64,
    /// The journal has all its slots, or can never have more.
    cannot_grow: AtomicBool,
    /// The volume had no room for the last slot that was wanted.
    is_cramped: AtomicBool,
    growing: Wanted,
    /// The newest entry that is durable.
    durable: Mutex<u64>,
    durable_changed: Condvar,
    unsynced: Mutex<BTreeMap<u64, Unsynced>>,
    next_number: AtomicU64,
    tail_bytes: AtomicUsize,
    filling: Wanted,
    unfinished: Mutex<Unfinished>,
    /// None when it is damaged; then the directory has failed.
    checkpoint: Mutex<Option<CheckpointFile>>,
    last_anchor: Mutex<Place>,
    is_full: AtomicBool,
    /// Something could not be opened for lack of a file handle, and is tried again.
    /// Bits of [`Opens`].
    lacks_handles: AtomicU8,
    /// It was told that the journal is not written directly.
    is_told_buffered: AtomicBool,
    /// Nobody writes the journal any more.
    is_closed: AtomicBool,
    /// An append was refused for lack of room.
    is_urgent: AtomicBool,
    probed_at: AtomicI64,
}

/// What a directory begins with.
pub(crate) struct Parts {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) root: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) journal: JournalLimits,
    pub(crate) rules: Rules,
    pub(crate) drive: Drive,
    pub(crate) checkpoint: Option<CheckpointFile>,
    pub(crate) anchor: Place,
    pub(crate) writer: Writer<Tag>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) next_entry: u64,
    pub(crate) next_number: u64,
    pub(crate) found: HashMap<LogId, RecoveredLog>,
    pub(crate) unsynced: BTreeMap<u64, Unsynced>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // a panic under these locks leaves no half change that later users could not stand
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let ledger = locked(&parts.ledger);
        let (used, slots) = (ledger.used_bytes(), to_u64(ledger.slots()));
        drop(ledger);
        Self {
            open_files: OpenFiles::new(parts.limits.open_files_max),
            fs: parts.fs,
            root: parts.root,
            limits: parts.limits,
            journal: parts.journal,
            rules: parts.rules,
            drive: parts.drive,
            failed: OnceLock::new(),
            progress: Arc::default(),
            logs: Mutex::default(),
            found: Mutex::new(parts.found),
            pending: Mutex::new(Pending { next: parts.next_entry, ..Pending::default() }),
            pending_changed: Condvar::new(),
            pending_bytes: AtomicU64::new(0),
            writer: Mutex::new(parts.writer),
            ledger: parts.ledger,
            journal_used: AtomicU64::new(used),
            journal_capacity: AtomicU64::new(slots * parts.journal.slot_bytes),
            room_wanted: AtomicU64::new(0),
            cannot_grow: AtomicBool::new(false),
            is_cramped: AtomicBool::new(false),
            growing: Wanted::default(),
            durable: Mutex::new(parts.next_entry - 1),
            durable_changed: Condvar::new(),
            unsynced: Mutex::new(parts.unsynced),
            next_number: AtomicU64::new(parts.next_number),
            tail_bytes: AtomicUsize::new(0),
            filling: Wanted::default(),
            unfinished: Mutex::default(),
            checkpoint: Mutex::new(parts.checkpoint),
            last_anchor: Mutex::new(parts.anchor),
            is_full: AtomicBool::new(false),
            lacks_handles: AtomicU8::new(0),
            is_told_buffered: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_urgent: AtomicBool::new(false),
            probed_at: AtomicI64::new(0),
        }
    }

    pub(crate) fn fs(&self) -> &dyn FileSystem {
        self.fs.as_ref()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    pub(crate) fn drive(&self) -> Drive {
        self.drive
    }

    pub(crate) fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    pub(crate) fn progress(&self) -> &LateProgress {
        &self.progress
    }

    pub(crate) fn failed(&self) -> Option<Unavailable> {
        self.failed.get().cloned()
    }

    /// The first failure counts; what comes later follows from it. Everybody who waits is told.
    pub(crate) fn fail(&self, reason: &str) {
        if self.failed.set(Unavailable::DirectoryFailed { reason: reason.into() }).is_ok() {
            self.progress.failed(reason);
        }
        drop(locked(&self.durable));
        self.durable_changed.notify_all();
        self.pending_changed.notify_all();
    }

    pub(crate) fn note_buffered(&self) {
        if !self.is_told_buffered.swap(true, Ordering::Relaxed) {
            self.progress.buffered();
        }
    }

    pub(crate) fn complain(&self, path: &Path, error: &io::Error) {
        self.progress.complain(&format!("{}: {error}", path.display()));
    }

    // the logs

    pub(crate) fn logs(&self) -> MutexGuard<'_, HashMap<LogId, Arc<PartitionLog>>> {
        locked(&self.logs)
    }

    pub(crate) fn all_logs(&self) -> Vec<Arc<PartitionLog>> {
        self.logs().values().cloned().collect()
    }

    pub(crate) fn found(&self) -> MutexGuard<'_, HashMap<LogId, RecoveredLog>> {
        locked(&self.found)
    }

    /// Opens a log that a restart found and metadata has not named.
    pub(crate) fn open_found(self: &Arc<Self>, id: &LogId) -> Option<Arc<PartitionLog>> {
        // held until the log is there for all
        let mut all_found = self.found();
        let found = all_found.remove(id)?;
        let log = PartitionLog::recovered(Arc::clone(self), found, LogConfig::default(), TimestampMs::NONE);
        self.logs().insert(id.clone(), Arc::clone(&log));
        Some(log)
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_opening_a_log(&self) -> bool {
        matches!(self.found.try_lock(), Err(TryLockError::WouldBlock))
    }

    pub(crate) fn new_number(&self) -> LogNumber {
        LogNumber(self.next_number.fetch_add(1, Ordering::Relaxed))
    }

    /// A number that was never given to a log.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.load(Ordering::Relaxed)
    }

    // entries on their way

    /// Hands an entry to the journal; called under the partition's lock, so that a log's entries are in order. Returns its number.
    /// With `note` the log, or its removal, is noted among those with entries that are only in the journal: before the journal can take the
    /// entry, so that no checkpoint passes over it.
    pub(crate) fn push(&self, log: &Arc<PartitionLog>, entry: Entry, end: Offset, note: bool) -> u64 {
        let encoded = entry.encode();
        let noted = match entry {
            Entry::Delete { number } => Unsynced::Removed(number),
            _ => Unsynced::Log(Arc::clone(log)),
        };
        self.pending_bytes.fetch_add(to_u64(encoded.length() + FRAGMENT_BYTES), Ordering::Relaxed);
        let mut pending = locked(&self.pending);
        let number = pending.next;
        pending.next += 1;
        if note {
            locked(&self.unsynced).insert(number, noted);
        }
        pending.entries.push(Queued { number, encoded, tag: Tag { log: Arc::clone(log), end } });
        let was_empty = pending.entries.len() == 1;
        drop(pending);
        if was_empty {
            self.pending_changed.notify_all();
        }
        number
    }

    /// What entries of so many bytes, with their fragments' heads, take of the journal at most: what is pending is written together, so
    /// blocks that are not full are few.
    fn blocks_of(&self, bytes: u64) -> u64 {
        let padding = to_u64(HEADER_BYTES + self.journal.alignment);
        bytes + (bytes / to_u64(self.journal.block_bytes_max) + 3) * padding
    }

    pub(crate) fn take_pending(&self) -> Vec<Queued<Tag>> {
        std::mem::take(&mut locked(&self.pending).entries)
    }

    /// Bytes of entries that are not durable yet.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// How many entries nobody has begun to write.
    pub(crate) fn pending_entries(&self) -> usize {
        locked(&self.pending).entries.len()
    }

    /// Waits until there is something to write; true when there never will be.
    pub(crate) fn wait_for_entries(&self) -> bool {
        let mut pending = locked(&self.pending);
        while pending.entries.is_empty() && !pending.is_last {
            pending = self.pending_changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        pending.entries.is_empty() && pending.is_last
    }

    /// Waits for the filler to free something; true when it never will.
    pub(crate) fn wait_for_slot(&self) -> bool {
        self.want_filling();
        self.want_growing();
        let pending = locked(&self.pending);
        // what was never durable was never acknowledged
        if pending.is_last && (self.failed().is_some() || self.is_full.load(Ordering::Acquire)) {
            return true;
        }
        drop(self.pending_changed.wait_timeout(pending, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner));
        false
    }

    /// Whether nothing more will be pushed.
    pub(crate) fn is_last(&self) -> bool {
        locked(&self.pending).is_last
    }

    /// The journal's thread has ended: whoever waits for it is told.
    pub(crate) fn note_closed(&self) {
        self.is_closed.store(true, Ordering::Release);
        drop(locked(&self.durable));
        self.durable_changed.notify_all();
    }

    pub(crate) fn stop_journal(&self) {
        locked(&self.pending).is_last = true;
        self.pending_changed.notify_all();
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer<Tag>> {
        locked(&self.writer)
    }

    pub(crate) fn note_durable(&self, entry: u64, done: &[Queued<Tag>]) {
        let bytes = done.iter().map(|queued| to_u64(queued.encoded.length() + FRAGMENT_BYTES)).sum();
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.note_used(&self.ledger());
        *locked(&self.durable) = entry;
        self.durable_changed.notify_all();
        let is_urgent = self.is_urgent.load(Ordering::Relaxed);
        if is_urgent || self.needs_filling() {
            self.want_filling();
        }
        if self.wants_slot() {
            self.want_growing();
        }
        if is_urgent {
            // what was refused because of what was pending may fit now, whatever the filler finds
            self.progress.room();
        }
    }

    /// The newest entry that is durable.
    pub(crate) fn durable_entry(&self) -> u64 {
        *locked(&self.durable)
    }

    /// The newest entry that was pushed.
    pub(crate) fn last_entry(&self) -> u64 {
        locked(&self.pending).next - 1
    }

    /// Waits until an entry is durable.
    pub(crate) fn wait_durable(self: &Arc<Self>, entry: u64) -> Result<(), Unavailable> {
        let mut durable = locked(&self.durable);
        while *durable < entry {
            if let Some(reason) = self.failed() {
                return Err(reason);
            }
            if self.is_closed.load(Ordering::Acquire) {
                return Err(Unavailable::DirectoryFailed { reason: "it is closed".into() });
            }
            if self.drive == Drive::Manual {
                drop(durable);
                self.step();
                durable = locked(&self.durable);
                continue;
            }
            durable = self.durable_changed.wait(durable).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// One step of a directory without threads.
    pub(crate) fn step(self: &Arc<Self>) -> Step {
        if self.wants_slot() {
            slot_maker::grow(self);
        }
        let step = journal_thread::step(self);
        match step {
            Step::NoSlot => {
                slot_maker::grow(self);
                filler::pass(self, Pass::All);
            }
            Step::Full => self.fail("the volume of the journal is full"),
            Step::Idle | Step::More | Step::NoHandle | Step::Failed => {}
        }
        step
    }

    // the journal's slots

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    /// The newest entry of the oldest slot, if that slot should be freed.
    pub(crate) fn oldest_slot_to_free(&self, is_urgent: bool) -> Option<u64> {
        let is_much = is_urgent || self.journal_is_half_used();
        self.ledger().oldest_slot_ends().filter(|_| is_much)
    }

    pub(crate) fn free_slots(&self, anchor: Place) {
        let mut ledger = self.ledger();
        ledger.recycle(anchor, self.rules.anchors_keep_their_slot);
        self.note_used(&ledger);
        drop(ledger);
        *locked(&self.last_anchor) = anchor;
        self.pending_changed.notify_all();
    }

    /// Under the ledger's lock, so that the newest number stays.
    fn note_used(&self, ledger: &Ledger) {
        self.journal_used.store(ledger.used_bytes(), Ordering::Relaxed);
    }

    pub(crate) fn last_anchor(&self) -> Place {
        *locked(&self.last_anchor)
    }

    pub(crate) fn write_checkpoint(&self, items: &[Item]) -> io::Result<()> {
        // needed for a new base only, which is rare
        let logs: OnceLock<HashMap<LogNumber, Arc<PartitionLog>>> = OnceLock::new();
        let by_number = || self.all_logs().into_iter().filter_map(|log| Some((log.known_number()?, log))).collect();
        let remembered = |number: LogNumber, producer| {
            logs.get_or_init(by_number).get(&number).is_none_or(|log| log.remembers(producer))
        };
        match locked(&self.checkpoint).as_mut() {
            Some(file) => file.append(items, remembered),
            None => Err(io::Error::other("the checkpoint is damaged")),
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn checkpoint_is_being_written(&self) -> bool {
        matches!(self.checkpoint.try_lock(), Err(TryLockError::WouldBlock))
    }

    // what is only in the journal

    pub(crate) fn add_unsynced(&self, entry: u64, log: &Arc<PartitionLog>) {
        locked(&self.unsynced).insert(entry, Unsynced::Log(Arc::clone(log)));
    }

    pub(crate) fn move_unsynced(&self, from: Option<u64>, to: Option<u64>, log: &Arc<PartitionLog>) {
        let mut unsynced = locked(&self.unsynced);
        if let Some(entry) = from {
            unsynced.remove(&entry);
        }
        if let Some(entry) = to {
            unsynced.insert(entry, Unsynced::Log(Arc::clone(log)));
        }
    }

    pub(crate) fn forget_unsynced(&self, entry: u64) {
        locked(&self.unsynced).remove(&entry);
    }

    /// Entries up to `durable` that logs begin with which are only in the journal, oldest first.
    pub(crate) fn unsynced(&self, durable: u64) -> Vec<(u64, Unsynced)> {
        locked(&self.unsynced).range(..=durable).map(|(entry, unsynced)| (*entry, unsynced.clone())).collect()
    }

    pub(crate) fn forget_all(&self) {
        locked(&self.unsynced).clear();
        self.logs().clear();
    }
}
