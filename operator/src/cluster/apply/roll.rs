//! The writes of a roll: the template with the one before beside it, evictions, and going back.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kennet_api::names::{FIELD_OWNER, PREVIOUS_TEMPLATE_ANNOTATION, REVERTED_ANNOTATION};
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::build::{Desired, Pool};
use crate::cluster::fetch::Observed;
use crate::cluster::plan::Template;
use crate::context::Context;
use crate::error::{ReconcileError, has_code, said};
use crate::objects;

/// Applies the StatefulSet.
pub(super) async fn stateful_set(
    template: &Template,
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let Some(pool) = &desired.pool else { return Ok(()) };
    let live = observed.stateful_set.as_ref();
    let wanted = match live {
        Some(set) => beside(pool, set, template)?,
        None => pool.stateful_set.clone(),
    };
    objects::apply(&context.api(namespace), live, &wanted).await.map(drop)
}

/// The StatefulSet to apply where one lives: its template is replaced only by a roll, and what is remembered of a roll is repeated until
/// it is forgotten, because an apply drops what it leaves out.
fn beside(pool: &Pool, set: &StatefulSet, template: &Template) -> Result<Value, ReconcileError> {
    let mut wanted = pool.stateful_set.clone();
    match template {
        Template::New { anchor: Some(anchor) } => {
            wanted["metadata"]["annotations"] = json!({PREVIOUS_TEMPLATE_ANNOTATION: anchor});
        }
        Template::New { anchor: None } => {}
        Template::Live => {
            wanted["spec"]["template"] = serde_json::to_value(set.spec.as_ref().map(|spec| &spec.template))?;
            for name in [PREVIOUS_TEMPLATE_ANNOTATION, REVERTED_ANNOTATION] {
                if let Some(value) = set.annotations().get(name) {
                    wanted["metadata"]["annotations"][name] = json!(value);
                }
            }
        }
    }
    Ok(wanted)
}

/// Forgets a roll that has ended well. Explicitly: an apply without the annotations would find them covered and write nothing.
pub(super) async fn forget(observed: &Observed, context: &Context, namespace: &str) -> Result<(), ReconcileError> {
    let Some(set) = &observed.stateful_set else { return Ok(()) };
    let name = set.name_any();
    let patch = json!({"metadata": {
        "uid": set.uid(), "annotations": {PREVIOUS_TEMPLATE_ANNOTATION: null, REVERTED_ANNOTATION: null},
    }});
    let parameters = PatchParams { field_manager: Some(FIELD_OWNER.to_owned()), ..PatchParams::default() };
    let patched = context.api::<StatefulSet>(namespace).patch(&name, &parameters, &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(ReconcileError::api(format!("forget the roll of StatefulSet {name}")))
}

/// Evicts a pod through the disruption budget; whether it goes. A refusal is tried again by the next pass.
pub(super) async fn evict(context: &Context, namespace: &str, pod: &str, uid: &str) -> Result<bool, ReconcileError> {
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let delete = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    let parameters = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
    match Api::<Pod>::namespaced(context.evictions.clone(), namespace).evict(pod, &parameters).await {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) || has_code(&error, 429) => {
            tracing::info!(pod, error = said(&error), "the eviction waits");
            Ok(false)
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
    remove(context, namespace, pod, uid).await
}

/// Removes a failed pod, if it still is this one.
pub(super) async fn remove(context: &Context, namespace: &str, pod: &str, uid: &str) -> Result<(), ReconcileError> {
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    match context.api::<Pod>(namespace).delete(pod, &parameters).await {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
        Err(error) => Err(ReconcileError::api(format!("delete pod {pod}"))(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kennet_api::names::{PREVIOUS_TEMPLATE_ANNOTATION, REVERTED_ANNOTATION};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{beside, evict};
    use crate::cluster::fixture;
    use crate::cluster::plan::Template;
    use crate::context::clients;

    #[tokio::test]
    async fn an_eviction_that_the_budget_refuses_is_left_to_the_next_pass() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let body = r#"{"kind":"Status","status":"Failure","code":429,"message":"","reason":"TooManyRequests"}"#;
            let answer = format!("HTTP/1.1 429 Too Many Requests\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                while connection.read(&mut bytes).await.unwrap() > 0 {
                    // a body may come by itself
                    if bytes.starts_with(b"POST") {
                        count.fetch_add(1, Ordering::Relaxed);
                        connection.write_all(answer.as_bytes()).await.unwrap();
                    }
                    bytes.fill(0);
                }
            }
        });
        let mut context = fixture::answering(|_, _| (404, json!({})));
        (_, context.evictions) = clients(kube::Config::new(server.parse().unwrap())).unwrap();
        assert!(!evict(&context, "ns", "c-main-0", "1").await.unwrap());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_remembered_of_a_roll_is_repeated_until_a_new_one_begins() {
        let (old, new) = (fixture::cluster("version: a"), fixture::cluster("version: b"));
        let remembered = json!({PREVIOUS_TEMPLATE_ANNOTATION: "p", REVERTED_ANNOTATION: "r"});
        let set = fixture::stateful_set(&old, &remembered);
        let pool = fixture::desired(&new, &fixture::observed()).pool.unwrap();
        let live = beside(&pool, &set, &Template::Live).unwrap();
        assert_eq!(live["metadata"]["annotations"], remembered);
        assert_ne!(live["spec"]["template"], pool.stateful_set["spec"]["template"]);
        let rolled = beside(&pool, &set, &Template::New { anchor: Some("q".to_owned()) }).unwrap();
        assert_eq!(rolled["metadata"]["annotations"], json!({PREVIOUS_TEMPLATE_ANNOTATION: "q"}));
        assert_eq!(rolled["spec"]["template"], pool.stateful_set["spec"]["template"]);
    }
}
