//! KafkaCluster: brokers in a StatefulSet, their volumes, certificates, config and identity.
//!
//! One pass: fetch all, validate, build what should be, plan the steps, apply them, write the status. A pass that crashed anywhere is
//! finished by the next one.

mod age;
mod apply;
mod build;
mod deletions;
mod fetch;
#[cfg(test)]
pub(crate) mod fixture;
mod follow;
mod health;
mod listening;
mod plan;
mod status;
mod waiting;
mod went_back;
mod woken;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kennet_api::KafkaCluster;
use kennet_api::names::CLUSTER_LABEL;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;

pub(crate) use age::too_old;
pub(crate) use health::is_ready;
pub(crate) use listening::clients_port;
pub(crate) use plan::first_port;
pub(crate) use waiting::why_not_running;
pub(crate) use went_back::message as spec_went_back;

use crate::cluster::plan::Step;
use crate::cluster::went_back::SPEC_WENT_BACK;
use crate::conditions::{Outcome, conditions};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::health::ReconcileLabels;
use crate::{clock, objects, topic};

/// Steps in flight are looked at again after this.
const BUSY: Duration = Duration::from_secs(2);
/// Even if nothing seems to change.
const AUDIT: Duration = Duration::from_hours(1);

/// An API of one namespace or of all.
pub(crate) fn scoped<K>(context: &Context, scope: Option<&String>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    }
}

/// Runs the controller.
pub(crate) async fn run(context: Arc<Context>, scope: Option<String>) {
    let scope = scope.as_ref();
    let labelled = || watcher::Config::default().labels(CLUSTER_LABEL);
    let clusters: Api<DeserializeGuard<KafkaCluster>> = scoped(&context, scope);
    let controller = Controller::new(clusters, watcher::Config::default());
    let woken = woken::woken(context.looks(), controller.store());
    controller
        .owns(scoped::<StatefulSet>(&context, scope), labelled())
        .owns(scoped::<Service>(&context, scope), labelled())
        .owns(scoped::<PodDisruptionBudget>(&context, scope), labelled())
        .watches(scoped::<Pod>(&context, scope), labelled(), of_label)
        .watches(scoped::<PersistentVolumeClaim>(&context, scope), labelled(), of_label)
        .watches(scoped::<Secret>(&context, scope), labelled(), of_label)
        .watches(scoped::<ConfigMap>(&context, scope), labelled(), of_label)
        .reconcile_on(woken)
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|_| async {})
        .await;
}

fn of_label<K: kube::Resource>(object: K) -> Option<ObjectRef<DeserializeGuard<KafkaCluster>>> {
    let name = object.labels().get(CLUSTER_LABEL)?.clone();
    Some(ObjectRef::new(&name).within(&object.namespace()?))
}

async fn reconcile(
    object: Arc<DeserializeGuard<KafkaCluster>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let cluster = match &object.0 {
        Ok(cluster) => cluster,
        Err(invalid) => {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            undecodable::<KafkaCluster>(&context, &namespace, &name, &invalid.error).await?;
            return Ok(Action::await_change());
        }
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        // owned objects go by garbage collection, volumes stay or go by their owner
        return Ok(Action::await_change());
    }
    let passed = pass(cluster, &context).await;
    let (outcome, report, again) = match passed {
        Ok(passed) => passed,
        Err(error) => {
            let outcome = failure(cluster, &error);
            status::write(cluster, &context, &outcome, None).await?;
            return if error.stalls() { Ok(Action::requeue(Duration::from_secs(30))) } else { Err(error) };
        }
    };
    status::write(cluster, &context, &outcome, report.as_ref()).await?;
    let labels = ReconcileLabels { kind: "KafkaCluster", reason: outcome.reason.clone() };
    context.metrics.reconciles.get_or_create(&labels).inc();
    Ok(Action::requeue(again))
}

/// What a failed pass means: a cluster that was ready stays so while the operator tries again.
fn failure(cluster: &KafkaCluster, error: &ReconcileError) -> Outcome {
    let before = cluster.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = before.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
    if error.stalls() {
        Outcome::stalled(ready, error.reason(), error.to_string())
    } else {
        Outcome::reconciling(ready, error.reason(), error.to_string())
    }
}

