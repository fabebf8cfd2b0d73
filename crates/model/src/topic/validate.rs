//! From a Topic's spec to a topic that can't be wrong, or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use kennet_api::{Adoption, Drift, OnDelete, TopicSpec};
use kennet_contract::config_keys::{self, CompactionLags, Scope};

use crate::problem::{Problem, Problems};

/// A topic whose every part was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedTopic {
    /// Its name in Kafka.
    pub name: String,
    /// Partitions, if the spec says how many.
    pub partitions: Option<i32>,
    /// Replicas, if the spec says how many.
    pub replication_factor: Option<i32>,
    /// Configs.
    pub config: BTreeMap<String, String>,
    /// What to do about configs that were changed elsewhere.
    pub drift: Drift,
    /// When to take over a topic that exists.
    pub adoption: Adoption,
    /// How long the topic outlives its object; none for ever.
    pub delete_after: Option<Duration>,
}

/// Checks a spec.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate(object_name: &str, spec: &TopicSpec) -> Result<ValidatedTopic, Problems> {
    const DELAY: Duration = Duration::from_hours(1);
    let mut problems = Vec::new();
    let (field, name) = match &spec.topic_name {
        Some(name) => ("spec.topicName", name.as_str()),
        None => ("metadata.name", object_name),
    };
    check_name(field, name, &mut problems);
    for (key, value) in &spec.config {
        if let Err(error) = config_keys::check(Scope::Topic, key, value) {
            problems.push(Problem::new(&format!("spec.config[{key}]"), value, &error.to_string()));
        }
    }
    // with the cluster's defaults it is the broker's to check
    if let Err(error) = CompactionLags::DEFAULT.check(&spec.config) {
        let key = "min.compaction.lag.ms";
        let value = spec.config.get(key).map_or("", String::as_str);
        problems.push(Problem::new(&format!("spec.config[{key}]"), value, &error.to_string()));
    }
    for (field, count) in [("spec.partitions", spec.partitions), ("spec.replicationFactor", spec.replication_factor)] {
        if let Some(count) = count.filter(|count| *count < 1) {
            problems.push(Problem::new(field, &count.to_string(), "use at least 1, or leave it out"));
        }
    }
    let delay = match spec.deletion_delay.as_ref().map(|delay| (delay, delay.to_std())) {
        None => DELAY,
        Some((_, Ok(delay))) => delay,
        Some((delay, Err(error))) => {
            problems.push(Problem::new("spec.deletionDelay", &delay.to_string(), &error.to_string()));
            DELAY
        }
    };
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(ValidatedTopic {
        name: name.to_owned(),
        partitions: spec.partitions,
        replication_factor: spec.replication_factor,
        config: spec.config.clone(),
        drift: spec.drift.unwrap_or_default(),
        adoption: spec.adoption.unwrap_or_default(),
        delete_after: (spec.on_delete == Some(OnDelete::Delete)).then_some(delay),
    })
}

fn check_name(field: &str, name: &str, problems: &mut Vec<Problem>) {
    let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !legal || name.is_empty() || name.len() > 249 || name == "." || name == ".." {
        let remedy = "use 1 to 249 characters a-z, A-Z, 0-9, '.', '_' and '-', not '.' or '..'";
        problems.push(Problem::new(field, name, remedy));
    }
    if name.starts_with("__") {
        problems.push(Problem::new(field, name, "names that begin with '__' are Kafka's own; choose another"));
    }
}

#[cfg(test)]
mod tests {
    use super::validate;

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = "{clusterRef: {name: a}, topicName: __x/y, partitions: 0, deletionDelay: 1d, \
            config: {retention.ms: soon, nonsense: a}}";
        let problems = validate("t", &serde_saphyr::from_str(text).unwrap()).unwrap_err();
        insta::assert_snapshot!(problems.to_string().replace("; ", "\n"));
    }

    #[test]
    fn lags_of_compaction_must_go_together() {
        let text = "{clusterRef: {name: a}, config: {min.compaction.lag.ms: \"10\", max.compaction.lag.ms: \"5\"}}";
        let problems = validate("t", &serde_saphyr::from_str(text).unwrap()).unwrap_err().to_string();
        let kafkas = "min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
        assert!(problems.contains("spec.config[min.compaction.lag.ms]") && problems.contains(kafkas), "{problems}");
    }

    #[test]
    fn deletion_is_wanted_only_in_so_many_words() {
        let delay = |text: &str| {
            let spec = serde_saphyr::from_str(&format!("{{clusterRef: {{name: a}}, {text}}}")).unwrap();
            validate("t", &spec).unwrap().delete_after.map(|delay| delay.as_secs())
        };
        assert_eq!(delay("deletionDelay: 5s"), None);
        assert_eq!(delay("onDelete: Delete"), Some(3600));
        assert_eq!(delay("onDelete: Delete, deletionDelay: 0s"), Some(0));
    }
}
