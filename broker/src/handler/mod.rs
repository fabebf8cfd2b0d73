//! What a broker does with each request, one file per API key, found through one table.
//!
//! A request that does not decode closes the connection with a line in the log, as in Kafka; a version that is not served is
//! answered with UNSUPPORTED_VERSION where the client could not know better (ApiVersions), and closes it elsewhere.

mod alter_configs;
mod api_versions;
mod config_changes;
mod create_partitions;
pub(crate) mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;

use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use kennet_log::Unavailable;
use kennet_metadata::{Partition, Topic};
use kennet_protocol::messages::api_versions::unsupported_version_response;
use kennet_protocol::{
    ApiKey, BrokerId, DecodeError, Decoder, ErrorCode, Message, PartitionIndex, Request, RequestHeader, encode_response,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::broker::{Broker, Session};

/// An answer's bytes, or what else to do.
pub(crate) enum Reply {
    /// Ready, with the memory that is charged for it until it is sent.
    Now(Vec<Bytes>, Option<OwnedSemaphorePermit>),
    /// When its appends are acknowledged.
    Later(Pin<Box<dyn Future<Output = Vec<Bytes>> + Send>>),
    /// The client wants no answer (acks=0), and none is waited for.
    Nothing,
    /// The connection ends.
    Close,
}

/// Operations that a client may do; -2147483648 says that it did not ask (KIP-430).
const NOT_ASKED: i32 = i32::MIN;
/// Without an authorizer everything is allowed: for a topic Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// For the cluster Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// A partition in an answer that lists all of them, as it is made and encoded.
const LISTED_PARTITION_BYTES: usize = 256;

/// A partition as clients may see it. One whose log is offline here has no leader, as Kafka's has none when its log directory is offline:
/// clients that ask again find it when it is back.
struct Seen {
    error_code: ErrorCode,
    leader: BrokerId,
    offline_replicas: Vec<BrokerId>,
}

impl Seen {
    fn of(broker: &Broker, topic: &Topic, index: i32, partition: &Partition) -> Self {
        let open = broker.partition(topic, PartitionIndex(index));
        let is_offline = open.is_some_and(|open| matches!(open.log.unavailable(), Some(reason) if is_offline(&reason)));
        if is_offline && partition.leader == broker.id() {
            Self {
                error_code: ErrorCode::LeaderNotAvailable,
                leader: BrokerId::NONE,
                offline_replicas: vec![broker.id()],
            }
        } else {
            Self { error_code: ErrorCode::None, leader: partition.leader, offline_replicas: Vec::new() }
        }
    }
}

/// Keeps the first of what a request names more than once: else a request of a megabyte could ask for the same long answer a hundred
/// thousand times.
fn once<T, K: Hash + Eq>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut seen = HashSet::new();
    if items.len() > 1 {
        items.retain(|item| seen.insert(key(item)));
    }
}

/// The same, and what was named more than once: a change that is asked for twice is made not at all, as in Kafka, and answered once.
fn repeated<T, K: Hash + Eq>(items: &mut Vec<T>, key: impl Fn(&T) -> K) -> HashSet<K> {
    let mut seen = HashSet::new();
    let repeated = items.iter().map(&key).filter_map(|name| seen.replace(name)).collect();
    once(items, key);
    repeated
}

/// A log that is being deleted is no failure.
fn is_offline(reason: &Unavailable) -> bool {
    !matches!(reason, Unavailable::Deleted)
}

/// How long an answer may become that lists what there is, whatever its request says; for others 0.
pub(crate) fn list_bytes(broker: &Broker, header: &RequestHeader) -> usize {
    match header.api_key {
        ApiKey::Metadata | ApiKey::DescribeLogDirs => {
            broker.controller.image().partition_count().saturating_mul(LISTED_PARTITION_BYTES)
        }
        _ => 0,
    }
}

/// Decodes a request, handles it, encodes the answer.
pub(crate) async fn dispatch(
    broker: &Arc<Broker>,
    session: &Session,
    header: &RequestHeader,
    body: &mut Decoder,
) -> Reply {
    if !header.api_key.serves(header.api_version) {
        return refuse_version(header);
    }
    match answer(broker, session, header, body).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::warn!(
                api = header.api_key.name(), version = header.api_version, client_id = header.client_id.as_deref(),
                peer = %session.peer, listener = session.listener.name, %error,
                "a request does not decode; connection closed"
            );
            Reply::Close
        }
    }
}

