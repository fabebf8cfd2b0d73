//! OffsetCommit: positions of a group, durable before they are answered, all of a request in one batch.

use std::sync::Arc;

use kennet_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use kennet_protocol::{ErrorCode, Uuid};

use crate::broker::{Broker, Session};
use crate::clock;
use crate::group::CommitOffset;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: OffsetCommitRequest,
    _: i16,
) -> OffsetCommitResponse {
    let mut checked = None;
    let committed = commit(broker, &request, || {
        let (topics, offsets) = check_all(broker, &request);
        checked = Some(topics);
        offsets
    })
    .await;
    let mut topics = checked.unwrap_or_else(|| check_all(broker, &request).0);
    if let Err(error) = committed {
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if partition.error_code.is_ok() {
                partition.error_code = error;
            }
        }
    }
    OffsetCommitResponse { throttle_time_ms: 0, topics }
}

/// The answers as far as the topics of this moment decide them, and the offsets that can be committed.
fn check_all(
    broker: &Arc<Broker>,
    request: &OffsetCommitRequest,
) -> (Vec<OffsetCommitResponseTopic>, Vec<CommitOffset>) {
    let image = broker.controller.image();
    let limit = broker.configs(&image, None).broker_number("offset.metadata.max.bytes");
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let found = broker.topic(&image, &topic.name, Uuid::nil());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let known = found.as_ref().filter(|topic| topic.partition(wanted.partition_index).is_some());
            let error_code = check(wanted, known.is_some(), limit);
            if let Some(known) = known
                && error_code.is_ok()
            {
                offsets.push(commit_of(&topic.name, known.id, wanted));
            }
            partitions.push(OffsetCommitResponsePartition { partition_index: wanted.partition_index, error_code });
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name.clone(), partitions });
    }
    (topics, offsets)
}

fn check(wanted: &OffsetCommitRequestPartition, known: bool, metadata_bytes_max: usize) -> ErrorCode {
    let metadata = wanted.committed_metadata.as_ref().map_or(0, String::len);
    match (known, metadata > metadata_bytes_max) {
        (false, _) => ErrorCode::UnknownTopicOrPartition,
        (true, true) => ErrorCode::OffsetMetadataTooLarge,
        (true, false) => ErrorCode::None,
    }
}

fn commit_of(topic: &str, topic_id: Uuid, wanted: &OffsetCommitRequestPartition) -> CommitOffset {
    CommitOffset {
        topic: topic.to_owned(),
        topic_id,
        partition: wanted.partition_index,
        offset: wanted.committed_offset,
        leader_epoch: wanted.committed_leader_epoch,
        metadata: wanted.committed_metadata.clone().unwrap_or_default(),
    }
}

async fn commit(
    broker: &Arc<Broker>,
    request: &OffsetCommitRequest,
    prepare: impl FnOnce() -> Vec<CommitOffset>,
) -> Result<(), ErrorCode> {
    let located = broker.groups.locate(broker, &request.group_id).await?;
    let who = (request.member_id.as_str(), request.group_instance_id.as_deref(), request.generation_id_or_member_epoch);
    located.shard.commit(&request.group_id, who, prepare, clock::monotonic_ms()).await
}
