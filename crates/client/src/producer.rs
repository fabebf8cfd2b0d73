//! An idempotent producer: records are gathered for a moment, sent as one batch a partition, and answered one by one.
//!
//! One round is in flight at a time, and a batch is repeated with the same sequence numbers until it is answered, so nothing is
//! written twice or out of order (KIP-98). Records wait in a bounded queue while a round is under way. Where a broker takes smaller batches only, they
//! become smaller.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use kennet_protocol::messages::init_producer_id::InitProducerIdRequest;
use kennet_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use kennet_protocol::record::{BatchBuilder, Compression, Header, ProducerStamp};
use kennet_protocol::{BrokerId, ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::client::Route;
use crate::{Client, ClientError, TopicPartition, partition_of_key};

/// Records that wait for the next round.
const QUEUE_RECORDS_MAX: usize = 4096;
/// What one record may cost in a batch beside key, value and headers.
const RECORD_OVERHEAD: usize = 64;

/// How records are gathered and written.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// The codec of batches.
    pub compression: Compression,
    /// A batch is sent once it has this many bytes before compression.
    pub batch_bytes: usize,
    /// How long a batch waits for more records.
    pub linger: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self { compression: Compression::None, batch_bytes: 256 << 10, linger: Duration::from_millis(5) }
    }
}

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic.
    pub topic: String,
    /// The partition; by the key without, and in turns without a key.
    pub partition: Option<PartitionIndex>,
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
}

/// Where a record was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: TopicPartition,
    /// The record's offset.
    pub offset: Offset,
}

/// Becomes the record's place once the broker has acknowledged it.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Written, ClientError>>);

impl Delivery {
    /// Waits for the acknowledgement, once. A wait that is given up can be taken up again.
    ///
    /// # Errors
    /// Why the record was not written, or may not have been.
    pub async fn wait(&mut self) -> Result<Written, ClientError> {
        (&mut self.0).await.unwrap_or(Err(ClientError::Closed))
    }
}

struct Queued {
    record: NewRecord,
    reply: oneshot::Sender<Result<Written, ClientError>>,
}

/// Writes records; dropping it lets what is queued go out.
#[derive(Debug)]
pub struct Producer {
    queue: mpsc::Sender<Queued>,
}

impl Producer {
    /// Starts a producer.
    #[must_use]
    pub fn new(client: Client, options: ProducerOptions) -> Self {
        let (queue, records) = mpsc::channel(QUEUE_RECORDS_MAX);
        let worker = Worker {
            client,
            options,
            id: None,
            sequences: HashMap::new(),
            turns: HashMap::new(),
            limits: HashMap::new(),
            parted: VecDeque::new(),
        };
        tokio::spawn(worker.run(records));
        Self { queue }
    }

    /// Queues a record; waits while the queue is full.
    ///
    /// # Errors
    /// When the producer has ended.
    pub async fn send(&self, record: NewRecord) -> Result<Delivery, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Queued { record, reply }).await.map_err(|_| ClientError::Closed)?;
        Ok(Delivery(answer))
    }
}

struct Worker {
    client: Client,
    options: ProducerOptions,
    id: Option<(ProducerId, ProducerEpoch)>,
    sequences: HashMap<TopicPartition, i32>,
    turns: HashMap<String, usize>,
    /// Bytes before compression of a batch, where the broker takes smaller ones only.
    limits: HashMap<TopicPartition, usize>,
    /// Records of batches that were too large, for the next rounds.
    parted: VecDeque<Queued>,
}

/// A batch on its way, with its records and those who wait for them.
struct Batch {
    bytes: Bytes,
    queued: Vec<Queued>,
}

impl Batch {
    fn replies(self) -> impl Iterator<Item = oneshot::Sender<Result<Written, ClientError>>> {
        self.queued.into_iter().map(|queued| queued.reply)
    }
}

impl Worker {
    async fn run(mut self, mut records: mpsc::Receiver<Queued>) {
        let mut waiting = VecDeque::new();
        loop {
            let open = self.gather(&mut records, &mut waiting).await;
            if waiting.is_empty() && !open {
                return;
            }
            let round = self.take_round(&mut waiting).await;
            self.send_round(round).await;
            // before all that came later
            self.parted.append(&mut waiting);
            std::mem::swap(&mut self.parted, &mut waiting);
        }
    }

    /// Waits for a record, then for more until a batch is full or the linger time has passed.
    async fn gather(&self, records: &mut mpsc::Receiver<Queued>, waiting: &mut VecDeque<Queued>) -> bool {
        if waiting.is_empty() {
            match records.recv().await {
                Some(first) => waiting.push_back(first),
                None => return false,
            }
        }
        let mut bytes: usize = waiting.iter().map(|queued| size_of_record(&queued.record)).sum();
        let deadline = Instant::now() + self.options.linger;
        while bytes < self.options.batch_bytes && waiting.len() < QUEUE_RECORDS_MAX {
            match timeout_at(deadline, records.recv()).await {
                Ok(Some(queued)) => {
                    bytes += size_of_record(&queued.record);
                    waiting.push_back(queued);
                }
                Ok(None) => return false,
                Err(_) => break,
            }
        }
        true
    }

