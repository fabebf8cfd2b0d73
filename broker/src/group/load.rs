//! Reading a shard's partition back: what its groups and offsets were when the last record was written.

use std::collections::BTreeMap;

use kennet_protocol::record::{Batch, Batches};

use crate::group::held::Held;
use crate::group::records::{self, Entry};
use crate::group::state::{Group, Millis, State};
use crate::partition::Partition;

/// A batch of the coordinator's own topic decompresses to no more.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Reads the partition from its start; sessions of the members that are found start anew. May wait for the disk.
pub(super) fn read(partition: &Partition, now: Millis) -> Result<BTreeMap<String, Held>, kennet_log::ReadError> {
    let mut groups = BTreeMap::new();
    let mut at = partition.log.log_start();
    let end = partition.high_watermark();
    while at < end {
        let read = partition.log.read(at, end, 1 << 20, true, kennet_log::fs::Wait::Allowed)?;
        at = read.next_offset;
        for batch in read.chunks.into_iter().flat_map(Batches::new) {
            match batch.map_err(|error| error.to_string()).and_then(|batch| apply_batch(&mut groups, &batch, now)) {
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(
                        partition = partition.index.0,
                        error,
                        "a batch of __consumer_offsets does not decode"
                    );
                }
            }
        }
    }
    Ok(groups)
}

/// The group, made if it is not there.
pub(super) fn held<'a>(groups: &'a mut BTreeMap<String, Held>, group_id: &str) -> &'a mut Held {
    groups.entry(group_id.to_owned()).or_insert_with(|| Held::new(Group::new(group_id)))
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
