//! Offsets of partitions: by position or timestamp, and cutting records off at the front.
//!
//! Requests go to the partitions' leaders, one per leader; a leader that moved is looked up again.

use std::collections::BTreeMap;
use std::time::Duration;

use kennet_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kennet_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, TimestampMs};

use crate::client::Route;
use crate::retries::Retries;
use crate::{Client, ClientError, TopicPartition};

/// What was found at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 when no record is that late.
    pub offset: Offset,
    /// The record's timestamp, for look-ups by time.
    pub timestamp: TimestampMs,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: LeaderEpoch,
}

impl Client {
    /// The offset at each position: a timestamp or one of `TimestampMs::{EARLIEST, LATEST, MAX_TIMESTAMP}`.
    ///
    /// # Errors
    /// The first partition's for which there is no answer within the operation's time.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, TimestampMs>,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>, ClientError> {
        let found = self.list_each(wanted, self.retries()).await.into_iter();
        found.map(|(partition, outcome)| Ok((partition, outcome?))).collect()
    }

    /// As [`Self::list_offsets`], with an outcome for each partition. Those that fail for a while are asked for again until `patience` ends, or
    /// the operation's time.
    pub async fn list_offsets_each(
        &self,
        wanted: &BTreeMap<TopicPartition, TimestampMs>,
        patience: Duration,
    ) -> BTreeMap<TopicPartition, Result<ListedOffset, ClientError>> {
        self.list_each(wanted, Retries::within(patience.min(self.options().operation_timeout))).await
    }

    async fn list_each(
        &self,
        wanted: &BTreeMap<TopicPartition, TimestampMs>,
        mut retries: Retries,
    ) -> BTreeMap<TopicPartition, Result<ListedOffset, ClientError>> {
        let mut outcomes = BTreeMap::new();
        let mut left = wanted.clone();
        while !left.is_empty() {
            outcomes.extend(self.list_once(std::mem::take(&mut left)).await);
            // a topic that does not exist will not come to exist
            let may_pass =
                |error: &ClientError| error.is_retriable() && error.code() != Some(ErrorCode::UnknownTopicOrPartition);
            let problem = |(_, outcome): (_, &Result<ListedOffset, ClientError>)| outcome.as_ref().err().map(may_pass);
            let again = outcomes.iter().filter(|entry| problem(*entry) == Some(true));
            let again: Vec<TopicPartition> = again.map(|(partition, _)| partition.clone()).collect();
            let first = again.first().and_then(|partition| outcomes.get(partition)?.as_ref().err());
            let Some(first) = first else { break };
            if retries.again(first).await {
                left = again.into_iter().filter_map(|one| wanted.get(&one).map(|at| (one, *at))).collect();
            }
        }
        outcomes
    }

    /// Asks each leader once; every partition gets an outcome.
    async fn list_once(
        &self,
        wanted: BTreeMap<TopicPartition, TimestampMs>,
    ) -> BTreeMap<TopicPartition, Result<ListedOffset, ClientError>> {
        let mut outcomes = BTreeMap::new();
        let mut leaders: BTreeMap<BrokerId, Vec<(TopicPartition, TimestampMs)>> = BTreeMap::new();
        for (partition, at) in wanted {
            match self.leader(&partition).await {
                Ok((leader, _)) => leaders.entry(leader).or_default().push((partition, at)),
                Err(error) => drop(outcomes.insert(partition, Err(error))),
            }
        }
        for (leader, partitions) in leaders {
            let answered = self.list_at(leader, &partitions).await;
            let missing = || ClientError::Missing { api: "ListOffsets", object: format!("broker {leader}") };
            let (mut found, problem) = match answered {
                Ok(found) => (found, missing()),
                Err(error) => (BTreeMap::new(), error),
            };
            for (partition, _) in partitions {
                let outcome = found.remove(&partition).unwrap_or_else(|| Err(problem.share()));
                if outcome.is_err() {
                    self.forget_topic(&partition.topic);
                }
                outcomes.insert(partition, outcome);
            }
        }
        outcomes
    }

    async fn list_at(
        &self,
        leader: BrokerId,
        partitions: &[(TopicPartition, TimestampMs)],
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset, ClientError>>, ClientError> {
        let make = |_| ListOffsetsRequest {
            replica_id: BrokerId::NONE,
            isolation_level: 0,
            topics: partitions
                .iter()
                .map(|(partition, at)| ListOffsetsTopic {
                    name: partition.topic.clone(),
                    partitions: vec![ListOffsetsPartition {
                        partition_index: partition.partition,
                        current_leader_epoch: LeaderEpoch::NONE,
                        timestamp: *at,
                    }],
                })
                .collect(),
            timeout_ms: self.timeout_ms(),
        };
        let answer = self.call(Route::Broker(leader), make).await?;
        let mut outcomes = BTreeMap::new();
        for topic in answer.topics {
            for result in topic.partitions {
                let partition = TopicPartition { topic: topic.name.clone(), partition: result.partition_index };
                let object = || format!("partition {partition}");
                let checked = ClientError::check("ListOffsets", object, result.error_code, None);
                let outcome = checked.map(|()| ListedOffset {
                    offset: result.offset,
                    timestamp: result.timestamp,
                    leader_epoch: result.leader_epoch,
                });
                outcomes.insert(partition, outcome);
            }
        }
        Ok(outcomes)
    }

    /// Makes everything below the offsets unreadable; -1 stands for the high watermark. Answers the new first offsets.
    ///
    /// # Errors
    /// The first partition's that refuses.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
        let mut low = BTreeMap::new();
        let wanted = before.iter().map(|(partition, offset)| (partition.clone(), *offset));
        for (leader, partitions) in self.by_leader(wanted).await? {
            let timeout_ms = self.timeout_ms();
            let make = |_| DeleteRecordsRequest {
                topics: partitions
                    .iter()
                    .map(|(partition, offset)| DeleteRecordsTopic {
                        name: partition.topic.clone(),
                        partitions: vec![DeleteRecordsPartition {
                            partition_index: partition.partition,
                            offset: *offset,
                        }],
                    })
                    .collect(),
                timeout_ms,
            };
            let answer = self.ask(Route::Broker(leader), make).await?;
            for topic in answer.topics {
                for result in topic.partitions {
                    let partition = TopicPartition { topic: topic.name.clone(), partition: result.partition_index };
                    let object = || format!("partition {partition}");
                    ClientError::check("DeleteRecords", object, result.error_code, None)?;
                    low.insert(partition, result.low_watermark);
                }
            }
        }
        Ok(low)
    }

    /// Groups what is wanted of partitions by their leaders.
    async fn by_leader<T>(
        &self,
        wanted: impl Iterator<Item = (TopicPartition, T)>,
    ) -> Result<BTreeMap<BrokerId, Vec<(TopicPartition, T)>>, ClientError> {
        let mut groups: BTreeMap<BrokerId, Vec<(TopicPartition, T)>> = BTreeMap::new();
        for (partition, what) in wanted {
            let (leader, _) = self.leader(&partition).await?;
            groups.entry(leader).or_default().push((partition, what));
        }
        Ok(groups)
    }
}
