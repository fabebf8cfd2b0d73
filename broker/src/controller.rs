//! The controller's shell: one decision at a time, committed, applied, published.
//!
//! It has its own thread, because committing waits for the disk. An answer leaves only after its records are durable and
//! the broker has opened or closed what they speak of. A metadata log that failed is never written again.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use kennet_metadata::{Image, MetadataLog, MetadataLogError, Record};
use tokio::sync::{oneshot, watch};

use crate::start_error::with_source;

/// Commands that may wait; a client's request is refused beyond it.
const QUEUE: usize = 1_024;

type Command = Box<dyn FnOnce(&mut Core) + Send>;

/// Who opens and closes what metadata speaks of.
pub(crate) trait Follower: Send + Sync {
    /// Called with the image after each commit and the records that led to it.
    fn follow(&self, image: &Arc<Image>, records: &[Record]);

    /// Called when the metadata log met a failed disk.
    fn failed(&self, reason: &str);
}

/// Who keeps something for topics by their names.
pub(crate) trait Removals: Send + Sync {
    /// Called with the names of removed topics: after the image without them is published, and before the next change is looked at. It must
    /// not wait.
    fn removed(&self, topics: &[Arc<str>]);
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError<E> {
    /// The decision was no.
    #[error("{0}")]
    Refused(E),
    /// The metadata log can't be written, or too much waits for it.
    #[error("cluster metadata can't be changed: {reason}")]
    Unavailable {
        /// Why.
        reason: Arc<str>,
    },
}

/// What the decision thread owns.
struct Core {
    log: Box<dyn MetadataLog>,
    image: Arc<Image>,
    failed: Option<Arc<str>>,
    /// Whoever waits for the thread's end.
    stopping: Option<oneshot::Sender<()>>,
    published: Arc<Published>,
    follower: Arc<dyn Follower>,
}

struct Published {
    image: ArcSwap<Image>,
    offset: watch::Sender<i64>,
    removals: OnceLock<Weak<dyn Removals>>,
}

/// A handle to the controller.
#[derive(Clone)]
pub(crate) struct Controller {
    commands: SyncSender<Command>,
    published: Arc<Published>,
}

impl Controller {
    /// Starts the decision thread with what the log held.
    pub(crate) fn start(log: Box<dyn MetadataLog>, image: Image, follower: Arc<dyn Follower>) -> std::io::Result<Self> {
        let image = Arc::new(image);
        let offset = watch::Sender::new(log.committed_offset());
        let published =
            Arc::new(Published { image: ArcSwap::new(Arc::clone(&image)), offset, removals: OnceLock::new() });
        let (commands, receiver) = sync_channel(QUEUE);
        let core = Core { log, image, failed: None, stopping: None, published: Arc::clone(&published), follower };
        std::thread::Builder::new().name("controller".to_owned()).spawn(move || run(core, &receiver))?;
        Ok(Self { commands, published })
    }

    /// The newest committed image.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.published.image.load_full()
    }

    /// The offset of the newest committed record, as it changes.
    pub(crate) fn changes(&self) -> watch::Receiver<i64> {
        self.published.offset.subscribe()
    }

    /// Tells `removals` of topics that are removed from now on; only the first one is told.
    pub(crate) fn tell_removals(&self, removals: Weak<dyn Removals>) {
        // a second one would be a mistake of this program; the first stays
        let _ = self.published.removals.set(removals);
    }

    /// Makes a change: `decide` sees the newest image and answers records and what to tell the caller.
    pub(crate) async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Image) -> Result<(Vec<Record>, T), E> + Send + 'static,
    ) -> Result<T, ChangeError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |core| {
            // whoever asked may be gone; the change is made all the same
            let _ = answer.send(core.change(decide));
        });
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => unavailable(&format!("{QUEUE} changes wait already")),
            TrySendError::Disconnected(_) => unavailable("the broker is stopping"),
        })?;
        answered.await.unwrap_or_else(|_| Err(unavailable("the broker is stopping")))
    }

    /// Ends the thread behind the changes that wait already; later ones are refused. After it, nothing here holds the data directory.
    pub(crate) async fn stop(&self) {
        let (ended, has_ended) = oneshot::channel();
        let command: Command = Box::new(move |core| core.stopping = Some(ended));
        if self.commands.try_send(command).is_ok() {
            // an error means that it ended before
            let _ = has_ended.await;
        }
    }
}

fn unavailable<E>(reason: &str) -> ChangeError<E> {
    ChangeError::Unavailable { reason: reason.into() }
}

fn run(mut core: Core, commands: &Receiver<Command>) {
    while let Ok(command) = commands.recv() {
        command(&mut core);
        if let Some(ended) = core.stopping.take() {
            drop(core);
            // whoever asked may be gone
            let _ = ended.send(());
            return;
        }
    }
}

impl Core {
    fn change<T, E>(
        &mut self,
        decide: impl FnOnce(&Image) -> Result<(Vec<Record>, T), E>,
    ) -> Result<T, ChangeError<E>> {
        if let Some(reason) = &self.failed {
            return Err(ChangeError::Unavailable { reason: Arc::clone(reason) });
        }
        let (records, answer) = decide(&self.image).map_err(ChangeError::Refused)?;
        if !records.is_empty() {
            self.commit(&records).map_err(|reason| ChangeError::Unavailable { reason })?;
        }
        Ok(answer)
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), Arc<str>> {
        let mut next = Image::clone(&self.image);
        for record in records {
            // a decision that contradicts the image it saw is refused before anything is written
            next.apply(record).map_err(|error| Arc::from(error.to_string()))?;
        }
        let committed = self.log.append(records).map_err(|error| match error {
            // nothing was written, so the next change may be tried
            MetadataLogError::Full { .. } => Arc::from(error.to_string()),
            _ => self.fail(&error),
        })?;
        let removed = self.removed(records);
        self.image = Arc::new(next);
        self.follower.follow(&self.image, records);
        self.published.image.store(Arc::clone(&self.image));
        self.published.offset.send_replace(committed);
        if !removed.is_empty()
            && let Some(removals) = self.published.removals.get().and_then(Weak::upgrade)
        {
            removals.removed(&removed);
        }
        if self.log.wants_snapshot()
            && let Err(error) = self.log.write_snapshot(&self.image)
        {
            match error {
                // the log is still whole and only longer; the next change tries again
                MetadataLogError::Full { .. } => tracing::warn!(%error, "no snapshot of the metadata was written"),
                _ => drop(self.fail(&error)),
            }
        }
        Ok(())
    }

    /// The names of the topics that these records remove.
    fn removed(&self, records: &[Record]) -> Vec<Arc<str>> {
        let removed = |record: &Record| match record {
            Record::RemoveTopic(fields) => self.image.topic_by_id(fields.topic_id).map(|topic| Arc::clone(&topic.name)),
            _ => None,
        };
        records.iter().filter_map(removed).collect()
    }

    fn fail(&mut self, error: &MetadataLogError) -> Arc<str> {
        let reason = with_source(error);
        tracing::error!(error = reason, "the metadata log failed; metadata can't change until a restart");
        if matches!(error, MetadataLogError::Io { .. }) {
            // it lies in the data directory, and a write or sync that failed there is final for all of it
            self.follower.failed(&reason);
        }
        Arc::clone(self.failed.insert(reason.into()))
    }
}