async fn pass(
    cluster: &KafkaCluster,
    context: &Arc<Context>,
) -> Result<(Outcome, Option<status::Report>, Duration), ReconcileError> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let valid = match kennet_model::cluster::validate(&name, &namespace, &cluster.spec) {
        Ok(valid) => valid,
        Err(problems) => {
            let outcome = health::refused(cluster, "InvalidSpec", &problems.to_string(), context).await?;
            if let Ok(topic::Cluster::Serving { name, .. }) = topic::cluster(context, &namespace, &name).await {
                follow::start(cluster, name, context);
            }
            return Ok((outcome, None, AUDIT));
        }
    };
    let observed = fetch::fetch(cluster, &valid, context).await?;
    let desired = build::build(&valid, &observed, &context.arguments)?;
    let plan = plan::plan(&valid, &desired, &observed, clock::now());
    let (mut refused, mut unrecorded) = (None, false);
    for step in &plan.steps {
        match apply::apply(step, cluster, &valid, &desired, &observed, context).await {
            // a volume that can't grow is no reason to leave the rest undone
            Err(error @ ReconcileError::GrowthRefused { .. }) => refused = Some(error),
            // nor is a broker that can't write: it may be what this spec mends
            Err(error) if matches!(step, Step::RecordGeneration(_)) && !went_back::was_overtaken(&error) => {
                tracing::warn!(cluster = %name, %error, "the generation that is applied could not be written down");
                unrecorded = true;
            }
            done => done?,
        }
    }
    if plan.serving {
        follow::start(cluster, valid.name.clone(), context);
    }
    context.set_went_back(&(namespace.clone(), name.clone()), plan.outcome.reason == SPEC_WENT_BACK);
    let report = status::report(&valid, &desired, &observed, plan.held_by.map(plan::Hold::word));
    let again = if plan.is_open() || unrecorded { BUSY } else { AUDIT };
    let going = plan.outcome.progress == crate::conditions::Progress::Reconciling && plan.held_by.is_none();
    let outcome = match refused.filter(|_| !going) {
        Some(error) => Outcome::stalled(plan.outcome.ready, error.reason(), error.to_string()),
        None => deletions::outcome(plan.outcome, context.deletions_held(&(namespace, name)), deletions::said(cluster)),
    };
    Ok((outcome, Some(report), again))
}

fn retry(object: Arc<DeserializeGuard<KafkaCluster>>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let labels = ReconcileLabels { kind: "KafkaCluster", reason: error.reason().to_owned() };
    context.metrics.reconciles.get_or_create(&labels).inc();
    if error.is_conflict() {
        return Action::requeue(Duration::from_millis(200));
    }
    tracing::warn!(cluster = %object.name_any(), %error, "a pass failed and is tried again");
    Action::requeue(Duration::from_secs(5))
}

/// Says of an object that this operator can't read it, and nothing else.
pub(crate) async fn undecodable<K: objects::Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>>(
    context: &Context,
    namespace: &str,
    name: &str,
    error: &str,
) -> Result<(), ReconcileError> {
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(context.client.clone(), namespace, &kube::core::ApiResource::erase::<K>(&()));
    let Some(live) = api.get_opt(name).await.map_err(ReconcileError::api(format!("read {name}")))? else {
        return Ok(());
    };
    let generation = live.metadata.generation.unwrap_or(0);
    let outcome = Outcome::stalled(
        false,
        "Undecodable",
        format!("this operator can't read the object: {error}; correct it or update the operator"),
    );
    let before: Vec<_> = serde_json::from_value(live.data["status"]["conditions"].clone()).unwrap_or_default();
    let conditions = conditions(&before, generation, &outcome, clock::now());
    let status = json!({"observedGeneration": generation, "conditions": conditions});
    if live.data["status"] == status {
        return Ok(());
    }
    let patch =
        json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "status": status});
    let parameters = kube::api::PatchParams::apply(kennet_api::names::FIELD_OWNER).force();
    api.patch_status(name, &parameters, &kube::api::Patch::Apply(&patch))
        .await
        .map_err(ReconcileError::api(format!("write the status of {name}")))?;
    Ok(())
}
