//! Volume claims: made once, grown by apply, owned or let go by a patch. Nothing here deletes one.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kennet_api::names::DIRECTORY_ID_ANNOTATION;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::objects;

/// Claims are made once and grow; a smaller size was refused by the plan, and nothing of it is written.
pub(super) async fn apply(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let api = context.api::<PersistentVolumeClaim>(namespace);
    // before they grow, which would outdate what was read; those of a stopped broker too: they hold the data that Retain is about
    for live in &observed.claims {
        objects::set_owners(&api, live, &desired.volume_owners).await?;
    }
    for (_, claim) in &desired.claims {
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        let Some(live) = observed.claims.iter().find(|one| one.name_any() == name) else {
            objects::create::<PersistentVolumeClaim>(&api, claim).await?;
            continue;
        };
        objects::apply(&api, Some(live), &grown(claim, live)).await?;
    }
    Ok(())
}

/// What is applied to a claim that exists. Not its owners: an item that another field manager set, such as the one that created the
/// claim, stays when an apply leaves it out.
fn grown(claim: &Value, live: &PersistentVolumeClaim) -> Value {
    let mut wanted = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": claim["metadata"],
        "spec": {"resources": claim["spec"]["resources"]},
    });
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        metadata.remove("ownerReferences");
    }
    let bytes = |text: &str| kennet_api::Quantity::new(text).units().unwrap_or(0);
    let requests = live.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let has = requests.and_then(|all| all.get("storage")).map(|size| size.0.clone()).unwrap_or_default();
    let asked = claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap_or_default();
    if bytes(asked) < bytes(&has) {
        wanted["spec"]["resources"]["requests"]["storage"] = json!(has);
    }
    if let Some(directory) = live.annotations().get(DIRECTORY_ID_ANNOTATION) {
        wanted["metadata"]["annotations"][DIRECTORY_ID_ANNOTATION] = json!(directory);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;
    use serde_json::json;

    use super::grown;

    #[test]
    fn a_claim_grows_and_never_shrinks_and_its_owners_are_not_applied() {
        let claim = |size: &str| {
            json!({
                "metadata": {"name": "data-a-main-0", "ownerReferences": []},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
            })
        };
        let live: PersistentVolumeClaim = serde_json::from_value(claim("2Gi")).unwrap();
        let larger = grown(&claim("3Gi"), &live);
        assert_eq!(larger["spec"], json!({"resources": {"requests": {"storage": "3Gi"}}}));
        assert_eq!(larger["metadata"].get("ownerReferences"), None);
        assert_eq!(grown(&claim("1Gi"), &live)["spec"]["resources"]["requests"]["storage"], "2Gi");
    }
}
