//! From what should be and what is to ordered steps, at most one of which disrupts a broker. Pure; no status of ours is read.
//!
//! The pod template is written only when a roll is admitted, because a pod that is evicted meanwhile would take it.

#[cfg(test)]
mod identity_tests;
mod leaving;
#[cfg(test)]
mod leaving_tests;
mod roll;
#[cfg(test)]
mod tests;
pub(crate) mod unprotected;
mod volumes;

use k8s_openapi::jiff::Timestamp;
use kennet_contract::ClusterId;
use kennet_contract::management::{AppliedGenerationChange, BootstrapRecord, BrokerState};
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;

use crate::cluster::age;
use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::cluster::health;
use crate::cluster::waiting::waiting;
use crate::cluster::went_back;
use crate::conditions::{Outcome, Progress};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the cluster's CA; its id too, unless volumes name one.
    CreateAuthority(Option<ClusterId>),
    /// Set the owners of Secrets that may outlive the object.
    OwnSecrets,
    /// Write certificates that are missing or end soon.
    WriteLeaves,
    /// Apply Services.
    ApplyServices,
    /// Apply the disruption budget, or remove it.
    ApplyBudget,
    /// Create or grow volume claims.
    ApplyClaims,
    /// Create the ConfigMap.
    CreateConfig,
    /// Apply the StatefulSet, with its new template or with the one that it has.
    ApplyStatefulSet(Template),
    /// Evict a broker's pod, if it still is this one.
    Evict {
        /// Its name.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Go back to the template before the roll and remove the pod that failed.
    Revert {
        /// Its name.
        pod: String,
        /// Its uid.
        uid: String,
        /// What it said.
        message: String,
    },
    /// Remove the pod that failed: the rest of a revert that was interrupted.
    RemovePod {
        /// Its name.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Take away what a roll that has ended well left for its revert.
    ForgetRoll,
    /// Write down who forms the first quorum.
    CreateIdentity(BootstrapRecord),
    /// Tell the first broker.
    Bootstrap(BootstrapRecord),
    /// Write a broker's directory onto its volume claim.
    StampClaim {
        /// The claim.
        claim: String,
        /// The directory.
        directory_id: String,
    },
    /// Write down which spec is applied.
    RecordGeneration(AppliedGenerationChange),
    /// Remove ConfigMaps that nothing refers to.
    PruneConfigs,
}

/// Which template a StatefulSet gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Template {
    /// The new one.
    New {
        /// The one to go back to, as JSON; it is kept beside.
        anchor: Option<String>,
    },
    /// The one that it has.
    Live,
}

/// What to do.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) outcome: Outcome,
    /// Whether the cluster answers, so that its topics can be looked after.
    pub(crate) serving: bool,
    /// What a restart waits for.
    pub(crate) held_by: Option<Hold>,
    /// Whether a broker's pod is on its way out and may take longer than it should.
    leaves: bool,
}

/// What a restart waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The spec.
    Paused,
    /// Topics that would be unavailable, and the spec.
    UnprotectedPartitions,
    /// An answer of the broker, which tells which topics would be.
    UnknownPartitions,
}

impl Hold {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::UnprotectedPartitions => "UnprotectedPartitions",
            Self::UnknownPartitions => "UnknownPartitions",
        }
    }

    /// Whether its end is an event: a change of the spec, of the pod, or of the cluster's metadata, which is followed.
    fn ends_with_an_event(self) -> bool {
        matches!(self, Self::Paused | Self::UnprotectedPartitions)
    }
}

impl Plan {
    /// Whether there is something in flight to look at again soon. What is held has nothing in flight, if the broker serves and so is followed.
    pub(crate) fn is_open(&self) -> bool {
        let waits = self.serving && self.held_by.is_some_and(Hold::ends_with_an_event);
        self.leaves || self.outcome.progress == Progress::Reconciling && !waits
    }
}

/// The port of the listener that the operator itself uses.
pub(crate) fn first_port(cluster: &ValidatedCluster) -> u16 {
    cluster.listeners.first().map_or(kennet_contract::ports::CLIENTS, |listener| listener.port)
}

/// Makes a plan.
pub(crate) fn plan(valid: &ValidatedCluster, desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    let serving = serves(observed);
    let only = |steps, outcome| Plan { steps, outcome, serving: false, held_by: None, leaves: false };
    if let Some(message) = newer(observed) {
        return only(Vec::new(), Outcome::stalled(serving, "OperatorTooOld", message));
    }
    match (volumes::cluster_id(observed), &observed.authority) {
        (Err(conflict), _) => return only(Vec::new(), Outcome::stalled(serving, "IdentityConflict", conflict)),
        (Ok(found), None) => {
            let outcome = Outcome::reconciling(false, "Creating", "the cluster's CA is made");
            return only(vec![Step::CreateAuthority(found)], outcome);
        }
        (Ok(_), Some(_)) => {}
    }
    let mut steps = vec![Step::OwnSecrets];
    if !observed.new_leaves.is_empty() {
        steps.push(Step::WriteLeaves);
    }
    steps.extend([Step::ApplyServices, Step::ApplyBudget, Step::ApplyClaims, Step::CreateConfig]);
    let roll = roll::plan(valid, desired, observed, now);
    let held_by = roll.held_by;
    // before a broker is stopped, which could not be told any more
    steps.extend(went_back::change(observed).map(Step::RecordGeneration));
    steps.push(Step::ApplyStatefulSet(roll.template));
    steps.extend(roll.step);
    let identity = identity(valid, observed, &mut steps);
    steps.push(Step::PruneConfigs);
    let (stalled, going) = match roll.outcome {
        Some(outcome) if outcome.progress == Progress::Stalled => (Some(outcome), None),
        other => (None, other),
    };
    let leaving = leaving::pod(valid, observed);
    let lost = leaving.and_then(|pod| leaving::outcome(pod, now));
    let leaves = leaving.is_some() && lost.is_none();
    // a pod that does not go holds everything else up
    let outcome = lost
        .or_else(|| went_back::outcome(valid, observed, serving))
        .or(stalled)
        .or_else(|| volumes::refusal(valid, observed, serving))
        .or(identity)
        .or_else(|| directory_failed(valid, observed))
        .or(going)
        .unwrap_or_else(|| settle(valid, observed, serving));
    Plan { steps, outcome, serving, held_by, leaves }
}

