//! Groups and offsets as records of `__consumer_offsets`, in Kafka's format, and back.

use bytes::Bytes;
use kennet_protocol::coordinator_records::{
    CoordinatorKey, GroupMetadataKey, GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue,
};
use kennet_protocol::{DecodeError, EncodeError, LeaderEpoch, Message, Offset, PartitionIndex, TimestampMs, Uuid};

use crate::group::member::Member;
use crate::group::state::{Group, Millis, State};

/// The version that Kafka 4.1 writes and older tools read.
const GROUP_VERSION: i16 = 3;
/// With the topic's id, which tells its offsets from those of an earlier topic of that name. Kafka's tools read it since 3.5 (KIP-915).
const OFFSET_VERSION: i16 = 4;

/// A key and a value; no value is a tombstone.
pub(crate) type Pair = (Bytes, Option<Bytes>);

/// A committed position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: String,
    pub(crate) committed_at: TimestampMs,
    /// The topic's id; nil in records of version 3.
    pub(crate) topic_id: Uuid,
    /// Where its record is, so that an older one never replaces it.
    pub(crate) log_offset: Offset,
}

/// What a record says.
#[derive(Debug)]
pub(crate) enum Entry {
    Offset {
        group: String,
        topic: String,
        partition: PartitionIndex,
        committed: Option<Committed>,
    },
    Group {
        id: String,
        group: Option<Box<Group>>,
    },
    /// A record that this version does not know, kept where it is.
    Other,
}

pub(crate) fn group_record(group: &Group, now: TimestampMs) -> Result<Pair, EncodeError> {
    let protocol = group.protocol.clone().unwrap_or_default();
    let member = |(id, member): (&String, &Member)| MemberMetadata {
        member_id: id.clone(),
        group_instance_id: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: i32::try_from(member.rebalance_ms).unwrap_or(i32::MAX),
        session_timeout: i32::try_from(member.session_ms).unwrap_or(i32::MAX),
        subscription: member.metadata(&protocol),
        assignment: member.assignment.clone(),
    };
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol: group.protocol.clone(),
        leader: group.leader.clone(),
        current_state_timestamp: now,
        members: group.in_order().into_iter().map(member).collect(),
    };
    let key = GroupMetadataKey { group: group.id.clone() }.to_key()?;
    Ok((key, Some(value.to_versioned_bytes(GROUP_VERSION)?)))
}

pub(crate) fn group_tombstone(id: &str) -> Result<Pair, EncodeError> {
    Ok((GroupMetadataKey { group: id.to_owned() }.to_key()?, None))
}

pub(crate) fn offset_record(
    group: &str,
    topic: &str,
    partition: PartitionIndex,
    committed: Option<&Committed>,
) -> Result<Pair, EncodeError> {
    let key = OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }.to_key()?;
    let value = committed.map(|committed| {
        OffsetCommitValue {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata.clone(),
            commit_timestamp: committed.committed_at,
            topic_id: committed.topic_id,
            ..OffsetCommitValue::default()
        }
        .to_versioned_bytes(OFFSET_VERSION)
    });
    Ok((key, value.transpose()?))
}

/// Reads a record. A member that is read has just been heard of: its session starts anew.
pub(crate) fn read(key: Bytes, value: Option<Bytes>, log_offset: Offset, now: Millis) -> Result<Entry, DecodeError> {
    Ok(match CoordinatorKey::decode(key)? {
        CoordinatorKey::OffsetCommit(key) => {
            let committed = value.map(OffsetCommitValue::from_versioned_bytes).transpose()?.map(|value| Committed {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata,
                committed_at: value.commit_timestamp,
                topic_id: value.topic_id,
                log_offset,
            });
            Entry::Offset { group: key.group, topic: key.topic, partition: key.partition, committed }
        }
        CoordinatorKey::GroupMetadata(key) => {
            let value = value.map(GroupMetadataValue::from_versioned_bytes).transpose()?;
            let group = value.map(|value| Box::new(read_group(&key.group, value, now)));
            Entry::Group { id: key.group, group }
        }
        CoordinatorKey::Other(_) => Entry::Other,
    })
}

fn read_group(id: &str, value: GroupMetadataValue, now: Millis) -> Group {
    let mut group = Group::new(id);
    group.generation = value.generation;
    group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
    group.protocol = value.protocol.filter(|name| !name.is_empty());
    group.leader = value.leader.filter(|leader| !leader.is_empty());
    let protocol = group.protocol.clone().unwrap_or_default();
    for read in value.members {
        group.joined += 1;
        if let Some(instance) = &read.group_instance_id {
            group.instances.insert(instance.clone(), read.member_id.clone());
        }
        let member = Member {
            instance: read.group_instance_id,
            client_id: read.client_id,
            client_host: read.client_host,
            session_ms: i64::from(read.session_timeout),
            rebalance_ms: i64::from(read.rebalance_timeout),
            protocols: vec![(protocol.clone(), read.subscription)],
            assignment: read.assignment,
            order: group.joined,
            awaiting_join: None,
            awaiting_sync: None,
            has_synced: true,
            is_new: false,
            last_seen: now,
        };
        group.members.insert(read.member_id, member);
    }
    group.state = if group.members.is_empty() { State::Empty } else { State::Stable };
    group
}
