//! Consumer groups from the outside: list, describe, delete, committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use kennet_protocol::consumer_protocol::ConsumerProtocolAssignment;
use kennet_protocol::messages::delete_groups::DeleteGroupsRequest;
use kennet_protocol::messages::describe_groups::DescribeGroupsRequest;
use kennet_protocol::messages::list_groups::ListGroupsRequest;
use kennet_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kennet_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kennet_protocol::{BrokerId, ErrorCode, GenerationId, LeaderEpoch, Offset};

use crate::client::Route;
use crate::{Client, ClientError, TopicPartition};

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// Its state in Kafka's words; empty from brokers that don't tell.
    pub state: String,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// Its state in Kafka's words: Stable, Empty, Dead, PreparingRebalance, CompletingRebalance.
    pub state: String,
    /// The assignor.
    pub protocol: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// The client's own name.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it reads.
    pub assigned: Vec<TopicPartition>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the leader that wrote the record before it, if known.
    pub leader_epoch: LeaderEpoch,
    /// What the client put beside it.
    pub metadata: String,
}

impl Client {
    /// Every group, from every broker.
    ///
    /// # Errors
    /// When a broker does not answer.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = BTreeSet::new();
        for broker in self.brokers() {
            let mut retries = self.retries();
            let answer = loop {
                let answer = self.ask(Route::Broker(broker.id), |_| ListGroupsRequest::default()).await?;
                let object = || format!("broker {}", broker.id);
                match ClientError::check("ListGroups", object, answer.error_code, None) {
                    Ok(()) => break answer,
                    Err(error) if retries.again(&error).await => {}
                    Err(error) => return Err(error),
                }
            };
            groups.extend(answer.groups.into_iter().map(|listed| GroupListing {
                group: listed.group_id,
                protocol_type: listed.protocol_type,
                state: listed.group_state,
            }));
        }
        Ok(groups.into_iter().collect())
    }

    /// One group. A group that does not exist is `Dead` without members.
    ///
    /// # Errors
    /// What the coordinator refused it for.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let make = |_| DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        let code = |answer: &kennet_protocol::messages::describe_groups::DescribeGroupsResponse| {
            answer.groups.first().map_or(ErrorCode::None, |found| found.error_code)
        };
        let answer = self.ask_coordinator(group, make, code).await?;
        let object = || format!("group '{group}'");
        let missing = || ClientError::Missing { api: "DescribeGroups", object: object() };
        let found = answer.groups.into_iter().next().ok_or_else(missing)?;
        if found.error_code == ErrorCode::GroupIdNotFound {
            let (state, protocol) = ("Dead".to_owned(), String::new());
            return Ok(GroupDescription { group: group.to_owned(), state, protocol, members: Vec::new() });
        }
        ClientError::check("DescribeGroups", object, found.error_code, found.error_message)?;
        let members = found.members.into_iter().map(|member| GroupMember {
            assigned: read_assignment(member.member_assignment),
            member_id: member.member_id,
            client_id: member.client_id,
            client_host: member.client_host,
        });
        Ok(GroupDescription {
            group: found.group_id,
            state: found.group_state,
            protocol: found.protocol_data,
            members: members.collect(),
        })
    }

    /// Deletes a group without members, with its offsets.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` while it has members; `GROUP_ID_NOT_FOUND`.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let make = |_| DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        let answer = self
            .ask_coordinator(group, make, |answer| {
                answer.results.first().map_or(ErrorCode::None, |result| result.error_code)
            })
            .await?;
        let object = || format!("group '{group}'");
        let missing = || ClientError::Missing { api: "DeleteGroups", object: object() };
        let result = answer.results.into_iter().next().ok_or_else(missing)?;
        ClientError::check("DeleteGroups", object, result.error_code, None)
    }

    /// Every offset that a group has committed.
    ///
    /// # Errors
    /// What the coordinator refused it for.
    pub async fn committed_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
        let make = |version: i16| match version {
            ..=7 => OffsetFetchRequest { group_id: group.to_owned(), topics: None, ..Default::default() },
            _ => OffsetFetchRequest {
                groups: vec![OffsetFetchRequestGroup {
                    group_id: group.to_owned(),
                    topics: None,
                    ..Default::default()
                }],
                ..Default::default()
            },
        };
        let answer = self
            .ask_coordinator(group, make, |answer| {
                answer.groups.first().map_or(answer.error_code, |found| found.error_code)
            })
            .await?;
        let mut offsets = BTreeMap::new();
        let mut put = |topic: &str, partition, code: ErrorCode, offset: Offset, leader_epoch, metadata| {
            let partition = TopicPartition { topic: topic.to_owned(), partition };
            ClientError::check("OffsetFetch", || format!("partition {partition}"), code, None)?;
            if offset.0 >= 0 {
                let metadata: Option<String> = metadata;
                offsets.insert(partition, Committed { offset, leader_epoch, metadata: metadata.unwrap_or_default() });
            }
            Ok::<(), ClientError>(())
        };
        let object = || format!("group '{group}'");
        ClientError::check("OffsetFetch", object, answer.error_code, None)?;
        for topic in answer.topics {
            for p in topic.partitions {
                let epoch = p.committed_leader_epoch;
                put(&topic.name, p.partition_index, p.error_code, p.committed_offset, epoch, p.metadata)?;
            }
        }
        for found in answer.groups {
            ClientError::check("OffsetFetch", object, found.error_code, None)?;
            for topic in found.topics {
                for p in topic.partitions {
                    let epoch = p.committed_leader_epoch;
                    put(&topic.name, p.partition_index, p.error_code, p.committed_offset, epoch, p.metadata)?;
                }
            }
        }
        Ok(offsets)
    }

    /// Commits offsets as nobody's member, in one request: the coordinator takes it only while the group has no members.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` while the group has members; otherwise the first partition's error.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<(), ClientError> {
        self.commit(group, GenerationId(-1), "", offsets).await
    }

    pub(crate) async fn commit(
        &self,
        group: &str,
        generation: GenerationId,
        member_id: &str,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, committed) in offsets {
            topics.entry(&partition.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch,
                committed_metadata: Some(committed.metadata.clone()),
            });
        }
        let topics: Vec<OffsetCommitRequestTopic> = topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic { name: name.to_owned(), partitions })
            .collect();
        let make = |_| OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: generation,
            member_id: member_id.to_owned(),
            topics: topics.clone(),
            ..Default::default()
        };
        let answer = self
            .ask_coordinator(group, make, |answer| {
                let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|result| result.error_code);
                codes.into_iter().find(|code| !code.is_ok()).unwrap_or(ErrorCode::None)
            })
            .await?;
        for topic in answer.topics {
            for result in topic.partitions {
                let object = || format!("group '{group}', partition {}-{}", topic.name, result.partition_index);
                ClientError::check("OffsetCommit", object, result.error_code, None)?;
            }
        }
        Ok(())
    }

    /// Takes a member out of a group.
    pub(crate) async fn leave(&self, coordinator: BrokerId, group: &str, member_id: &str) -> Result<(), ClientError> {
        use kennet_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
        let make = |version: i16| match version {
            ..=2 => {
                LeaveGroupRequest { group_id: group.to_owned(), member_id: member_id.to_owned(), ..Default::default() }
            }
            _ => LeaveGroupRequest {
                group_id: group.to_owned(),
                members: vec![MemberIdentity {
                    member_id: member_id.to_owned(),
                    group_instance_id: None,
                    reason: Some("the consumer is being closed".to_owned()),
                }],
                ..Default::default()
            },
        };
        let answer = self.call(Route::Broker(coordinator), make).await?;
        ClientError::check("LeaveGroup", || format!("group '{group}'"), answer.error_code, None)
    }
}

/// The partitions in an assignment; none when it is not that of a consumer.
fn read_assignment(bytes: bytes::Bytes) -> Vec<TopicPartition> {
    let Ok(assignment) = ConsumerProtocolAssignment::from_any_version(bytes) else { return Vec::new() };
    let topics = assignment.assigned_partitions.into_iter();
    topics
        .flat_map(|of| {
            of.partitions.into_iter().map(move |partition| TopicPartition { topic: of.topic.clone(), partition })
        })
        .collect()
}
