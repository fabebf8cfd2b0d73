//! JoinGroup: a consumer wants to be a member; answered when the group's next generation begins.

use std::sync::Arc;

use bytes::Bytes;
use kennet_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use kennet_protocol::{ErrorCode, RequestHeader, Uuid};

use crate::broker::{Broker, Session};
use crate::clock;
use crate::group::{Join, JoinAnswer, limits};

/// Names and metadata of all assignors of a member together; more is no subscription.
const METADATA_BYTES_MAX: usize = 1 << 20;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    session: &Session,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = header.api_version;
    let group_id = request.group_id.clone();
    let bytes: usize = request.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum();
    if group_id.is_empty() {
        return response(JoinAnswer::error(&request.member_id, ErrorCode::InvalidGroupId), version);
    }
    if bytes > METADATA_BYTES_MAX {
        return response(JoinAnswer::error(&request.member_id, ErrorCode::InvalidRequest), version);
    }
    let client_id = header.client_id.clone().unwrap_or_default();
    let named = request.group_instance_id.as_ref().unwrap_or(&client_id);
    let join = Join {
        new_member_id: format!("{named}-{}", Uuid::new_v4()),
        member_id: request.member_id.clone(),
        instance: request.group_instance_id,
        client_id,
        client_host: session.client_host(),
        session_ms: i64::from(request.session_timeout_ms),
        // version 0 has no rebalance timeout of its own
        rebalance_ms: i64::from(if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms }),
        protocol_type: request.protocol_type,
        // slices would keep the whole request in memory
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name, Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        id_required: version >= 4,
        can_skip_assignment: version >= 9,
    };
    let answer = match broker.groups.locate(broker, &group_id).await {
        Ok(located) => {
            let limits = limits(broker);
            let joined = located.shard.join(&group_id, join, &limits, clock::monotonic_ms());
            let joined = broker.unless_stopping(joined).await;
            joined.unwrap_or_else(|| JoinAnswer::error(&request.member_id, ErrorCode::CoordinatorNotAvailable))
        }
        Err(error) => JoinAnswer::error(&request.member_id, error),
    };
    response(answer, version)
}

fn response(answer: JoinAnswer, version: i16) -> JoinGroupResponse {
    let member =
        |(member_id, group_instance_id, metadata)| JoinGroupResponseMember { member_id, group_instance_id, metadata };
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: answer.error,
        generation_id: answer.generation,
        protocol_type: answer.protocol_type,
        protocol_name: if version >= 7 { answer.protocol } else { Some(answer.protocol.unwrap_or_default()) },
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: answer.members.into_iter().map(member).collect(),
    }
}
