//! What the committed records add up to.
//!
//! Topics are shared, so a copy of the image costs one reference each and a decision may work on its own copy.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use hashbrown::HashMap;
use kennet_contract::management::{AppliedGeneration, TopicOwner};
use kennet_protocol::{BrokerId, LeaderEpoch, PartitionIndex, Uuid};

use crate::record::{
    AppliedGenerationRecord, BrokerRecord, ConfigRecord, OwnerFields, PartitionRecord, ProducerIdsRecord, Record,
    ResourceType, TopicOwnerRecord, TopicRecord,
};

/// A topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, by index.
    pub partitions: Vec<Partition>,
    /// Its own configs.
    pub configs: BTreeMap<String, String>,
    /// Who looks after it.
    pub owner: Option<TopicOwner>,
    /// Configs that the owner sets.
    pub managed_keys: Vec<String>,
    /// Generation of the owner's object that was applied last; 0 none.
    pub owner_generation: i64,
    /// How long the topic outlives its owner, milliseconds; none for ever.
    pub delete_after_ms: Option<i64>,
    /// When it is deleted, milliseconds since 1970.
    pub delete_at_ms: Option<i64>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Replicas that have everything that is acknowledged.
    pub isr: Vec<BrokerId>,
    /// Its leader, or -1.
    pub leader: BrokerId,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Raised with each change.
    pub partition_epoch: i32,
}

/// A broker's present incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its data directory.
    pub directory_id: Uuid,
    /// Its epoch.
    pub broker_epoch: i64,
}

/// Why a record can't be applied; the log is not one of ours, or a decision was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It speaks of a topic that is not there.
    #[error("a metadata record names topic {topic_id}, which does not exist")]
    NoTopic {
        /// The topic.
        topic_id: Uuid,
    },
    /// It speaks of a partition beyond the next one.
    #[error("a metadata record names partition {partition} of topic {topic_id}, which has {count}")]
    NoPartition {
        /// The topic.
        topic_id: Uuid,
        /// The partition.
        partition: PartitionIndex,
        /// How many there are.
        count: usize,
    },
    /// A topic of that name is there.
    #[error("a metadata record makes topic '{name}', which exists")]
    TopicExists {
        /// The name.
        name: String,
    },
    /// A topic of that id is there.
    #[error("a metadata record makes topic '{name}' with id {topic_id}, which topic '{present}' has")]
    IdTaken {
        /// The name.
        name: String,
        /// The id.
        topic_id: Uuid,
        /// Whose id it is.
        present: Arc<str>,
    },
    /// A config of something that has none.
    #[error("a metadata record sets a config of '{name}', which is no known resource of type {kind}")]
    NoResource {
        /// The resource.
        name: String,
        /// Its type.
        kind: i8,
    },
}

/// The cluster as its committed records describe it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Image {
    topics: BTreeMap<Arc<str>, Arc<Topic>>,
    names: HashMap<Uuid, Arc<str>>,
    brokers: BTreeMap<BrokerId, BrokerRegistration>,
    cluster_configs: BTreeMap<String, String>,
    broker_configs: BTreeMap<BrokerId, BTreeMap<String, String>>,
    next_producer_id: i64,
    applied: Option<AppliedGeneration>,
}

