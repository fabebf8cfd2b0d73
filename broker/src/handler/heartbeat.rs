//! Heartbeat: a member is alive, and learns of a rebalance.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::broker::{Broker, Session};
use crate::clock;

pub(super) async fn handle(broker: &Arc<Broker>, _: &Session, request: HeartbeatRequest, _: i16) -> HeartbeatResponse {
    if request.group_id.is_empty() {
        return HeartbeatResponse { throttle_time_ms: 0, error_code: ErrorCode::InvalidGroupId };
    }
    let instance = request.group_instance_id.as_deref();
    let error_code = match broker.groups.locate(broker, &request.group_id).await {
        Ok(located) => located.shard.heartbeat(
            &request.group_id,
            &request.member_id,
            instance,
            request.generation_id,
            clock::monotonic_ms(),
        ),
        Err(error) => error,
    };
    HeartbeatResponse { throttle_time_ms: 0, error_code }
}
