//! OffsetForLeaderEpoch: where a leader epoch ended, so that a consumer can tell whether its position is still valid (KIP-320).

use std::sync::Arc;

use kennet_log::Unavailable;
use kennet_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};
use kennet_protocol::{ErrorCode, LeaderEpoch, Offset, Uuid};

use crate::broker::{Broker, Session};
use crate::handler::fetch::epoch_code;
use crate::partition::Partition;

pub(super) fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: OffsetForLeaderEpochRequest,
    _: i16,
) -> OffsetForLeaderEpochResponse {
    let image = broker.controller.image();
    let topics = request.topics.into_iter().map(|topic| {
        let found = broker.topic(&image, &topic.topic, Uuid::nil());
        let answer = |wanted: &OffsetForLeaderPartition| {
            let partition = found.as_ref().and_then(|topic| broker.partition(topic, wanted.partition));
            partition
                .map_or_else(|| failed(wanted, ErrorCode::UnknownTopicOrPartition), |partition| end(&partition, wanted))
        };
        let partitions = topic.partitions.iter().map(answer).collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    });
    OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.collect() }
}

fn end(partition: &Partition, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    if let Err(error) = partition.check_epoch(wanted.current_leader_epoch) {
        return failed(wanted, epoch_code(error));
    }
    let found = match partition.end_of_epoch(wanted.leader_epoch) {
        Ok(found) => found,
        Err(Unavailable::Deleted) => return failed(wanted, ErrorCode::UnknownTopicOrPartition),
        Err(_) => return failed(wanted, ErrorCode::KafkaStorageError),
    };
    let (leader_epoch, end_offset) = found.unwrap_or((LeaderEpoch::NONE, Offset(-1)));
    EpochEndOffset { error_code: ErrorCode::None, partition: wanted.partition, leader_epoch, end_offset }
}

fn failed(wanted: &OffsetForLeaderPartition, error_code: ErrorCode) -> EpochEndOffset {
    EpochEndOffset { error_code, partition: wanted.partition, leader_epoch: LeaderEpoch::NONE, end_offset: Offset(-1) }
}
