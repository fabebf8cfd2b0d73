//! Restarts: when a new template may be written, which pod is evicted, and when a roll is taken back.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kennet_api::names::{PREVIOUS_TEMPLATE_ANNOTATION, RESTART_INPUTS_ANNOTATION, REVERTED_ANNOTATION};
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::cluster::health;
use crate::cluster::plan::{Step, Template, serves};
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
}

pub(super) fn plan(valid: &ValidatedCluster, desired: &Desired, observed: &Observed, now: Timestamp) -> Roll {
    let keep = |outcome| Roll { template: Template::Live, step: None, outcome };
    let renew = |step, outcome| Roll { template: Template::New, step, outcome };
    let Some(wanted) = desired.pool.as_ref().map(|pool| pool.restart_inputs.as_str()) else { return keep(None) };
    let Some(set) = &observed.stateful_set else {
        return renew(None, Some(Outcome::reconciling(false, "Creating", "the broker's StatefulSet is made")));
    };
    let live = set.spec.as_ref().and_then(|spec| inputs(spec.template.metadata.as_ref()?.annotations.as_ref()));
    let reverted = set.annotations().get(REVERTED_ANNOTATION);
    let pod = observed.pods.iter().find(|pod| pod.name_any() == valid.name.pod(0));
    let serving = serves(observed);
    if live.as_deref() != Some(wanted) {
        if let Some(message) = reverted.and_then(|text| said_of(text, wanted)) {
            let message = format!(
                "the broker did not start with this spec and runs with the one before: {message}; change the spec"
            );
            return keep(Some(Outcome::stalled(serving, "RolloutReverted", message)));
        }
        if valid.paused {
            let outcome = Outcome::reconciling(serving, "RolloutPaused", "spec.rollout.paused holds a restart");
            return keep(pod.is_some().then_some(outcome));
        }
        return renew(None, Some(Outcome::reconciling(serving, "Rolling", "broker 0 will restart")));
    }
    let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) else { return renew(None, None) };
    if inputs(Some(pod.annotations())).as_deref() == Some(wanted) {
        return renew_or_revert(pod, set.annotations().contains_key(PREVIOUS_TEMPLATE_ANNOTATION), serving, now);
    }
    if valid.paused {
        let outcome = Outcome::reconciling(serving, "RolloutPaused", "spec.rollout.paused holds a restart");
        return renew(None, Some(outcome));
    }
    let step = Step::Evict { pod: pod.name_any(), uid: pod.uid().unwrap_or_default() };
    renew(Some(step), Some(Outcome::reconciling(serving, "Rolling", "broker 0 restarts")))
}

/// A pod with the new template: it serves, it still starts, or it has failed.
fn renew_or_revert(pod: &Pod, can_revert: bool, serving: bool, now: Timestamp) -> Roll {
    let roll = |step, outcome| Roll { template: Template::New, step, outcome };
    if health::is_ready(pod) {
        return roll(None, None);
    }
    let started = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let late = now.as_second() - started.as_second() > START_S_MAX;
    let failed = health::failure(pod).or_else(|| late.then(|| format!("not ready after {START_S_MAX} s")));
    match failed {
        Some(message) if can_revert => {
            let step = Step::Revert { pod: pod.name_any(), uid: pod.uid().unwrap_or_default(), message };
            roll(Some(step), Some(Outcome::reconciling(false, "Reverting", "the restart failed and is taken back")))
        }
        Some(message) => {
            let message = format!("pod {} does not start: {message}", pod.name_any());
            roll(None, Some(Outcome::stalled(serving, "BrokerFailed", message)))
        }
        None => roll(None, None),
    }
}

fn inputs(annotations: Option<&std::collections::BTreeMap<String, String>>) -> Option<String> {
    annotations?.get(RESTART_INPUTS_ANNOTATION).cloned()
}

/// The annotation holds the inputs that failed, a line feed, and what the broker said.
fn said_of(annotation: &str, wanted: &str) -> Option<String> {
    let (failed, message) = annotation.split_once('\n')?;
    (failed == wanted).then(|| message.to_owned())
}
