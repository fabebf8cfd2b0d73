//! All writes of a KafkaCluster's pass. Each step may be the last before a crash.

mod claims;
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
        Step::ApplyClaims => claims::apply(desired, observed, context, namespace).await,
        Step::CreateConfig => config(desired, observed, context, namespace).await,
        Step::ApplyStatefulSet(template) => roll::stateful_set(template, desired, observed, context, namespace).await,
        Step::Evict { pod, uid } => {
            // one event per restart, not one per refused eviction
            if roll::evict(context, namespace, pod, uid).await? {
                let note = format!("pod {pod} is evicted to restart with the new spec");
                context.event(cluster, false, "Rolling", &note).await;
            }
            Ok(())
        }
        Step::RemovePod { pod, uid } => roll::remove(context, namespace, pod, uid).await,
        Step::ForgetRoll => roll::forget(observed, context, namespace).await,
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
        Step::RecordGeneration(change) => {
            let link = context.link(namespace, &valid.name).await?;
            link.management.set_applied(change).await?;
            Ok(())
        }
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
    let api = context.api(namespace);
    if live.is_none() && !objects::create::<ConfigMap>(&api, &pool.config_map).await? {
        // somebody has one of that name without our label: another leader's is ours, any other is not
        let found: Option<ConfigMap> = objects::get(&api, name).await?;
        objects::check_owner(found.as_ref(), &observed.uid)?;
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
    let link = context.link(&valid.namespace, &valid.name).await?;
    Ok(link.management.bootstrap(record).await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::config;
    use crate::cluster::fixture;

    #[tokio::test]
    async fn a_config_map_of_somebody_else_is_a_collision_and_not_used() {
        let owned_by = |uid: &'static str| {
            fixture::answering(move |method, _| match method {
                "POST" => (
                    409,
                    json!({"kind": "Status", "status": "Failure", "code": 409, "message": "", "reason": "AlreadyExists"}),
                ),
                _ => {
                    let owner = json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": uid});
                    (200, json!({"metadata": {"name": "a", "ownerReferences": [owner]}}))
                }
            })
        };
        let observed = fixture::observed();
        let desired = fixture::desired(&fixture::cluster(""), &observed);
        assert!(config(&desired, &observed, &owned_by("1"), "ns").await.is_ok());
        let error = config(&desired, &observed, &owned_by("2"), "ns").await.unwrap_err();
        assert_eq!(error.reason(), "NameCollision");
    }
}
