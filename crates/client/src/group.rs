//! A consumer in a group of Kafka's classic protocol: join, share the partitions by the range assignor, beat, commit, leave.
//!
//! Heartbeats are sent between polls, so a caller that polls less often than the session timeout loses its partitions, as it should: it
//! has stopped reading. After a rebalance reading goes on at the committed offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kennet_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition as AssignedTopic,
};
use kennet_protocol::messages::heartbeat::HeartbeatRequest;
use kennet_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
use kennet_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kennet_protocol::{BrokerId, ErrorCode, GenerationId, LeaderEpoch, Message, Offset, PartitionIndex};
use tokio::time::Instant;

use crate::client::Route;
use crate::{Client, ClientError, Committed, Consumer, ConsumerOptions, FetchedRecord, Start, TopicPartition};

const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";
/// The subscription version with owned partitions, which every broker and client since Kafka 2.4 reads.
const SUBSCRIPTION_VERSION: i16 = 1;

/// How to take part in a group.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group's id.
    pub group: String,
    /// What to read.
    pub topics: Vec<String>,
    /// Where to start in partitions without a committed offset.
    pub start: Start,
    /// How long the coordinator waits for a heartbeat.
    pub session_timeout: Duration,
    /// How long a rebalance may take.
    pub rebalance_timeout: Duration,
}

/// A member of a group.
#[derive(Debug)]
pub struct GroupConsumer {
    client: Client,
    options: GroupOptions,
    consumer: Consumer,
    member: Option<Membership>,
    member_id: String,
}

#[derive(Debug, Clone)]
struct Membership {
    coordinator: BrokerId,
    generation: GenerationId,
    last_heartbeat: Instant,
}

impl GroupConsumer {
    /// A consumer that joins with its first poll.
    #[must_use]
    pub fn new(client: Client, options: GroupOptions, fetch: ConsumerOptions) -> Self {
        // a poll must return in time for the next heartbeat
        let wait = fetch.wait.min(options.session_timeout / 6);
        let consumer = Consumer::new(client.clone(), ConsumerOptions { wait, ..fetch });
        Self { client, options, consumer, member: None, member_id: String::new() }
    }

