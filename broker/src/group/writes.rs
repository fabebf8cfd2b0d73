//! A shard's records on their way to the disk.
//!
//! A record is appended under the shard's lock, with the decision that it records, so the log has the order of decisions; appending never
//! waits. One task per shard takes the effects in that same order, each once its record is acknowledged, whether or not the one who asked is
//! still there. So memory is what a load of the log would give.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use kennet_protocol::record::{Batch, BatchBuilder};
use kennet_protocol::{ErrorCode, Offset};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::clock;
use crate::group::held::{Held, Key};
use crate::group::memory::Memory;
use crate::group::records::{Committed, Pair};
use crate::group::shard::{Inner, Shard};
use crate::group::state::Purpose;
use crate::partition::AckWait;

/// Told when a write is acknowledged, or will not be.
pub(super) type Written = oneshot::Receiver<Result<(), ErrorCode>>;

/// A write that is not acknowledged yet.
pub(super) struct Write {
    wait: AckWait,
    base: Offset,
    /// Its place among the writes of this shard.
    number: u64,
    group_id: String,
    effect: Effect,
    answer: oneshot::Sender<Result<(), ErrorCode>>,
}

/// What a write changes once it is acknowledged.
pub(super) enum Effect {
    /// Offsets in the order of their records.
    Commit(Vec<(Key, Committed)>),
    /// Tombstones of offsets, in the order of their records.
    Bury(Vec<Key>),
    /// The tombstone of a group.
    Forget,
    /// The group as it was.
    Persist(Purpose),
    /// Nothing; it tells that everything before it is settled.
    Settle,
}

/// Keys of offsets that were appended and are not settled, so that what follows counts with them; by group.
#[derive(Default)]
pub(super) struct InFlight(BTreeMap<String, BTreeMap<Key, usize>>);

impl InFlight {
    fn add(&mut self, group_id: &str, keys: impl Iterator<Item = Key>) {
        let of_group = self.0.entry(group_id.to_owned()).or_default();
        for key in keys {
            *of_group.entry(key).or_default() += 1;
        }
    }

    fn remove<'a>(&mut self, group_id: &str, keys: impl Iterator<Item = &'a Key>) {
        let Some(of_group) = self.0.get_mut(group_id) else { return };
        for key in keys {
            if let Some(count) = of_group.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    of_group.remove(key);
                }
            }
        }
        if of_group.is_empty() {
            self.0.remove(group_id);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Key)> {
        self.0.iter().flat_map(|(group_id, keys)| keys.keys().map(move |key| (group_id, key)))
    }

    pub(super) fn contains(&self, group_id: &str, key: &Key) -> bool {
        self.0.get(group_id).is_some_and(|keys| keys.contains_key(key))
    }

    /// Offsets of a group that may be in memory soon.
    pub(super) fn of(&self, group_id: &str) -> impl Iterator<Item = &Key> {
        self.0.get(group_id).into_iter().flat_map(BTreeMap::keys)
    }
}

impl Shard {
    /// Appends records as one batch, with what is to happen once they are acknowledged. The shard is locked: `inner` is its state.
    pub(super) fn append(
        &self,
        inner: &mut Inner,
        group_id: &str,
        pairs: &[Pair],
        effect: Effect,
    ) -> Result<Written, ErrorCode> {
        let now = clock::now();
        let mut builder = BatchBuilder::new(now);
        for (key, value) in pairs {
            builder.push(now, Some(key), value.as_deref(), &[]);
        }
        let batch = builder.build().map_err(|_| ErrorCode::InvalidCommitOffsetSize)?;
        let batch = Batch::parse(&batch).map_err(|_| ErrorCode::UnknownServerError)?;
        // Kafka tells clients to look for the coordinator again, and so to try again
        let (appended, wait) = self.partition.append(&batch, now).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        if let Effect::Commit(offsets) = &effect {
            inner.in_flight.add(group_id, offsets.iter().map(|(key, _)| key.clone()));
        }
        Ok(self.follow(inner, wait, appended.base_offset, group_id, effect))
    }

    /// Completes when everything that was appended before is settled.
    pub(super) fn settled(&self) -> Written {
        self.follow(&mut self.lock(), AckWait::Done, Offset(0), "", Effect::Settle)
    }

    fn follow(&self, inner: &mut Inner, wait: AckWait, base: Offset, group_id: &str, effect: Effect) -> Written {
        let (answer, written) = oneshot::channel();
        let number = inner.take_write_number();
        let write = Write { wait, base, number, group_id: group_id.to_owned(), effect, answer };
        // the task is gone only when the runtime is; whoever waits sees the channel closed then
        let _ = self.writes.send(write);
        written
    }

    fn settle(&self, group_id: &str, (number, base): (u64, Offset), effect: Effect, is_written: bool) {
        let mut inner = self.lock();
        match effect {
            Effect::Commit(offsets) => {
                inner.in_flight.remove(group_id, offsets.iter().map(|(key, _)| key));
                if is_written {
                    inner.apply_commit(&self.memory, group_id, (number, base), offsets);
                }
            }
            Effect::Bury(keys) if is_written => {
                inner.owed.settle(group_id, &keys, number);
                if let Some(held) = inner.groups.get_mut(group_id) {
                    for (key, index) in keys.into_iter().zip(0..) {
                        held.apply_offset(key, None, base + index);
                    }
                }
            }
            Effect::Forget if is_written => {
                // somebody may have joined since; what the group did then is in the log behind its tombstone
                if inner.groups.get(group_id).is_some_and(Held::is_vacant)
                    && let Some(mut held) = inner.groups.remove(group_id)
                {
                    held.group.end();
                }
            }
            Effect::Persist(purpose) => {
                let Some(held) = inner.groups.get_mut(group_id) else { return };
                held.note_emptiness(clock::now());
                let actions = held.group.persisted(purpose, is_written, clock::monotonic_ms());
                self.act(&mut inner, group_id, actions);
            }
            Effect::Bury(_) | Effect::Forget | Effect::Settle => {}
        }
    }
}

impl Inner {
    fn apply_commit(
        &mut self,
        memory: &Arc<Memory>,
        group_id: &str,
        (number, base): (u64, Offset),
        offsets: Vec<(Key, Committed)>,
    ) {
        for ((key, mut committed), index) in offsets.into_iter().zip(0..) {
            if self.owed.outdates(group_id, &key, number) {
                continue;
            }
            committed.log_offset = base + index;
            let held = self.held(memory, group_id);
            held.apply_offset(key, Some(committed), base + index);
            held.note_emptiness(clock::now());
        }
    }
}

/// Settles a shard's writes in order, until the shard is gone.
pub(super) async fn settle_all(shard: Weak<Shard>, mut writes: UnboundedReceiver<Write>) {
    while let Some(Write { wait, base, number, group_id, effect, answer }) = writes.recv().await {
        let outcome = wait.await.map_err(|_| ErrorCode::NotCoordinator);
        let Some(shard) = shard.upgrade() else { return };
        shard.settle(&group_id, (number, base), effect, outcome.is_ok());
        // whoever asked may be gone
        let _ = answer.send(outcome);
    }
}

/// Waits until a write is acknowledged.
pub(super) async fn acknowledged(written: Written) -> Result<(), ErrorCode> {
    written.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}
