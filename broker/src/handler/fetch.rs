//! Fetch: batches from an offset on, up to the high watermark, waiting for more if the client wants to.
//!
//! Whole batches only; the first one of an answer is sent even if it is larger than every limit, so that a consumer gets on. A fetch that waits
//! is woken by the high watermark, never by a timer. Reads that need the disk go to the read pool.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kennet_log::fs::Wait;
use kennet_log::{ReadError, ReadLog, Unavailable};
use kennet_protocol::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, Records};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Broker, Session};
use crate::clock;
use crate::fetch_session::{Asking, FetchKey, Plan};
use crate::partition::{EpochError, Partition};

/// Kafka's limit on how long a fetch may wait is the client's own; a minute keeps a typo from parking a connection for days.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Largest number of partitions that one fetch looks at.
const PARTITIONS_MAX: usize = 100_000;
/// The replica ids of consumers: an ordinary one, and one that looks for faults, as `kafka-replica-verification` does.
const CONSUMERS: [BrokerId; 2] = [BrokerId::NONE, BrokerId(-2)];

/// The version from which on a client whose leader is an old one is told of the present one.
const LEADERS_FROM: i16 = 16;

/// What a fetch may read although nobody knows of records yet: those that arrive meanwhile.
const READ_MIN: usize = 64 << 10;
/// What an answer shrinks to when clients have not yet taken the answers that were made for them.
const READ_UNDER_PRESSURE: usize = 1 << 20;

/// An answer has no more than this, unless the client wants more of one partition or waits for more. What is read, checked and sent in 4 MiB stays in the
/// processor's cache; with 24 MiB (six partitions, 4 MiB of each) a gibibyte took half as much CPU again. A client that has more to fetch asks again, and one with a long
/// line asks for more of each partition.
const ANSWER_ENOUGH: usize = 4 << 20;

/// An answer, and the memory that is charged for it.
type Charged = (FetchResponse, Option<OwnedSemaphorePermit>);

pub(super) async fn handle(broker: &Arc<Broker>, session: &Session, request: FetchRequest, version: i16) -> Charged {
    if [request.replica_id, request.replica_state.replica_id].iter().any(|id| !CONSUMERS.contains(id)) {
        // replicas fetch on the control listener; a client that says it is one gets nothing (CVE-2018-1288)
        return (top_level(ErrorCode::ClusterAuthorizationFailed, 0), None);
    }
    let asking = Asking { connection: session.connection, version, now: clock::now(), new_id: new_session_id() };
    let plan = match broker.sessions.plan(&request, asking) {
        Ok(plan) if plan.partitions.len() > PARTITIONS_MAX => {
            return (top_level(ErrorCode::InvalidRequest, 0), None);
        }
        Ok(plan) => plan,
        Err(error) => return (top_level(error, 0), None),
    };
    let partitions = find_partitions(broker, &plan, version);
    let limits = Limits::of(broker, &request, &plan);
    let deadline = Instant::now() + limits.wait;
    let woken = Arc::new(Notify::new());
    loop {
        // watching first: what arrives between the look and the wait must wake us
        for found in &partitions {
            if let Found::Here(partition) = &found.place {
                partition.watch(&woken);
            }
        }
        let (round, charge) = read_charged(broker, session.peer, &partitions, &limits).await;
        // not `round.is_full`: what was reserved may be less than what the client takes, and then it waits for more
        let enough = round.bytes >= limits.bytes_min || is_full(round.bytes, limits.bytes_max);
        let enough = enough || round.has_error || plan.partitions.is_empty();
        if enough || Instant::now() >= deadline || broker.is_stopping() {
            let mut response = respond(broker, &plan, partitions, round);
            if version >= LEADERS_FROM {
                name_leaders(broker, session, &mut response);
            }
            return (response, charge);
        }
        // who waits holds no memory
        drop((round, charge));
        // at the deadline, and when the broker stops, the answer is what there is
        let _ = broker.unless_stopping(timeout_at(deadline, woken.notified())).await;
    }
}