    /// At most one batch a partition; what does not fit keeps its order for the next round.
    async fn take_round(&mut self, waiting: &mut VecDeque<Queued>) -> BTreeMap<TopicPartition, Vec<Queued>> {
        let mut round: BTreeMap<TopicPartition, (usize, Vec<Queued>)> = BTreeMap::new();
        let mut left = VecDeque::new();
        for turn in self.turns.values_mut() {
            *turn = turn.wrapping_add(1);
        }
        for queued in waiting.drain(..) {
            match self.partition_of(&queued.record).await {
                Ok(partition) => {
                    let limit = self.limits.get(&partition).map_or(self.options.batch_bytes, |limit| *limit);
                    let (bytes, batch) = round.entry(partition).or_default();
                    *bytes += size_of_record(&queued.record);
                    // a partition that is full stays full, so that nothing overtakes
                    if batch.is_empty() || *bytes <= limit {
                        batch.push(queued);
                    } else {
                        *bytes = usize::MAX / 2;
                        left.push_back(queued);
                    }
                }
                Err(error) => answer(queued.reply, Err(error)),
            }
        }
        *waiting = left;
        round.into_iter().map(|(partition, (_, batch))| (partition, batch)).collect()
    }

    async fn partition_of(&mut self, record: &NewRecord) -> Result<TopicPartition, ClientError> {
        let topic = self.client.topic(&record.topic).await?;
        let count = topic.partitions.len().max(1);
        let index = match (&record.partition, &record.key) {
            (Some(partition), _) => partition.0,
            (None, Some(key)) => i32::try_from(partition_of_key(key, count)).unwrap_or(0),
            (None, None) => {
                let turn = self.turns.entry(record.topic.clone()).or_insert(0);
                i32::try_from(*turn % count).unwrap_or(0)
            }
        };
        if !topic.partitions.iter().any(|known| known.index.0 == index) {
            return Err(ClientError::NoPartition { topic: record.topic.clone(), partition: index, count });
        }
        Ok(TopicPartition::new(&record.topic, index))
    }

    async fn send_round(&mut self, round: BTreeMap<TopicPartition, Vec<Queued>>) {
        if round.is_empty() {
            return;
        }
        let (id, epoch) = match self.producer_id().await {
            Ok(known) => known,
            Err(error) => return fail(round.into_values().flatten().map(|queued| queued.reply), &error),
        };
        let mut batches = BTreeMap::new();
        for (partition, queued) in round {
            let base_sequence = *self.sequences.get(&partition).unwrap_or(&0);
            let stamp = ProducerStamp { producer_id: id, producer_epoch: epoch, base_sequence };
            let count = i32::try_from(queued.len()).unwrap_or(i32::MAX);
            match build(&queued, self.options.compression, stamp) {
                Ok(bytes) => {
                    // sequence numbers go around after i32::MAX
                    let next = base_sequence.checked_add(count).unwrap_or(base_sequence - i32::MAX - 1 + count);
                    self.sequences.insert(partition.clone(), next);
                    batches.insert(partition, Batch { bytes, queued });
                }
                Err(error) => fail(queued.into_iter().map(|one| one.reply), &error),
            }
        }
        self.deliver(batches).await;
    }

    /// Sends batches until each is acknowledged, refused for good, or late.
    async fn deliver(&mut self, mut batches: BTreeMap<TopicPartition, Batch>) {
        let mut retries = self.client.retries();
        loop {
            let mut problem = None;
            for (leader, partitions) in self.by_leader(batches.keys(), &mut problem).await {
                if let Err(error) = self.deliver_to(leader, &partitions, &mut batches).await {
                    for partition in &partitions {
                        self.client.forget_topic(&partition.topic);
                    }
                    problem = Some(error);
                }
            }
            if batches.is_empty() {
                return;
            }
            let error = problem.unwrap_or(ClientError::Closed);
            if !retries.again(&error).await {
                // the outcome of these batches is unknown: a new id keeps later ones from colliding with them
                self.forget_id();
                return fail(batches.into_values().flat_map(Batch::replies), &error);
            }
        }
    }

