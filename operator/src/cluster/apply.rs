//! All writes of a KafkaCluster's pass. Each step may be the last before a crash.

mod roll;
mod secrets;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kennet_api::KafkaCluster;
use kennet_api::names::{DIRECTORY_ID_ANNOTATION, FIELD_OWNER};
use kennet_contract::management::BootstrapRecord;
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::cluster::plan::Step;
use crate::context::Context;
use crate::error::{ReconcileError, has_code};
use crate::objects::{self, Object};

/// Carries out one step.
pub(crate) async fn apply(
    step: &Step,
    cluster: &KafkaCluster,
    valid: &ValidatedCluster,
    desired: &Desired,
    observed: &Observed,
    context: &Context,
) -> Result<(), ReconcileError> {
    let namespace = &valid.namespace;
    match step {
        Step::CreateAuthority(found) => secrets::create_authority(*found, valid, desired, context).await,
        Step::OwnSecrets => secrets::own(desired, observed, context, namespace).await,
        Step::WriteLeaves => secrets::write_leaves(valid, desired, observed, context).await,
        Step::ApplyServices => {
            for service in &desired.services {
                let live = observed.services.iter().find(|one| service["metadata"]["name"] == one.name_any());
                objects::apply::<Service>(&context.api(namespace), live, service).await?;
            }
            Ok(())
        }
        Step::ApplyBudget => budget(desired, observed, context, namespace).await,
        Step::ApplyClaims => claims(desired, observed, context, namespace).await,
        Step::CreateConfig => config(desired, observed, context, namespace).await,
        Step::ApplyStatefulSet(template) => roll::stateful_set(*template, desired, observed, context, namespace).await,
        Step::Evict { pod, uid } => {
            context
                .event(cluster, false, "Rolling", &format!("pod {pod} is evicted to restart with the new spec"))
                .await;
            roll::evict(context, namespace, pod, uid).await
        }
        Step::Revert { pod, uid, message } => {
            context.event(cluster, true, "RolloutReverted", message).await;
            roll::revert(desired, observed, context, namespace, (pod, uid, message)).await
        }
        Step::CreateIdentity(record) => {
            context.event(cluster, false, "IdentityCreated", &format!("cluster {}", record.cluster_id)).await;
            secrets::create_identity(record, valid, desired, context).await
        }
        Step::Bootstrap(record) => bootstrap(record, valid, context).await,
        Step::StampClaim { claim, directory_id } => stamp(context, namespace, claim, directory_id).await,
        Step::PruneConfigs => prune(desired, observed, context, namespace).await,
    }
}

async fn budget(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    match (&desired.budget, &observed.budget) {
        (Some(budget), live) => {
            objects::apply::<PodDisruptionBudget>(&context.api(namespace), live.as_ref(), budget).await.map(drop)
        }
        (None, Some(live)) => delete(context, namespace, live).await,
        (None, None) => Ok(()),
    }
}

/// Claims are made once and grow; a smaller size was refused by the plan, and nothing of it is written.
async fn claims(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let api = context.api::<PersistentVolumeClaim>(namespace);
    for (_, claim) in &desired.claims {
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        let Some(live) = observed.claims.iter().find(|one| one.name_any() == name) else {
            objects::create::<PersistentVolumeClaim>(&api, claim).await?;
            continue;
        };
        let mut wanted = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": claim["metadata"],
            "spec": {"resources": claim["spec"]["resources"]},
        });
        let bytes = |text: &str| kennet_api::Quantity::new(text).units().unwrap_or(0);
        let has = live
            .spec
            .as_ref()
            .and_then(|spec| Some(spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone()));
        let has = has.unwrap_or_default();
        let asked = claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap_or_default();
        if bytes(asked) < bytes(&has) {
            wanted["spec"]["resources"]["requests"]["storage"] = json!(has);
        }
        if let Some(directory) = live.annotations().get(DIRECTORY_ID_ANNOTATION) {
            wanted["metadata"]["annotations"][DIRECTORY_ID_ANNOTATION] = json!(directory);
        }
        let kept = live.owner_references().len();
        let owners = wanted["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
        // an absent list of owners is covered by any, so a list that has to go is written in any case
        let live = (kept == owners).then_some(live);
        objects::apply(&api, live, &wanted).await?;
    }
    Ok(())
}

async fn config(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let Some(pool) = &desired.pool else { return Ok(()) };
    let name = pool.config_map["metadata"]["name"].as_str().unwrap_or_default();
    let live = observed.config_maps.iter().find(|one| one.name_any() == name);
    objects::check_owner(live, &observed.uid)?;
    if live.is_none() {
        objects::create::<ConfigMap>(&context.api(namespace), &pool.config_map).await?;
    }
    Ok(())
}

/// ConfigMaps of brokers that neither the new, the live nor the previous template names.
async fn prune(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let mut used = serde_json::to_string(&observed.stateful_set)?;
    used.push_str(&serde_json::to_string(&observed.pods)?);
    if let Some(pool) = &desired.pool {
        used.push_str(&pool.stateful_set.to_string());
    }
    for live in &observed.config_maps {
        let name = live.name_any();
        let ours = objects::owned_by(&live.metadata, &observed.uid) && name.contains("-main-config-");
        if ours && !used.contains(&name) {
            delete(context, namespace, live).await?;
        }
    }
    Ok(())
}

/// Deletes an object if it still is the one that was read.
async fn delete<K>(context: &Context, namespace: &str, live: &K) -> Result<(), ReconcileError>
where
    K: Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let name = live.name_any();
    let only_this = Preconditions { uid: live.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    match context.api::<K>(namespace).delete(&name, &parameters).await {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
        Err(error) => Err(ReconcileError::api(format!("delete {} {name}", K::kind(&())))(error)),
    }
}

async fn stamp(context: &Context, namespace: &str, claim: &str, directory_id: &str) -> Result<(), ReconcileError> {
    let patch = json!({"metadata": {"annotations": {DIRECTORY_ID_ANNOTATION: directory_id}}});
    let parameters = PatchParams { field_manager: Some(FIELD_OWNER.to_owned()), ..PatchParams::default() };
    let api = context.api::<PersistentVolumeClaim>(namespace);
    api.patch(claim, &parameters, &Patch::Merge(&patch))
        .await
        .map_err(ReconcileError::api(format!("stamp claim {claim}")))?;
    Ok(())
}

async fn bootstrap(
    record: &BootstrapRecord,
    valid: &ValidatedCluster,
    context: &Context,
) -> Result<(), ReconcileError> {
    let link = context.link(&valid.namespace, &valid.name, super::first_port(valid)).await?;
    Ok(link.management.bootstrap(record).await?)
}
