//! Committed offsets of a shard's groups: commit, delete, expire.
//!
//! What is asked for is decided and appended under one lock; see `writes`.

use std::collections::{BTreeMap, BTreeSet};

use kennet_protocol::{ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};

use crate::clock;
use crate::group::held::{Key, offset_bytes};
use crate::group::records::{self, Committed, Pair};
use crate::group::shard::{Inner, Shard};
use crate::group::state::{Millis, State};
use crate::group::writes::{Effect, Written, acknowledged};

/// Records of one batch of tombstones.
const BATCH_RECORDS_MAX: usize = 10_000;

/// One offset of a commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitOffset {
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: PartitionIndex,
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: String,
}

impl CommitOffset {
    fn committed(self, committed_at: TimestampMs) -> (Key, Committed) {
        let committed = Committed {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata,
            committed_at,
            topic_id: self.topic_id,
            log_offset: Offset(0),
        };
        ((self.topic, self.partition), committed)
    }
}

impl Shard {
    /// Commits the offsets that `prepare` answers, all in one batch; answers when they are acknowledged. `prepare` runs under the shard's lock
    /// so that it sees topics as they are, see `topics`.
    pub(crate) async fn commit(
        &self,
        group_id: &str,
        (member_id, instance, generation): (&str, Option<&str>, GenerationId),
        prepare: impl FnOnce() -> Vec<CommitOffset>,
        now: Millis,
    ) -> Result<(), ErrorCode> {
        let written = {
            let mut inner = self.loaded()?;
            match inner.groups.get_mut(group_id) {
                Some(held) => held.group.may_commit(member_id, instance, generation, now)?,
                // a consumer without a group of members makes one by committing
                None if generation.0 < 0 => {}
                None => return Err(ErrorCode::IllegalGeneration),
            }
            let offsets = prepare();
            if offsets.is_empty() {
                return Ok(());
            }
            if inner.growth(group_id, &offsets) > self.memory.room() {
                return Err(ErrorCode::InvalidCommitOffsetSize);
            }
            let committed_at = clock::now();
            let committed: Vec<_> = offsets.into_iter().map(|wanted| wanted.committed(committed_at)).collect();
            let pairs: Result<Vec<Pair>, _> = committed
                .iter()
                .map(|((topic, partition), committed)| {
                    records::offset_record(group_id, topic, *partition, Some(committed))
                })
                .collect();
            let pairs = pairs.map_err(|_| ErrorCode::InvalidCommitOffsetSize)?;
            self.append(&mut inner, group_id, &pairs, Effect::Commit(committed))?
        };
        acknowledged(written).await
    }

    /// Committed offsets of a group: those asked for, or all.
    pub(crate) fn offsets<T>(
        &self,
        group_id: &str,
        read: impl FnOnce(&BTreeMap<Key, Committed>) -> T,
    ) -> Result<T, ErrorCode> {
        let inner = self.loaded()?;
        let none = BTreeMap::new();
        Ok(read(inner.groups.get(group_id).map_or(&none, |held| &held.offsets)))
    }

    /// Deletes offsets.
    pub(crate) async fn delete_offsets(&self, group_id: &str, keys: Vec<Key>) -> Result<(), ErrorCode> {
        let written = {
            let mut inner = self.loaded()?;
            if !inner.groups.contains_key(group_id) {
                return Err(ErrorCode::GroupIdNotFound);
            }
            let present = inner.keys(group_id);
            let keys = keys.into_iter().filter(|key| present.contains(key)).collect();
            self.bury(&mut inner, group_id, keys, false)?
        };
        all(written).await
    }

    /// Deletes a group that has no members, with all its offsets.
    pub(crate) async fn delete_group(&self, group_id: &str) -> Result<(), ErrorCode> {
        let written = {
            let mut inner = self.loaded()?;
            let Some(held) = inner.groups.get(group_id) else { return Err(ErrorCode::GroupIdNotFound) };
            if held.group.state != State::Empty {
                return Err(ErrorCode::NonEmptyGroup);
            }
            let keys = inner.keys(group_id).into_iter().collect();
            self.bury(&mut inner, group_id, keys, true)?
        };
        all(written).await
    }

    /// Removes offsets that expired, and groups that have neither members nor offsets left.
    pub(super) async fn expire(&self, now: TimestampMs, retention_ms: i64) {
        self.bury_all_owed();
        let group_ids: Vec<_> = {
            let Ok(inner) = self.loaded() else { return };
            inner.groups.keys().cloned().collect()
        };
        for group_id in group_ids {
            let buried = self.expire_group(&group_id, now, retention_ms);
            let outcome = match buried {
                Ok(written) => all(written).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(group = group_id, %error, "expired offsets could not be removed");
            }
        }
    }

    fn expire_group(&self, group_id: &str, now: TimestampMs, retention_ms: i64) -> Result<Vec<Written>, ErrorCode> {
        let mut inner = self.loaded()?;
        // what is on its way was committed just now
        let is_busy = inner.in_flight.of(group_id).next().is_some();
        let held = inner.groups.get(group_id).filter(|_| !is_busy);
        match held.and_then(|held| held.expired(now, retention_ms)) {
            Some((keys, whole)) => self.bury(&mut inner, group_id, keys, whole),
            None => Ok(Vec::new()),
        }
    }

    /// Appends tombstones of offsets, and of the group if it goes as a whole.
    pub(super) fn bury(
        &self,
        inner: &mut Inner,
        group_id: &str,
        keys: Vec<Key>,
        whole: bool,
    ) -> Result<Vec<Written>, ErrorCode> {
        let mut written = Vec::new();
        for some in keys.chunks(BATCH_RECORDS_MAX) {
            let pairs: Result<Vec<Pair>, _> = some
                .iter()
                .map(|(topic, partition)| records::offset_record(group_id, topic, *partition, None))
                .collect();
            let pairs = pairs.map_err(|_| ErrorCode::UnknownServerError)?;
            written.push(self.append(inner, group_id, &pairs, Effect::Bury(some.to_vec()))?);
        }
        if whole {
            let pair = records::group_tombstone(group_id).map_err(|_| ErrorCode::UnknownServerError)?;
            written.push(self.append(inner, group_id, &[pair], Effect::Forget)?);
        }
        Ok(written)
    }
}

impl Inner {
    /// What a commit takes more than is taken already; an offset that only moves is always welcome.
    fn growth(&self, group_id: &str, offsets: &[CommitOffset]) -> usize {
        let held = self.groups.get(group_id);
        let of_one = |wanted: &CommitOffset| {
            let key = (wanted.topic.clone(), wanted.partition);
            let present = held.and_then(|held| held.offsets.get(&key));
            let present = present.map_or(0, |present| offset_bytes(&key, &present.metadata));
            offset_bytes(&key, &wanted.metadata).saturating_sub(present)
        };
        offsets.iter().map(of_one).sum()
    }

    /// Offsets of a group, those on their way included.
    fn keys(&self, group_id: &str) -> BTreeSet<Key> {
        let present = self.groups.get(group_id).into_iter().flat_map(|held| held.offsets.keys());
        present.chain(self.in_flight.of(group_id)).cloned().collect()
    }
}

async fn all(written: Vec<Written>) -> Result<(), ErrorCode> {
    for one in written {
        acknowledged(one).await?;
    }
    Ok(())
}
