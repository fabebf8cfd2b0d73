//! LeaveGroup: members go, one by one up to version 2, several at once from version 3 on (KIP-345).

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

use crate::broker::{Broker, Session};
use crate::clock;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    if request.group_id.is_empty() {
        return LeaveGroupResponse { error_code: ErrorCode::InvalidGroupId, ..LeaveGroupResponse::default() };
    }
    let located = match broker.groups.locate(broker, &request.group_id).await {
        Ok(located) => located,
        Err(error_code) => return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() },
    };
    let leave = |member_id: &str, instance: Option<&str>| {
        located.shard.leave(&request.group_id, member_id, instance, clock::monotonic_ms())
    };
    if version < 3 {
        return LeaveGroupResponse { error_code: leave(&request.member_id, None), ..LeaveGroupResponse::default() };
    }
    let answer = |member: &MemberIdentity| MemberResponse {
        error_code: leave(&member.member_id, member.group_instance_id.as_deref()),
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
    };
    let members = request.members.iter().map(answer).collect();
    LeaveGroupResponse { throttle_time_ms: 0, error_code: ErrorCode::None, members }
}
