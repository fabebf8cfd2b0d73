//! Changing configs: key by key (IncrementalAlterConfigs) or all at once (AlterConfigs).

use std::collections::BTreeMap;

use kennet_contract::config_keys::{self, CompactionLags, KeyError, Scope};
use kennet_protocol::BrokerId;

use crate::image::Image;
use crate::record::{ConfigRecord, Record, ResourceType};

/// What is done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Give it a value.
    Set,
    /// Back to the default.
    Delete,
    /// Add words to a list.
    Append,
    /// Take words from a list.
    Subtract,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub name: String,
    /// What is done.
    pub operation: Operation,
    /// With what.
    pub value: Option<String>,
}

/// Why nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigsError {
    /// No such topic.
    #[error("there is no topic '{name}'")]
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// No such broker.
    #[error("'{name}' is not the id of a registered broker; empty means all brokers")]
    UnknownBroker {
        /// What was given.
        name: String,
    },
    /// A key or value is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key is there twice.
    #[error("config '{name}' is changed twice in one request")]
    Twice {
        /// The key.
        name: String,
    },
    /// A value is missing.
    #[error("config '{name}' has no value")]
    NoValue {
        /// The key.
        name: String,
    },
    /// Only read when the broker starts.
    #[error("config '{name}' is read when the broker starts: set it in the KafkaCluster's config")]
    AtStart {
        /// The key.
        name: String,
    },
}

/// Decides on changes key by key. `effective` tells a key's value where the resource has none of its own, `lags` those of a topic.
///
/// # Errors
/// The first change that is not possible; none is made then.
pub fn incremental(
    image: &Image,
    kind: ResourceType,
    resource: &str,
    changes: &[Change],
    effective: impl Fn(&str) -> String,
    lags: CompactionLags,
) -> Result<Vec<Record>, AlterConfigsError> {
    let present = present(image, kind, resource)?;
    let mut records = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        if changes[..at].iter().any(|earlier| earlier.name == change.name) {
            return Err(AlterConfigsError::Twice { name: change.name.clone() });
        }
        let own = || present.get(&change.name).cloned().unwrap_or_else(|| effective(&change.name));
        let given = || change.value.as_deref().ok_or_else(|| AlterConfigsError::NoValue { name: change.name.clone() });
        let value = match change.operation {
            Operation::Delete => None,
            Operation::Set => Some(given()?.trim().to_owned()),
            Operation::Append => Some(config_keys::append(scope(kind), &change.name, &own(), given()?)?),
            Operation::Subtract => Some(config_keys::subtract(scope(kind), &change.name, &own(), given()?)?),
        };
        records.push(checked(kind, resource, &change.name, value)?);
    }
    check_lags(kind, lags, present, &records)?;
    Ok(records)
}

/// Decides to give a resource exactly these configs and no others. `lags` are a topic's where it has none of its own.
///
/// # Errors
/// The first config that is not possible; nothing is changed then.
pub fn replace(
    image: &Image,
    kind: ResourceType,
    resource: &str,
    configs: &BTreeMap<String, Option<String>>,
    lags: CompactionLags,
) -> Result<Vec<Record>, AlterConfigsError> {
    let mut records = Vec::new();
    for (name, value) in configs {
        let value = value.clone().ok_or_else(|| AlterConfigsError::NoValue { name: name.clone() })?;
        records.push(checked(kind, resource, name, Some(value))?);
    }
    let present = present(image, kind, resource)?;
    let gone = present.keys().filter(|name| !configs.contains_key(*name));
    records.extend(gone.map(|name| record(kind, resource, name, None)));
    check_lags(kind, lags, present, &records)?;
    Ok(records)
}

/// Whether a topic's lags of compaction go together once the records are applied.
fn check_lags(
    kind: ResourceType,
    lags: CompactionLags,
    present: &BTreeMap<String, String>,
    records: &[Record],
) -> Result<(), AlterConfigsError> {
    if kind != ResourceType::Topic {
        return Ok(());
    }
    let mut own: BTreeMap<String, &str> = present.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
    for record in records {
        let Record::Config(config) = record else { continue };
        match &config.value {
            Some(value) => drop(own.insert(config.name.clone(), value)),
            None => drop(own.remove(&config.name)),
        }
    }
    Ok(lags.check(&own)?)
}

fn present<'a>(
    image: &'a Image,
    kind: ResourceType,
    resource: &str,
) -> Result<&'a BTreeMap<String, String>, AlterConfigsError> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    match kind {
        ResourceType::Topic => match image.topic(resource) {
            Some(topic) => Ok(&topic.configs),
            None => Err(AlterConfigsError::UnknownTopic { name: resource.to_owned() }),
        },
        ResourceType::Broker if resource.is_empty() => Ok(image.cluster_configs()),
        ResourceType::Broker => {
            let id = resource.parse().map(BrokerId).ok().filter(|id| image.broker(*id).is_some());
            let id = id.ok_or_else(|| AlterConfigsError::UnknownBroker { name: resource.to_owned() })?;
            Ok(image.broker_configs(id).unwrap_or(&NONE))
        }
    }
}

