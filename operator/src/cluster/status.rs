//! The status of a KafkaCluster: what was observed, written only when it differs.

use kennet_api::names::{CLUSTER_LABEL, MAIN_POOL, POOL_LABEL, RESTART_INPUTS_ANNOTATION};
use kennet_api::{BrokerStatus, KafkaCluster, KafkaClusterStatus, ListenerStatus, PoolStatus, RolloutStatus};
use kennet_contract::management::BrokerState;
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;
use serde_json::Value;

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::cluster::health;
use crate::conditions::{Outcome, conditions};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::{clock, objects};

/// A status without its conditions.
pub(crate) type Report = KafkaClusterStatus;

/// What was observed.
pub(crate) fn report(
    valid: &ValidatedCluster,
    desired: &Desired,
    observed: &Observed,
    held_by: Option<&'static str>,
) -> Report {
    let available = observed.pods.iter().filter(|pod| health::is_ready(pod)).count();
    let available = i32::try_from(available).unwrap_or(i32::MAX);
    let wanted = desired.pool.as_ref().map(|pool| pool.restart_inputs.as_str());
    let updated = |pod: &&k8s_openapi::api::core::v1::Pod| {
        pod.annotations().get(RESTART_INPUTS_ANNOTATION).map(String::as_str) == wanted
    };
    let updated = i32::try_from(observed.pods.iter().filter(updated).count()).unwrap_or(i32::MAX);
    let host = format!("{}.{}.svc", valid.name.bootstrap_service(), valid.namespace);
    let listeners = valid.listeners.iter().map(|listener| ListenerStatus {
        name: Some(listener.name.clone()),
        bootstrap_servers: Some(format!("{host}:{}", listener.port)),
    });
    let total = i32::try_from(observed.pods.len()).unwrap_or(i32::MAX);
    KafkaClusterStatus {
        cluster_id: observed.authority.as_ref().map(|(id, _)| id.to_string()),
        replicas: Some(total),
        selector: Some(format!("{CLUSTER_LABEL}={},{POOL_LABEL}={MAIN_POOL}", valid.name)),
        brokers_total: Some(valid.brokers),
        brokers_available: Some(available),
        version: running(observed),
        available_version: desired.available_version.clone(),
        listeners: Some(listeners.collect()),
        pools: Some(vec![PoolStatus {
            name: Some(MAIN_POOL.to_owned()),
            desired: Some(valid.brokers),
            available: Some(available),
            updated: Some(updated),
        }]),
        brokers: Some(brokers(valid, observed)),
        rollout: (updated < total).then(|| RolloutStatus {
            pending: Some(vec![0]),
            current: None,
            held_by: held_by.map(str::to_owned),
        }),
        ..KafkaClusterStatus::default()
    }
}

/// The version that runs: the tag of the pod's image, not of the one that it is to restart with. None while none runs.
fn running(observed: &Observed) -> Option<String> {
    let pod = observed.pods.iter().find(|pod| pod.metadata.deletion_timestamp.is_none())?;
    let (_, tag) = pod.spec.as_ref()?.containers.first()?.image.as_ref()?.rsplit_once(':')?;
    Some(tag.to_owned())
}

fn brokers(valid: &ValidatedCluster, observed: &Observed) -> Vec<BrokerStatus> {
    (0..valid.brokers)
        .map(|id| {
            let said = observed.broker.as_ref().and_then(|answer| answer.as_ref().ok());
            let state = match said.map(|status| status.state) {
                Some(BrokerState::Serving) => "Serving",
                Some(BrokerState::Recovering) => "Recovering",
                Some(BrokerState::Failed) => "Failed",
                Some(_) => "Starting",
                None => "Offline",
            };
            BrokerStatus {
                id: Some(id),
                pod: Some(valid.name.pod(id)),
                directory_id: said.map(|status| status.directory_id.clone()),
                version: said.map(|status| status.version.clone()),
                state: Some(state.to_owned()),
            }
        })
        .collect()
}

/// What an event says. A condition of a cluster that serves has nothing to add to its reason, but an event is read alone.
fn note(outcome: &Outcome) -> &str {
    if outcome.message.is_empty() { "the cluster is as its spec says, and serves clients" } else { &outcome.message }
}

/// Writes conditions and report; without a report the last one stays.
pub(crate) async fn write(
    cluster: &KafkaCluster,
    context: &Context,
    outcome: &Outcome,
    report: Option<&Report>,
) -> Result<(), ReconcileError> {
    let generation = cluster.metadata.generation.unwrap_or(0);
    let live = cluster.status.clone().unwrap_or_default();
    let mut status = report.cloned().unwrap_or_else(|| live.clone());
    status.observed_generation = Some(generation);
    let before = live.conditions.clone().unwrap_or_default();
    status.conditions = Some(conditions(&before, generation, outcome, clock::now()));
    let was = before.iter().find(|one| one.type_ == "Ready").map(|one| one.reason.as_str());
    if was != Some(outcome.reason.as_str()) {
        let stalled = outcome.progress == crate::conditions::Progress::Stalled;
        if stalled || outcome.ready {
            context.event(cluster, stalled, &outcome.reason, note(outcome)).await;
        }
    }
    let (live, status): (Value, Value) = (serde_json::to_value(&live)?, serde_json::to_value(&status)?);
    let namespace = cluster.namespace().unwrap_or_default();
    objects::apply_status::<KafkaCluster>(&context.api(&namespace), &cluster.name_any(), &live, &status).await
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::{note, report};
    use crate::cluster::fetch::Observed;
    use crate::cluster::fixture;
    use crate::conditions::Outcome;

    #[test]
    fn no_event_is_without_a_sentence() {
        assert_eq!(note(&Outcome::settled("Serving", "")), "the cluster is as its spec says, and serves clients");
        assert_eq!(note(&Outcome::settled("Stopped", "spec.brokers is 0")), "spec.brokers is 0");
    }

    #[test]
    fn the_version_is_the_one_that_runs_and_a_held_restart_says_why() {
        let (old, new) = (fixture::cluster("version: a"), fixture::cluster("version: b"));
        let mut pod = serde_json::to_value(fixture::pod(&old, "ready")).unwrap();
        pod["spec"] = json!({"containers": [{"name": "broker", "image": "registry:5000/broker:a"}]});
        let pods: Vec<Pod> = vec![serde_json::from_value(pod).unwrap()];
        let observed = Observed { pods, ..fixture::observed() };
        let status = report(&new, &fixture::desired(&new, &observed), &observed, Some("Paused"));
        assert_eq!(status.version.as_deref(), Some("a"));
        let rollout = status.rollout.unwrap();
        assert_eq!((rollout.pending, rollout.held_by.as_deref()), (Some(vec![0]), Some("Paused")));
        let observed = fixture::observed();
        assert_eq!(report(&new, &fixture::desired(&new, &observed), &observed, None).version, None);
    }
}