/// Whether what runs is of a newer operator.
fn newer(observed: &Observed) -> Option<String> {
    let inputs = observed.stateful_set.as_ref().and_then(roll::template_inputs);
    let contract = observed.broker.as_ref().and_then(|answer| Some(answer.as_ref().ok()?.contract));
    age::too_old(inputs.as_deref(), contract)
}

/// Whether the broker answers and serves.
fn serves(observed: &Observed) -> bool {
    matches!(&observed.broker, Some(Ok(status)) if status.state == BrokerState::Serving)
        && observed.pods.iter().any(health::is_ready)
}

/// Identity and bootstrap: who forms the quorum is written once, and only then told.
fn identity(valid: &ValidatedCluster, observed: &Observed, steps: &mut Vec<Step>) -> Option<Outcome> {
    let Some(Ok(status)) = &observed.broker else { return None };
    let claim = valid.name.claim(0);
    let stamped = volumes::directory_id(observed, &claim);
    let voter = observed.identity.as_ref().and_then(|record| record.voters.first().cloned()).or(stamped.clone());
    if let Some(voter) = &voter
        && *voter != status.directory_id
    {
        let message = format!(
            "broker 0 has the data directory {}, and the cluster's data is in {voter}: bring the volume of claim {claim} back; \
             to begin again without that data, delete the KafkaCluster, its claims and the Secrets {}, {} and {}",
            status.directory_id,
            valid.name.identity_secret(),
            valid.name.ca_secret(),
            valid.name.tls_secret()
        );
        return Some(Outcome::stalled(false, "DirectoryUnavailable", message));
    }
    let record = BootstrapRecord { cluster_id: status.cluster_id, voters: vec![status.directory_id.clone()] };
    if observed.identity.is_none() {
        steps.push(Step::CreateIdentity(record.clone()));
    }
    if stamped.is_none() {
        steps.push(Step::StampClaim { claim, directory_id: status.directory_id.clone() });
    }
    if status.state == BrokerState::AwaitingBootstrap {
        steps.push(Step::Bootstrap(observed.identity.clone().unwrap_or(record)));
        return Some(Outcome::reconciling(false, "Bootstrapping", "broker 0 gets the cluster's identity"));
    }
    None
}

/// A disk that failed, or files that can't be read, wait for a person: what is on the volume is not what was written, and only they know of copies.
fn directory_failed(valid: &ValidatedCluster, observed: &Observed) -> Option<Outcome> {
    let Some(Ok(status)) = observed.broker.as_ref().filter(|_| valid.brokers > 0) else { return None };
    if status.state != BrokerState::Failed {
        return None;
    }
    let reason = status.offline.first().map_or("its data directory failed", |partition| partition.reason.as_str());
    let message = format!(
        "broker 0 serves nothing: {reason}. `kubectl logs {}` names the file; look at the disk under claim {}. After an error of the disk, delete \
         the pod: the start says what is missing. What is missing comes back only from a snapshot of the volume",
        valid.name.pod(0),
        valid.name.claim(0)
    );
    Some(Outcome::stalled(false, "DirectoryFailed", message))
}

fn settle(valid: &ValidatedCluster, observed: &Observed, serving: bool) -> Outcome {
    if valid.brokers == 0 {
        return match observed.pods.is_empty() {
            // as wished, so ready: tools that wait for it need not wait for a broker
            true => Outcome::settled("Stopped", "spec.brokers is 0; the data is kept"),
            false => Outcome::reconciling(false, "Stopping", "the broker stops"),
        };
    }
    if serving {
        return Outcome::settled("Serving", "");
    }
    let pod = observed.pods.iter().find(|pod| pod.name_any() == valid.name.pod(0));
    let answers = matches!(&observed.broker, Some(Ok(_)));
    let standing = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none() && !answers);
    if let Some((pod, waiting)) = standing.and_then(|pod| Some((pod, waiting(pod)?))) {
        return Outcome::reconciling(false, &waiting.reason, waiting.sentence(&pod.name_any()));
    }
    let message = match &observed.broker {
        Some(Ok(status)) => format!(
            "broker 0 is {:?}: {} of {} logs are open",
            status.state, status.recovery.logs_done, status.recovery.logs_total
        ),
        Some(Err(_)) => "broker 0 does not answer yet".to_owned(),
        None => match pod {
            Some(pod) => format!("pod {} starts", pod.name_any()),
            None => "the pod of broker 0 is not there yet".to_owned(),
        },
    };
    Outcome::reconciling(false, "Starting", message)
}
