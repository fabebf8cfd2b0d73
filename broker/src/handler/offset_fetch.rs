//! OffsetFetch: committed positions of one group, or of several from version 8 on. Only what is durable is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;
use kennet_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kennet_protocol::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

use crate::broker::{Broker, Session};
use crate::group::Committed;
use crate::handler::once;

/// Topics and partitions that are asked for; none for all.
type Wanted = Option<Vec<(String, Vec<PartitionIndex>)>>;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version >= 8 {
        once(&mut request.groups, |group| group.group_id.clone());
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let wanted = group
                .topics
                .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
            groups.push(one_group(broker, group.group_id, wanted).await);
        }
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let wanted: Wanted =
        request.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
    let group = one_group(broker, request.group_id, wanted).await;
    // versions 0 and 1 have an error for each partition only
    let topics = group.topics.into_iter().map(|topic| old_topic(topic, group.error_code)).collect();
    OffsetFetchResponse { topics, error_code: group.error_code, ..OffsetFetchResponse::default() }
}

async fn one_group(broker: &Arc<Broker>, group_id: String, wanted: Wanted) -> OffsetFetchResponseGroup {
    let found = match broker.groups.locate(broker, &group_id).await {
        Ok(located) => located.shard.offsets(&group_id, |offsets| answer(offsets, wanted.as_deref())),
        Err(error) => Err(error),
    };
    let (topics, error_code) = match found {
        Ok(topics) => (topics, ErrorCode::None),
        Err(error) => (answer(&BTreeMap::new(), wanted.as_deref()), error),
    };
    OffsetFetchResponseGroup { group_id, topics, error_code }
}

fn answer(
    offsets: &BTreeMap<(String, PartitionIndex), Committed>,
    wanted: Option<&[(String, Vec<PartitionIndex>)]>,
) -> Vec<OffsetFetchResponseTopics> {
    let Some(wanted) = wanted else { return all(offsets) };
    let mut seen = HashSet::new();
    let mut topic = |(name, partitions): &(String, Vec<PartitionIndex>)| {
        // metadata is told once, not as often as a request names its partition
        let partitions = partitions.iter().filter(|index| seen.insert((name.clone(), **index)));
        let row = |index: &PartitionIndex| row(*index, offsets.get(&(name.clone(), *index)));
        OffsetFetchResponseTopics { name: name.clone(), partitions: partitions.map(row).collect() }
    };
    wanted.iter().map(&mut topic).collect()
}

fn all(offsets: &BTreeMap<(String, PartitionIndex), Committed>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for ((name, index), committed) in offsets {
        let row = row(*index, Some(committed));
        match topics.last_mut().filter(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(row),
            None => topics.push(OffsetFetchResponseTopics { name: name.clone(), partitions: vec![row] }),
        }
    }
    topics
}

fn row(partition_index: PartitionIndex, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.map_or(Offset(-1), |committed| committed.offset),
        committed_leader_epoch: committed.map_or(LeaderEpoch::NONE, |committed| committed.leader_epoch),
        metadata: Some(committed.map(|committed| committed.metadata.clone()).unwrap_or_default()),
        error_code: ErrorCode::None,
    }
}

fn old_topic(topic: OffsetFetchResponseTopics, error_code: ErrorCode) -> OffsetFetchResponseTopic {
    let partition = |row: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: row.partition_index,
        committed_offset: row.committed_offset,
        committed_leader_epoch: row.committed_leader_epoch,
        metadata: row.metadata,
        error_code,
    };
    OffsetFetchResponseTopic { name: topic.name, partitions: topic.partitions.into_iter().map(partition).collect() }
}
