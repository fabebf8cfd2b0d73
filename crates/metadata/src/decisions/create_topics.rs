//! Creating a topic: its name, its counts or its assignment, its configs (Kafka's ReplicationControlManager).

use kennet_contract::config_keys::{self, CompactionLags, KeyError, Scope};
use kennet_protocol::{BrokerId, LeaderEpoch, PartitionIndex, Uuid};

use crate::image::{Image, Partition};
use crate::record::{ConfigRecord, Record, ResourceType, TopicRecord};
use crate::topic_name::{TopicNameError, check_topic_name, collides};

/// Partitions that one topic may have: what one decision can write and one directory can hold comfortably.
pub const TOPIC_PARTITIONS_MAX: i32 = 10_000;
/// Partitions of the whole cluster: room for ten times what one broker is measured with.
pub const CLUSTER_PARTITIONS_MAX: usize = 100_000;

/// A topic to be made.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; none for the default, ignored when there are assignments.
    pub partitions: Option<i32>,
    /// How many replicas; none for the default, ignored when there are assignments.
    pub replication_factor: Option<i16>,
    /// Which brokers hold which partition; empty to choose them here.
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// Its configs; a value of none is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// What counts when a request leaves it open.
#[derive(Debug, Clone, Copy)]
pub struct TopicDefaults {
    /// `num.partitions`
    pub partitions: i32,
    /// `default.replication.factor`
    pub replication_factor: i16,
    /// `log.cleaner.min.compaction.lag.ms` and `log.cleaner.max.compaction.lag.ms`
    pub compaction_lags: CompactionLags,
}

/// Why a topic is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// The name is not allowed.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// There is one.
    #[error("topic '{name}' exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// Metrics could not tell it from another.
    #[error("topic '{name}' differs from '{other}' only in '.' and '_', which metric names can't tell apart")]
    Collides {
        /// The name.
        name: String,
        /// The topic that is there.
        other: String,
    },
    /// Too few or too many.
    #[error("{found} partitions are not possible: expected 1 to {TOPIC_PARTITIONS_MAX}")]
    Partitions {
        /// What was asked for.
        found: i32,
    },
    /// The cluster is full.
    #[error("the cluster would have {found} partitions, more than {CLUSTER_PARTITIONS_MAX}")]
    ClusterPartitions {
        /// How many there would be.
        found: usize,
    },
    /// More replicas than brokers, or none.
    #[error("replication factor {found} is not possible: {}", there_are(*brokers))]
    ReplicationFactor {
        /// What was asked for.
        found: i16,
        /// Registered brokers.
        brokers: usize,
    },
    /// The assignment is not one.
    #[error("the replica assignment is not possible: {what}")]
    Assignment {
        /// What is wrong.
        what: String,
    },
    /// Both counts and an assignment.
    #[error("give either counts or an assignment of replicas, not both")]
    CountsAndAssignment,
    /// A config is wrong.
    #[error(transparent)]
    Config(#[from] KeyError),
    /// A config without a value.
    #[error("config '{name}' has no value")]
    NoValue {
        /// The key.
        name: String,
    },
}

fn there_are(brokers: usize) -> String {
    if brokers == 1 { "there is 1 broker".to_owned() } else { format!("there are {brokers} brokers") }
}

/// Decides to make a topic with this id.
///
/// # Errors
/// Why not.
pub fn decide(
    image: &Image,
    wanted: &NewTopic,
    defaults: TopicDefaults,
    topic_id: Uuid,
) -> Result<Vec<Record>, CreateTopicError> {
    check_topic_name(&wanted.name)?;
    if image.topic(&wanted.name).is_some() {
        return Err(CreateTopicError::Exists { name: wanted.name.clone() });
    }
    if let Some(other) = image.topics().find(|topic| collides(&topic.name, &wanted.name)) {
        return Err(CreateTopicError::Collides { name: wanted.name.clone(), other: other.name.to_string() });
    }
    let replicas = match wanted.assignments.as_slice() {
        [] => choose(image, wanted, defaults)?,
        assignments => check_assignments(image, wanted, assignments)?,
    };
    let found = image.partition_count() + replicas.len();
    if found > CLUSTER_PARTITIONS_MAX {
        return Err(CreateTopicError::ClusterPartitions { found });
    }
    let mut records = vec![Record::Topic(TopicRecord { name: wanted.name.clone(), topic_id })];
    for (index, replicas) in (0..).zip(replicas) {
        records.push(Record::Partition(new_partition(replicas).record(topic_id, PartitionIndex(index))));
    }
    for (name, value) in &wanted.configs {
        records.push(config_record(&wanted.name, name, value.as_deref())?);
    }
    let own = wanted.configs.iter().filter_map(|(name, value)| Some((name.clone(), value.as_deref()?)));
    defaults.compaction_lags.check(&own.collect())?;
    Ok(records)
}

