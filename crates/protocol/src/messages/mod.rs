//! One file for each API key, request and response together; each opens with what every version added.
//!
//! Struct and field names are those of Kafka's schemas in snake case. What the values mean to a broker is left to its
//! handlers.

pub mod alter_configs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;

/// Calls a macro with the request and response of every served API, so that lists of them can't forget one.
#[cfg(any(test, feature = "testing"))]
macro_rules! for_each_api {
    ($visit:ident) => {
        $visit! {
            produce::ProduceRequest, produce::ProduceResponse;
            fetch::FetchRequest, fetch::FetchResponse;
            list_offsets::ListOffsetsRequest, list_offsets::ListOffsetsResponse;
            metadata::MetadataRequest, metadata::MetadataResponse;
            api_versions::ApiVersionsRequest, api_versions::ApiVersionsResponse;
            create_topics::CreateTopicsRequest, create_topics::CreateTopicsResponse;
            find_coordinator::FindCoordinatorRequest, find_coordinator::FindCoordinatorResponse;
            join_group::JoinGroupRequest, join_group::JoinGroupResponse;
            sync_group::SyncGroupRequest, sync_group::SyncGroupResponse;
            heartbeat::HeartbeatRequest, heartbeat::HeartbeatResponse;
            leave_group::LeaveGroupRequest, leave_group::LeaveGroupResponse;
            offset_commit::OffsetCommitRequest, offset_commit::OffsetCommitResponse;
            offset_fetch::OffsetFetchRequest, offset_fetch::OffsetFetchResponse;
            offset_delete::OffsetDeleteRequest, offset_delete::OffsetDeleteResponse;
            describe_groups::DescribeGroupsRequest, describe_groups::DescribeGroupsResponse;
            list_groups::ListGroupsRequest, list_groups::ListGroupsResponse;
            delete_groups::DeleteGroupsRequest, delete_groups::DeleteGroupsResponse;
            offset_for_leader_epoch::OffsetForLeaderEpochRequest, offset_for_leader_epoch::OffsetForLeaderEpochResponse;
            delete_topics::DeleteTopicsRequest, delete_topics::DeleteTopicsResponse;
            create_partitions::CreatePartitionsRequest, create_partitions::CreatePartitionsResponse;
            delete_records::DeleteRecordsRequest, delete_records::DeleteRecordsResponse;
            describe_configs::DescribeConfigsRequest, describe_configs::DescribeConfigsResponse;
            incremental_alter_configs::IncrementalAlterConfigsRequest, incremental_alter_configs::IncrementalAlterConfigsResponse;
            alter_configs::AlterConfigsRequest, alter_configs::AlterConfigsResponse;
            describe_cluster::DescribeClusterRequest, describe_cluster::DescribeClusterResponse;
            describe_topic_partitions::DescribeTopicPartitionsRequest, describe_topic_partitions::DescribeTopicPartitionsResponse;
            describe_log_dirs::DescribeLogDirsRequest, describe_log_dirs::DescribeLogDirsResponse;
            init_producer_id::InitProducerIdRequest, init_producer_id::InitProducerIdResponse;
        }
    };
}

#[cfg(any(test, feature = "testing"))]
pub(crate) use for_each_api;

#[cfg(test)]
mod oracle;
