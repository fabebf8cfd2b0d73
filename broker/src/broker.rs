//! What the handlers of one broker share.
//!
//! Nothing here decides; it is the place where a handler finds the parts that do.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kennet_contract::config_keys::Configs;
use kennet_contract::{BrokerConfig, ListenerConfig};
use kennet_metadata::decisions::producer_ids;
use kennet_metadata::{Image, Topic};
use kennet_protocol::{BrokerId, PartitionIndex, ProducerId, Uuid};
use tokio_util::sync::CancellationToken;

use crate::cleaner::Cleaned;
use crate::controller::{ChangeError, Controller};
use crate::fetch_session::FetchSessions;
use crate::group::{Coordinator, Memory};
use crate::identity::Identity;
use crate::memory::Shares;
use crate::partition::{Partition, Partitions};
use crate::read_pool::ReadPool;
use crate::server::ByteBudget;

/// A running broker.
pub(crate) struct Broker {
    pub(crate) config: BrokerConfig,
    pub(crate) identity: Identity,
    pub(crate) controller: Controller,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) sessions: FetchSessions,
    pub(crate) reads: ReadPool,
    pub(crate) shares: Shares,
    /// Records that were read and are not yet sent.
    pub(crate) answers: ByteBudget,
    /// Other answers that are long.
    pub(crate) lists: ByteBudget,
    pub(crate) groups: Arc<Coordinator>,
    /// What compaction has done.
    pub(crate) cleaned: Cleaned,
    producer_ids: Mutex<Range<i64>>,
    stop: CancellationToken,
}

/// A connection's number, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A connection, as far as handlers care.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The listener that the client came through; it decides which addresses the client is told.
    pub(crate) listener: Arc<ListenerConfig>,
    /// The client's address.
    pub(crate) peer: std::net::IpAddr,
    pub(crate) connection: ConnectionId,
}

impl Session {
    /// The address as Kafka's tools show it.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.peer)
    }
}

impl Broker {
    /// The broker of these parts; `shares` say what each of them may use of the memory.
    pub(crate) fn new(
        config: BrokerConfig,
        identity: Identity,
        controller: Controller,
        partitions: Arc<Partitions>,
        reads: ReadPool,
        shares: Shares,
        stop: CancellationToken,
    ) -> Self {
        let image = controller.image();
        let slots = partitions.configs(&image, None).broker_number("max.incremental.fetch.session.cache.slots");
        Self {
            config,
            identity,
            controller,
            partitions,
            sessions: FetchSessions::new(usize::try_from(slots).unwrap_or(0), shares.session_partitions()),
            reads,
            cleaned: Cleaned::default(),
            shares,
            answers: ByteBudget::new(shares.fetches),
            lists: ByteBudget::new(shares.lists),
            groups: Arc::new(Coordinator::new(Memory::of(shares.groups))),
            producer_ids: Mutex::new(0..0),
            stop,
        }
    }

    pub(crate) fn id(&self) -> BrokerId {
        BrokerId(self.config.id())
    }

    pub(crate) fn cluster_id(&self) -> String {
        self.config.cluster_id.to_string()
    }

    /// All layers of configs for a topic, or for none.
    pub(crate) fn configs<'a>(&'a self, image: &'a Image, topic: Option<&'a Topic>) -> Configs<'a> {
        self.partitions.configs(image, topic)
    }

    /// The topic of a request that names it by id from some version on, and by name before.
    pub(crate) fn topic(&self, image: &Image, name: &str, id: Uuid) -> Option<Arc<Topic>> {
        if id.is_nil() { image.topic(name).cloned() } else { image.topic_by_id(id).cloned() }
    }

    /// A partition of a topic that this broker leads.
    pub(crate) fn partition(&self, topic: &Topic, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.partitions.get(topic.id, index)
    }

    /// An id that no producer ever had.
    pub(crate) async fn new_producer_id(&self) -> Result<ProducerId, ChangeError<std::convert::Infallible>> {
        loop {
            if let Some(id) = self.producer_ids().next() {
                return Ok(ProducerId(id));
            }
            let block = self.controller.change(|image| Ok(producer_ids::decide(image))).await?;
            let mut held = self.producer_ids();
            // somebody else may have fetched a block meanwhile; ids of the one that is dropped are never given out
            if held.is_empty() {
                *held = block;
            }
        }
    }

    fn producer_ids(&self) -> std::sync::MutexGuard<'_, Range<i64>> {
        self.producer_ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// What `waiting` comes to, or none once the broker stops: who waits for somebody else is answered then, not cut off.
    pub(crate) async fn unless_stopping<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // what is there already is the better answer
            biased;
            answer = waiting => Some(answer),
            () = self.stop.cancelled() => None,
        }
    }
}
