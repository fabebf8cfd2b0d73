//! One group as a shard holds it: the pure group, its offsets, and who waits for its answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use kennet_protocol::{GenerationId, Offset, PartitionIndex, TimestampMs};
use tokio::sync::oneshot;

use crate::group::memory::{Charge, Memory, OVERHEAD_BYTES};
use crate::group::records::Committed;
use crate::group::state::{Group, JoinAnswer, State, SyncAnswer, Ticket};

/// What an offset belongs to.
pub(super) type Key = (String, PartitionIndex);

/// A group with its offsets and those who wait for its answers.
pub(super) struct Held {
    pub(super) group: Group,
    pub(super) offsets: BTreeMap<Key, Committed>,
    pub(super) joins: HashMap<Ticket, oneshot::Sender<JoinAnswer>>,
    pub(super) syncs: HashMap<Ticket, oneshot::Sender<SyncAnswer>>,
    /// When the group became empty, for the retention of its offsets.
    pub(super) empty_since: Option<TimestampMs>,
    member_bytes: Charge,
    offset_bytes: Charge,
}

/// What an offset takes.
pub(super) fn offset_bytes(key: &Key, metadata: &str) -> usize {
    key.0.len() + metadata.len() + OVERHEAD_BYTES
}

impl Held {
    pub(super) fn new(group: Group, memory: &Arc<Memory>) -> Self {
        Self {
            group,
            offsets: BTreeMap::new(),
            joins: HashMap::new(),
            syncs: HashMap::new(),
            empty_since: None,
            member_bytes: Charge::new(memory),
            offset_bytes: Charge::new(memory),
        }
    }

    /// Members may have changed.
    pub(super) fn charge_members(&mut self) {
        self.member_bytes.set(self.group.bytes());
    }

    pub(super) fn apply_offset(&mut self, key: Key, committed: Option<Committed>, at: Offset) {
        if self.offsets.get(&key).is_some_and(|present| present.log_offset > at) {
            return;
        }
        self.remove_offset(&key);
        if let Some(committed) = committed {
            self.offset_bytes.set(self.offset_bytes.bytes() + offset_bytes(&key, &committed.metadata));
            self.offsets.insert(key, committed);
        }
    }

    pub(super) fn remove_offset(&mut self, key: &Key) {
        if let Some(removed) = self.offsets.remove(key) {
            self.offset_bytes.set(self.offset_bytes.bytes().saturating_sub(offset_bytes(key, &removed.metadata)));
        }
    }

    pub(super) fn note_emptiness(&mut self, now: TimestampMs) {
        if self.group.state == State::Empty {
            self.empty_since.get_or_insert(now);
        } else {
            self.empty_since = None;
        }
    }

    /// Whether it is as if it had never been: not even the log knows it.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_vacant() && self.group.generation == GenerationId(0) && self.group.protocol_type.is_none()
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_vacant(&self) -> bool {
        self.group.state == State::Empty
            && self.group.pending.is_empty()
            && self.offsets.is_empty()
            && self.joins.is_empty()
    }

    /// What is to be removed: expired offsets, and whether the whole group goes. Only an empty group expires.
    pub(super) fn expired(&self, now: TimestampMs, retention_ms: i64) -> Option<(Vec<Key>, bool)> {
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