/// Reserves memory for an answer, reads it, and keeps charged what it takes.
async fn read_charged(
    broker: &Broker,
    client: IpAddr,
    partitions: &[Wanted],
    limits: &Limits,
) -> (Round, Option<OwnedSemaphorePermit>) {
    let wanted: usize = partitions.iter().map(Wanted::bytes_expected).fold(0, usize::saturating_add);
    let wanted = wanted.min(limits.bytes_max);
    let reserved = wanted.max(READ_MIN);
    let (reserved, charge) = match broker.answers.try_reserve(reserved) {
        Some(charge) => (reserved, Some(charge)),
        None => {
            let less = reserved.min(READ_UNDER_PRESSURE);
            (less, broker.answers.reserve(less).await)
        }
    };
    let bytes_max = reserved.min(limits.bytes_max);
    let round = read_round(broker, client, partitions, bytes_max).await;
    if round.bytes <= reserved {
        let charge = charge.map(|charge| broker.answers.shrink(charge, round.bytes));
        return (round, charge);
    }
    // a first batch that is larger than every limit: it is read when there is room for it. Nothing is held while that is waited for.
    let needed = round.bytes;
    drop((round, charge));
    let charge = broker.answers.reserve(needed).await;
    (read_round(broker, client, partitions, bytes_max).await, charge)
}

struct Limits {
    bytes_min: usize,
    bytes_max: usize,
    wait: Duration,
}

impl Limits {
    fn of(broker: &Broker, request: &FetchRequest, plan: &Plan) -> Self {
        let image = broker.controller.image();
        let broker_max = broker.configs(&image, None).broker_number("fetch.max.bytes");
        // one consumer's answer leaves room for another's
        let memory = i64::try_from(broker.answers.bytes() / 2).unwrap_or(i64::MAX);
        let bytes_max = i64::from(request.max_bytes.max(0)).min(broker_max).min(memory).min(answer_max(request, plan));
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        Self {
            bytes_min: usize::try_from(i64::from(request.min_bytes).min(bytes_max)).unwrap_or(0),
            bytes_max: usize::try_from(bytes_max).unwrap_or(0),
            wait,
        }
    }
}

/// How much one answer has at most, however much the client would take: so much of all partitions, or what it wants of one, or waits for.
fn answer_max(request: &FetchRequest, plan: &Plan) -> i64 {
    let wanted = plan.partitions.iter().map(|(_, partition)| partition.partition_max_bytes).max().unwrap_or(0);
    i64::from(wanted.max(request.min_bytes)).max(i64::try_from(ANSWER_ENOUGH).unwrap_or(i64::MAX))
}

/// Whether an answer is full: hardly a batch more would fit, and each partition that is looked at costs as much as one that is read.
fn is_full(bytes: usize, bytes_max: usize) -> bool {
    bytes > 0 && bytes >= bytes_max - bytes_max / 8
}

struct Wanted {
    key: FetchKey,
    request: FetchPartition,
    place: Found,
}

impl Wanted {
    /// How much an answer has of this partition, at most.
    fn bytes_expected(&self) -> usize {
        match &self.place {
            Found::Here(partition) if self.request.fetch_offset < partition.high_watermark() => {
                usize::try_from(self.request.partition_max_bytes).unwrap_or(0)
            }
            Found::Here(_) | Found::Error(_) => 0,
        }
    }
}

enum Found {
    Here(Arc<Partition>),
    Error(ErrorCode),
}

/// What one look at all partitions gave, in their order.
struct Round {
    answers: Vec<PartitionData>,
    bytes: usize,
    /// Partitions behind the last one that was read were not looked at.
    is_full: bool,
    has_error: bool,
}

