//! A data directory: all logs of one broker, the journal before them, and the lock that keeps other processes out.
//!
//! A directory that is not known to metadata is kept and reported, never removed; only `delete_topic` removes files, and renames
//! them away first, so that a crash leaves either the topic or its remains.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use hashbrown::HashSet;
use kennet_protocol::{TimestampMs, Uuid};

use crate::config::LogConfig;
use crate::error::{OpenError, Unavailable};
use crate::filler::{self, Pass};
use crate::fs::{FileSystem, Space, is_final};
use crate::journal_thread;
#[cfg(any(test, feature = "sim"))]
use crate::journal_thread::Step;
use crate::layout;
use crate::partition::{LogId, PartitionLog};
use crate::progress::Progress;
use crate::recovery;
use crate::rules::Rules;
use crate::shared::{Drive, JournalUse, Limits, Shared};
use crate::slot_maker;

/// The logs of one broker.
pub struct DataDirectory {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
    _lock: Box<dyn Send + Sync>,
}

struct Threads {
    journal: JoinHandle<()>,
    filler: JoinHandle<()>,
    slot_maker: JoinHandle<()>,
}

impl DataDirectory {
    /// Opens the directory and starts its threads; logs are opened one by one as metadata names them. A directory whose journal or checkpoint is
    /// damaged opens, but nothing in it can be used: see [`Self::failed`].
    ///
    /// # Errors
    /// When another process uses it, or the system refuses something.
    pub fn open(fs: Arc<dyn FileSystem>, root: &Path, limits: Limits) -> Result<Self, OpenError> {
        Self::open_with(fs, root, limits, Rules::default(), Drive::Threads)
    }

    /// Opens a directory that does nothing but in the calls that wait for it, with or without some of the rules.
    ///
    /// # Errors
    /// As for [`Self::open`].
    #[cfg(any(test, feature = "sim"))]
    pub fn open_manual(fs: Arc<dyn FileSystem>, root: &Path, limits: Limits, rules: Rules) -> Result<Self, OpenError> {
        Self::open_with(fs, root, limits, rules, Drive::Manual)
    }

    fn open_with(
        fs: Arc<dyn FileSystem>,
        root: &Path,
        limits: Limits,
        rules: Rules,
        drive: Drive,
    ) -> Result<Self, OpenError> {
        let refused = |source: io::Error| OpenError::Io { path: root.to_owned(), source };
        fs.create_directory(&layout::topics(root)).map_err(refused)?;
        // all that is acknowledged later lies below this name
        fs.sync_directory(root).map_err(refused)?;
        let lock = match fs.lock(&root.join(layout::LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match rules.one_process_has_the_directory {
                true => return Err(OpenError::Locked { path: root.to_owned() }),
                false => Box::new(()),
            },
            lock => lock.map_err(refused)?,
        };
        let (shared, damage) = recovery::open(fs, root, limits, rules, drive).map_err(refused)?;
        if let Some(damage) = damage {
            shared.fail(&damage);
        }
        let threads = match drive {
            Drive::Threads => Some(Threads::start(&shared).map_err(refused)?),
            Drive::Manual => {
                while shared.wants_slot() && slot_maker::grow(&shared).is_none() {}
                None
            }
        };
        Ok(Self { shared, threads: Mutex::new(threads), _lock: lock })
    }

    /// Who is told of progress from now on.
    pub fn set_progress(&self, progress: Weak<dyn Progress>) {
        self.shared.progress().set(progress);
    }

    /// Opens a partition's log with what a restart found of it. Opening it again gives the same log.
    pub fn open_log(&self, id: &LogId, topic_name: &str, config: LogConfig, now: TimestampMs) -> Arc<PartitionLog> {
        // held to the end: the filler may open a log that was found, and nobody else may take it for an empty one meanwhile
        let mut all_found = self.shared.found();
        if let Some(log) = self.log(id) {
            log.set_config(config);
            return log;
        }
        let shared = Arc::clone(&self.shared);
        let found = all_found.remove(id);
        let log = match (self.failed(), found) {
            (Some(reason), _) => Arc::new(PartitionLog::offline(shared, id.clone(), topic_name, config, reason)),
            (None, Some(found)) => PartitionLog::recovered(shared, found, config, now),
            (None, None) => Arc::new(PartitionLog::new(shared, id.clone(), topic_name, config)),
        };
        Arc::clone(self.shared.logs().entry(id.clone()).or_insert(log))
    }

    /// A log that was opened.
    #[must_use]
    pub fn log(&self, id: &LogId) -> Option<Arc<PartitionLog>> {
        self.shared.logs().get(id).cloned()
    }

    /// Ids of topics that have records or files here, as a restart found them.
    ///
    /// # Errors
    /// The system's.
    pub fn topics_found(&self) -> io::Result<HashSet<Uuid>> {
        let mut found: HashSet<_> = self.shared.found().keys().map(|id| id.topic_id).collect();
        for topic in self.shared.fs().list(&layout::topics(self.shared.root()))? {
            found.extend(Uuid::parse_str(&topic.name).ok());
        }
        Ok(found)
    }

    /// Ends the topic's logs and removes their files. The logs' waiters have to be told. Waits for the disk.
    ///
    /// # Errors
    /// When that can't be made durable, or the files could not even be renamed away; calling it again goes on.
    pub fn delete_topic(&self, topic_id: Uuid) -> io::Result<()> {
        let found: Vec<_> = self.shared.found().keys().filter(|id| id.topic_id == topic_id).cloned().collect();
        for id in found {
            self.shared.open_found(&id);
        }
        let ended: Vec<_> = self.shared.logs().extract_if(|id, _| id.topic_id == topic_id).collect();
        let entries: Vec<_> = ended.iter().filter_map(|(_, log)| log.end()).collect();
        if self.shared.rules().deletions_are_journaled
            && let Some(last) = entries.into_iter().max()
        {
            self.shared.wait_durable(last).map_err(|reason| io::Error::other(reason.to_string()))?;
        }
        if let Some(reason) = self.shared.failed() {
            return Err(io::Error::other(reason.to_string()));
        }
        recovery::remove_topic(self.shared.fs(), self.shared.root(), topic_id, self.shared.rules()).inspect_err(
            |error| {
                if is_final(error) {
                    self.shared.fail(&error.to_string());
                }
            },
        )
    }

    /// Waits until everything that was appended before is durable, or has failed.
    pub fn flush(&self) {
        // a failure is known to whoever waits for a log
        let _ = self.shared.wait_durable(self.shared.last_entry());
    }

    /// Writes everything that is durable into segments, now.
    pub fn fill(&self) {
        filler::pass(&self.shared, Pass::All);
    }

    /// Writes logs into segments that compaction or retention waits for, because their segments are complete only in memory.
    pub fn fill_sealed(&self) {
        if self.shared.all_logs().iter().any(|log| log.has_sealed_tail()) {
            filler::pass(&self.shared, Pass::Sealed);
        }
    }

    /// Writes one block of the journal, if something waits for it.
    #[cfg(any(test, feature = "sim"))]
    pub fn step(&self) {
        self.shared.step();
    }

    /// As [`Self::step`], while a pass is under way: without a free slot nothing is written, since there can't be a second pass. Grows only if it
    /// `may_grow`. True when nothing waits any more and a slot is free, so that whoever waits for one more small entry needs no pass either.
    #[cfg(any(test, feature = "sim"))]
    pub fn step_without_filling(&self, may_grow: bool) -> bool {
        if may_grow {
            self.grow();
        }
        journal_thread::step(&self.shared) == Step::Idle && self.shared.ledger().free_slots() > 0
    }

    /// Makes a slot for the journal if it wants one.
    #[cfg(any(test, feature = "sim"))]
    pub fn grow(&self) {
        if self.shared.wants_slot() {
            slot_maker::grow(&self.shared);
        }
    }

    /// Fills as far as journal and memory ask for it.
    #[cfg(any(test, feature = "sim"))]
    pub fn fill_as_needed(&self) {
        self.grow();
        self.fill_without_growing();
    }

    /// As [`Self::fill_as_needed`], for a test in which the journal grows between the calls of the pass.
    #[cfg(any(test, feature = "sim"))]
    pub fn fill_without_growing(&self) {
        filler::pass(&self.shared, Pass::AsNeeded);
    }

    /// Whether a log that a restart found is being opened: without threads, who wants to open or delete one too would wait for itself.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn is_opening_a_log(&self) -> bool {
        self.shared.is_opening_a_log()
    }

