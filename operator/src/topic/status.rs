//! The status of a Topic: what the cluster has, written only when it differs.

use kennet_api::{DriftedKey, Topic, TopicStatus};
use kennet_contract::management::TopicOwner;
use kennet_model::topic::{Observed, TopicPlan, ValidatedTopic};
use kube::ResourceExt;

use crate::conditions::{Outcome, Progress, conditions};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::{clock, objects};

/// A status without its conditions.
pub(crate) type Report = TopicStatus;

/// Differences that a status lists.
const DRIFT_MAX: usize = 20;

/// What a plan that has nothing more to do, or can't go on, means.
pub(crate) fn report(
    topic: &ValidatedTopic,
    me: &TopicOwner,
    plan: &TopicPlan,
    observed: Option<&Observed>,
) -> (Outcome, Option<Report>) {
    let drift = plan.drift.iter().take(DRIFT_MAX).map(|one| DriftedKey {
        key: Some(one.key.clone()),
        desired: one.desired.clone(),
        actual: one.actual.clone(),
    });
    let drift: Vec<DriftedKey> = drift.collect();
    // another object's topic is not this one's to tell of
    let own = observed.filter(|observed| observed.ownership.owner.is_none() || serves(me, Some(observed)));
    let status = TopicStatus {
        topic_id: own.map(|topic| topic.id.clone()),
        topic_name: Some(topic.name.clone()),
        partitions: own.map(|topic| topic.partitions),
        replication_factor: own.map(|topic| topic.replication_factor),
        drift: (!drift.is_empty()).then_some(drift),
        ..TopicStatus::default()
    };
    let outcome = match (&plan.stall, observed) {
        (Some(stall), _) => Outcome::stalled(serves(me, observed), stall.reason, stall.message.clone()),
        (None, Some(_)) if plan.steps.is_empty() => {
            let drifted = plan.drift.iter().any(|one| one.desired.is_some());
            if drifted {
                Outcome::settled(
                    "Drifted",
                    "the topic differs from the spec, and spec.drift is Report; see status.drift",
                )
            } else {
                Outcome::settled("InSync", "")
            }
        }
        _ => Outcome::reconciling(false, "Applying", "somebody else changes the topic at the same time"),
    };
    (outcome, Some(status))
}

/// Whether the topic is this object's, and so serves on; one that is not was never.
pub(crate) fn serves(me: &TopicOwner, observed: Option<&Observed>) -> bool {
    let owner = observed.and_then(|topic| topic.ownership.owner.as_ref());
    owner.is_some_and(|owner| owner.namespace == me.namespace && owner.name == me.name)
}

/// Whether the last status said Ready; only for what is shown while the cluster does not answer.
pub(crate) fn was_ready(topic: &Topic) -> bool {
    let conditions = topic.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Writes conditions and report; without a report the last one stays.
pub(crate) async fn write(
    topic: &Topic,
    context: &Context,
    outcome: &Outcome,
    report: Option<Report>,
) -> Result<(), ReconcileError> {
    let generation = topic.metadata.generation.unwrap_or(0);
    let live = topic.status.clone().unwrap_or_default();
    let before = live.conditions.clone().unwrap_or_default();
    let was = before.iter().find(|one| one.type_ == "Ready").map(|one| one.reason.as_str());
    if outcome.progress == Progress::Stalled && was != Some(outcome.reason.as_str()) {
        context.event(topic, true, &outcome.reason, &outcome.message).await;
    }
    let mut status = report.unwrap_or_else(|| live.clone());
    status.observed_generation = Some(generation);
    status.conditions = Some(conditions(&before, generation, outcome, clock::now()));
    let (live, status) = (serde_json::to_value(&live)?, serde_json::to_value(&status)?);
    let namespace = topic.namespace().unwrap_or_default();
    objects::apply_status::<Topic>(&context.api(&namespace), &topic.name_any(), &live, &status).await
}

#[cfg(test)]
mod tests {
    use kennet_contract::management::TopicOwner;
    use kennet_model::topic::{Observed, Ownership, plan, validate};

    use super::report;

    #[test]
    fn a_topic_that_was_never_claimed_is_not_ready() {
        let spec = serde_saphyr::from_str("{clusterRef: {name: c}, partitions: 1, adoption: Always}").unwrap();
        let topic = validate("t", &spec).unwrap();
        let me = TopicOwner { namespace: "n".into(), name: "t".into(), uid: "1".into() };
        let ready = |owner: Option<TopicOwner>| {
            let ownership = Ownership { owner, ..Ownership::default() };
            let config = std::collections::BTreeMap::new();
            let observed = Observed { id: "id".into(), partitions: 6, replication_factor: 1, config, ownership };
            let (outcome, _) = report(&topic, &me, &plan(&topic, &me, 1, Some(&observed)), Some(&observed));
            assert_eq!(outcome.reason, "PartitionDecreaseRefused");
            outcome.ready
        };
        assert!(!ready(None));
        assert!(ready(Some(me.clone())));
    }
}
