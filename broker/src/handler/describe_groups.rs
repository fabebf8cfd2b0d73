//! DescribeGroups: state, members and assignment of groups.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::broker::{Broker, Session};
use crate::group::{Group, State};
use crate::handler::{NOT_ASKED, once};

/// Read, Delete, Describe, DescribeConfigs and AlterConfigs of a group, as bits of Kafka's operations (KIP-430).
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations { GROUP_OPERATIONS } else { NOT_ASKED };
    once(&mut request.groups, String::clone);
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let found = match broker.groups.locate(broker, &group_id).await {
            Ok(located) => located.shard.describe(&group_id, describe),
            Err(error) => Err(error),
        };
        let group = match found {
            Ok(Some(group)) => group,
            Ok(None) => absent(version),
            Err(error_code) => DescribedGroup { error_code, error_message: None, ..DescribedGroup::default() },
        };
        // of a group that is not described nothing is said
        let authorized_operations = if group.error_code.is_ok() { operations } else { NOT_ASKED };
        groups.push(DescribedGroup { group_id, authorized_operations, ..group });
    }
    DescribeGroupsResponse { throttle_time_ms: 0, groups }
}

/// A group that is not there was a dead one until version 6 (KIP-1043).
fn absent(version: i16) -> DescribedGroup {
    let (error_code, error_message) = if version >= 6 {
        (ErrorCode::GroupIdNotFound, Some("there is no group of this id".to_owned()))
    } else {
        (ErrorCode::None, None)
    };
    DescribedGroup {
        error_code,
        error_message,
        group_state: State::Dead.name().to_owned(),
        ..DescribedGroup::default()
    }
}

fn describe(group: &Group) -> DescribedGroup {
    let is_stable = group.state == State::Stable;
    let protocol = group.protocol.clone().filter(|_| is_stable).unwrap_or_default();
    let member = |(id, member): (&String, &crate::group::Member)| DescribedGroupMember {
        member_id: id.clone(),
        group_instance_id: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: if is_stable { member.metadata(&protocol) } else { bytes::Bytes::new() },
        member_assignment: if is_stable { member.assignment.clone() } else { bytes::Bytes::new() },
    };
    DescribedGroup {
        error_message: None,
        group_state: group.state.name().to_owned(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        members: group.in_order().into_iter().map(member).collect(),
        protocol_data: protocol,
        ..DescribedGroup::default()
    }
}