impl Image {
    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// Topics in the order of their names, from `name` on.
    pub fn topics_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.topics.range::<str, _>((Bound::Included(name), Bound::Unbounded)).map(|(_, topic)| topic)
    }

    /// A broker's present incarnation.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// All brokers.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &BrokerRegistration)> {
        self.brokers.iter().map(|(id, registration)| (*id, registration))
    }

    /// Configs set for all brokers while they run.
    #[must_use]
    pub fn cluster_configs(&self) -> &BTreeMap<String, String> {
        &self.cluster_configs
    }

    /// Configs set for one broker while it runs.
    #[must_use]
    pub fn broker_configs(&self, id: BrokerId) -> Option<&BTreeMap<String, String>> {
        self.broker_configs.get(&id)
    }

    /// The first producer id that was never given out.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The spec of the cluster's own object that was applied last; none before the first.
    #[must_use]
    pub fn applied(&self) -> Option<&AppliedGeneration> {
        self.applied.as_ref()
    }

    /// Partitions of all topics.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }

    /// Applies one record.
    ///
    /// # Errors
    /// When it contradicts what is there; nothing changed then.
    pub fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::Broker(fields) => self.apply_broker(fields),
            Record::Topic(fields) => self.apply_topic(fields)?,
            Record::Partition(fields) => self.apply_partition(fields)?,
            Record::RemoveTopic(fields) => {
                let name =
                    self.names.remove(&fields.topic_id).ok_or(ApplyError::NoTopic { topic_id: fields.topic_id })?;
                self.topics.remove(&name);
            }
            Record::Config(fields) => self.apply_config(fields)?,
            Record::ProducerIds(ProducerIdsRecord { next_producer_id }) => self.next_producer_id = *next_producer_id,
            Record::TopicOwner(fields) => self.apply_owner(fields)?,
            Record::AppliedGeneration(AppliedGenerationRecord { uid, generation }) => {
                self.applied = Some(AppliedGeneration { uid: uid.clone(), generation: *generation });
            }
        }
        Ok(())
    }

    fn apply_broker(&mut self, fields: &BrokerRecord) {
        let registration = BrokerRegistration { directory_id: fields.directory_id, broker_epoch: fields.broker_epoch };
        self.brokers.insert(fields.broker_id, registration);
    }

    fn apply_topic(&mut self, fields: &TopicRecord) -> Result<(), ApplyError> {
        if self.topics.contains_key(fields.name.as_str()) {
            return Err(ApplyError::TopicExists { name: fields.name.clone() });
        }
        if let Some(present) = self.names.get(&fields.topic_id) {
            let (name, present) = (fields.name.clone(), Arc::clone(present));
            return Err(ApplyError::IdTaken { name, topic_id: fields.topic_id, present });
        }
        let name: Arc<str> = fields.name.as_str().into();
        let topic = Topic {
            name: Arc::clone(&name),
            id: fields.topic_id,
            partitions: Vec::new(),
            configs: BTreeMap::new(),
            owner: None,
            managed_keys: Vec::new(),
            owner_generation: 0,
            delete_after_ms: None,
            delete_at_ms: None,
        };
        self.names.insert(fields.topic_id, Arc::clone(&name));
        self.topics.insert(name, Arc::new(topic));
        Ok(())
    }

    fn apply_partition(&mut self, fields: &PartitionRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(fields.topic_id)?;
        let count = topic.partitions.len();
        let wrong = || ApplyError::NoPartition { topic_id: fields.topic_id, partition: fields.partition, count };
        let index = usize::try_from(fields.partition.0).map_err(|_| wrong())?;
        let partition = Partition {
            replicas: fields.replicas.clone(),
            isr: fields.isr.clone(),
            leader: fields.leader,
            leader_epoch: fields.leader_epoch,
            partition_epoch: fields.partition_epoch,
        };
        match index {
            known if known < count => topic.partitions[known] = partition,
            next if next == count => topic.partitions.push(partition),
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn apply_config(&mut self, fields: &ConfigRecord) -> Result<(), ApplyError> {
        let name = &fields.resource_name;
        let wrong = || ApplyError::NoResource { name: name.clone(), kind: fields.resource_type };
        let configs = match ResourceType::from_number(fields.resource_type) {
            Some(ResourceType::Topic) => {
                &mut Arc::make_mut(self.topics.get_mut(name.as_str()).ok_or_else(wrong)?).configs
            }
            Some(ResourceType::Broker) if name.is_empty() => &mut self.cluster_configs,
            Some(ResourceType::Broker) => {
                let id = BrokerId(name.parse().map_err(|_| wrong())?);
                self.apply_broker_config(id, fields);
                return Ok(());
            }
            None => return Err(wrong()),
        };
        match &fields.value {
            Some(value) => configs.insert(fields.name.clone(), value.clone()),
            None => configs.remove(&fields.name),
        };
        Ok(())
    }

    /// A broker without configs has no entry, so that images that say the same are equal.
    fn apply_broker_config(&mut self, id: BrokerId, fields: &ConfigRecord) {
        match &fields.value {
            Some(value) => {
                self.broker_configs.entry(id).or_default().insert(fields.name.clone(), value.clone());
            }
            None => {
                if let Some(configs) = self.broker_configs.get_mut(&id) {
                    configs.remove(&fields.name);
                    if configs.is_empty() {
                        self.broker_configs.remove(&id);
                    }
                }
            }
        }
    }

    fn apply_owner(&mut self, fields: &TopicOwnerRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(fields.topic_id)?;
        topic.owner = fields.owner.as_ref().map(|owner| TopicOwner {
            namespace: owner.namespace.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        });
        topic.managed_keys.clone_from(&fields.managed_keys);
        topic.owner_generation = fields.generation;
        topic.delete_after_ms = (fields.delete_after_ms >= 0).then_some(fields.delete_after_ms);
        topic.delete_at_ms = (fields.delete_at_ms >= 0).then_some(fields.delete_at_ms);
        Ok(())
    }

    fn topic_mut(&mut self, topic_id: Uuid) -> Result<&mut Topic, ApplyError> {
        let missing = ApplyError::NoTopic { topic_id };
        let name = self.names.get(&topic_id).ok_or(missing.clone())?;
        self.topics.get_mut(name).map(Arc::make_mut).ok_or(missing)
    }

    /// Records that make this image from nothing.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (broker_id, registration) in &self.brokers {
            let BrokerRegistration { directory_id, broker_epoch } = *registration;
            records.push(Record::Broker(BrokerRecord { broker_id: *broker_id, directory_id, broker_epoch }));
        }
        for topic in self.topics.values() {
            topic.add_records(&mut records);
        }
        add_configs(&mut records, ResourceType::Broker, "", &self.cluster_configs);
        for (id, configs) in &self.broker_configs {
            add_configs(&mut records, ResourceType::Broker, &id.to_string(), configs);
        }
        if self.next_producer_id > 0 {
            records.push(Record::ProducerIds(ProducerIdsRecord { next_producer_id: self.next_producer_id }));
        }
        if let Some(AppliedGeneration { uid, generation }) = self.applied.clone() {
            records.push(Record::AppliedGeneration(AppliedGenerationRecord { uid, generation }));
        }
        records
    }
}

