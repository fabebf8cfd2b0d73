//! The cluster as a client sees it: brokers, connections to them, topics and their leaders.
//!
//! Metadata is a cache that failures of leadership empty. The mutex is held for look-ups only, never while waiting.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kennet_protocol::messages::find_coordinator::FindCoordinatorRequest;
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use kennet_protocol::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, Request, Uuid};

use crate::ClientError;
use crate::bootstrap::{self, BootstrapError};
use crate::connection::Connection;
use crate::retries::Retries;

/// How to reach a cluster, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `host:port` of some brokers.
    pub bootstrap: Vec<String>,
    /// What brokers write into their logs.
    pub client_id: String,
    /// For one answer.
    pub request_timeout: Duration,
    /// For one operation with all of its attempts.
    pub operation_timeout: Duration,
}

impl ClientOptions {
    /// Defaults for addresses that a person wrote, separated by commas; a missing port is 9092.
    ///
    /// # Errors
    /// The first address that can't be one.
    pub fn read(bootstrap: &str) -> Result<Self, BootstrapError> {
        Ok(Self { bootstrap: bootstrap::read(bootstrap)?, ..Self::new("") })
    }

    /// As [`Self::read`], for addresses that a program made: nothing is checked.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        let with_port = |address: &str| match address.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => address.to_owned(),
            _ => format!("{address}:{}", bootstrap::PORT),
        };
        Self {
            bootstrap: bootstrap.split(',').map(str::trim).filter(|text| !text.is_empty()).map(with_port).collect(),
            client_id: "kennet".to_owned(),
            request_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(60),
        }
    }
}

/// A partition by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// The partition's index.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// A partition by name.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition: PartitionIndex(partition) }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A topic as Metadata tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id; zero from brokers that have none.
    pub id: Uuid,
    /// Whether it is Kafka's own.
    pub internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition as Metadata tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its index.
    pub index: PartitionIndex,
    /// Its leader; none while there is none.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Brokers that hold it.
    pub replicas: Vec<BrokerId>,
    /// Those of them that are in sync.
    pub in_sync: Vec<BrokerId>,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Its id.
    pub id: BrokerId,
    /// Host and port.
    pub address: String,
    /// Its rack.
    pub rack: Option<String>,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route {
    Any,
    Broker(BrokerId),
}

/// A client of one cluster; clones share connections and metadata.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<String, Arc<Connection>>,
    brokers: BTreeMap<BrokerId, BrokerAddress>,
    topics: HashMap<String, TopicMetadata>,
}