fn refuse_version(header: &RequestHeader) -> Reply {
    tracing::debug!(
        api = header.api_key.name(),
        version = header.api_version,
        client_id = header.client_id.as_deref(),
        "a version that is not served"
    );
    match header.api_key {
        ApiKey::ApiVersions => {
            unsupported_version_response(header.correlation_id).map_or(Reply::Close, |chunks| Reply::Now(chunks, None))
        }
        _ => Reply::Close,
    }
}

/// The one table from API key to handler.
async fn answer(
    broker: &Arc<Broker>,
    session: &Session,
    header: &RequestHeader,
    body: &mut Decoder,
) -> Result<Reply, DecodeError> {
    let version = header.api_version;
    macro_rules! now {
        ($module:ident) => {{
            let request = decode(body, version)?;
            encode(header, &$module::handle(broker, session, request, version))
        }};
        (await $module:ident) => {{
            let request = decode(body, version)?;
            encode(header, &$module::handle(broker, session, request, version).await)
        }};
    }
    Ok(match header.api_key {
        ApiKey::ApiVersions => now!(api_versions),
        ApiKey::Metadata => now!(await metadata),
        ApiKey::Produce => {
            let frame_bytes = body.offset() + body.remaining();
            produce::handle(broker, header, decode(body, version)?, frame_bytes).await
        }
        ApiKey::Fetch => {
            let (response, charge) = fetch::handle(broker, session, decode(body, version)?, version).await;
            match encode(header, &response) {
                Reply::Now(chunks, _) => Reply::Now(chunks, charge),
                other => other,
            }
        }
        ApiKey::ListOffsets => now!(await list_offsets),
        ApiKey::OffsetForLeaderEpoch => now!(offset_for_leader_epoch),
        ApiKey::CreateTopics => now!(await create_topics),
        ApiKey::DeleteTopics => now!(await delete_topics),
        ApiKey::CreatePartitions => now!(await create_partitions),
        ApiKey::DeleteRecords => now!(await delete_records),
        ApiKey::DescribeConfigs => now!(describe_configs),
        ApiKey::IncrementalAlterConfigs => now!(await incremental_alter_configs),
        ApiKey::AlterConfigs => now!(await alter_configs),
        ApiKey::DescribeCluster => now!(describe_cluster),
        ApiKey::DescribeTopicPartitions => now!(describe_topic_partitions),
        ApiKey::DescribeLogDirs => now!(describe_log_dirs),
        ApiKey::InitProducerId => now!(await init_producer_id),
        ApiKey::FindCoordinator => now!(await find_coordinator),
        ApiKey::JoinGroup => {
            let request = decode(body, version)?;
            encode(header, &join_group::handle(broker, session, header, request).await)
        }
        ApiKey::SyncGroup => now!(await sync_group),
        ApiKey::Heartbeat => now!(await heartbeat),
        ApiKey::LeaveGroup => now!(await leave_group),
        ApiKey::OffsetCommit => now!(await offset_commit),
        ApiKey::OffsetFetch => now!(await offset_fetch),
        ApiKey::OffsetDelete => now!(await offset_delete),
        ApiKey::DescribeGroups => now!(await describe_groups),
        ApiKey::ListGroups => now!(list_groups),
        ApiKey::DeleteGroups => now!(await delete_groups),
        other => {
            tracing::warn!(
                api = other.name(),
                client_id = header.client_id.as_deref(),
                "served by the table and by no handler; connection closed"
            );
            Reply::Close
        }
    })
}

fn decode<R: Request>(body: &mut Decoder, version: i16) -> Result<R, DecodeError> {
    R::decode(body, version)
}

fn encode<M: Message>(header: &RequestHeader, response: &M) -> Reply {
    match encode_response(header.api_key, header.api_version, header.correlation_id, response) {
        Ok(chunks) => Reply::Now(chunks, None),
        Err(error) => {
            tracing::error!(api = header.api_key.name(), version = header.api_version, client_id = header.client_id.as_deref(), %error, "an answer does not encode");
            Reply::Close
        }
    }
}
