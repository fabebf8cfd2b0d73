//! A spec that is older than the one that was applied last, as after a restore of a backup of Kubernetes: nothing that it asks for may shrink
//! the cluster or delete a topic before a person has looked. Pure.
//!
//! The generation that was applied last stands in the cluster's own metadata, which no backup of Kubernetes brings back. A broker that does not
//! serve can't be asked for it. Then only a broker that is not ready may be stopped: it may be the one that has to be mended.

use kennet_contract::management::{AppliedGeneration, AppliedGenerationChange};
use kennet_model::cluster::ValidatedCluster;

use crate::cluster::fetch::Observed;
use crate::cluster::health;
use crate::conditions::Outcome;
use crate::error::ReconcileError;
use crate::management::ManagementError;

/// The reason.
pub(super) const SPEC_WENT_BACK: &str = "SpecWentBack";

/// What to say of an object that is older than what was applied of it; none when it is not. One that was created again has a uid of its own.
pub(crate) fn message(uid: &str, generation: i64, applied: Option<&AppliedGeneration>) -> Option<String> {
    let newer = applied.filter(|applied| applied.uid == uid && applied.generation > generation)?.generation;
    let times = match newer.saturating_sub(generation) {
        1 => "once".to_owned(),
        more => format!("{more} times"),
    };
    Some(format!(
        "the object has generation {generation}, and its generation {newer} was applied before: its spec went back, as after a restore of a \
         backup. No broker is stopped and no topic is deleted until you have made sure that the spec is what you want and then changed it \
         {times}, so that it has generation {newer} again; every change counts, such as spec.rollout.paused to true and back"
    ))
}

/// Whether the spec asks for fewer brokers than there are, and may not have it yet.
enum Held {
    WentBack(String),
    Unknown(String),
}

fn held(valid: &ValidatedCluster, observed: &Observed) -> Option<Held> {
    let applied = match &observed.applied {
        Some(Ok(applied)) => applied.as_ref(),
        silent => {
            let ready = observed.pods.iter().any(health::is_ready);
            let why = silent.as_ref().and_then(|answer| answer.as_ref().err()).cloned();
            let why = why.unwrap_or_else(|| "it does not serve".to_owned());
            return (ready && valid.brokers < replicas_live(observed)).then_some(Held::Unknown(why));
        }
    };
    message(&observed.uid, observed.generation, applied).map(Held::WentBack)
}

/// How many brokers there are to be: those of the spec, or those that there are while a spec for fewer is held.
pub(super) fn replicas(valid: &ValidatedCluster, observed: &Observed) -> i32 {
    match held(valid, observed) {
        Some(_) => valid.brokers.max(replicas_live(observed)),
        None => valid.brokers,
    }
}

fn replicas_live(observed: &Observed) -> i32 {
    observed.stateful_set.as_ref().and_then(|set| set.spec.as_ref()?.replicas).unwrap_or(0)
}

/// What is said of a spec that is held.
pub(super) fn outcome(valid: &ValidatedCluster, observed: &Observed, serving: bool) -> Option<Outcome> {
    Some(match held(valid, observed)? {
        Held::WentBack(message) => Outcome::stalled(serving, SPEC_WENT_BACK, message),
        Held::Unknown(why) => {
            let pod = valid.name.pod(0);
            let message = format!(
                "broker 0 is ready and can't be asked which spec was applied last ({why}), so it is not stopped yet; delete pod {pod} to stop it \
                 all the same"
            );
            Outcome::reconciling(serving, "ShrinkHeld", message)
        }
    })
}

/// What to write down before this spec is applied; none when it stands there, is older, or nobody could say what does.
pub(super) fn change(observed: &Observed) -> Option<AppliedGenerationChange> {
    let Some(Ok(expected)) = &observed.applied else { return None };
    let applied = AppliedGeneration { uid: observed.uid.clone(), generation: observed.generation };
    let stands = |there: &AppliedGeneration| there.uid == applied.uid && there.generation >= applied.generation;
    let stands = expected.as_ref().is_some_and(stands);
    (!stands).then(|| AppliedGenerationChange { applied, expected: expected.clone() })
}

/// Whether a generation was not written down because another operator was faster; then nothing of this pass is true any more. When the broker
/// could not write it, the cluster is looked after all the same, and the next pass tries again.
pub(super) fn was_overtaken(error: &ReconcileError) -> bool {
    matches!(error, ReconcileError::Management(ManagementError::Refused { problem, .. })
        if ["GenerationMoved", SPEC_WENT_BACK].contains(&problem.reason.as_str()))
}

#[cfg(test)]
#[path = "went_back_tests.rs"]
mod tests;
