//! Reading a shard's partition back: what its groups and offsets were when the last record was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use kennet_protocol::record::{Batch, Batches, Record, RecordError};
use kennet_protocol::{Offset, PartitionIndex, TimestampMs};

use crate::group::held::Held;
use crate::group::memory::Memory;
use crate::group::records::{self, Entry};
use crate::group::state::{Group, Millis, State};
use crate::partition::Partition;

/// A batch of the coordinator's own topic decompresses to no more.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;
/// Read at a time: enough to keep a disk busy, little enough beside what the groups take.
const READ_BYTES: usize = 1 << 20;

/// Why a shard can't be read. Its groups are not known then, which is not the same as none.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("partition {partition} of __consumer_offsets can't be read at offset {at}")]
    Read { partition: PartitionIndex, at: Offset, source: kennet_log::ReadError },
    #[error("a batch at or behind offset {at} of partition {partition} of __consumer_offsets is damaged: {what}")]
    Batch { partition: PartitionIndex, at: Offset, what: String },
}

/// Reads the partition from its start; sessions of the members that are found start anew. May wait for the disk.
pub(super) fn read(
    partition: &Partition,
    memory: &Arc<Memory>,
    now: Millis,
) -> Result<BTreeMap<String, Held>, LoadError> {
    let mut groups = BTreeMap::new();
    let mut at = partition.log.log_start();
    let end = partition.high_watermark();
    if let Some(reason) = partition.log.unavailable() {
        // what is offline has no records to show, and must not look empty
        return Err(LoadError::Read { partition: partition.index, at, source: reason.into() });
    }
    while at < end {
        let read = partition.log.read(at, end, READ_BYTES, true, kennet_log::fs::Wait::Allowed);
        let read = read.map_err(|source| LoadError::Read { partition: partition.index, at, source })?;
        for batch in read.chunks.into_iter().flat_map(Batches::new) {
            let damaged = |what| LoadError::Batch { partition: partition.index, at, what };
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            apply_batch(&mut groups, memory, partition.index, &batch, now)
                .map_err(|error| damaged(error.to_string()))?;
        }
        at = read.next_offset;
    }
    groups.values_mut().for_each(Held::charge_members);
    Ok(groups)
}

/// The group, made if it is not there.
pub(super) fn held<'a>(groups: &'a mut BTreeMap<String, Held>, memory: &Arc<Memory>, group_id: &str) -> &'a mut Held {
    groups.entry(group_id.to_owned()).or_insert_with(|| Held::new(Group::new(group_id), memory))
}

fn apply_batch(
    groups: &mut BTreeMap<String, Held>,
    memory: &Arc<Memory>,
    partition: PartitionIndex,
    batch: &Batch,
    now: Millis,
) -> Result<(), RecordError> {
    for record in batch.records(BATCH_BYTES_MAX)? {
        let Record { key, value, offset, timestamp, .. } = record?;
        let Some(key) = key else { continue };
        match records::read(key, value, offset, now) {
            Ok(entry) => apply(groups, memory, entry, offset, timestamp),
            // the others are as good as before, and to give up all groups for one record would be worse
            Err(error) => tracing::error!(
                partition = partition.0, offset = offset.0, %error,
                "a record of __consumer_offsets does not decode and is skipped"
            ),
        }
    }
    Ok(())
}

fn apply(
    groups: &mut BTreeMap<String, Held>,
    memory: &Arc<Memory>,
    entry: Entry,
    offset: Offset,
    timestamp: TimestampMs,
) {
    match entry {
        Entry::Offset { group, topic, partition, committed } => {
            held(groups, memory, &group).apply_offset((topic, partition), committed, offset);
        }
        Entry::Group { id, group: Some(group) } => {
            let held = held(groups, memory, &id);
            held.group = *group;
            held.empty_since = (held.group.state == State::Empty).then_some(timestamp);
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
