//! What the broker is told of its logs' progress.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use kennet_protocol::Offset;

use crate::partition::PartitionLog;

/// Who is told. Called from the directory's threads, so it must be quick.
pub trait Progress: Send + Sync {
    /// These logs are durable up to these offsets; once a block of the journal.
    fn durable(&self, advances: &[Advance]);

    /// Batches of these logs became durable, but the logs can't be used any more: damage was found, or the topic was deleted.
    fn dropped(&self, logs: &[Arc<PartitionLog>]);

    /// Appends that were refused because too much waits for the disk may be tried again.
    fn room(&self);

    /// The volume is full, or is so no more. Appends are refused meanwhile.
    fn full(&self, is_full: bool);

    /// Nothing can be written any more. Everything that waits has failed.
    fn failed(&self, reason: &str);

    /// The volume takes no direct writes: each block of the journal goes through the page cache and is synced. Told once.
    fn buffered(&self);

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

/// Progress goes to whoever is set later, because the broker's parts need the directory first.
#[derive(Default)]
pub(crate) struct LateProgress {
    target: Mutex<Option<Weak<dyn Progress>>>,
}

impl LateProgress {
    pub(crate) fn set(&self, target: Weak<dyn Progress>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    fn tell(&self, what: impl FnOnce(&dyn Progress)) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        if let Some(target) = target {
            what(target.as_ref());
        }
    }
}

impl Progress for LateProgress {
    fn durable(&self, advances: &[Advance]) {
        self.tell(|target| target.durable(advances));
    }

    fn dropped(&self, logs: &[Arc<PartitionLog>]) {
        self.tell(|target| target.dropped(logs));
    }

    fn room(&self) {
        self.tell(|target| target.room());
    }

    fn full(&self, is_full: bool) {
        self.tell(|target| target.full(is_full));
    }

    fn failed(&self, reason: &str) {
        self.tell(|target| target.failed(reason));
    }

    fn buffered(&self) {
        self.tell(|target| target.buffered());
    }

    fn complain(&self, message: &str) {
        self.tell(|target| target.complain(message));
    }
}
