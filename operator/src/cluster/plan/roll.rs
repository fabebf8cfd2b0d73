//! Restarts: when a new template may be written, which pod is evicted, and when a roll is taken back.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;
use kennet_api::names::{PREVIOUS_TEMPLATE_ANNOTATION, RESTART_INPUTS_ANNOTATION, REVERTED_ANNOTATION};
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::cluster::health;
use crate::cluster::plan::unprotected::{self, Unprotected};
use crate::cluster::plan::{Hold, Step, Template, serves};
use crate::cluster::waiting::waiting;
use crate::conditions::Outcome;

/// A new broker that is not ready after this has failed, even if it does not crash.
const START_S_MAX: i64 = 600;

/// What to do about restarts.
pub(super) struct Roll {
    pub(super) template: Template,
    /// At most one step that disrupts.
    pub(super) step: Option<Step>,
    /// What to say, if there is anything to.
    pub(super) outcome: Option<Outcome>,
    /// What a restart waits for.
    pub(super) held_by: Option<Hold>,
}

impl Roll {
    /// The live template stays.
    fn keep(step: Option<Step>, outcome: Option<Outcome>) -> Self {
        Self { template: Template::Live, step, outcome, held_by: None }
    }
}

pub(super) fn plan(valid: &ValidatedCluster, desired: &Desired, observed: &Observed, now: Timestamp) -> Roll {
    let Some(wanted) = desired.pool.as_ref().map(|pool| pool.restart_inputs.as_str()) else {
        return Roll::keep(None, None);
    };
    let Some(set) = &observed.stateful_set else {
        let outcome = Outcome::reconciling(false, "Creating", "the broker's StatefulSet is made");
        return Roll { template: Template::New { anchor: None }, ..Roll::keep(None, Some(outcome)) };
    };
    let live = template_inputs(set);
    let pod = observed.pods.iter().find(|pod| pod.name_any() == valid.name.pod(0));
    let standing = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let serving = serves(observed);
    if live.as_deref() != Some(wanted) {
        let reverted = set.annotations().get(REVERTED_ANNOTATION);
        if let Some(message) = reverted.and_then(|text| said_of(text, wanted)) {
            return taken_back(standing, live.as_deref(), serving, &message);
        }
        if let Some(held) = pod.and_then(|pod| held(valid, observed, pod, serving)) {
            return held;
        }
        let outcome = Outcome::reconciling(serving, "Rolling", "broker 0 will restart");
        let template = Template::New { anchor: anchor(set, standing, wanted) };
        return Roll { template, ..Roll::keep(None, Some(outcome)) };
    }
    let Some(pod) = standing else { return Roll::keep(None, None) };
    if inputs(Some(pod.annotations())).as_deref() == Some(wanted) {
        return settle_or_revert(pod, set, serving, now);
    }
    if let Some(held) = held(valid, observed, pod, serving) {
        return held;
    }
    let step = Step::Evict { pod: pod.name_any(), uid: pod.uid().unwrap_or_default() };
    Roll::keep(Some(step), Some(Outcome::reconciling(serving, "Rolling", "broker 0 restarts")))
}

/// A spec that failed and runs no more. Its pod may still be there, if the operator ended between the two writes of the revert.
fn taken_back(pod: Option<&Pod>, live: Option<&str>, serving: bool, message: &str) -> Roll {
    let failed = pod.filter(|pod| inputs(Some(pod.annotations())).as_deref() != live);
    let step = failed.map(|pod| Step::RemovePod { pod: pod.name_any(), uid: pod.uid().unwrap_or_default() });
    let message =
        format!("the broker did not start with this spec and runs with the one before: {message}; change the spec");
    Roll::keep(step, Some(Outcome::stalled(serving, "RolloutReverted", message)))
}