impl Topic {
    /// The partition of that index.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// The owner's record as it stands, to be changed.
    #[must_use]
    pub fn owner_record(&self) -> TopicOwnerRecord {
        TopicOwnerRecord {
            topic_id: self.id,
            owner: self.owner.as_ref().map(|owner| OwnerFields {
                namespace: owner.namespace.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            }),
            managed_keys: self.managed_keys.clone(),
            generation: self.owner_generation,
            delete_after_ms: self.delete_after_ms.unwrap_or(-1),
            delete_at_ms: self.delete_at_ms.unwrap_or(-1),
        }
    }

    fn add_records(&self, records: &mut Vec<Record>) {
        records.push(Record::Topic(TopicRecord { name: self.name.to_string(), topic_id: self.id }));
        for (index, partition) in (0..).zip(&self.partitions) {
            records.push(Record::Partition(partition.record(self.id, PartitionIndex(index))));
        }
        add_configs(records, ResourceType::Topic, &self.name, &self.configs);
        let owner = self.owner_record();
        if owner != (TopicOwnerRecord { topic_id: self.id, ..TopicOwnerRecord::default() }) {
            records.push(Record::TopicOwner(owner));
        }
    }
}

impl Partition {
    /// The partition's record.
    #[must_use]
    pub fn record(&self, topic_id: Uuid, partition: PartitionIndex) -> PartitionRecord {
        PartitionRecord {
            topic_id,
            partition,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
        }
    }
}

fn add_configs(records: &mut Vec<Record>, kind: ResourceType, resource: &str, configs: &BTreeMap<String, String>) {
    records.extend(configs.iter().map(|(name, value)| {
        Record::Config(ConfigRecord {
            resource_type: kind.number(),
            resource_name: resource.to_owned(),
            name: name.clone(),
            value: Some(value.clone()),
        })
    }));
}
