//! One partition of `__consumer_offsets` and the groups in it.
//!
//! The mutex is short and never held while something is written. Offsets are visible once their record is acknowledged, in the order of
//! their records; an append that fails changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use kennet_protocol::record::{Batch, BatchBuilder, Batches};
use kennet_protocol::{ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::group::join::Join;
use crate::group::records::{self, Committed, Entry, Pair};
use crate::group::state::{Action, Group, GroupLimits, JoinAnswer, Millis, State, SyncAnswer, Ticket};
use crate::group::sync::Sync;
use crate::partition::Partition;

/// Records of one batch: offsets of one commit, or tombstones of one clean-up.
const BATCH_RECORDS_MAX: usize = 10_000;
/// A batch of the coordinator's own topic decompresses to no more.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// One offset of a commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitOffset {
    pub(crate) topic: String,
    pub(crate) partition: PartitionIndex,
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: String,
}

/// A group with its offsets and those who wait for its answers.
struct Held {
    group: Group,
    offsets: BTreeMap<(String, PartitionIndex), Committed>,
    joins: HashMap<Ticket, oneshot::Sender<JoinAnswer>>,
    syncs: HashMap<Ticket, oneshot::Sender<SyncAnswer>>,
    /// When the group became empty, for the retention of its offsets.
    empty_since: Option<TimestampMs>,
}

/// A shard.
pub(crate) struct Shard {
    partition: Arc<Partition>,
    /// Wakes the task that keeps the time.
    pub(super) timer: Arc<Notify>,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    is_loaded: bool,
    groups: BTreeMap<String, Held>,
    tickets: u64,
}

impl Shard {
    pub(super) fn new(partition: Arc<Partition>, timer: Arc<Notify>) -> Self {
        Self { partition, timer, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self) -> Result<MutexGuard<'_, Inner>, ErrorCode> {
        let inner = self.lock();
        if inner.is_loaded { Ok(inner) } else { Err(ErrorCode::CoordinatorLoadInProgress) }
    }

    /// Whether the partition never had a record.
    pub(super) fn is_empty_log(&self) -> bool {
        self.partition.log.log_end() == Offset(0)
    }

    /// Reads the partition from its start; sessions of the members that are found start anew. May wait for the disk.
    pub(super) fn load(&self, now: Millis) -> Result<(), kennet_log::ReadError> {
        let mut groups = BTreeMap::new();
        let mut at = self.partition.log.log_start();
        let end = self.partition.high_watermark();
        while at < end {
            let read = self.partition.log.read(at, end, 1 << 20, true, kennet_log::fs::Wait::Allowed)?;
            at = read.next_offset;
            for batch in read.chunks.into_iter().flat_map(Batches::new) {
                match batch.map_err(|error| error.to_string()).and_then(|batch| apply_batch(&mut groups, &batch, now)) {
                    Ok(()) => {}
                    Err(error) => tracing::error!(
                        partition = self.partition.index.0,
                        error,
                        "a batch of __consumer_offsets does not decode"
                    ),
                }
            }
        }
        let mut inner = self.lock();
        inner.groups = groups;
        inner.is_loaded = true;
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
        let actions = match self.loaded() {
            Err(error) => return JoinAnswer::error(&member_id, error),
            Ok(mut inner) => {
                // only a member that has no id yet can make a group
                if !join.member_id.is_empty() && !inner.groups.contains_key(group_id) {
                    return JoinAnswer::error(&member_id, ErrorCode::UnknownMemberId);
                }
                let ticket = inner.ticket();
                let held = inner.held(group_id);
                held.joins.insert(ticket, answer);
                held.group.join(join, ticket, limits, now)
            }
        };
        self.act(group_id, actions);
        answered.await.unwrap_or_else(|_| JoinAnswer::error(&member_id, ErrorCode::NotCoordinator))
    }

