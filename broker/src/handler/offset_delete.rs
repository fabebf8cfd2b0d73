//! OffsetDelete: removes positions of topics that no member of the group reads (KIP-496).

use std::collections::BTreeSet;
use std::sync::Arc;

use kennet_protocol::consumer_protocol::ConsumerProtocolSubscription;
use kennet_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use kennet_protocol::{ErrorCode, Message};

use crate::broker::{Broker, Session};
use crate::group::{Group, State};

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: OffsetDeleteRequest,
    _: i16,
) -> OffsetDeleteResponse {
    let image = broker.controller.image();
    match delete(broker, &request).await {
        Ok(read) => {
            let error = |name: &str| match (image.topic(name), read.contains(name)) {
                // offsets of a topic that is gone are gone with it
                (None, _) => ErrorCode::UnknownTopicOrPartition,
                (Some(_), true) => ErrorCode::GroupSubscribedToTopic,
                (Some(_), false) => ErrorCode::None,
            };
            let topics = request.topics.iter().map(|topic| answer(topic, error(&topic.name))).collect();
            OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() }
        }
        Err(error_code) => OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() },
    }
}

/// Deletes what may be deleted; answers the topics that members read.
async fn delete(broker: &Arc<Broker>, request: &OffsetDeleteRequest) -> Result<BTreeSet<String>, ErrorCode> {
    let located = broker.groups.locate(broker, &request.group_id).await?;
    let read = located.shard.describe(&request.group_id, subscribed)?.ok_or(ErrorCode::GroupIdNotFound)??;
    let unread = request.topics.iter().filter(|topic| !read.contains(&topic.name));
    let keys = unread
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index)))
        .collect();
    located.shard.delete_offsets(&request.group_id, keys).await?;
    Ok(read)
}

/// The topics that members subscribe to; a group that is no consumers' group can't be asked.
fn subscribed(group: &Group) -> Result<BTreeSet<String>, ErrorCode> {
    if group.state == State::Empty {
        return Ok(BTreeSet::new());
    }
    if group.protocol_type.as_deref() != Some("consumer") {
        return Err(ErrorCode::NonEmptyGroup);
    }
    let subscriptions = group.members.values().flat_map(|member| &member.protocols);
    let topics =
        subscriptions.filter_map(|(_, bytes)| ConsumerProtocolSubscription::from_versioned_bytes(bytes.clone()).ok());
    Ok(topics.flat_map(|subscription| subscription.topics).collect())
}

fn answer(topic: &OffsetDeleteRequestTopic, error_code: ErrorCode) -> OffsetDeleteResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| OffsetDeleteResponsePartition { partition_index: partition.partition_index, error_code })
        .collect();
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions }
}
