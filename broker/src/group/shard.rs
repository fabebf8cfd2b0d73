//! One partition of `__consumer_offsets` and the groups in it.
//!
//! The mutex is short: nothing that waits happens under it. A decision and the append of its record are one step under it, so the log has
//! the order of decisions; an append that fails changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kennet_protocol::{ErrorCode, GenerationId, Offset, Uuid};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock;
use crate::group::held::Held;
use crate::group::join::Join;
use crate::group::load::{self, LoadError};
use crate::group::memory::Memory;
use crate::group::records;
use crate::group::state::{Action, Group, GroupLimits, JoinAnswer, Millis, Purpose, SyncAnswer, Ticket};
use crate::group::sync::Sync;
use crate::group::topics::Owed;
use crate::group::writes::{self, Effect, InFlight, Write};
use crate::partition::Partition;

/// A shard.
pub(crate) struct Shard {
    pub(super) partition: Arc<Partition>,
    /// Wakes the task that keeps the time.
    pub(super) timer: Arc<Notify>,
    /// To the task that settles writes. Unbounded, because the log bounds the bytes that are not durable yet.
    pub(super) writes: UnboundedSender<Write>,
    pub(super) memory: Arc<Memory>,
    state: Mutex<Inner>,
}

/// How far the shard's log has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Loading {
    #[default]
    Begun,
    /// It could not be read; it is tried again.
    Failed,
    Done,
}

#[derive(Default)]
pub(super) struct Inner {
    loading: Loading,
    pub(super) groups: BTreeMap<String, Held>,
    pub(super) in_flight: InFlight,
    pub(super) owed: Owed,
    /// Topics that were removed before the shard was loaded.
    pub(super) removed_meanwhile: BTreeSet<String>,
    writes: u64,
    tickets: u64,
}

