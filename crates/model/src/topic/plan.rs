//! From a topic as it should be and as it is to ordered steps.
//!
//! Each step can be the last one before a crash: the next plan goes on from there. What belongs to somebody else is never touched.

use std::collections::BTreeMap;

use kennet_api::{Adoption, Drift};
use kennet_contract::management::TopicOwner;

use crate::topic::ValidatedTopic;

/// Set by whoever moves partitions; neither ours nor drift.
const THROTTLE_KEYS: [&str; 2] = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Kafka's topic id.
    pub id: String,
    /// Partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i32,
    /// Configs that were set on it; not those that come from a default.
    pub config: BTreeMap<String, String>,
    /// Who looks after it.
    pub ownership: Ownership,
}

/// Who looks after a topic, and what was agreed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ownership {
    /// The owner; none when nobody does.
    pub owner: Option<TopicOwner>,
    /// Configs that the owner sets.
    pub managed_keys: Vec<String>,
    /// Generation of the object that was applied last; 0 none.
    pub generation: i64,
    /// How long the topic outlives its object; none for ever.
    pub delete_after_ms: Option<i64>,
    /// When it will be deleted.
    pub delete_at_ms: Option<i64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create it together with its claim: a topic that was created and not claimed could not be told from a stranger's.
    Create {
        /// What is agreed; the owner is the one who plans.
        agreed: Ownership,
    },
    /// Become or stay its owner. Cancels a deletion.
    Claim {
        /// Who is replaced.
        expected: Option<TopicOwner>,
        /// What is agreed from now on; the owner is the one who plans.
        agreed: Ownership,
    },
    /// Add partitions.
    Grow {
        /// How many there will be.
        total: i32,
    },
    /// Set configs, or take them back to their defaults.
    AlterConfig {
        /// Keys with new values; none for the default.
        changes: Vec<(String, Option<String>)>,
    },
}

/// Why a person is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// A CamelCase word.
    pub reason: &'static str,
    /// Field, value and remedy.
    pub message: String,
}

/// A config that differs from the spec, or that somebody else set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDifference {
    /// The key.
    pub key: String,
    /// What the spec says; none when it does not name the key.
    pub desired: Option<String>,
    /// What the cluster has; none for the default.
    pub actual: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicPlan {
    /// Steps in their order.
    pub steps: Vec<Step>,
    /// What stays different.
    pub drift: Vec<ConfigDifference>,
    /// Why not all is done.
    pub stall: Option<Stall>,
}

/// Makes a plan for the object `me` of this generation.
#[must_use]
pub fn plan(topic: &ValidatedTopic, me: &TopicOwner, generation: i64, observed: Option<&Observed>) -> TopicPlan {
    let agreed = Ownership {
        owner: Some(me.clone()),
        managed_keys: topic.config.keys().cloned().collect(),
        generation,
        delete_after_ms: topic.delete_after.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
        delete_at_ms: None,
    };
    let Some(observed) = observed else {
        return TopicPlan { steps: vec![Step::Create { agreed }], ..TopicPlan::default() };
    };
    let stall = refuse_ownership(topic, me, observed).or_else(|| refuse_shape(topic, observed));
    if stall.is_some() {
        return TopicPlan { stall, ..TopicPlan::default() };
    }
    let mut plan = TopicPlan::default();
    let changes = config_changes(topic, generation, observed, &mut plan.drift);
    let expected = observed.ownership.owner.clone();
    // claimed with old and new keys before, so that a crash forgets none that has to go back to its default
    let mut before = agreed.clone();
    before.generation = observed.ownership.generation;
    for key in &observed.ownership.managed_keys {
        if !before.managed_keys.contains(key) {
            before.managed_keys.push(key.clone());
        }
    }
    before.managed_keys.sort();
    let mut settled = observed.ownership.clone();
    if !changes.is_empty() && settled != before {
        plan.steps.push(Step::Claim { expected, agreed: before.clone() });
        settled = before;
    }
    if let Some(total) = topic.partitions.filter(|total| *total > observed.partitions) {
        plan.steps.push(Step::Grow { total });
    }
    if !changes.is_empty() {
        plan.steps.push(Step::AlterConfig { changes });
    }
    if settled != agreed {
        plan.steps.push(Step::Claim { expected: settled.owner, agreed });
    }
    plan
}

