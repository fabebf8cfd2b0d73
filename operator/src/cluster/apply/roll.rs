//! The writes of a roll: the template with the one before beside it, evictions, and going back.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kennet_api::names::{PREVIOUS_TEMPLATE_ANNOTATION, RESTART_INPUTS_ANNOTATION, REVERTED_ANNOTATION};
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, Preconditions};
use serde_json::{Value, json};

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::cluster::health;
use crate::cluster::plan::Template;
use crate::context::Context;
use crate::error::{ReconcileError, has_code};
use crate::objects;

/// Applies the StatefulSet.
pub(super) async fn stateful_set(
    template: Template,
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let Some(pool) = &desired.pool else { return Ok(()) };
    let mut wanted = pool.stateful_set.clone();
    let live = observed.stateful_set.as_ref();
    if let Some(set) = live {
        let live_template = template_of(set)?;
        let live_inputs = live_template["metadata"]["annotations"][RESTART_INPUTS_ANNOTATION].as_str();
        let changes = live_inputs != Some(pool.restart_inputs.as_str());
        let annotations = set.annotations();
        match template {
            Template::New if changes => {
                wanted["metadata"]["annotations"] = json!({PREVIOUS_TEMPLATE_ANNOTATION: live_template.to_string()});
            }
            Template::New => {
                // the same inputs: whatever else differs would only wait for the next restart, so the live one stays
                wanted["spec"]["template"] = live_template;
                if let Some(previous) = annotations.get(PREVIOUS_TEMPLATE_ANNOTATION)
                    && !observed.pods.iter().all(health::is_ready)
                {
                    wanted["metadata"]["annotations"] = json!({PREVIOUS_TEMPLATE_ANNOTATION: previous});
                }
            }
            Template::Live => {
                wanted["spec"]["template"] = live_template;
                keep(&mut wanted, set, &[PREVIOUS_TEMPLATE_ANNOTATION, REVERTED_ANNOTATION]);
            }
        }
    }
    objects::apply(&context.api(namespace), live, &wanted).await.map(drop)
}

fn keep(wanted: &mut Value, live: &StatefulSet, annotations: &[&str]) {
    for name in annotations {
        if let Some(value) = live.annotations().get(*name) {
            wanted["metadata"]["annotations"][*name] = json!(value);
        }
    }
}

fn template_of(set: &StatefulSet) -> Result<Value, ReconcileError> {
    Ok(serde_json::to_value(set.spec.as_ref().map(|spec| &spec.template))?)
}

/// Evicts a pod through the disruption budget; a refusal is tried again by the next pass.
pub(super) async fn evict(context: &Context, namespace: &str, pod: &str, uid: &str) -> Result<(), ReconcileError> {
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let delete = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    let parameters = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
    match context.api::<Pod>(namespace).evict(pod, &parameters).await {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) || has_code(&error, 429) => {
            tracing::info!(pod, %error, "the eviction waits");
            Ok(())
        }
        Err(error) => Err(ReconcileError::api(format!("evict pod {pod}"))(error)),
    }
}

/// Puts the template from before the roll back, remembers what failed, and removes the failed pod.
pub(super) async fn revert(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
    (pod, uid, message): (&str, &str, &str),
) -> Result<(), ReconcileError> {
    let (Some(pool), Some(set)) = (&desired.pool, &observed.stateful_set) else { return Ok(()) };
    let Some(previous) = set.annotations().get(PREVIOUS_TEMPLATE_ANNOTATION) else { return Ok(()) };
    let mut wanted = pool.stateful_set.clone();
    wanted["spec"]["template"] = serde_json::from_str(previous)?;
    let reverted = format!("{}\n{message}", pool.restart_inputs);
    wanted["metadata"]["annotations"] = json!({REVERTED_ANNOTATION: reverted});
    objects::apply::<StatefulSet>(&context.api(namespace), None, &wanted).await?;
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    match context.api::<Pod>(namespace).delete(pod, &parameters).await {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
        Err(error) => Err(ReconcileError::api(format!("delete pod {pod}"))(error)),
    }
}
