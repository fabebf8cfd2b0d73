//! Volume claims: made once, grown by apply, owned or let go by a patch. Nothing here deletes one.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kennet_api::names::DIRECTORY_ID_ANNOTATION;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::context::Context;
use crate::error::{self, ReconcileError, has_code};
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
    let mut refused = None;
    for (_, claim) in &desired.claims {
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        let Some(live) = observed.claims.iter().find(|one| one.name_any() == name) else {
            objects::create::<PersistentVolumeClaim>(&api, claim).await?;
            continue;
        };
        if let Err(error) = objects::apply(&api, Some(live), &grown(claim, live)).await {
            refused = Some(growth_refused(claim, live, error)?);
        }
    }
    refused.map_or(Ok(()), Err)
}

/// What the API server's refusal to make a claim larger means; any other error stays what it is.
fn growth_refused(
    claim: &Value,
    live: &PersistentVolumeClaim,
    error: ReconcileError,
) -> Result<ReconcileError, ReconcileError> {
    let (has, size) = (requested(live), claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap_or_default());
    match error {
        ReconcileError::Api { source, .. } if bytes(size) > bytes(&has) && has_code(&source, 403) => {
            let said = error::said(&source);
            Ok(ReconcileError::GrowthRefused { claim: live.name_any(), has, size: size.to_owned(), said })
        }
        error => Err(error),
    }
}

fn bytes(size: &str) -> i128 {
    kennet_api::Quantity::new(size).units().unwrap_or(0)
}

/// The size that a claim asks for.
fn requested(live: &PersistentVolumeClaim) -> String {
    let requests = live.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|all| all.get("storage")).map(|size| size.0.clone()).unwrap_or_default()
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
    let has = requested(live);
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

    use super::{apply, grown};
    use crate::cluster::fetch::Observed;
    use crate::cluster::fixture;

    #[tokio::test]
    async fn a_storage_class_that_expands_nothing_is_told_from_other_refusals() {
        let valid = fixture::cluster("");
        let small = json!({
            "metadata": {"name": "data-orders-main-0"}, "spec": {"resources": {"requests": {"storage": "512Mi"}}},
        });
        let observed = Observed { claims: vec![serde_json::from_value(small).unwrap()], ..fixture::observed() };
        let desired = fixture::desired(&valid, &observed);
        let refusing = |code: u16| {
            fixture::answering(move |_, _| {
                (
                    code,
                    json!({"kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": "Forbidden"}),
                )
            })
        };
        let error = apply(&desired, &observed, &refusing(403), "ns").await.unwrap_err();
        assert_eq!((error.reason(), error.stalls()), ("GrowthRefused", true));
        assert_eq!(
            error.to_string(),
            "claim data-orders-main-0 can't grow to 1Gi: no; set spec.storage.size to 512Mi, or let its storage class expand volumes"
        );
        assert_eq!(apply(&desired, &observed, &refusing(422), "ns").await.unwrap_err().reason(), "Invalid");
    }

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