    /// SyncGroup.
    pub(crate) async fn sync(self: &Arc<Self>, group_id: &str, sync: Sync, now: Millis) -> SyncAnswer {
        let (answer, answered) = oneshot::channel();
        let actions = match self.loaded() {
            Err(error) => return SyncAnswer::error(error),
            Ok(mut inner) => {
                let ticket = inner.ticket();
                let Some(held) = inner.groups.get_mut(group_id) else {
                    return SyncAnswer::error(ErrorCode::UnknownMemberId);
                };
                held.syncs.insert(ticket, answer);
                held.group.sync(sync, ticket, now)
            }
        };
        self.act(group_id, actions);
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
        let (error, actions) = match self.loaded() {
            Err(error) => (error, Vec::new()),
            Ok(mut inner) => match inner.groups.get_mut(group_id) {
                Some(held) => held.group.leave(member_id, instance, now),
                None => (ErrorCode::UnknownMemberId, Vec::new()),
            },
        };
        self.act(group_id, actions);
        error
    }

    /// Commits offsets, all in one batch; answers when they are acknowledged.
    pub(crate) async fn commit(
        &self,
        group_id: &str,
        (member_id, instance, generation): (&str, Option<&str>, GenerationId),
        offsets: Vec<CommitOffset>,
        now: Millis,
    ) -> Result<(), ErrorCode> {
        {
            let mut inner = self.loaded()?;
            match inner.groups.get_mut(group_id) {
                Some(held) => held.group.may_commit(member_id, instance, generation, now)?,
                // a consumer without a group of members makes one by committing
                None if generation.0 < 0 => {}
                None => return Err(ErrorCode::IllegalGeneration),
            }
        }
        let committed_at = clock::now();
        let committed = offsets.into_iter().map(|wanted| {
            let committed = Committed {
                offset: wanted.offset,
                leader_epoch: wanted.leader_epoch,
                metadata: wanted.metadata,
                committed_at,
                log_offset: Offset(0),
            };
            ((wanted.topic, wanted.partition), committed)
        });
        let committed: Vec<_> = committed.collect();
        if committed.is_empty() {
            return Ok(());
        }
        let pairs: Result<Vec<Pair>, _> = committed
            .iter()
            .map(|((topic, partition), committed)| records::offset_record(group_id, topic, *partition, Some(committed)))
            .collect();
        let base = self.write(pairs.map_err(|_| ErrorCode::InvalidCommitOffsetSize)?).await?;
        let mut inner = self.lock();
        let held = inner.held(group_id);
        for ((key, mut committed), index) in committed.into_iter().zip(0..) {
            committed.log_offset = base + index;
            held.apply_offset(key, Some(committed), base + index);
        }
        held.note_emptiness(committed_at);
        Ok(())
    }

