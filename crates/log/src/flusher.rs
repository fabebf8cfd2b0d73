//! The one thread that writes a data directory.
//!
//! A round takes all that is pending, writes each log's part, syncs the dirty files together, publishes the durable ends and tells
//! the hook once. Nothing is acknowledged before that. An error other than "no space" is final for the directory: what is on
//! the disk is unknown then, and a sync that succeeds later would lie.

use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hashbrown::HashMap;
use kennet_protocol::Offset;

use crate::directory::Shared;
use crate::fs::is_full;
use crate::partition::{LogId, PartitionLog, Work, Written};

/// What the broker is told of its logs' progress. Called from the flusher's thread, so it must be quick.
pub trait Progress: Send + Sync {
    /// These logs are durable up to these offsets; once a round.
    fn durable(&self, advances: &[Advance]);

    /// Batches of these logs that were not durable were taken back, because the volume is full.
    fn taken_back(&self, logs: &[Arc<PartitionLog>]);

    /// Batches of these logs were not written, because the logs can't be used any more: damage was found, or the topic was deleted.
    fn dropped(&self, logs: &[Arc<PartitionLog>]);

    /// Nothing can be written any more. Everything that waits has failed.
    fn failed(&self, reason: &str);

    /// A file could not be removed or written where that costs only space or time.
    fn complain(&self, message: &str);
}

/// A log and its new durable end.
#[derive(Clone)]
pub struct Advance {
    /// The log.
    pub log: Arc<PartitionLog>,
    /// Everything below is durable.
    pub durable_end: Offset,
}

/// Work in the order of its arrival, with the log's generation.
pub(crate) struct Item {
    pub(crate) log: Arc<PartitionLog>,
    pub(crate) generation: u64,
    pub(crate) work: Work,
}

/// What the flusher takes in one go.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) items: Vec<Item>,
    /// Answered when everything before them is done.
    pub(crate) barriers: Vec<SyncSender<()>>,
    pub(crate) is_last: bool,
}

/// Works until it is told to stop; everything that was pushed before is written.
pub(crate) fn run(shared: &Shared, progress: &dyn Progress) {
    loop {
        let Round { items, barriers, is_last } = shared.wait_for_work();
        match shared.failed() {
            _ if items.is_empty() => {}
            None => flush(shared, progress, items),
            // appended just before the failure was known: whoever waits for it has to be told as well
            Some(reason) => progress.failed(&reason.to_string()),
        }
        for barrier in barriers {
            // whoever gave up waiting is no concern
            let _ = barrier.try_send(());
        }
        if is_last {
            return;
        }
    }
}

fn flush(shared: &Shared, progress: &dyn Progress, items: Vec<Item>) {
    let bytes: usize = items.iter().map(|item| item.work.bytes()).sum();
    let parts = by_log(items);
    let logs: Vec<_> = parts.iter().map(|part| Arc::clone(&part.log)).collect();
    let result = write(parts).and_then(|outcome| {
        let files: Vec<_> = outcome.written.iter().filter_map(|(_, written)| written.file.clone()).collect();
        shared.fs().sync_files(&files)?;
        Ok(outcome)
    });
    shared.forget_pending(bytes);
    match result {
        Ok(Outcome { written, mut dropped }) => {
            progress.durable(&publish(written, &mut dropped));
            if !dropped.is_empty() {
                progress.dropped(&dropped);
            }
        }
        Err(error) if is_full(&error) => take_back(shared, progress, &logs),
        Err(error) => fail(shared, progress, &error),
    }
}

struct Part {
    log: Arc<PartitionLog>,
    generation: u64,
    work: Vec<Work>,
}

/// Groups by log; the order within a log stays.
fn by_log(items: Vec<Item>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut places: HashMap<(LogId, u64), usize> = HashMap::new();
    for Item { log, generation, work } in items {
        let place = *places.entry((log.id().clone(), generation)).or_insert(parts.len());
        match parts.get_mut(place) {
            Some(part) => part.work.push(work),
            None => parts.push(Part { log, generation, work: vec![work] }),
        }
    }
    parts
}

/// What a round came to before its sync.
struct Outcome {
    written: Vec<(Arc<PartitionLog>, Written)>,
    /// Logs whose part was not written; whoever waits for it has to be told.
    dropped: Vec<Arc<PartitionLog>>,
}

fn write(parts: Vec<Part>) -> io::Result<Outcome> {
    let mut outcome = Outcome { written: Vec::with_capacity(parts.len()), dropped: Vec::new() };
    for Part { log, generation, work } in parts {
        match log.write(generation, work)? {
            Some(written) => outcome.written.push((log, written)),
            None => outcome.dropped.push(log),
        }
    }
    Ok(outcome)
}

/// Publishes what is durable now; logs that went away during the sync join those that were dropped.
fn publish(written: Vec<(Arc<PartitionLog>, Written)>, dropped: &mut Vec<Arc<PartitionLog>>) -> Vec<Advance> {
    let mut advances = Vec::with_capacity(written.len());
    for (log, written) in written {
        match log.publish(&written) {
            Some(durable_end) => advances.push(Advance { log, durable_end }),
            None => dropped.push(log),
        }
    }
    advances
}

fn take_back(shared: &Shared, progress: &dyn Progress, logs: &[Arc<PartitionLog>]) {
    shared.note_full();
    for log in logs {
        if let Err(error) = log.take_back() {
            fail(shared, progress, &error);
            return;
        }
    }
    progress.taken_back(logs);
}

fn fail(shared: &Shared, progress: &dyn Progress, error: &io::Error) {
    let reason = error.to_string();
    shared.fail(&reason);
    progress.failed(&reason);
}

/// Progress goes to whoever is set later, because the broker's parts need the directory first.
#[derive(Default)]
pub(crate) struct LateProgress {
    target: Mutex<Option<Weak<dyn Progress>>>,
}

impl LateProgress {
    pub(crate) fn set(&self, target: Weak<dyn Progress>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    fn target(&self) -> Option<Arc<dyn Progress>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade)
    }
}

impl Progress for LateProgress {
    fn durable(&self, advances: &[Advance]) {
        if let Some(target) = self.target() {
            target.durable(advances);
        }
    }

    fn taken_back(&self, logs: &[Arc<PartitionLog>]) {
        if let Some(target) = self.target() {
            target.taken_back(logs);
        }
    }

    fn dropped(&self, logs: &[Arc<PartitionLog>]) {
        if let Some(target) = self.target() {
            target.dropped(logs);
        }
    }

    fn failed(&self, reason: &str) {
        if let Some(target) = self.target() {
            target.failed(reason);
        }
    }

    fn complain(&self, message: &str) {
        if let Some(target) = self.target() {
            target.complain(message);
        }
    }
}