    /// Whether the checkpoint is being written: without threads, who wants to write it too would wait for itself.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn checkpoint_is_being_written(&self) -> bool {
        self.shared.checkpoint_is_being_written()
    }

    /// Makes everything durable, moves it to segments so that the next start reads nothing, and ends the threads. Later appends are never
    /// written.
    pub fn close(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        match threads {
            Some(threads) => threads.stop(&self.shared),
            None if self.shared.drive() == Drive::Threads => return,
            None => self.flush(),
        }
        filler::pass(&self.shared, Pass::Closing);
    }

    /// Fails the directory for good, because something beside its logs failed on the same disk.
    pub fn fail(&self, reason: &str) {
        self.shared.fail(reason);
    }

    /// Why nothing can be written, if so.
    #[must_use]
    pub fn failed(&self) -> Option<Unavailable> {
        self.shared.failed()
    }

    /// Room on the volume.
    ///
    /// # Errors
    /// The system's.
    pub fn space(&self) -> io::Result<Space> {
        self.shared.fs().space(self.shared.root())
    }

    /// How long the oldest write or sync takes that the disk has not finished; nothing when there is none.
    #[must_use]
    pub fn oldest_write(&self) -> Duration {
        self.shared.fs().oldest_write()
    }

    /// How full the journal is.
    #[must_use]
    pub fn journal_use(&self) -> JournalUse {
        self.shared.journal_use()
    }

    /// Memory that batches keep which are not in segments.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.shared.tail_bytes()
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.root()
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        self.close();
        // logs know what they share, which knows the logs
        self.shared.forget_all();
    }
}

impl Threads {
    fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let spawn = |name: &str, run: fn(&Arc<Shared>)| {
            let shared = Arc::clone(shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
        };
        Ok(Self {
            journal: spawn("log-journal", journal_thread::run)?,
            filler: spawn("log-filler", filler::run)?,
            slot_maker: spawn("log-slots", slot_maker::run)?,
        })
    }

    fn stop(self, shared: &Shared) {
        // one that panicked has failed the directory itself
        shared.stop_journal();
        // the filler goes on until the journal has written all, which may need its slots
        let _ = self.journal.join();
        shared.stop_filling();
        let _ = self.filler.join();
        shared.stop_growing();
        let _ = self.slot_maker.join();
    }
}