    /// Committed offsets of a group: those asked for, or all.
    pub(crate) fn offsets<T>(
        &self,
        group_id: &str,
        read: impl FnOnce(&BTreeMap<(String, PartitionIndex), Committed>) -> T,
    ) -> Result<T, ErrorCode> {
        let inner = self.loaded()?;
        let none = BTreeMap::new();
        Ok(read(inner.groups.get(group_id).map_or(&none, |held| &held.offsets)))
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

    /// Deletes offsets; those of topics that `is_used` says a member reads are kept and told.
    pub(crate) async fn delete_offsets(
        &self,
        group_id: &str,
        keys: Vec<(String, PartitionIndex)>,
    ) -> Result<(), ErrorCode> {
        let present: Vec<_> = {
            let inner = self.loaded()?;
            let Some(held) = inner.groups.get(group_id) else { return Err(ErrorCode::GroupIdNotFound) };
            keys.into_iter().filter(|key| held.offsets.contains_key(key)).collect()
        };
        self.bury(group_id, present, false).await
    }

    /// Deletes a group that has no members, with all its offsets.
    pub(crate) async fn delete_group(&self, group_id: &str) -> Result<(), ErrorCode> {
        let keys: Vec<_> = {
            let inner = self.loaded()?;
            let Some(held) = inner.groups.get(group_id) else { return Err(ErrorCode::GroupIdNotFound) };
            if held.group.state != State::Empty {
                return Err(ErrorCode::NonEmptyGroup);
            }
            held.offsets.keys().cloned().collect()
        };
        self.bury(group_id, keys, true).await
    }

    /// Removes offsets that expired, and groups that have neither members nor offsets left.
    pub(super) async fn expire(&self, now: TimestampMs, retention_ms: i64) {
        let due: Vec<_> = {
            let Ok(inner) = self.loaded() else { return };
            inner.groups.iter().filter_map(|(id, held)| Some((id.clone(), held.expired(now, retention_ms)?))).collect()
        };
        for (group_id, (keys, whole)) in due {
            if let Err(error) = self.bury(&group_id, keys, whole).await {
                tracing::warn!(group = group_id, %error, "expired offsets could not be removed");
            }
        }
    }

    /// Time has passed: returns when it matters next.
    pub(super) fn tick(self: &Arc<Self>, now: Millis) -> Option<Millis> {
        let due: Vec<_> = {
            let mut inner = self.lock();
            let due =
                inner.groups.iter_mut().filter(|(_, held)| held.group.next_deadline().is_some_and(|at| at <= now));
            due.map(|(id, held)| (id.clone(), held.group.tick(now))).collect()
        };
        for (group_id, actions) in due {
            self.act(&group_id, actions);
        }
        self.lock().groups.values().filter_map(|held| held.group.next_deadline()).min()
    }

    /// Carries out what the group decided; writing goes on in a task of its own.
    fn act(self: &Arc<Self>, group_id: &str, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Join(ticket, answer) => {
                    let waiting = self.lock().groups.get_mut(group_id).and_then(|held| held.joins.remove(&ticket));
                    if let Some(waiting) = waiting {
                        // a client that is gone is found by its session
                        let _ = waiting.send(answer);
                    }
                }
                Action::Sync(ticket, answer) => {
                    let waiting = self.lock().groups.get_mut(group_id).and_then(|held| held.syncs.remove(&ticket));
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(answer);
                    }
                }
                Action::Persist(purpose) => {
                    let (shard, group_id) = (Arc::clone(self), group_id.to_owned());
                    let snapshot = self.lock().groups.get(&group_id).map(|held| held.group.clone());
                    let Some(snapshot) = snapshot else { continue };
                    tokio::spawn(async move {
                        let written = match records::group_record(&snapshot, clock::now()) {
                            Ok(pair) => shard.write(vec![pair]).await.is_ok(),
                            Err(_) => false,
                        };
                        let actions = {
                            let mut inner = shard.lock();
                            let Some(held) = inner.groups.get_mut(&group_id) else { return };
                            held.note_emptiness(clock::now());
                            held.group.persisted(purpose, written, clock::monotonic_ms())
                        };
                        shard.act(&group_id, actions);
                    });
                }
            }
        }
        self.timer.notify_one();
    }

    /// Writes tombstones, then forgets.
    async fn bury(&self, group_id: &str, keys: Vec<(String, PartitionIndex)>, whole: bool) -> Result<(), ErrorCode> {
        for some in keys.chunks(BATCH_RECORDS_MAX) {
            let pairs: Result<Vec<_>, _> = some
                .iter()
                .map(|(topic, partition)| records::offset_record(group_id, topic, *partition, None))
                .collect();
            let base = self.write(pairs.map_err(|_| ErrorCode::UnknownServerError)?).await?;
            let mut inner = self.lock();
            if let Some(held) = inner.groups.get_mut(group_id) {
                for (key, index) in some.iter().zip(0..) {
                    held.apply_offset(key.clone(), None, base + index);
                }
            }
        }
        if whole {
            let pair = records::group_tombstone(group_id).map_err(|_| ErrorCode::UnknownServerError)?;
            self.write(vec![pair]).await?;
            let mut inner = self.lock();
            let still_empty =
                |held: &Held| held.group.state == State::Empty && held.offsets.is_empty() && held.joins.is_empty();
            if inner.groups.get(group_id).is_some_and(still_empty)
                && let Some(mut held) = inner.groups.remove(group_id)
            {
                held.group.end();
            }
        }
        Ok(())
    }

    /// Appends records as one batch and waits until it is acknowledged; returns the first one's offset.
    async fn write(&self, pairs: Vec<Pair>) -> Result<Offset, ErrorCode> {
        if pairs.is_empty() {
            return Ok(Offset(0));
        }
        let now = clock::now();
        let mut builder = BatchBuilder::new(now);
        for (key, value) in &pairs {
            builder.push(now, Some(key), value.as_deref(), &[]);
        }
        let batch = builder.build().map_err(|_| ErrorCode::InvalidCommitOffsetSize)?;
        let batch = Batch::parse(&batch).map_err(|_| ErrorCode::UnknownServerError)?;
        // Kafka tells clients to look for the coordinator again, and so to try again
        let (appended, wait) = self.partition.append(&batch, now).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        wait.await.map_err(|_| ErrorCode::NotCoordinator)?;
        Ok(appended.base_offset)
    }
}

