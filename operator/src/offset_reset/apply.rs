//! All writes of an OffsetReset's pass.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kennet_api::OffsetReset;
use kennet_model::cluster::ClusterName;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::context::Context;
use crate::error::{ReconcileError, has_code};
use crate::objects;
use crate::offset_reset::build;
use crate::offset_reset::decide::{Act, Decision};

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
            objects::create::<ConfigMap>(&context.api(&namespace), &map).await.map(drop)
        }
        Act::Start { hash, config_map } => {
            let set = objects::get::<StatefulSet>(&context.api(&namespace), &cluster.stateful_set()).await?;
            let image = set.and_then(|set| set.spec?.template.spec?.containers.into_iter().next()?.image);
            let default = format!("{}:{}", context.arguments.broker_image, context.arguments.broker_version);
            let image = image.unwrap_or(default);
            let policy = &context.arguments.image_pull_policy;
            let job = build::job(reset, hash, config_map, &image, policy, (cluster, port));
            if objects::create::<Job>(&context.api(&namespace), &job).await? {
                context.event(reset, false, "Applying", &format!("plan {hash} is applied")).await;
            }
            Ok(())
        }
        Act::Applied { hash, config_map, at } => {
            let patch = json!({"metadata": {"annotations": {build::APPLIED_ANNOTATION: at}}});
            let parameters = PatchParams::default();
            let maps = context.api::<ConfigMap>(&namespace);
            let action = format!("annotate ConfigMap {config_map}");
            maps.patch(config_map, &parameters, &Patch::Merge(&patch)).await.map_err(ReconcileError::api(action))?;
            context.event(reset, false, "Applied", &format!("plan {hash} is in place")).await;
            let job = build::job_name(reset, hash);
            let patch = json!({"spec": {"ttlSecondsAfterFinished": TTL_S}});
            match context.api::<Job>(&namespace).patch(&job, &parameters, &Patch::Merge(&patch)).await {
                Ok(_) => Ok(()),
                Err(error) if has_code(&error, 404) => Ok(()),
                Err(error) => Err(ReconcileError::api(format!("set the time to live of Job {job}"))(error)),
            }
        }
    }
}
