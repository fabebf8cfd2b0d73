//! A data directory: all logs of one broker, their flusher, and the lock that keeps other processes out.
//!
//! A directory that is not known to metadata is kept and reported, never removed; only `delete_topic` removes files, and renames
//! them away first, so that a crash leaves either the topic or its remains.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;

use hashbrown::{HashMap, HashSet};
use kennet_protocol::{PartitionIndex, TimestampMs, Uuid};

use crate::config::LogConfig;
use crate::error::{AppendError, OpenError, Unavailable};
use crate::flusher::{self, Item, LateProgress, Progress, Round};
use crate::fs::{FileSystem, Space};
use crate::layout;
use crate::partition::{LogId, PartitionLog, Work};
use crate::segment::OpenFiles;

/// Limits of a data directory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that may wait for the disk before appends are refused; the broker's own budget is smaller.
    pub pending_bytes_max: usize,
    /// Segment files that may be open.
    pub open_files_max: u64,
}

impl Default for Limits {
    /// For a pod of 512 MiB.
    fn default() -> Self {
        Self { pending_bytes_max: 64 << 20, open_files_max: 10_000 }
    }
}

/// After the volume was full, it is looked at again this often.
const FULL_PROBE_MS: i64 = 1_000;
/// And it counts as no longer full with so much room.
const FULL_ROOM_BYTES: u64 = 4 << 20;

/// What the logs of a directory share.
pub(crate) struct Shared {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    limits: Limits,
    failed: OnceLock<Unavailable>,
    pending: Mutex<Round>,
    work: Condvar,
    pending_bytes: AtomicUsize,
    is_full: AtomicBool,
    probed_at: AtomicI64,
    open_files: OpenFiles,
    progress: Arc<LateProgress>,
}

/// The logs of one broker.
pub struct DataDirectory {
    shared: Arc<Shared>,
    logs: Mutex<HashMap<LogId, Arc<PartitionLog>>>,
    /// Partitions that had files when the directory was opened; all others open without touching the disk.
    found: HashSet<LogId>,
    flusher: Mutex<Option<JoinHandle<()>>>,
    _lock: Box<dyn Send + Sync>,
}