fn find_partitions(broker: &Broker, plan: &Plan, version: i16) -> Vec<Wanted> {
    let image = broker.controller.image();
    let find = |key: &FetchKey| {
        let unknown = if version >= 13 { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let Some(topic) = broker.topic(&image, &key.topic, key.topic_id) else { return Found::Error(unknown) };
        match broker.partition(&topic, key.partition) {
            Some(partition) => Found::Here(partition),
            None => Found::Error(ErrorCode::UnknownTopicOrPartition),
        }
    };
    plan.partitions
        .iter()
        .map(|(key, request)| Wanted { key: key.clone(), request: request.clone(), place: find(key) })
        .collect()
}

async fn read_round(broker: &Broker, client: IpAddr, partitions: &[Wanted], bytes_max: usize) -> Round {
    let mut round = Round { answers: Vec::with_capacity(partitions.len()), bytes: 0, is_full: false, has_error: false };
    for wanted in partitions {
        let answer = match &wanted.place {
            Found::Error(error) => error_data(wanted, *error),
            Found::Here(partition) => {
                let left = bytes_max.saturating_sub(round.bytes);
                let room = Room { bytes: left, is_first: round.bytes == 0, is_full: round.is_full };
                read_partition(broker, client, partition, wanted, room).await
            }
        };
        round.bytes += answer.records.as_ref().map_or(0, Records::len);
        round.is_full = is_full(round.bytes, bytes_max);
        round.has_error |= !answer.error_code.is_ok() || has_diverged(&answer);
        round.answers.push(answer);
    }
    round
}

/// What is left of an answer for one partition.
#[derive(Clone, Copy)]
struct Room {
    bytes: usize,
    /// The answer has nothing yet, so one batch is sent whatever its length.
    is_first: bool,
    is_full: bool,
}

async fn read_partition(
    broker: &Broker,
    client: IpAddr,
    partition: &Arc<Partition>,
    wanted: &Wanted,
    room: Room,
) -> PartitionData {
    let request = &wanted.request;
    if let Err(error) = partition.check_epoch(request.current_leader_epoch) {
        return error_data(wanted, epoch_code(error));
    }
    let watermark = partition.high_watermark();
    let mut data = PartitionData {
        partition_index: wanted.key.partition,
        high_watermark: watermark,
        last_stable_offset: watermark,
        log_start_offset: partition.log.log_start(),
        aborted_transactions: None,
        records: Some(Records::default()),
        ..PartitionData::default()
    };
    match diverging(partition, request) {
        Ok(None) => {}
        Ok(Some(diverging)) => {
            data.diverging_epoch = diverging;
            return data;
        }
        Err(error) => {
            return PartitionData { log_start_offset: data.log_start_offset, ..error_data(wanted, code(&error)) };
        }
    }
    let log = &partition.log;
    let from = request.fetch_offset;
    let is_within = (log.log_start()..=watermark).contains(&from);
    if room.is_full && is_within {
        // its turn comes with a later request
        return data;
    }
    let bytes_max = usize::try_from(request.partition_max_bytes).unwrap_or(0).min(room.bytes);
    let is_first = room.is_first;
    // tries without waiting for the disk, then on a thread that may
    let read = match log.read(from, watermark, bytes_max, is_first, Wait::Refused) {
        Err(ReadError::WouldWait { .. }) => {
            let log = Arc::clone(log);
            let job = move || log.read(from, watermark, bytes_max, is_first, Wait::Allowed);
            // a full pool answers nothing this time; the client asks again
            broker.reads.run_for(client, job).await.unwrap_or_else(|_| Ok(ReadLog::default()))
        }
        other => other,
    };
    match read {
        Ok(read) => data.records = Some(Records::from(read.chunks)),
        Err(error) => {
            let code = code(&error);
            if code == ErrorCode::KafkaStorageError {
                tracing::error!(topic = &*partition.topic, partition = partition.index.0, %error, "records can't be read");
            }
            data = PartitionData { log_start_offset: data.log_start_offset, ..error_data(wanted, code) };
        }
    }
    data
}

/// A consumer that read an epoch beyond its end has to go back (KIP-320, Fetch 12). An epoch that never was and an offset before the
/// log's start are out of range, whether the epoch diverges or not, as in Kafka.
fn diverging(partition: &Partition, request: &FetchPartition) -> Result<Option<EpochEndOffset>, ReadError> {
    // no epoch, whatever the number, as for Kafka
    if request.last_fetched_epoch < LeaderEpoch(0) {
        return Ok(None);
    }
    let found = partition.end_of_epoch(request.last_fetched_epoch)?;
    let (offset, start) = (request.fetch_offset, partition.log.log_start());
    let Some((epoch, end_offset)) = found.filter(|_| offset >= start) else {
        return Err(ReadError::OutOfRange { offset, start, end: partition.high_watermark() });
    };
    let diverges = epoch < request.last_fetched_epoch || end_offset < offset;
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset }))
}

