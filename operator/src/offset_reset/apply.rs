//! All writes of an OffsetReset's pass.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kennet_api::OffsetReset;
use kennet_model::cluster::ClusterName;
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{ReconcileError, has_code};
use crate::offset_reset::build;
use crate::offset_reset::decide::{self, Act, Decision};
use crate::{clock, objects};

/// A finished Job and its log are kept for a day.
const TTL_S: u32 = 86_400;

/// Does what was decided.
pub(super) async fn apply(
    decision: &Decision,
    reset: &OffsetReset,
    cluster: &ClusterName,
    port: u16,
    context: &Context,
) -> Result<(), ReconcileError> {
    let namespace = reset.namespace().unwrap_or_default();
    match &decision.act {
        Act::Nothing => Ok(()),
        Act::Record { hash, plan } => {
            let map = build::config_map(reset, hash, plan)?;
            create::<ConfigMap>(reset, hash, &map, context).await.map(drop)
        }
        Act::Start { hash, config_map } => start(reset, (hash, config_map), (cluster, port), context).await,
        Act::Applied { hash, config_map, at } => {
            // first, so that a Job whose end was seen never stays for ever
            let job = build::job_name(reset, hash);
            let patch = json!({"spec": {"ttlSecondsAfterFinished": TTL_S}});
            match context.api::<Job>(&namespace).patch(&job, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {}
                Err(error) if has_code(&error, 404) => {}
                Err(error) => return Err(ReconcileError::api(format!("set the time to live of Job {job}"))(error)),
            }
            annotate(reset, config_map, build::APPLIED_ANNOTATION, at, context).await?;
            context.event(reset, false, "Applied", &format!("plan {hash} is in place")).await;
            Ok(())
        }
    }
}

/// Makes a Job that waits, writes down that it is let go, and lets it go. Cut off anywhere, this is repeated; but once it is written down,
/// a Job that is missing is not made again, because it may have run.
async fn start(
    reset: &OffsetReset,
    (hash, config_map): (&str, &str),
    (cluster, port): (&ClusterName, u16),
    context: &Context,
) -> Result<(), ReconcileError> {
    let namespace = reset.namespace().unwrap_or_default();
    let limit = decide::limit(reset).unwrap_or_default();
    let Some(deadline_s) = build::deadline(limit, clock::now()) else { return Ok(()) };
    let set = objects::get::<StatefulSet>(&context.api(&namespace), &cluster.stateful_set()).await?;
    let default = format!("{}:{}", context.arguments.broker_image, context.arguments.broker_version);
    let pod = set.and_then(|set| set.spec?.template.spec);
    let pod = build::pod_spec(pod.as_ref(), &default);
    let job = build::job(reset, hash, config_map, &pod, &context.arguments.image_pull_policy, (cluster, port));
    if create::<Job>(reset, hash, &job, context).await? {
        context.event(reset, false, "Applying", &format!("plan {hash} is being applied")).await;
    }
    let now = clock::text(clock::now_ms());
    annotate(reset, config_map, build::STARTED_ANNOTATION, &now, context).await?;
    let name = build::job_name(reset, hash);
    let patch = json!({"spec": {"suspend": false, "activeDeadlineSeconds": deadline_s}});
    let patched = context.api::<Job>(&namespace).patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(ReconcileError::api(format!("let Job {name} go")))
}

async fn annotate(
    reset: &OffsetReset,
    config_map: &str,
    annotation: &str,
    value: &str,
    context: &Context,
) -> Result<(), ReconcileError> {
    let patch = json!({"metadata": {"annotations": {annotation: value}}});
    let maps = context.api::<ConfigMap>(&reset.namespace().unwrap_or_default());
    let patched = maps.patch(config_map, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(ReconcileError::api(format!("annotate ConfigMap {config_map}")))
}

/// Creates what belongs to a plan; one that is there has to be this plan's.
async fn create<K>(reset: &OffsetReset, hash: &str, desired: &Value, context: &Context) -> Result<bool, ReconcileError>
where
    K: objects::Object + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api = context.api::<K>(&reset.namespace().unwrap_or_default());
    if objects::create::<K>(&api, desired).await? {
        return Ok(true);
    }
    let name = desired["metadata"]["name"].as_str().unwrap_or_default();
    match objects::get(&api, name).await? {
        Some(live) if !is_of(live.meta(), &reset.uid().unwrap_or_default(), hash) => {
            Err(ReconcileError::NameCollision { object: format!("{} {name}", K::kind(&())) })
        }
        _ => Ok(false),
    }
}

fn is_of(meta: &ObjectMeta, uid: &str, hash: &str) -> bool {
    let said = meta.annotations.as_ref().and_then(|all| all.get(build::HASH_ANNOTATION));
    objects::owned_by(meta, uid) && said.is_some_and(|said| said == hash)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_of;

    #[test]
    fn an_object_of_that_name_is_no_success_unless_it_is_this_plan_s() {
        let meta = |uid: &str, hash: &str| {
            let owner = json!({"apiVersion": "a", "kind": "b", "name": "r", "uid": uid});
            serde_json::from_value(json!({"ownerReferences": [owner], "annotations": {"kennet.dev/plan-hash": hash}}))
                .unwrap()
        };
        assert!(is_of(&meta("u", "h"), "u", "h"));
        assert!(!is_of(&meta("other", "h"), "u", "h"));
        assert!(!is_of(&meta("u", "other"), "u", "h"));
    }
}