    /// The partitions that are its share.
    pub fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.consumer.assigned()
    }

    /// As [`Consumer::stop_at`].
    pub fn stop_at(&mut self, ends: BTreeMap<TopicPartition, Offset>) {
        self.consumer.stop_at(ends);
    }

    /// As [`Consumer::is_at_end`], of its share, which may be nothing; not before it has one.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.member.is_some() && self.consumer.is_at_end()
    }

    /// The next records, at most so many; joins the group first, and again after a rebalance.
    ///
    /// # Errors
    /// What the coordinator or a leader refuses for good.
    pub async fn poll(&mut self, limit: usize) -> Result<Vec<FetchedRecord>, ClientError> {
        if self.member.is_none() {
            self.join().await?;
        }
        self.heartbeat_if_due().await?;
        if self.member.is_none() {
            return Ok(Vec::new());
        }
        if self.consumer.assigned().next().is_none() {
            tokio::time::sleep(self.options.session_timeout / 12).await;
            return Ok(Vec::new());
        }
        self.consumer.poll(limit).await
    }

    /// Commits the offsets after all records that were handed out.
    ///
    /// # Errors
    /// `ILLEGAL_GENERATION` or `REBALANCE_IN_PROGRESS` when the partitions have been given to others meanwhile.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let Some(member) = &self.member else { return Ok(()) };
        let offsets: BTreeMap<TopicPartition, Committed> = self
            .consumer
            .assigned()
            .filter_map(|partition| Some((partition.clone(), self.consumer.position(partition)?)))
            .map(|(partition, offset)| (partition, committed(offset)))
            .collect();
        if offsets.is_empty() {
            return Ok(());
        }
        self.client.commit(&self.options.group, member.generation, &self.member_id, &offsets).await
    }

    /// Leaves the group, so that others need not wait for the session to end.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn leave(self) -> Result<(), ClientError> {
        // while it joins again it is the coordinator's member all the same
        if self.member_id.is_empty() {
            return Ok(());
        }
        let coordinator = match &self.member {
            Some(member) => member.coordinator,
            None => self.client.coordinator(&self.options.group).await?,
        };
        match self.client.leave(coordinator, &self.options.group, &self.member_id).await {
            Err(error) if error.code() == Some(ErrorCode::UnknownMemberId) => Ok(()),
            outcome => outcome,
        }
    }

    async fn heartbeat_if_due(&mut self) -> Result<(), ClientError> {
        let Some(member) = &mut self.member else { return Ok(()) };
        if member.last_heartbeat.elapsed() < self.options.session_timeout / 6 {
            return Ok(());
        }
        member.last_heartbeat = Instant::now();
        let (coordinator, generation) = (member.coordinator, member.generation);
        let make = |_| HeartbeatRequest {
            group_id: self.options.group.clone(),
            generation_id: generation,
            member_id: self.member_id.clone(),
            group_instance_id: None,
        };
        let code = match self.client.call(Route::Broker(coordinator), make).await {
            Ok(answer) => answer.error_code,
            Err(error) if error.is_retriable() => ErrorCode::NotCoordinator,
            Err(error) => return Err(error),
        };
        match code {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.member_id.clear();
                self.member = None;
            }
            code if code == ErrorCode::RebalanceInProgress || code.is_retriable() => self.member = None,
            code => {
                let object = || format!("group '{}'", self.options.group);
                return ClientError::check("Heartbeat", object, code, None);
            }
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<(), ClientError> {
        let mut retries = self.client.retries();
        loop {
            match self.try_join().await {
                Ok(()) => return Ok(()),
                Err(error) => match error.code() {
                    // both are steps of the protocol, not failures
                    Some(ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress) => {}
                    Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => self.member_id.clear(),
                    _ if retries.again(&error).await => {}
                    _ => return Err(error),
                },
            }
        }
    }

    async fn try_join(&mut self) -> Result<(), ClientError> {
        let coordinator = self.client.coordinator(&self.options.group).await?;
        let joined = self.ask_to_join(coordinator).await?;
        if !joined.member_id.is_empty() {
            self.member_id.clone_from(&joined.member_id);
        }
        let object = || format!("group '{}'", self.options.group);
        ClientError::check("JoinGroup", object, joined.error_code, None)?;
        let generation = joined.generation_id;
        let assignments = if joined.leader == joined.member_id && !joined.skip_assignment {
            self.share_out(&joined.members).await?
        } else {
            Vec::new()
        };
        let make = |version: i16| SyncGroupRequest {
            group_id: self.options.group.clone(),
            generation_id: generation,
            member_id: self.member_id.clone(),
            group_instance_id: None,
            protocol_type: (version >= 5).then(|| PROTOCOL_TYPE.to_owned()),
            protocol_name: (version >= 5).then(|| ASSIGNOR.to_owned()),
            assignments: assignments.clone(),
        };
        let limit = self.client.options().request_timeout + self.options.rebalance_timeout;
        let synced = self.client.call_within(Route::Broker(coordinator), limit, make).await?;
        ClientError::check("SyncGroup", object, synced.error_code, None)?;
        self.start_reading(synced.assignment).await?;
        self.member = Some(Membership { coordinator, generation, last_heartbeat: Instant::now() });
        Ok(())
    }

    async fn ask_to_join(&self, coordinator: BrokerId) -> Result<JoinGroupResponse, ClientError> {
        let subscription = ConsumerProtocolSubscription { topics: self.options.topics.clone(), ..Default::default() };
        let metadata = subscription.to_versioned_bytes(SUBSCRIPTION_VERSION)?;
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let make = |_| JoinGroupRequest {
            group_id: self.options.group.clone(),
            session_timeout_ms: millis(self.options.session_timeout),
            rebalance_timeout_ms: millis(self.options.rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: None,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: ASSIGNOR.to_owned(), metadata: metadata.clone() }],
            reason: None,
        };
        let limit = self.client.options().request_timeout + self.options.rebalance_timeout;
        self.client.call_within(Route::Broker(coordinator), limit, make).await
    }

    /// The leader's work: who reads what.
    async fn share_out(
        &self,
        members: &[JoinGroupResponseMember],
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for member in members {
            let read = ConsumerProtocolSubscription::from_any_version(member.metadata.clone());
            let subscription = read.map_err(|source| ClientError::Decode {
                address: format!("member '{}'", member.member_id),
                api: "JoinGroup",
                source,
            })?;
            for topic in subscription.topics {
                wanted.entry(topic).or_default().insert(member.member_id.clone());
            }
        }
        let mut counts = BTreeMap::new();
        for topic in wanted.keys() {
            match self.client.topic(topic).await {
                Ok(known) => counts.insert(topic.clone(), known.partitions.len()),
                // a topic that another member wants and nobody has: it gets nobody
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => None,
                Err(error) => return Err(error),
            };
        }
        let mut shares = range(&wanted, &counts);
        let mut assignments = Vec::new();
        for member in members {
            let assigned_partitions = shares.remove(&member.member_id).unwrap_or_default();
            let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
            assignments.push(SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: assignment.to_versioned_bytes(SUBSCRIPTION_VERSION)?,
            });
        }
        Ok(assignments)
    }

    async fn start_reading(&mut self, assignment: Bytes) -> Result<(), ClientError> {
        let mut mine = Vec::new();
        if !assignment.is_empty() {
            let read = ConsumerProtocolAssignment::from_any_version(assignment);
            let assigned = read.map_err(|source| ClientError::Decode {
                address: format!("group '{}'", self.options.group),
                api: "SyncGroup",
                source,
            })?;
            for of in assigned.assigned_partitions {
                let topic = of.topic;
                mine.extend(
                    of.partitions.into_iter().map(|partition| TopicPartition { topic: topic.clone(), partition }),
                );
            }
        }
        let committed = self.client.committed_offsets(&self.options.group).await?;
        let starts = mine
            .into_iter()
            .map(|partition| {
                let at = committed.get(&partition).map_or(self.options.start, |found| Start::Offset(found.offset));
                (partition, at)
            })
            .collect();
        self.consumer.assign(&starts).await
    }
}

