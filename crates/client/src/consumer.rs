//! Reads records of assigned partitions, from where it was told to.
//!
//! Knows nothing of groups. A position moves only past batches that have been handed out; control batches and records before the
//! position are skipped. Fetches go to all leaders at once and wait at the broker until there is something.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use kennet_protocol::record::{Batches, Record};
use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, TimestampMs};
use tokio::task::JoinSet;

use crate::client::Route;
use crate::{Client, ClientError, TopicPartition};

/// Limits of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerOptions {
    /// How long a broker may wait for records.
    pub wait: Duration,
    /// Bytes of one answer.
    pub bytes_max: i32,
    /// Bytes of one partition in it.
    pub partition_bytes_max: i32,
    /// Bytes that one batch may have after decompression.
    pub batch_bytes_max: usize,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(500),
            bytes_max: 16 << 20,
            partition_bytes_max: 1 << 20,
            batch_bytes_max: 256 << 20,
        }
    }
}

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At an offset.
    Offset(Offset),
    /// At the first record of this time or later; at the end without one.
    Timestamp(TimestampMs),
}

/// A record and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRecord {
    /// The partition.
    pub partition: TopicPartition,
    /// The record.
    pub record: Record,
}

/// A reader of partitions.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    /// The next offset of each.
    positions: BTreeMap<TopicPartition, Offset>,
    /// Where reading stops for good, if it does.
    ends: Option<BTreeMap<TopicPartition, Offset>>,
    ready: VecDeque<FetchedRecord>,
}

type Fetched = Vec<(TopicPartition, PartitionData)>;

impl Consumer {
    /// A consumer that reads nothing yet.
    #[must_use]
    pub fn new(client: Client, options: ConsumerOptions) -> Self {
        Self { client, options, positions: BTreeMap::new(), ends: None, ready: VecDeque::new() }
    }

    /// Reads these partitions, each from its start, instead of those before.
    ///
    /// # Errors
    /// When a start can't be looked up.
    pub async fn assign(&mut self, starts: &BTreeMap<TopicPartition, Start>) -> Result<(), ClientError> {
        let mut offsets = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for (partition, start) in starts {
            match start {
                Start::Earliest => wanted.insert(partition.clone(), TimestampMs::EARLIEST),
                Start::Latest => wanted.insert(partition.clone(), TimestampMs::LATEST),
                Start::Timestamp(at) => wanted.insert(partition.clone(), *at),
                Start::Offset(offset) => {
                    offsets.insert(partition.clone(), *offset);
                    None
                }
            };
        }
        let mut late = BTreeMap::new();
        for (partition, found) in self.client.list_offsets(&wanted).await? {
            if found.offset.0 < 0 {
                late.insert(partition, TimestampMs::LATEST);
            } else {
                offsets.insert(partition, found.offset);
            }
        }
        offsets.extend(self.client.list_offsets(&late).await?.into_iter().map(|(at, found)| (at, found.offset)));
        self.ready.clear();
        self.positions = offsets;
        Ok(())
    }

    /// Hands out nothing from these offsets on, whatever is assigned now or later. A partition that is not named came after the ends were
    /// looked up and is not read at all.
    pub fn stop_at(&mut self, ends: BTreeMap<TopicPartition, Offset>) {
        self.ends = Some(ends);
    }

