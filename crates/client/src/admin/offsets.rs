//! Offsets of partitions: by position or timestamp, and cutting records off at the front.
//!
//! Requests go to the partitions' leaders, one per leader; a leader that moved is looked up again.

use std::collections::BTreeMap;

use kennet_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kennet_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, TimestampMs};

use crate::client::Route;
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
        let mut found = BTreeMap::new();
        let mut retries = self.retries();
        while found.len() < wanted.len() {
            let mut left = wanted.clone();
            left.retain(|partition, _| !found.contains_key(partition));
            if let Err(error) = self.list_once(left.into_iter(), &mut found).await {
                let exists = error.code() != Some(ErrorCode::UnknownTopicOrPartition);
                if !exists || !retries.again(&error).await {
                    return Err(error);
                }
            }
        }
        Ok(found)
    }

    async fn list_once(
        &self,
        wanted: impl Iterator<Item = (TopicPartition, TimestampMs)>,
        found: &mut BTreeMap<TopicPartition, ListedOffset>,
    ) -> Result<(), ClientError> {
        for (leader, partitions) in self.by_leader(wanted).await? {
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
            let results = answer.topics.into_iter().flat_map(|topic| {
                topic.partitions.into_iter().map(move |result| {
                    (TopicPartition { topic: topic.name.clone(), partition: result.partition_index }, result)
                })
            });
            let mut problem = Ok(());
            let mut answered = 0;
            for (partition, result) in results {
                answered += 1;
                let object = || format!("partition {partition}");
                match ClientError::check("ListOffsets", object, result.error_code, None) {
                    Ok(()) => {
                        let offset = ListedOffset {
                            offset: result.offset,
                            timestamp: result.timestamp,
                            leader_epoch: result.leader_epoch,
                        };
                        found.insert(partition, offset);
                    }
                    Err(error) => {
                        self.forget_topic(&partition.topic);
                        problem = Err(error);
                    }
                }
            }
            problem?;
            if answered < partitions.len() {
                return Err(ClientError::Missing { api: "ListOffsets", object: format!("broker {leader}") });
            }
        }
        Ok(())
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