fn has_diverged(answer: &PartitionData) -> bool {
    answer.diverging_epoch.end_offset >= Offset(0)
}

fn respond(broker: &Broker, plan: &Plan, partitions: Vec<Wanted>, round: Round) -> FetchResponse {
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for (wanted, data) in partitions.into_iter().zip(round.answers) {
        let records = data.records.as_ref().map_or(0, Records::len);
        let news = broker.sessions.is_news(
            plan.session_id,
            &wanted.key,
            data.high_watermark,
            data.log_start_offset,
            data.error_code,
            records,
        );
        // who has to go back is told until it does, or it would ask again and again
        if plan.is_incremental && !news && !has_diverged(&data) {
            continue;
        }
        let same =
            |last: &&mut FetchableTopicResponse| last.topic == wanted.key.topic && last.topic_id == wanted.key.topic_id;
        match responses.last_mut().filter(same) {
            Some(last) => last.partitions.push(data),
            None => responses.push(FetchableTopicResponse {
                topic: wanted.key.topic,
                topic_id: wanted.key.topic_id,
                partitions: vec![data],
            }),
        }
    }
    FetchResponse { responses, ..top_level(ErrorCode::None, plan.session_id) }
}

/// Who leads, and where, beside an error that says that the client does not know: it need not ask for metadata first (KIP-951).
fn name_leaders(broker: &Broker, session: &Session, response: &mut FetchResponse) {
    let image = broker.controller.image();
    for topic in &mut response.responses {
        for data in &mut topic.partitions {
            if !matches!(data.error_code, ErrorCode::FencedLeaderEpoch | ErrorCode::NotLeaderOrFollower) {
                continue;
            }
            let found = image.topic_by_id(topic.topic_id).and_then(|topic| topic.partition(data.partition_index));
            let Some(partition) = found else { continue };
            data.current_leader =
                LeaderIdAndEpoch { leader_id: partition.leader, leader_epoch: partition.leader_epoch };
            if partition.leader == broker.id() && response.node_endpoints.is_empty() {
                response.node_endpoints.push(NodeEndpoint {
                    node_id: broker.id(),
                    host: session.listener.advertised_host.clone(),
                    port: i32::from(session.listener.advertised_port),
                    rack: broker.config.rack.clone(),
                });
            }
        }
    }
}

fn top_level(error_code: ErrorCode, session_id: i32) -> FetchResponse {
    FetchResponse { error_code, session_id, ..FetchResponse::default() }
}

fn error_data(wanted: &Wanted, error_code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: wanted.key.partition,
        error_code,
        high_watermark: Offset(-1),
        last_stable_offset: Offset(-1),
        log_start_offset: Offset(-1),
        aborted_transactions: None,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

pub(super) fn epoch_code(error: EpochError) -> ErrorCode {
    match error {
        EpochError::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
        EpochError::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
    }
}

/// The one place where this API's failures become Kafka's error codes.
fn code(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Unavailable(Unavailable::Deleted) => ErrorCode::UnknownTopicOrPartition,
        ReadError::Unavailable(_) | ReadError::WouldWait { .. } | ReadError::Io(_) => ErrorCode::KafkaStorageError,
    }
}

/// Positive, so that it is never the "no session" of 0.
fn new_session_id() -> i32 {
    fastrand::i32(1..)
}