    /// Whether all partitions have been handed out up to where reading stops; never without such an end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let at_end = |(partition, position): (&TopicPartition, &Offset)| self.is_past(partition, *position);
        self.ends.is_some() && self.ready.is_empty() && self.positions.iter().all(at_end)
    }

    /// Whether reading stops at this offset or before it.
    fn is_past(&self, partition: &TopicPartition, offset: Offset) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.get(partition).is_none_or(|end| offset >= *end))
    }

    /// The partitions that are read.
    pub fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.keys()
    }

    /// The offset after the last record that was handed out.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        let waiting = self.ready.iter().find(|fetched| fetched.partition == *partition);
        let fetched = self.positions.get(partition).copied();
        waiting.map(|first| first.record.offset).or(fetched)
    }

    /// The next records, at most so many: at once if some are there, otherwise after at most the wait of the options, then
    /// perhaps none.
    ///
    /// # Errors
    /// `OffsetOutOfRange` when a position has been deleted; damaged batches; what the cluster refuses for longer than the
    /// operation's time.
    pub async fn poll(&mut self, limit: usize) -> Result<Vec<FetchedRecord>, ClientError> {
        if self.ready.is_empty() {
            let mut retries = self.client.retries();
            loop {
                match self.fetch().await {
                    Err(error) if retries.again(&error).await => {}
                    Err(error) => return Err(error),
                    Ok(()) => break,
                }
            }
        }
        let count = limit.min(self.ready.len());
        Ok(self.ready.drain(..count).collect())
    }

    async fn fetch(&mut self) -> Result<(), ClientError> {
        let mut leaders: BTreeMap<BrokerId, Vec<(TopicPartition, LeaderEpoch, Offset)>> = BTreeMap::new();
        for (partition, position) in &self.positions {
            if self.is_past(partition, *position) {
                continue;
            }
            let (leader, epoch) = self.client.leader(partition).await?;
            leaders.entry(leader).or_default().push((partition.clone(), epoch, *position));
        }
        let mut answers = JoinSet::new();
        for (leader, partitions) in leaders {
            answers.spawn(fetch_from(self.client.clone(), self.options, leader, partitions));
        }
        let mut problem = Ok(());
        while let Some(answer) = answers.join_next().await {
            match answer.unwrap_or(Err(ClientError::Closed)) {
                Ok(fetched) => {
                    for (partition, data) in fetched {
                        if let Err(error) = self.take(&partition, data) {
                            problem = Err(error);
                        }
                    }
                }
                Err(error) => {
                    for partition in self.positions.keys() {
                        self.client.forget_topic(&partition.topic);
                    }
                    problem = Err(error);
                }
            }
        }
        // what was read is handed out first; the problem comes again with the next fetch
        if self.ready.is_empty() { problem } else { Ok(()) }
    }

    fn take(&mut self, partition: &TopicPartition, data: PartitionData) -> Result<(), ClientError> {
        let end = self.ends.as_ref().and_then(|ends| ends.get(partition)).copied();
        let Some(position) = self.positions.get_mut(partition) else { return Ok(()) };
        if data.error_code == ErrorCode::OffsetOutOfRange {
            return Err(ClientError::OffsetOutOfRange {
                topic: partition.topic.clone(),
                partition: partition.partition.0,
                offset: *position,
            });
        }
        if let Err(error) = ClientError::check("Fetch", || format!("partition {partition}"), data.error_code, None) {
            self.client.forget_topic(&partition.topic);
            return Err(error);
        }
        let offset = *position;
        let (topic, index) = (&partition.topic, partition.partition.0);
        for batch in Batches::new(data.records.map(kennet_protocol::Records::into_bytes).unwrap_or_default()) {
            let batch = batch.map_err(|source| ClientError::Batch {
                topic: topic.clone(),
                partition: index,
                offset,
                source,
            })?;
            let header = batch.header();
            if !header.attributes.is_control() {
                let damaged = |source| ClientError::Record { topic: topic.clone(), partition: index, offset, source };
                for record in batch.records(self.options.batch_bytes_max).map_err(damaged)? {
                    let record = record.map_err(damaged)?;
                    if record.offset >= offset && end.is_none_or(|end| record.offset < end) {
                        self.ready.push_back(FetchedRecord { partition: partition.clone(), record });
                    }
                }
            }
            *position = (*position).max(header.next_offset());
            if let Some(end) = end.filter(|end| *position >= *end) {
                // not further, so that no more is committed than was handed out
                *position = end;
                break;
            }
        }
        Ok(())
    }
}

async fn fetch_from(
    client: Client,
    options: ConsumerOptions,
    leader: BrokerId,
    partitions: Vec<(TopicPartition, LeaderEpoch, Offset)>,
) -> Result<Fetched, ClientError> {
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for (partition, current_leader_epoch, fetch_offset) in &partitions {
        topics.entry(&partition.topic).or_default().push(FetchPartition {
            partition: partition.partition,
            current_leader_epoch: *current_leader_epoch,
            fetch_offset: *fetch_offset,
            partition_max_bytes: options.partition_bytes_max,
            ..Default::default()
        });
    }
    let topics: Vec<FetchTopic> = topics
        .into_iter()
        .map(|(topic, partitions)| FetchTopic { topic: topic.to_owned(), partitions, ..Default::default() })
        .collect();
    let make = |_| FetchRequest {
        max_wait_ms: i32::try_from(options.wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: options.bytes_max,
        // a full fetch outside of any session (KIP-227)
        session_id: 0,
        session_epoch: -1,
        topics: topics.clone(),
        ..Default::default()
    };
    let limit = client.options().request_timeout + options.wait;
    let answer = client.call_within(Route::Broker(leader), limit, make).await?;
    ClientError::check("Fetch", || format!("broker {leader}"), answer.error_code, None)?;
    let mut fetched = Fetched::new();
    for topic in answer.responses {
        for data in topic.partitions {
            let partition = TopicPartition { topic: topic.topic.clone(), partition: data.partition_index };
            fetched.push((partition, data));
        }
    }
    Ok(fetched)
}