    async fn deliver_to(
        &mut self,
        leader: BrokerId,
        partitions: &[TopicPartition],
        batches: &mut BTreeMap<TopicPartition, Batch>,
    ) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
        for partition in partitions {
            let records = batches.get(partition).map(|batch| batch.bytes.clone());
            let data = PartitionProduceData { index: partition.partition, records };
            topics.entry(&partition.topic).or_default().push(data);
        }
        let topic_data: Vec<TopicProduceData> = topics
            .into_iter()
            .map(|(name, data)| TopicProduceData { name: name.to_owned(), partition_data: data, ..Default::default() })
            .collect();
        let timeout_ms = i32::try_from(self.client.options().request_timeout.as_millis()).unwrap_or(i32::MAX);
        let make = |_| ProduceRequest { transactional_id: None, acks: -1, timeout_ms, topic_data: topic_data.clone() };
        let answer = self.client.call(Route::Broker(leader), make).await?;
        let mut problem = Ok(());
        for topic in answer.responses {
            for result in topic.partition_responses {
                let partition = TopicPartition { topic: topic.name.clone(), partition: result.index };
                let Some(batch) = batches.remove(&partition) else { continue };
                match outcome(&partition, result) {
                    Ok(base_offset) => acknowledge(&partition, base_offset, batch),
                    Err(error) if error.is_retriable() => {
                        batches.insert(partition, batch);
                        problem = Err(error);
                    }
                    Err(error) => {
                        self.forget_id();
                        self.part(partition, batch, &error);
                    }
                }
            }
        }
        problem
    }

    /// Of a batch that was refused nothing is written. One of several records that is too large is sent again in parts, so that only a record that is too
    /// large by itself fails.
    fn part(&mut self, partition: TopicPartition, batch: Batch, error: &ClientError) {
        if error.code() != Some(ErrorCode::MessageTooLarge) || batch.queued.len() < 2 {
            return fail(batch.replies(), error);
        }
        let bytes: usize = batch.queued.iter().map(|queued| size_of_record(&queued.record)).sum();
        self.limits.insert(partition, bytes / 2);
        self.parted.extend(batch.queued);
    }

    async fn by_leader<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        problem: &mut Option<ClientError>,
    ) -> BTreeMap<BrokerId, Vec<TopicPartition>> {
        let mut groups: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            match self.client.leader(partition).await {
                Ok((leader, _)) => groups.entry(leader).or_default().push(partition.clone()),
                Err(error) => *problem = Some(error),
            }
        }
        groups
    }

    async fn producer_id(&mut self) -> Result<(ProducerId, ProducerEpoch), ClientError> {
        if let Some(known) = self.id {
            return Ok(known);
        }
        let make = |_| InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let mut retries = self.client.retries();
        loop {
            let attempt = async {
                let answer = self.client.call(Route::Any, make).await?;
                ClientError::check("InitProducerId", || "producer".to_owned(), answer.error_code, None)?;
                Ok((answer.producer_id, answer.producer_epoch))
            };
            match attempt.await {
                Ok(id) => {
                    self.id = Some(id);
                    return Ok(id);
                }
                Err(error) if retries.again(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn forget_id(&mut self) {
        self.id = None;
        self.sequences.clear();
    }
}

fn size_of_record(record: &NewRecord) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|header| header.key.len() + header.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD)
        .sum();
    let key = record.key.as_ref().map_or(0, Bytes::len);
    key + record.value.as_ref().map_or(0, Bytes::len) + headers + RECORD_OVERHEAD
}

fn build(queued: &[Queued], compression: Compression, stamp: ProducerStamp) -> Result<Bytes, ClientError> {
    let first = queued.first().map_or(TimestampMs::NONE, |queued| queued.record.timestamp);
    let mut builder = BatchBuilder::new(first).compression(compression).producer(stamp);
    for Queued { record, .. } in queued {
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    Ok(builder.build()?)
}

/// The first offset of an acknowledged batch. A duplicate has been written before: that is what was wanted.
fn outcome(partition: &TopicPartition, result: PartitionProduceResponse) -> Result<Offset, ClientError> {
    if result.error_code == ErrorCode::DuplicateSequenceNumber {
        return Ok(Offset(-1));
    }
    let object = || format!("partition {partition}");
    ClientError::check("Produce", object, result.error_code, result.error_message)?;
    Ok(result.base_offset)
}

fn acknowledge(partition: &TopicPartition, base_offset: Offset, batch: Batch) {
    for (delta, reply) in (0..).zip(batch.replies()) {
        let offset = if base_offset.0 < 0 { base_offset } else { base_offset + delta };
        answer(reply, Ok(Written { partition: partition.clone(), offset }));
    }
}

fn fail(replies: impl Iterator<Item = oneshot::Sender<Result<Written, ClientError>>>, error: &ClientError) {
    for reply in replies {
        answer(reply, Err(error.share()));
    }
}

fn answer(reply: oneshot::Sender<Result<Written, ClientError>>, outcome: Result<Written, ClientError>) {
    // who dropped the delivery does not want to know
    drop(reply.send(outcome));
}