fn config_record(topic: &str, name: &str, value: Option<&str>) -> Result<Record, CreateTopicError> {
    let value = value.ok_or_else(|| CreateTopicError::NoValue { name: name.to_owned() })?;
    config_keys::check(Scope::Topic, name, value)?;
    Ok(Record::Config(ConfigRecord {
        resource_type: ResourceType::Topic.number(),
        resource_name: topic.to_owned(),
        name: name.to_owned(),
        value: Some(value.trim().to_owned()),
    }))
}

/// A partition that nobody led before.
#[must_use]
pub(crate) fn new_partition(replicas: Vec<BrokerId>) -> Partition {
    let leader = replicas.first().copied().unwrap_or(BrokerId::NONE);
    Partition { isr: replicas.clone(), replicas, leader, leader_epoch: LeaderEpoch(0), partition_epoch: 0 }
}

fn choose(image: &Image, wanted: &NewTopic, defaults: TopicDefaults) -> Result<Vec<Vec<BrokerId>>, CreateTopicError> {
    let partitions = wanted.partitions.unwrap_or(defaults.partitions);
    if !(1..=TOPIC_PARTITIONS_MAX).contains(&partitions) {
        return Err(CreateTopicError::Partitions { found: partitions });
    }
    let factor = wanted.replication_factor.unwrap_or(defaults.replication_factor);
    spread(image, 0, partitions, factor)
}

/// Replicas for partitions `from..to`, round robin over the brokers.
pub(crate) fn spread(image: &Image, from: i32, to: i32, factor: i16) -> Result<Vec<Vec<BrokerId>>, CreateTopicError> {
    let brokers: Vec<BrokerId> = image.brokers().map(|(id, _)| id).collect();
    let count = usize::try_from(factor).ok().filter(|count| (1..=brokers.len()).contains(count));
    let count = count.ok_or(CreateTopicError::ReplicationFactor { found: factor, brokers: brokers.len() })?;
    let replicas = |index: i32| {
        let start = usize::try_from(index).unwrap_or(0);
        (0..count).map(|at| brokers[(start + at) % brokers.len()]).collect()
    };
    Ok((from..to).map(replicas).collect())
}

fn check_assignments(
    image: &Image,
    wanted: &NewTopic,
    assignments: &[(PartitionIndex, Vec<BrokerId>)],
) -> Result<Vec<Vec<BrokerId>>, CreateTopicError> {
    if wanted.partitions.is_some() || wanted.replication_factor.is_some() {
        return Err(CreateTopicError::CountsAndAssignment);
    }
    if i32::try_from(assignments.len()).is_ok_and(|found| found > TOPIC_PARTITIONS_MAX) {
        return Err(CreateTopicError::Partitions { found: TOPIC_PARTITIONS_MAX + 1 });
    }
    let mut sorted: Vec<_> = assignments.iter().collect();
    sorted.sort_by_key(|(index, _)| *index);
    let mut replicas = Vec::with_capacity(sorted.len());
    for (expected, (index, brokers)) in (0..).zip(sorted) {
        if index.0 != expected {
            return Err(CreateTopicError::Assignment { what: format!("partition {expected} is missing or doubled") });
        }
        check_replicas(image, brokers).map_err(|what| CreateTopicError::Assignment { what })?;
        replicas.push(brokers.clone());
    }
    let same = replicas.windows(2).all(|pair| pair[0].len() == pair[1].len());
    if !same {
        return Err(CreateTopicError::Assignment { what: "partitions have different numbers of replicas".to_owned() });
    }
    Ok(replicas)
}

