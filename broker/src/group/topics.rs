//! Offsets of topics that were removed: forgotten at once, and buried in the log as soon as it takes their tombstones.
//!
//! Offsets know their topic by its name only. The controller tells of a removal after its image is published and before it decides anything
//! else, and a commit looks at the image under the shard's lock: so a commit is either before the removal here, and is forgotten with the
//! topic, or refused, or it belongs to a new topic of that name. A shard that is still being read notes the name; nothing is committed to it
//! meanwhile, so every offset that it then finds under that name is an old one. Tombstones may still be owed when the process dies: a record says
//! its topic's id, so at the next load the offsets of a topic that was made again since are told from its own.

use std::collections::BTreeMap;

use kennet_protocol::{PartitionIndex, Uuid};

use crate::group::held::Key;
use crate::group::records::Committed;
use crate::group::shard::{Inner, Shard};

/// Offsets that are gone and whose tombstones are not in the log for certain; each with the first write that may be of a new topic.
#[derive(Default)]
pub(super) struct Owed(BTreeMap<String, BTreeMap<Key, u64>>);

impl Owed {
    fn add(&mut self, group_id: &str, keys: &[Key], write: u64) {
        self.0.entry(group_id.to_owned()).or_default().extend(keys.iter().map(|key| (key.clone(), write)));
    }

    /// Whether this write of an offset is older than the removal of its topic. A newer one settles what was owed.
    pub(super) fn outdates(&mut self, group_id: &str, key: &Key, write: u64) -> bool {
        match self.0.get(group_id).and_then(|keys| keys.get(key)) {
            Some(removed) if write < *removed => true,
            _ => {
                self.settle(group_id, std::slice::from_ref(key), write);
                false
            }
        }
    }

    /// Records of these offsets are in the log for certain.
    pub(super) fn settle(&mut self, group_id: &str, keys: &[Key], write: u64) {
        let Some(owed) = self.0.get_mut(group_id) else { return };
        for key in keys {
            if owed.get(key).is_some_and(|removed| *removed <= write) {
                owed.remove(key);
            }
        }
        if owed.is_empty() {
            self.0.remove(group_id);
        }
    }
}

impl Shard {
    /// A topic was removed.
    pub(super) fn forget_topic(&self, topic: &str) {
        let mut inner = self.lock();
        if !inner.is_loaded() {
            inner.removed_meanwhile.insert(topic.to_owned());
            return;
        }
        let from = (topic.to_owned(), PartitionIndex(i32::MIN));
        let mut gone: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for (group_id, held) in &inner.groups {
            let keys: Vec<_> =
                held.offsets.range(&from..).map(|(key, _)| key).take_while(|key| key.0 == topic).cloned().collect();
            if !keys.is_empty() {
                gone.insert(group_id.clone(), keys);
            }
        }
        for (group_id, key) in inner.in_flight.iter().filter(|(_, key)| key.0 == topic) {
            gone.entry(group_id.clone()).or_default().push(key.clone());
        }
        for keys in gone.values_mut() {
            keys.sort_unstable();
            keys.dedup();
        }
        self.forget(&mut inner, gone);
    }

    /// Forgets what was read of topics that are not there any more, or were removed while it was read.
    pub(super) fn forget_absent(&self, inner: &mut Inner, id_of: &dyn Fn(&str) -> Option<Uuid>) {
        let removed = std::mem::take(&mut inner.removed_meanwhile);
        let is_another = |written: Uuid, now: Uuid| !written.is_nil() && written != now;
        let is_gone = |(key, committed): &(&Key, &Committed)| {
            removed.contains(&key.0) || id_of(&key.0).is_none_or(|id| is_another(committed.topic_id, id))
        };
        let gone = inner.groups.iter().map(|(group_id, held)| {
            let keys: Vec<_> = held.offsets.iter().filter(is_gone).map(|(key, _)| key.clone()).collect();
            (group_id.clone(), keys)
        });
        let gone = gone.filter(|(_, keys)| !keys.is_empty()).collect();
        self.forget(inner, gone);
    }

    fn forget(&self, inner: &mut Inner, gone: BTreeMap<String, Vec<Key>>) {
        for (group_id, keys) in gone {
            // The removal is durable in the metadata log, so this is visible before the tombstones are acknowledged.
            if let Some(held) = inner.groups.get_mut(&group_id) {
                keys.iter().for_each(|key| held.remove_offset(key));
            }
            let next = inner.next_write();
            inner.owed.add(&group_id, &keys, next);
            self.bury_owed(inner, &group_id, keys);
        }
    }

    /// Tries again what the log did not take.
    pub(super) fn bury_all_owed(&self) {
        let mut inner = self.lock();
        let owed: Vec<(String, Vec<Key>)> =
            inner.owed.0.iter().map(|(group_id, keys)| (group_id.clone(), keys.keys().cloned().collect())).collect();
        for (group_id, mut keys) in owed {
            // an offset of a new topic is on its way: behind it a tombstone would bury that one
            keys.retain(|key| !inner.in_flight.contains(&group_id, key));
            self.bury_owed(&mut inner, &group_id, keys);
        }
    }

    fn bury_owed(&self, inner: &mut Inner, group_id: &str, keys: Vec<Key>) {
        if let Err(error) = self.bury(inner, group_id, keys, false) {
            tracing::warn!(group = group_id, %error, "offsets of a deleted topic are forgotten and could not be removed from the log; it is tried again");
        }
    }
}