/// What holds a restart of a pod that runs.
fn held(valid: &ValidatedCluster, observed: &Observed, pod: &Pod, serving: bool) -> Option<Roll> {
    let (held_by, reason, message) = if valid.paused {
        (Hold::Paused, "RolloutPaused", "spec.rollout.paused holds a restart; set it to false to go on".to_owned())
    } else {
        let (held_by, what) = match unprotected::holding(valid, observed, pod)? {
            Unprotected::Topics(topics) => (Hold::UnprotectedPartitions, topics),
            Unprotected::Unknown => (Hold::UnknownPartitions, "an unknown number of topics".to_owned()),
        };
        let message = format!(
            "spec.rollout.unprotectedPartitions is Block, and {what} would be unavailable during a restart, because their partitions have one \
             replica; set Restart to allow it"
        );
        (held_by, "RolloutHeld", message)
    };
    let outcome = Outcome::reconciling(serving, reason, message);
    Some(Roll { held_by: Some(held_by), ..Roll::keep(None, Some(outcome)) })
}

/// The template to go back to: the live one if a broker is ready with it; else the one that was kept, because what is being replaced has
/// not worked yet.
fn anchor(set: &StatefulSet, pod: Option<&Pod>, wanted: &str) -> Option<String> {
    let live = serde_json::to_string(&set.spec.as_ref()?.template).ok()?;
    let works = pod.is_some_and(|pod| health::is_ready(pod) && inputs(Some(pod.annotations())) == template_inputs(set));
    let kept = set.annotations().get(PREVIOUS_TEMPLATE_ANNOTATION).filter(|_| !works).cloned();
    // who goes back by hand to what worked has nothing further to go back to
    kept.or(Some(live)).filter(|anchor| anchored_inputs(anchor).as_deref() != Some(wanted))
}

fn anchored_inputs(template: &str) -> Option<String> {
    let template: PodTemplateSpec = serde_json::from_str(template).ok()?;
    inputs(template.metadata?.annotations.as_ref())
}

/// A pod with the new template: it serves, it still starts, or it has failed.
fn settle_or_revert(pod: &Pod, set: &StatefulSet, serving: bool, now: Timestamp) -> Roll {
    let remembers = |name: &str| set.annotations().contains_key(name);
    if health::is_ready(pod) {
        let over = remembers(PREVIOUS_TEMPLATE_ANNOTATION) || remembers(REVERTED_ANNOTATION);
        return Roll::keep(over.then_some(Step::ForgetRoll), None);
    }
    let started = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let late = now.as_second() - started.as_second() > START_S_MAX;
    let failed = health::failure(pod).map(|waiting| (waiting.what(), waiting.sentence(&pod.name_any())));
    match failed.or_else(|| late.then(|| too_late(pod))) {
        Some((message, _)) if remembers(PREVIOUS_TEMPLATE_ANNOTATION) => {
            let step = Step::Revert { pod: pod.name_any(), uid: pod.uid().unwrap_or_default(), message };
            let outcome = Outcome::reconciling(false, "Reverting", "the restart failed and is taken back");
            Roll::keep(Some(step), Some(outcome))
        }
        Some((_, message)) => Roll::keep(None, Some(Outcome::stalled(serving, "BrokerFailed", message))),
        None => Roll::keep(None, None),
    }
}

/// What is said of a pod that took too long: in short for the way back, and for a person.
fn too_late(pod: &Pod) -> (String, String) {
    let late = format!("not ready after {START_S_MAX} s");
    match waiting(pod) {
        Some(waiting) => {
            (format!("{late}: {}", waiting.what()), format!("{late}: {}", waiting.sentence(&pod.name_any())))
        }
        None => (late.clone(), format!("pod {} does not start: {late}", pod.name_any())),
    }
}

pub(super) fn template_inputs(set: &StatefulSet) -> Option<String> {
    inputs(set.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref())
}

fn inputs(annotations: Option<&std::collections::BTreeMap<String, String>>) -> Option<String> {
    annotations?.get(RESTART_INPUTS_ANNOTATION).cloned()
}

/// The annotation holds the inputs that failed, a line feed, and what the broker said.
fn said_of(annotation: &str, wanted: &str) -> Option<String> {
    let (failed, message) = annotation.split_once('\n')?;
    (failed == wanted).then(|| message.to_owned())
}
