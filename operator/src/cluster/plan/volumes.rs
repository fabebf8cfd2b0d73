//! What volumes say about a cluster's identity, and sizes that can't be had.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kennet_api::Quantity;
use kennet_api::names::{CLUSTER_ID_ANNOTATION, DIRECTORY_ID_ANNOTATION};
use kennet_contract::ClusterId;
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;

use crate::cluster::fetch::Observed;
use crate::conditions::Outcome;

/// The cluster id that retained volumes, CA and identity agree on, if any names one.
pub(super) fn cluster_id(observed: &Observed) -> Result<Option<ClusterId>, String> {
    let mut agreed: Option<(ClusterId, String)> = None;
    let mut add = |id: ClusterId, source: String| match &agreed {
        Some((other, first)) if *other != id => Err(format!(
            "{first} belongs to cluster {other} and {source} to cluster {id}: remove what is not of this cluster"
        )),
        _ => {
            agreed.get_or_insert((id, source));
            Ok(())
        }
    };
    if let Some((id, _)) = &observed.authority {
        add(*id, "the CA".to_owned())?;
    }
    if let Some(record) = &observed.identity {
        add(record.cluster_id, "the identity".to_owned())?;
    }
    for claim in &observed.claims {
        let Some(text) = claim.annotations().get(CLUSTER_ID_ANNOTATION) else { continue };
        let id = text.parse().map_err(|error| format!("claim {}: {error}", claim.name_any()))?;
        add(id, format!("claim {}", claim.name_any()))?;
    }
    Ok(agreed.map(|(id, _)| id))
}

/// The data directory that a claim is stamped with.
pub(super) fn directory_id(observed: &Observed, claim: &str) -> Option<String> {
    let claim = observed.claims.iter().find(|one| one.name_any() == claim)?;
    claim.annotations().get(DIRECTORY_ID_ANNOTATION).cloned()
}

/// A size below what a volume has.
pub(super) fn refusal(valid: &ValidatedCluster, observed: &Observed, serving: bool) -> Option<Outcome> {
    let (claim, has) = observed.claims.iter().find_map(|claim| {
        let has = capacity(claim)?;
        (has.units().ok()? > valid.storage_bytes).then_some((claim, has))
    })?;
    let message = format!(
        "spec.storage.size is '{}': claim {} has {has}, and a volume can't shrink; set {has} or more",
        valid.storage_size,
        claim.name_any()
    );
    Some(Outcome::stalled(serving, "ShrinkRefused", message))
}

/// What a claim was asked for or has, whichever is known.
pub(crate) fn capacity(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(Quantity::new(&requests.get("storage")?.0))
}