impl Inner {
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn held(&mut self, group_id: &str) -> &mut Held {
        held(&mut self.groups, group_id)
    }
}

fn held<'a>(groups: &'a mut BTreeMap<String, Held>, group_id: &str) -> &'a mut Held {
    if !groups.contains_key(group_id) {
        groups.insert(group_id.to_owned(), Held::new(Group::new(group_id)));
    }
    groups.entry(group_id.to_owned()).or_insert_with(|| Held::new(Group::new(group_id)))
}

impl Held {
    fn new(group: Group) -> Self {
        Self { group, offsets: BTreeMap::new(), joins: HashMap::new(), syncs: HashMap::new(), empty_since: None }
    }

    fn apply_offset(&mut self, key: (String, PartitionIndex), committed: Option<Committed>, at: Offset) {
        if self.offsets.get(&key).is_some_and(|present| present.log_offset > at) {
            return;
        }
        match committed {
            Some(committed) => self.offsets.insert(key, committed),
            None => self.offsets.remove(&key),
        };
    }

    fn note_emptiness(&mut self, now: TimestampMs) {
        if self.group.state == State::Empty {
            self.empty_since.get_or_insert(now);
        } else {
            self.empty_since = None;
        }
    }

    /// What is to be removed: expired offsets, and whether the whole group goes. Only an empty group expires.
    fn expired(&self, now: TimestampMs, retention_ms: i64) -> Option<(Vec<(String, PartitionIndex)>, bool)> {
        if self.group.state != State::Empty {
            return None;
        }
        let since = self.empty_since.unwrap_or(TimestampMs(0));
        let is_expired = |committed: &Committed| {
            // a group of members keeps its offsets while it is in use; one of a simple consumer, from each commit on
            let from = if self.group.protocol_type.is_some() {
                since.max(committed.committed_at)
            } else {
                committed.committed_at
            };
            now.0.saturating_sub(from.0) >= retention_ms
        };
        let keys: Vec<_> =
            self.offsets.iter().filter(|(_, committed)| is_expired(committed)).map(|(key, _)| key.clone()).collect();
        let whole = keys.len() == self.offsets.len() && self.joins.is_empty();
        (!keys.is_empty() || whole).then_some((keys, whole))
    }
}

fn apply_batch(groups: &mut BTreeMap<String, Held>, batch: &Batch, now: Millis) -> Result<(), String> {
    for record in batch.records(BATCH_BYTES_MAX).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let Some(key) = record.key else { continue };
        match records::read(key, record.value, record.offset, now).map_err(|error| error.to_string())? {
            Entry::Offset { group, topic, partition, committed } => {
                held(groups, &group).apply_offset((topic, partition), committed, record.offset);
            }
            Entry::Group { id, group: Some(group) } => {
                let held = held(groups, &id);
                held.group = *group;
                held.empty_since = (held.group.state == State::Empty).then_some(record.timestamp);
            }
            Entry::Group { id, group: None } => {
                let gone = groups.get(&id).is_some_and(|held| held.offsets.is_empty());
                if gone {
                    groups.remove(&id);
                } else if let Some(held) = groups.get_mut(&id) {
                    held.group = Group::new(&id);
                }
            }
            Entry::Other => {}
        }
    }
    Ok(())
}
