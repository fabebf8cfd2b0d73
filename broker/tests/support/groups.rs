//! Groups in tests: joins, syncs and offsets of partition 0.

use bytes::Bytes;
use kennet_protocol::messages::delete_topics::DeleteTopicsRequest;
use kennet_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kennet_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kennet_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kennet_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kennet_protocol::{ErrorCode, GenerationId, Offset, PartitionIndex};

use super::client::Client;

pub fn join_request(group_id: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group_id.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
        }],
        ..JoinGroupRequest::default()
    }
}

pub fn sync_request(group_id: &str, member_id: &str, generation: i32) -> SyncGroupRequest {
    let assignment =
        SyncGroupRequestAssignment { member_id: member_id.to_owned(), assignment: Bytes::from_static(b"all") };
    SyncGroupRequest {
        group_id: group_id.to_owned(),
        generation_id: GenerationId(generation),
        member_id: member_id.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![assignment],
        ..SyncGroupRequest::default()
    }
}

pub fn commit_request(group_id: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: PartitionIndex(0),
        committed_offset: Offset(offset),
        ..OffsetCommitRequestPartition::default()
    };
    OffsetCommitRequest {
        group_id: group_id.to_owned(),
        generation_id_or_member_epoch: GenerationId(-1),
        topics: vec![OffsetCommitRequestTopic { name: topic.to_owned(), partitions: vec![partition] }],
        ..OffsetCommitRequest::default()
    }
}

impl Client {
    /// Commits as a tool does, without a member.
    pub fn commit(&mut self, group_id: &str, topic: &str, offset: i64) -> ErrorCode {
        self.call(8, &commit_request(group_id, topic, offset)).topics[0].partitions[0].error_code
    }

    /// The committed offset, -1 for none, once the coordinator is loaded.
    pub fn committed(&mut self, group_id: &str, topic: &str) -> i64 {
        loop {
            let topics =
                vec![OffsetFetchRequestTopics { name: topic.to_owned(), partition_indexes: vec![PartitionIndex(0)] }];
            let group = OffsetFetchRequestGroup {
                group_id: group_id.to_owned(),
                topics: Some(topics),
                ..OffsetFetchRequestGroup::default()
            };
            let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
            let mut answer = self.call(8, &request);
            let group = answer.groups.remove(0);
            match group.error_code {
                ErrorCode::None => return group.topics[0].partitions[0].committed_offset.0,
                ErrorCode::CoordinatorLoadInProgress => std::thread::yield_now(),
                other => panic!("offsets of {group_id}: {other:?}"),
            }
        }
    }

    pub fn delete_topic(&mut self, name: &str) -> ErrorCode {
        let request = DeleteTopicsRequest {
            topic_names: vec![name.to_owned()],
            timeout_ms: 1_000,
            ..DeleteTopicsRequest::default()
        };
        self.call(5, &request).responses[0].error_code
    }

    /// Becomes the one member of a group, in its first generation; answers the member's id.
    pub fn become_member(&mut self, group_id: &str) -> String {
        let joined = self.call(3, &join_request(group_id, ""));
        assert_eq!(joined.error_code, ErrorCode::None);
        let synced = self.call(5, &sync_request(group_id, &joined.member_id, joined.generation_id.0));
        assert_eq!((synced.error_code, synced.assignment.as_ref()), (ErrorCode::None, &b"all"[..]));
        joined.member_id
    }
}
