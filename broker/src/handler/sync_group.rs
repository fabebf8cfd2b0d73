//! SyncGroup: the leader brings the assignment, everybody takes theirs away.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::broker::{Broker, Session};
use crate::clock;
use crate::group::{Sync, SyncAnswer};

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let answer = answer(broker, request, version).await;
    SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: answer.error,
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol,
        assignment: answer.assignment,
    }
}

async fn answer(broker: &Arc<Broker>, request: SyncGroupRequest, version: i16) -> SyncAnswer {
    if request.group_id.is_empty() {
        return SyncAnswer::error(ErrorCode::InvalidGroupId);
    }
    // from version 5 on a member has to say what it believes to be chosen (KIP-559)
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return SyncAnswer::error(ErrorCode::InconsistentGroupProtocol);
    }
    let group_id = request.group_id;
    let sync = Sync {
        member_id: request.member_id,
        instance: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request.assignments.into_iter().map(|one| (one.member_id, one.assignment)).collect(),
    };
    match broker.groups.locate(broker, &group_id).await {
        Ok(located) => {
            let synced = located.shard.sync(&group_id, sync, clock::monotonic_ms());
            let synced = broker.unless_stopping(synced).await;
            synced.unwrap_or_else(|| SyncAnswer::error(ErrorCode::CoordinatorNotAvailable))
        }
        Err(error) => SyncAnswer::error(error),
    }
}