fn refuse_ownership(topic: &ValidatedTopic, me: &TopicOwner, observed: &Observed) -> Option<Stall> {
    let name = &topic.name;
    match &observed.ownership.owner {
        // the same name with another uid: the object was created again, so its predecessor is gone
        Some(owner) if owner.namespace == me.namespace && owner.name == me.name => None,
        Some(owner) => Some(Stall {
            reason: "TopicClaimed",
            message: format!(
                "spec.topicName is '{name}': Topic {}/{} has claimed it; delete that object or choose another name",
                owner.namespace, owner.name
            ),
        }),
        None => match topic.adoption {
            Adoption::Always => None,
            Adoption::Never => Some(Stall {
                reason: "TopicExists",
                message: format!(
                    "spec.adoption is 'Never': topic '{name}' exists already; allow its adoption or choose another name"
                ),
            }),
            Adoption::IfIdentical => refuse_difference(topic, observed),
        },
    }
}

/// Identical is what this spec would make: a key that it does not name is at its default. Throttles are nobody's.
fn refuse_difference(topic: &ValidatedTopic, observed: &Observed) -> Option<Stall> {
    let mut different = Vec::new();
    if let Some(wanted) = topic.partitions.filter(|wanted| *wanted != observed.partitions) {
        different.push(format!("partitions {} instead of {wanted}", observed.partitions));
    }
    for (key, wanted) in &topic.config {
        let actual = observed.config.get(key);
        if actual != Some(wanted) {
            different.push(format!("{key} {} instead of {wanted}", actual.map_or("at its default", String::as_str)));
        }
    }
    for (key, actual) in &observed.config {
        if !topic.config.contains_key(key) && !THROTTLE_KEYS.contains(&key.as_str()) {
            different.push(format!("{key} {actual}, which spec.config does not name"));
        }
    }
    (!different.is_empty()).then(|| Stall {
        reason: "TopicDiffers",
        message: format!(
            "spec.adoption is 'IfIdentical': topic '{}' exists and has {}; change the spec, or set adoption to Always",
            topic.name,
            different.join(" and ")
        ),
    })
}

fn refuse_shape(topic: &ValidatedTopic, observed: &Observed) -> Option<Stall> {
    if let Some(wanted) = topic.partitions.filter(|wanted| *wanted < observed.partitions) {
        let has = observed.partitions;
        let message = format!(
            "spec.partitions is '{wanted}': topic '{}' has {has} and can't shrink; set {has} or more",
            topic.name
        );
        return Some(Stall { reason: "PartitionDecreaseRefused", message });
    }
    let has = observed.replication_factor;
    let wanted = topic.replication_factor.filter(|wanted| *wanted != has)?;
    let message = format!(
        "spec.replicationFactor is '{wanted}': topic '{}' has {has}, and moving replicas comes with replication; set {has}",
        topic.name
    );
    Some(Stall { reason: "ReplicationFactorChangeRefused", message })
}

/// Changes to make; what stays different goes to `drift`.
fn config_changes(
    topic: &ValidatedTopic,
    generation: i64,
    observed: &Observed,
    drift: &mut Vec<ConfigDifference>,
) -> Vec<(String, Option<String>)> {
    let ownership = &observed.ownership;
    // a spec that is newer than what was applied last is a wish; the same spec and another value is drift
    let wish = ownership.generation != generation;
    let managed = |key: &String| ownership.managed_keys.contains(key);
    let mut changes = Vec::new();
    for (key, wanted) in &topic.config {
        let actual = observed.config.get(key);
        if actual == Some(wanted) {
            continue;
        }
        if topic.drift == Drift::Revert || wish || !managed(key) {
            changes.push((key.clone(), Some(wanted.clone())));
        } else {
            let (desired, actual) = (Some(wanted.clone()), actual.cloned());
            drift.push(ConfigDifference { key: key.clone(), desired, actual });
        }
    }
    for (key, actual) in &observed.config {
        if topic.config.contains_key(key) || THROTTLE_KEYS.contains(&key.as_str()) {
            continue;
        }
        if managed(key) {
            changes.push((key.clone(), None));
        } else {
            drift.push(ConfigDifference { key: key.clone(), desired: None, actual: Some(actual.clone()) });
        }
    }
    changes
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