/// Whether these brokers can hold one partition.
pub(crate) fn check_replicas(image: &Image, brokers: &[BrokerId]) -> Result<(), String> {
    if brokers.is_empty() {
        return Err("a partition has no replica".to_owned());
    }
    for (at, broker) in brokers.iter().enumerate() {
        if image.broker(*broker).is_none() {
            return Err(format!("broker {broker} is not registered"));
        }
        if brokers[..at].contains(broker) {
            return Err(format!("broker {broker} is there twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use kennet_protocol::{BrokerId, PartitionIndex, Uuid};

    use kennet_contract::config_keys::CompactionLags;

    use super::{CreateTopicError, NewTopic, TopicDefaults, decide};
    use crate::decisions::register_broker;
    use crate::image::Image;
    use crate::record::Record;

    pub(crate) const DEFAULTS: TopicDefaults =
        TopicDefaults { partitions: 3, replication_factor: 1, compaction_lags: CompactionLags::DEFAULT };

    pub(crate) fn apply(image: &mut Image, records: &[Record]) {
        for record in records {
            image.apply(record).unwrap();
        }
    }

    /// One registered broker and topic `a` with three partitions.
    pub(crate) fn image() -> Image {
        let mut image = Image::default();
        apply(&mut image, &register_broker::decide(&Image::default(), BrokerId(0), Uuid::from_u128(1)));
        let records = decide(&image, &topic("a"), DEFAULTS, Uuid::from_u128(10)).unwrap();
        apply(&mut image, &records);
        image
    }

    pub(crate) fn topic(name: &str) -> NewTopic {
        NewTopic { name: name.to_owned(), ..NewTopic::default() }
    }

    fn error(wanted: &NewTopic) -> CreateTopicError {
        decide(&image(), wanted, DEFAULTS, Uuid::from_u128(11)).unwrap_err()
    }

    #[test]
    fn a_topic_gets_the_default_counts() {
        let image = image();
        let topic = image.topic("a").unwrap();
        assert_eq!(topic.partitions.len(), 3);
        assert_eq!(topic.partitions[2].leader, BrokerId(0));
        assert_eq!(image.topic_by_id(Uuid::from_u128(10)), Some(topic));
    }

    #[test]
    fn a_name_is_used_once() {
        assert!(matches!(error(&topic("a")), CreateTopicError::Exists { .. }));
        let mut image = image();
        let records = decide(&image, &topic("x.y"), DEFAULTS, Uuid::from_u128(11)).unwrap();
        apply(&mut image, &records);
        let other = decide(&image, &topic("x_y"), DEFAULTS, Uuid::from_u128(12)).unwrap_err();
        assert!(matches!(other, CreateTopicError::Collides { .. }));
    }

    #[test]
    fn counts_have_limits() {
        for partitions in [0, -2, 10_001] {
            let wanted = NewTopic { partitions: Some(partitions), ..topic("b") };
            assert_eq!(error(&wanted), CreateTopicError::Partitions { found: partitions });
        }
        for factor in [0, 2] {
            let wanted = NewTopic { replication_factor: Some(factor), ..topic("b") };
            let error = error(&wanted);
            assert_eq!(error, CreateTopicError::ReplicationFactor { found: factor, brokers: 1 });
            assert!(error.to_string().ends_with("not possible: there is 1 broker"), "{error}");
        }
    }

    #[test]
    fn assignments_must_be_complete_and_possible() {
        let assigned = |list: &[(i32, &[i32])]| NewTopic {
            assignments: list
                .iter()
                .map(|(index, brokers)| (PartitionIndex(*index), brokers.iter().copied().map(BrokerId).collect()))
                .collect(),
            ..topic("b")
        };
        for list in [&[(1, &[0][..])][..], &[(0, &[7])], &[(0, &[0, 0])], &[(0, &[])], &[(0, &[0]), (0, &[0])]] {
            assert!(matches!(error(&assigned(list)), CreateTopicError::Assignment { .. }), "{list:?}");
        }
        let both = NewTopic { partitions: Some(1), ..assigned(&[(0, &[0])]) };
        assert_eq!(error(&both), CreateTopicError::CountsAndAssignment);
    }

    #[test]
    fn a_wrong_config_refuses_the_whole_topic() {
        let wanted = NewTopic { configs: vec![("retention.ms".to_owned(), Some("soon".to_owned()))], ..topic("b") };
        assert!(matches!(error(&wanted), CreateTopicError::Config(_)));
    }

    #[test]
    fn lags_of_compaction_that_conflict_are_refused_also_with_a_default() {
        let lags = |list: &[(&str, &str)]| NewTopic {
            configs: list.iter().map(|(name, ms)| ((*name).to_owned(), Some((*ms).to_owned()))).collect(),
            ..topic("b")
        };
        let (min, max) = (("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5"));
        assert!(matches!(error(&lags(&[min, max])), CreateTopicError::Config(_)));
        let decide = |wanted, defaults| decide(&image(), &wanted, defaults, Uuid::from_u128(11));
        assert!(decide(lags(&[max]), DEFAULTS).is_ok());
        let compaction_lags = CompactionLags { min_ms: 6, max_ms: i64::MAX };
        assert!(decide(lags(&[max]), TopicDefaults { compaction_lags, ..DEFAULTS }).is_err());
    }

    #[test]
    fn an_image_made_of_its_own_records_is_the_same() {
        let image = image();
        let mut again = Image::default();
        apply(&mut again, &image.to_records());
        assert_eq!(again, image);
    }
}