impl Shard {
    /// A shard and the task that settles its writes.
    pub(super) fn start(partition: Arc<Partition>, timer: Arc<Notify>, memory: &Arc<Memory>) -> Arc<Self> {
        let (writes, taken) = mpsc::unbounded_channel();
        let shard = Arc::new(Self { partition, timer, writes, memory: Arc::clone(memory), state: Mutex::default() });
        tokio::spawn(writes::settle_all(Arc::downgrade(&shard), taken));
        shard
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn loaded(&self) -> Result<MutexGuard<'_, Inner>, ErrorCode> {
        let inner = self.lock();
        match inner.loading {
            Loading::Done => Ok(inner),
            Loading::Begun => Err(ErrorCode::CoordinatorLoadInProgress),
            // clients look for the coordinator again, and so try again; groups of other shards are not concerned
            Loading::Failed => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// Whether the partition never had a record.
    pub(super) fn is_empty_log(&self) -> bool {
        self.partition.log.log_end() == Offset(0)
    }

    /// Reads the partition from its start; offsets of topics that don't exist, or are others of the same name, are forgotten. May wait for the disk.
    pub(super) fn load(&self, now: Millis, id_of: &dyn Fn(&str) -> Option<Uuid>) -> Result<(), LoadError> {
        let read = load::read(&self.partition, &self.memory, now);
        let mut inner = self.lock();
        match read {
            Ok(groups) => inner.groups = groups,
            Err(error) => {
                inner.loading = Loading::Failed;
                return Err(error);
            }
        }
        inner.loading = Loading::Done;
        self.forget_absent(&mut inner, id_of);
        drop(inner);
        self.timer.notify_one();
        Ok(())
    }

    /// JoinGroup.
    pub(crate) async fn join(
        self: &Arc<Self>,
        group_id: &str,
        join: Join,
        limits: &GroupLimits,
        now: Millis,
    ) -> JoinAnswer {
        let member_id = join.member_id.clone();
        let (answer, answered) = oneshot::channel();
        match self.loaded() {
            Err(error) => return JoinAnswer::error(&member_id, error),
            Ok(mut inner) => {
                // only a member that has no id yet can make a group
                if !join.member_id.is_empty() && !inner.groups.contains_key(group_id) {
                    return JoinAnswer::error(&member_id, ErrorCode::UnknownMemberId);
                }
                let ticket = inner.ticket();
                let limits = GroupLimits { room: self.memory.room(), ..*limits };
                let held = inner.held(&self.memory, group_id);
                held.joins.insert(ticket, answer);
                let actions = held.group.join(join, ticket, &limits, now);
                self.act(&mut inner, group_id, actions);
                // a join that was refused makes no group
                if inner.groups.get(group_id).is_some_and(Held::is_untouched) {
                    inner.groups.remove(group_id);
                }
            }
        }
        answered.await.unwrap_or_else(|_| JoinAnswer::error(&member_id, ErrorCode::NotCoordinator))
    }

    /// SyncGroup.
    pub(crate) async fn sync(self: &Arc<Self>, group_id: &str, sync: Sync, now: Millis) -> SyncAnswer {
        let (answer, answered) = oneshot::channel();
        match self.loaded() {
            Err(error) => return SyncAnswer::error(error),
            Ok(mut inner) => {
                let ticket = inner.ticket();
                let Some(held) = inner.groups.get_mut(group_id) else {
                    return SyncAnswer::error(ErrorCode::UnknownMemberId);
                };
                held.syncs.insert(ticket, answer);
                let actions = held.group.sync(sync, ticket, self.memory.room(), now);
                self.act(&mut inner, group_id, actions);
            }
        }
        answered.await.unwrap_or_else(|_| SyncAnswer::error(ErrorCode::NotCoordinator))
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &self,
        group_id: &str,
        member_id: &str,
        instance: Option<&str>,
        generation: GenerationId,
        now: Millis,
    ) -> ErrorCode {
        match self.loaded() {
            Err(error) => error,
            Ok(mut inner) => match inner.groups.get_mut(group_id) {
                Some(held) => held.group.heartbeat(member_id, instance, generation, now),
                None => ErrorCode::UnknownMemberId,
            },
        }
    }

    /// LeaveGroup of one member.
    pub(crate) fn leave(
        self: &Arc<Self>,
        group_id: &str,
        member_id: &str,
        instance: Option<&str>,
        now: Millis,
    ) -> ErrorCode {
        let mut inner = match self.loaded() {
            Ok(inner) => inner,
            Err(error) => return error,
        };
        let Some(held) = inner.groups.get_mut(group_id) else { return ErrorCode::UnknownMemberId };
        let (error, actions) = held.group.leave(member_id, instance, now);
        self.act(&mut inner, group_id, actions);
        error
    }

    /// Looks at a group.
    pub(crate) fn describe<T>(&self, group_id: &str, read: impl FnOnce(&Group) -> T) -> Result<Option<T>, ErrorCode> {
        let inner = self.loaded()?;
        Ok(inner.groups.get(group_id).map(|held| read(&held.group)))
    }

    /// Looks at all groups.
    pub(crate) fn list<T>(&self, mut read: impl FnMut(&Group) -> T) -> Result<Vec<T>, ErrorCode> {
        let inner = self.loaded()?;
        Ok(inner.groups.values().map(|held| read(&held.group)).collect())
    }

    /// Time has passed: returns when it matters next.
    pub(super) fn tick(self: &Arc<Self>, now: Millis) -> Option<Millis> {
        let mut inner = self.lock();
        let due: Vec<_> = {
            let groups = inner.groups.iter_mut();
            let due = groups.filter(|(_, held)| held.group.next_deadline().is_some_and(|at| at <= now));
            due.map(|(id, held)| (id.clone(), held.group.tick(now))).collect()
        };
        for (group_id, actions) in due {
            self.act(&mut inner, &group_id, actions);
        }
        inner.groups.values().filter_map(|held| held.group.next_deadline()).min()
    }

    /// Carries out what the group decided, in order, under the lock under which it decided. Nothing here waits.
    pub(super) fn act(&self, inner: &mut Inner, group_id: &str, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Join(ticket, answer) => {
                    if let Some(waiting) = inner.groups.get_mut(group_id).and_then(|held| held.joins.remove(&ticket)) {
                        // a client that is gone is found by its session
                        let _ = waiting.send(answer);
                    }
                }
                Action::Sync(ticket, answer) => {
                    if let Some(waiting) = inner.groups.get_mut(group_id).and_then(|held| held.syncs.remove(&ticket)) {
                        let _ = waiting.send(answer);
                    }
                }
                Action::Persist(purpose) => actions.extend(self.persist(inner, group_id, purpose)),
            }
        }
        if let Some(held) = inner.groups.get_mut(group_id) {
            held.charge_members();
        }
        self.timer.notify_one();
    }

    /// Appends the group as it is now; what follows at once if that is not possible.
    fn persist(&self, inner: &mut Inner, group_id: &str, purpose: Purpose) -> Vec<Action> {
        let Some(held) = inner.groups.get(group_id) else { return Vec::new() };
        let record = records::group_record(&held.group, clock::now()).map_err(|_| ErrorCode::UnknownServerError);
        let appended = record.and_then(|pair| self.append(inner, group_id, &[pair], Effect::Persist(purpose.clone())));
        match (appended, inner.groups.get_mut(group_id)) {
            (Err(_), Some(held)) => held.group.persisted(purpose, false, clock::monotonic_ms()),
            _ => Vec::new(),
        }
    }
}

impl Inner {
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loading == Loading::Done
    }

    /// The number that the next write gets.
    pub(super) fn next_write(&self) -> u64 {
        self.writes
    }

    pub(super) fn take_write_number(&mut self) -> u64 {
        self.writes += 1;
        self.writes - 1
    }

    pub(super) fn held(&mut self, memory: &Arc<Memory>, group_id: &str) -> &mut Held {
        load::held(&mut self.groups, memory, group_id)
    }
}
