//! ListGroups: all groups, or those of some states or types.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::broker::{Broker, Session};
use crate::group::Group;

/// The one type of group that is served (KIP-848 has others).
const CLASSIC: &str = "classic";

pub(super) fn handle(broker: &Arc<Broker>, _: &Session, request: ListGroupsRequest, _: i16) -> ListGroupsResponse {
    let any = |filter: &[String], word: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
    };
    let listed = |group: &Group| ListedGroup {
        group_id: group.id.clone(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        group_state: group.state.name().to_owned(),
        group_type: CLASSIC.to_owned(),
    };
    let mut groups = Vec::new();
    let mut error_code = ErrorCode::None;
    for shard in broker.groups.shards(broker) {
        match shard.list(listed) {
            Ok(found) => groups.extend(found),
            // It is logged, and tried again. Clients would ask for ever, and never see the groups that there are.
            Err(ErrorCode::CoordinatorNotAvailable) => {}
            Err(error) => error_code = error,
        }
    }
    groups.retain(|group| any(&request.states_filter, &group.group_state) && any(&request.types_filter, CLASSIC));
    ListGroupsResponse { throttle_time_ms: 0, error_code, groups }
}