impl DataDirectory {
    /// Opens the directory and starts its flusher; logs are opened one by one as metadata names them.
    ///
    /// # Errors
    /// When another process uses it, or the system refuses something.
    pub fn open(fs: Arc<dyn FileSystem>, root: &Path, limits: Limits) -> Result<Self, OpenError> {
        let refused = |source: io::Error| OpenError::Io { path: root.to_owned(), source };
        let topics = layout::topics(root);
        fs.create_directory(&topics).map_err(refused)?;
        // all that is acknowledged later lies below this name
        fs.sync_directory(root).map_err(refused)?;
        let lock = fs.lock(&root.join(layout::LOCK)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { path: root.to_owned() },
            _ => refused(error),
        })?;
        let found = find_partitions(fs.as_ref(), &topics).map_err(refused)?;
        let progress = Arc::new(LateProgress::default());
        let shared = Arc::new(Shared {
            fs,
            root: root.to_owned(),
            limits,
            failed: OnceLock::new(),
            pending: Mutex::new(Round::default()),
            work: Condvar::new(),
            pending_bytes: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            probed_at: AtomicI64::new(0),
            open_files: OpenFiles::new(limits.open_files_max),
            progress: Arc::clone(&progress),
        });
        let flusher = std::thread::Builder::new()
            .name("log-flusher".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || flusher::run(&shared, progress.as_ref())
            })
            .map_err(refused)?;
        Ok(Self { shared, logs: Mutex::default(), found, flusher: Mutex::new(Some(flusher)), _lock: lock })
    }

    /// Who is told of progress from now on.
    pub fn set_progress(&self, progress: Weak<dyn Progress>) {
        self.shared.progress.set(progress);
    }

    /// Opens a partition's log, recovering what is on disk. Opening it again gives the same log.
    pub fn open_log(&self, id: &LogId, topic_name: &str, config: LogConfig, now: TimestampMs) -> Arc<PartitionLog> {
        if let Some(log) = self.log(id) {
            return log;
        }
        let shared = Arc::clone(&self.shared);
        let log = PartitionLog::open(shared, id.clone(), topic_name, config, now, self.found.contains(id));
        Arc::clone(self.logs().entry(id.clone()).or_insert_with(|| Arc::new(log)))
    }

    /// A log that was opened.
    #[must_use]
    pub fn log(&self, id: &LogId) -> Option<Arc<PartitionLog>> {
        self.logs().get(id).cloned()
    }

    /// Ids of topics that have files here.
    #[must_use]
    pub fn topics_found(&self) -> HashSet<Uuid> {
        self.found.iter().map(|id| id.topic_id).collect()
    }

    /// Ends the topic's logs and removes their files. The logs' waiters have to be told before.
    ///
    /// # Errors
    /// When the files could not even be renamed away; calling it again goes on.
    pub fn delete_topic(&self, topic_id: Uuid) -> io::Result<()> {
        let ended: Vec<_> = self.logs().extract_if(|id, _| id.topic_id == topic_id).collect();
        for (_, log) in &ended {
            log.end();
        }
        let fs = self.shared.fs();
        let (from, to) =
            (layout::topic(self.shared.root(), topic_id), layout::deleted_topic(self.shared.root(), topic_id));
        match fs.rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        fs.sync_directory(&layout::topics(self.shared.root()))?;
        fs.remove_directory(&to)
    }

    /// Waits until everything that was appended before is durable, or has failed.
    pub fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        self.shared.pending().barriers.push(sender);
        self.shared.work.notify_one();
        // the flusher answers even when the directory failed; it is gone only after close
        let _ = receiver.recv();
    }

    /// Flushes, writes checkpoints so that the next start reads nothing, and ends the flusher. Later appends are never written.
    pub fn close(&self) {
        let Some(flusher) = self.flusher.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.shared.pending().is_last = true;
        self.shared.work.notify_one();
        if flusher.join().is_err() {
            self.shared.fail("the flusher thread panicked");
        }
        if self.shared.failed().is_some() {
            return;
        }
        let logs: Vec<_> = self.logs().values().cloned().collect();
        for log in logs {
            if let Err(error) = log.write_checkpoint() {
                self.shared.complain(&self.shared.root, &error);
            }
        }
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

    /// Bytes that wait for the disk.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending_bytes.load(Ordering::Relaxed)
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.root()
    }

    fn logs(&self) -> std::sync::MutexGuard<'_, HashMap<LogId, Arc<PartitionLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    pub(crate) fn fs(&self) -> &dyn FileSystem {
        self.fs.as_ref()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    pub(crate) fn failed(&self) -> Option<Unavailable> {
        self.failed.get().cloned()
    }

    /// The first failure counts; what comes later follows from it.
    pub(crate) fn fail(&self, reason: &str) {
        let _ = self.failed.set(Unavailable::DirectoryFailed { reason: reason.into() });
    }

    pub(crate) fn complain(&self, path: &Path, error: &io::Error) {
        self.progress.complain(&format!("{}: {error}", path.display()));
    }

    pub(crate) fn note_full(&self) {
        self.is_full.store(true, Ordering::Release);
    }

    /// Whether an append may be taken now.
    pub(crate) fn check_room(&self, now: TimestampMs) -> Result<(), AppendError> {
        let bytes = self.pending_bytes.load(Ordering::Relaxed);
        if bytes > self.limits.pending_bytes_max {
            return Err(AppendError::Busy { bytes });
        }
        if !self.is_full.load(Ordering::Acquire) {
            return Ok(());
        }
        let due = now.0.saturating_sub(self.probed_at.load(Ordering::Relaxed)) >= FULL_PROBE_MS;
        if due {
            self.probed_at.store(now.0, Ordering::Relaxed);
        }
        let has_room = due && self.fs.space(&self.root).is_ok_and(|space| space.available >= FULL_ROOM_BYTES);
        if !has_room {
            return Err(AppendError::DiskFull);
        }
        self.is_full.store(false, Ordering::Release);
        Ok(())
    }

    /// Hands work to the flusher; called under the partition's lock, so that it is in offset order.
    pub(crate) fn push(&self, log: &Arc<PartitionLog>, generation: u64, work: impl IntoIterator<Item = Work>) {
        let mut round = self.pending();
        for work in work {
            self.pending_bytes.fetch_add(work.bytes(), Ordering::Relaxed);
            round.items.push(Item { log: Arc::clone(log), generation, work });
        }
        drop(round);
        self.work.notify_one();
    }

    pub(crate) fn forget_pending(&self, bytes: usize) {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn wait_for_work(&self) -> Round {
        let mut round = self.pending();
        while round.items.is_empty() && round.barriers.is_empty() && !round.is_last {
            round = self.work.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut *round)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Round> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which partitions have a directory; remains of deleted topics are removed on the way.
fn find_partitions(fs: &dyn FileSystem, topics: &Path) -> io::Result<HashSet<LogId>> {
    let mut found = HashSet::new();
    for topic in fs.list(topics)? {
        let path = topics.join(&topic.name);
        if layout::is_deleted_topic(&topic.name) {
            fs.remove_directory(&path)?;
            continue;
        }
        let Ok(topic_id) = Uuid::parse_str(&topic.name) else { continue };
        for partition in fs.list(&path)?.into_iter().filter(|entry| entry.is_directory) {
            if let Ok(index) = partition.name.parse() {
                found.insert(LogId { topic_id, partition: PartitionIndex(index) });
            }
        }
    }
    Ok(found)
}