impl Client {
    /// Connects to the first broker that answers and learns the others.
    ///
    /// # Errors
    /// When no broker answers within the operation's time.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self { inner: Arc::new(Inner { options, state: Mutex::default() }) };
        client.metadata(Some(&[]), false).await?;
        Ok(client)
    }

    /// The options that it was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// The brokers that Metadata named last.
    #[must_use]
    pub fn brokers(&self) -> Vec<BrokerAddress> {
        self.state().brokers.values().cloned().collect()
    }

    /// Every topic of the cluster.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn topics(&self) -> Result<Vec<TopicMetadata>, ClientError> {
        let answer = self.metadata(None, false).await?;
        answer.topics.into_iter().map(|topic| read_topic(topic).map(|(_, read)| read)).collect()
    }

    /// One topic, from the cache if it is there.
    ///
    /// # Errors
    /// When the cluster does not answer or the topic does not exist.
    pub async fn topic(&self, name: &str) -> Result<TopicMetadata, ClientError> {
        if let Some(topic) = self.state().topics.get(name) {
            return Ok(topic.clone());
        }
        let answer = self.metadata(Some(&[name.to_owned()]), false).await?;
        let missing = || ClientError::Missing { api: "Metadata", object: format!("topic '{name}'") };
        let (complete, topic) = read_topic(answer.topics.into_iter().next().ok_or_else(missing)?)?;
        // while an election is going on the next look-up must ask again
        if complete {
            self.state().topics.insert(name.to_owned(), topic.clone());
        }
        Ok(topic)
    }

    /// The leader of a partition.
    ///
    /// # Errors
    /// As [`Self::topic`]; `LEADER_NOT_AVAILABLE` while there is none.
    pub(crate) async fn leader(&self, partition: &TopicPartition) -> Result<(BrokerId, LeaderEpoch), ClientError> {
        let topic = self.topic(&partition.topic).await?;
        let found = topic.partitions.iter().find(|known| known.index == partition.partition);
        let known = found.ok_or_else(|| ClientError::NoPartition {
            topic: partition.topic.clone(),
            partition: partition.partition.0,
            count: topic.partitions.len(),
        })?;
        let leader = known.leader.ok_or_else(|| ClientError::NoLeader { partition: partition.clone() })?;
        Ok((leader, known.leader_epoch))
    }

    /// Drops what is known of a topic, because it turned out wrong.
    pub(crate) fn forget_topic(&self, name: &str) {
        self.state().topics.remove(name);
    }

    /// The coordinator of a group.
    ///
    /// # Errors
    /// When there is none within the operation's time.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<BrokerId, ClientError> {
        let mut retries = self.retries();
        loop {
            match self.find_coordinator(group).await {
                Err(error) if retries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn find_coordinator(&self, group: &str) -> Result<BrokerId, ClientError> {
        let make = |version: i16| match version {
            ..=3 => FindCoordinatorRequest { key: group.to_owned(), ..Default::default() },
            _ => FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..Default::default() },
        };
        let answer = self.call(Route::Any, make).await?;
        let (node, host, port, code, message) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.node_id, found.host, found.port, found.error_code, found.error_message),
            None => (answer.node_id, answer.host, answer.port, answer.error_code, answer.error_message),
        };
        ClientError::check("FindCoordinator", || format!("group '{group}'"), code, message)?;
        let address = BrokerAddress { id: node, address: join(&host, port), rack: None };
        self.state().brokers.entry(node).or_insert(address);
        Ok(node)
    }

    /// Asks Metadata until it answers, and remembers the brokers.
    pub(crate) async fn metadata(
        &self,
        topics: Option<&[String]>,
        auto_create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let mut retries = self.retries();
        loop {
            match self.ask_metadata(topics, auto_create).await {
                Err(error) if retries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn ask_metadata(
        &self,
        topics: Option<&[String]>,
        auto_create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let named = |name: &String| MetadataRequestTopic { topic_id: Uuid::nil(), name: Some(name.clone()) };
        let make = |_| MetadataRequest {
            topics: topics.map(|names| names.iter().map(named).collect()),
            allow_auto_topic_creation: auto_create,
            ..Default::default()
        };
        let answer = self.call(Route::Any, make).await?;
        ClientError::check("Metadata", || "cluster".to_owned(), answer.error_code, None)?;
        let brokers = answer.brokers.iter().map(|broker| {
            let address = join(&broker.host, broker.port);
            (broker.node_id, BrokerAddress { id: broker.node_id, address, rack: broker.rack.clone() })
        });
        self.state().brokers = brokers.collect();
        Ok(answer)
    }

    /// One request to one broker, without another attempt.
    pub(crate) async fn call<R: Request>(
        &self,
        route: Route,
        make: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        self.call_within(route, self.inner.options.request_timeout, make).await
    }

    /// As [`Self::call`], with a time limit of its own.
    pub(crate) async fn call_within<R: Request>(
        &self,
        route: Route,
        limit: Duration,
        make: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let connection = match route {
            Route::Any => self.any_connection().await?,
            Route::Broker(id) => self.connection_to(id).await?,
        };
        let version = connection.version::<R>()?;
        connection.call(&make(version), version, limit).await
    }

    pub(crate) fn retries(&self) -> Retries {
        Retries::within(self.inner.options.operation_timeout)
    }

    async fn any_connection(&self) -> Result<Arc<Connection>, ClientError> {
        let mut addresses: Vec<String> = self.state().brokers.values().map(|known| known.address.clone()).collect();
        addresses.extend(self.inner.options.bootstrap.iter().cloned());
        let mut last = None;
        for address in &addresses {
            match self.connection(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        let source = last.unwrap_or(ClientError::Closed);
        Err(ClientError::NoBroker { addresses: self.inner.options.bootstrap.join(", "), source: Box::new(source) })
    }

    async fn connection_to(&self, id: BrokerId) -> Result<Arc<Connection>, ClientError> {
        let known = self.state().brokers.get(&id).map(|broker| broker.address.clone());
        match known {
            Some(address) => self.connection(&address).await,
            None => Err(ClientError::Refused {
                api: "Metadata",
                object: format!("broker {id}"),
                code: ErrorCode::LeaderNotAvailable,
                message: Some("it is not among the cluster's brokers".to_owned()),
            }),
        }
    }

    async fn connection(&self, address: &str) -> Result<Arc<Connection>, ClientError> {
        if let Some(open) = self.state().connections.get(address).filter(|known| known.is_open()) {
            return Ok(open.clone());
        }
        let options = &self.inner.options;
        let opened = Arc::new(Connection::open(address, &options.client_id, options.request_timeout).await?);
        self.state().connections.insert(address.to_owned(), opened.clone());
        Ok(opened)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // a cache: whatever a panicking thread left in it is asked for again
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The topic, and whether every partition has a leader.
pub(crate) fn read_topic(
    topic: kennet_protocol::messages::metadata::MetadataResponseTopic,
) -> Result<(bool, TopicMetadata), ClientError> {
    let name = topic.name.unwrap_or_default();
    let message = (topic.error_code == ErrorCode::UnknownTopicOrPartition).then(|| "there is no such topic".to_owned());
    ClientError::check("Metadata", || format!("topic '{name}'"), topic.error_code, message)?;
    let mut partitions: Vec<PartitionMetadata> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionMetadata {
            index: partition.partition_index,
            leader: Some(partition.leader_id).filter(|id| *id != BrokerId::NONE),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            in_sync: partition.isr_nodes,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    let complete = partitions.iter().all(|partition| partition.leader.is_some());
    Ok((complete, TopicMetadata { name, id: topic.topic_id, internal: topic.is_internal, partitions }))
}