fn checked(kind: ResourceType, resource: &str, name: &str, value: Option<String>) -> Result<Record, AlterConfigsError> {
    let key = config_keys::known(scope(kind), name)?;
    if let Some(value) = &value {
        config_keys::check(scope(kind), name, value)?;
        if key.effect == config_keys::Effect::AtStart && value != key.default {
            return Err(AlterConfigsError::AtStart { name: name.to_owned() });
        }
    }
    Ok(record(kind, resource, name, value))
}

fn record(kind: ResourceType, resource: &str, name: &str, value: Option<String>) -> Record {
    Record::Config(ConfigRecord {
        resource_type: kind.number(),
        resource_name: resource.to_owned(),
        name: name.to_owned(),
        value,
    })
}

fn scope(kind: ResourceType) -> Scope {
    match kind {
        ResourceType::Topic => Scope::Topic,
        ResourceType::Broker => Scope::Broker,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kennet_contract::config_keys::CompactionLags;

    use super::{AlterConfigsError, Change, KeyError, Operation, incremental, replace};
    use crate::decisions::create_topics::tests::{apply, image};
    use crate::image::Image;
    use crate::record::ResourceType;

    fn change(name: &str, operation: Operation, value: &str) -> Change {
        Change { name: name.to_owned(), operation, value: Some(value.to_owned()) }
    }

    fn alter(image: &mut Image, changes: &[Change]) -> Result<(), AlterConfigsError> {
        let records =
            incremental(image, ResourceType::Topic, "a", changes, |_| "delete".to_owned(), CompactionLags::DEFAULT)?;
        apply(image, &records);
        Ok(())
    }

    #[test]
    fn keys_are_set_appended_subtracted_and_unset() {
        let mut image = image();
        alter(
            &mut image,
            &[change("retention.ms", Operation::Set, "5"), change("cleanup.policy", Operation::Append, "compact")],
        )
        .unwrap();
        assert_eq!(image.topic("a").unwrap().configs["cleanup.policy"], "delete,compact");
        alter(
            &mut image,
            &[change("cleanup.policy", Operation::Subtract, "delete"), change("retention.ms", Operation::Delete, "")],
        )
        .unwrap();
        let expected = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        assert_eq!(image.topic("a").unwrap().configs, expected);
    }

    #[test]
    fn one_wrong_change_refuses_all() {
        let mut image = image();
        let changes = [change("retention.ms", Operation::Set, "5"), change("retention.bytes", Operation::Set, "x")];
        assert!(matches!(alter(&mut image, &changes), Err(AlterConfigsError::Key(_))));
        let twice = [change("retention.ms", Operation::Set, "5"), change("retention.ms", Operation::Set, "6")];
        assert!(matches!(alter(&mut image, &twice), Err(AlterConfigsError::Twice { .. })));
        assert!(image.topic("a").unwrap().configs.is_empty());
    }

    #[test]
    fn lags_of_compaction_must_go_together_once_all_is_changed() {
        let mut image = image();
        let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        let refused = |outcome| matches!(outcome, Err(AlterConfigsError::Key(KeyError::CompactionLags { .. })));
        let both = [change(min, Operation::Set, "10"), change(max, Operation::Set, "5")];
        assert!(refused(alter(&mut image, &both)));
        alter(&mut image, &[change(min, Operation::Set, "10")]).unwrap();
        assert!(refused(alter(&mut image, &both[1..])));
        let replaced = |image: &Image, list: &[(&str, &str)], lags| {
            let own = list.iter().map(|(name, ms)| ((*name).to_owned(), Some((*ms).to_owned()))).collect();
            replace(image, ResourceType::Topic, "a", &own, lags).map(drop)
        };
        // what is not named goes, and with it what it would conflict with
        assert!(replaced(&image, &[(max, "5")], CompactionLags::DEFAULT).is_ok());
        assert!(refused(replaced(&image, &[(min, "10"), (max, "5")], CompactionLags::DEFAULT)));
        assert!(refused(replaced(&image, &[(max, "5")], CompactionLags { min_ms: 6, ..CompactionLags::DEFAULT })));
        alter(&mut image, &[change(min, Operation::Delete, ""), change(max, Operation::Set, "5")]).unwrap();
    }

    #[test]
    fn replacing_unsets_what_is_not_named() {
        let mut image = image();
        alter(&mut image, &[change("retention.ms", Operation::Set, "5")]).unwrap();
        let wanted = BTreeMap::from([("segment.bytes".to_owned(), Some("2000".to_owned()))]);
        let records = replace(&image, ResourceType::Topic, "a", &wanted, CompactionLags::DEFAULT).unwrap();
        apply(&mut image, &records);
        let expected = BTreeMap::from([("segment.bytes".to_owned(), "2000".to_owned())]);
        assert_eq!(image.topic("a").unwrap().configs, expected);
    }

    #[test]
    fn brokers_are_named_by_id_or_all_at_once() {
        let changes = [change("num.partitions", Operation::Set, "7")];
        let decide = |name: &str| {
            incremental(&image(), ResourceType::Broker, name, &changes, |_| String::new(), CompactionLags::DEFAULT)
        };
        assert!(decide("").is_ok());
        assert!(decide("0").is_ok());
        for name in ["5", "x"] {
            assert!(matches!(decide(name), Err(AlterConfigsError::UnknownBroker { .. })), "{name}");
        }
    }
}