fn committed(offset: Offset) -> Committed {
    Committed { offset, leader_epoch: LeaderEpoch::NONE, metadata: String::new() }
}

/// Kafka's range assignor: per topic, members in order of their ids get consecutive runs; the first ones one more.
fn range(
    wanted: &BTreeMap<String, BTreeSet<String>>,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<String, Vec<AssignedTopic>> {
    let mut shares: BTreeMap<String, Vec<AssignedTopic>> = BTreeMap::new();
    for (topic, members) in wanted {
        let partitions = counts.get(topic).copied().unwrap_or(0);
        let (each, more) = (partitions / members.len().max(1), partitions % members.len().max(1));
        let mut next = 0;
        for (at, member) in members.iter().enumerate() {
            let count = each + usize::from(at < more);
            let run: Vec<PartitionIndex> =
                (next..next + count).filter_map(|index| i32::try_from(index).ok()).map(PartitionIndex).collect();
            next += count;
            if !run.is_empty() {
                shares.entry(member.clone()).or_default().push(AssignedTopic { topic: topic.clone(), partitions: run });
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::{AssignedTopic, range};
    use kennet_protocol::PartitionIndex;

    #[test]
    fn the_first_members_get_one_partition_more() {
        let members = ["a", "b", "c"].map(str::to_owned).into_iter().collect();
        let shares = range(&[("t".to_owned(), members)].into(), &[("t".to_owned(), 7)].into());
        let run = |from: i32, to: i32| {
            vec![AssignedTopic { topic: "t".to_owned(), partitions: (from..to).map(PartitionIndex).collect() }]
        };
        assert_eq!(shares["a"], run(0, 3));
        assert_eq!(shares["b"], run(3, 5));
        assert_eq!(shares["c"], run(5, 7));
    }

    #[test]
    fn a_member_gets_only_what_it_wants() {
        let wanted =
            [("t".to_owned(), ["a".to_owned()].into()), ("u".to_owned(), ["a".to_owned(), "b".to_owned()].into())];
        let counts = [("t".to_owned(), 2), ("u".to_owned(), 1)];
        let shares = range(&wanted.into(), &counts.into());
        assert_eq!(shares["a"].len(), 2);
        assert!(!shares.contains_key("b"));
    }
}
