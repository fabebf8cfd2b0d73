//! DeleteGroups: groups without members, with their offsets.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use crate::broker::{Broker, Session};

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: DeleteGroupsRequest,
    _: i16,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let deleted = match broker.groups.locate(broker, &group_id).await {
            Ok(located) => located.shard.delete_group(&group_id).await,
            Err(error) => Err(error),
        };
        results.push(DeletableGroupResult { group_id, error_code: deleted.err().unwrap_or(ErrorCode::None) });
    }
    DeleteGroupsResponse { throttle_time_ms: 0, results }
}
