//! Reading and writing Kubernetes objects: server-side apply under one field owner, only of what differs, only of what is ours.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kennet_api::Quantity;
use kennet_api::names::FIELD_OWNER;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ReconcileError, has_code};

/// What every typed object can do.
pub(crate) trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize> Object for K {}

/// The object of that name, if there is one.
pub(crate) async fn get<K: Object>(api: &Api<K>, name: &str) -> Result<Option<K>, ReconcileError> {
    api.get_opt(name).await.map_err(ReconcileError::api(format!("read {} {name}", K::kind(&()))))
}

/// Objects with these labels.
pub(crate) async fn list<K: Object>(api: &Api<K>, labels: &str) -> Result<Vec<K>, ReconcileError> {
    let listed = api.list(&ListParams::default().labels(labels)).await;
    Ok(listed.map_err(ReconcileError::api(format!("list {}", K::plural(&()))))?.items)
}

/// Refuses an object that belongs to somebody else.
pub(crate) fn check_owner<K: Object>(live: Option<&K>, owner_uid: &str) -> Result<(), ReconcileError> {
    match live {
        Some(live) if !owned_by(live.meta(), owner_uid) => {
            let object = format!("{} {}", K::kind(&()), live.meta().name.as_deref().unwrap_or_default());
            Err(ReconcileError::NameCollision { object })
        }
        _ => Ok(()),
    }
}

/// Whether this owner is among those of an object.
pub(crate) fn owned_by(meta: &ObjectMeta, owner_uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|reference| reference.uid == owner_uid)
}

/// Makes `wanted` an object's only owners of our kind; those that somebody else added stay. By a patch of the object that was read and not
/// by apply, because apply leaves what another field manager has set, and garbage collection asks nobody who set it.
pub(crate) async fn set_owners<K: Object>(api: &Api<K>, live: &K, wanted: &Value) -> Result<(), ReconcileError> {
    let meta = live.meta();
    let Some(owners) = changed_owners(meta, wanted) else { return Ok(()) };
    let name = meta.name.as_deref().unwrap_or_default();
    let patch = serde_json::json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners,
    }});
    let parameters = PatchParams { field_manager: Some(FIELD_OWNER.to_owned()), ..PatchParams::default() };
    let action = format!("set the owner of {} {name}", K::kind(&()));
    api.patch(name, &parameters, &Patch::Merge(&patch)).await.map(drop).map_err(ReconcileError::api(action))
}

/// All owners that an object should have, if it has others of our kind than `wanted`.
fn changed_owners(live: &ObjectMeta, wanted: &Value) -> Option<Vec<Value>> {
    let ours = |owner: &&OwnerReference| owner.kind == "KafkaCluster" && owner.api_version.starts_with("kennet.dev/");
    let live = live.owner_references.as_deref().unwrap_or_default();
    let wanted = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
    let has: Vec<&str> = live.iter().filter(ours).map(|owner| owner.uid.as_str()).collect();
    let should: Vec<&str> = wanted.iter().filter_map(|owner| owner["uid"].as_str()).collect();
    let others = live.iter().filter(|owner| !ours(owner)).map(|owner| serde_json::json!(owner));
    (has != should).then(|| others.chain(wanted.iter().cloned()).collect())
}

/// Makes an object what `desired` says, unless it is already. Returns whether it wrote.
pub(crate) async fn apply<K: Object>(api: &Api<K>, live: Option<&K>, desired: &Value) -> Result<bool, ReconcileError> {
    let name = desired["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(live) = live
        && covers(&serde_json::to_value(live)?, desired)
    {
        return Ok(false);
    }
    let action = format!("apply {} {name}", K::kind(&()));
    tracing::debug!(kind = %K::kind(&()), name, "apply");
    let parameters = PatchParams::apply(FIELD_OWNER).force();
    api.patch(name, &parameters, &Patch::Apply(desired)).await.map_err(ReconcileError::api(action))?;
    Ok(true)
}

/// Creates an object that must not exist yet; whether it was this call that did.
pub(crate) async fn create<K: Object>(api: &Api<K>, desired: &Value) -> Result<bool, ReconcileError> {
    let object: K = serde_json::from_value(desired.clone())?;
    let name = desired["metadata"]["name"].as_str().unwrap_or_default();
    let parameters = PostParams { field_manager: Some(format!("{FIELD_OWNER}-create")), ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, 409) => Ok(false),
        Err(error) => Err(ReconcileError::api(format!("create {} {name}", K::kind(&())))(error)),
    }
}

/// Writes a status, unless it is already so. Server-side apply takes out what the new one does not have.
pub(crate) async fn apply_status<K: Object>(
    api: &Api<K>,
    name: &str,
    live: &Value,
    status: &Value,
) -> Result<(), ReconcileError> {
    if live == status {
        return Ok(());
    }
    let patch = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_OWNER).force();
    match api.patch_status(name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        // it was deleted meanwhile, so nobody reads its status
        Err(error) if has_code(&error, 404) => Ok(()),
        Err(error) => Err(ReconcileError::api(format!("write the status of {} {name}", K::kind(&())))(error)),
    }
}

/// Whether everything in `desired` is in `live`; numbers with units are compared by value, because the API server rewrites them.
pub(crate) fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| match live.get(key) {
                Some(found) => covers(found, wanted),
                // the API server leaves out what is empty
                None => empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(found, wanted)| covers(found, wanted))
        }
        (Value::String(found), Value::String(wanted)) => found == wanted || same_quantity(found, wanted),
        _ => live == desired,
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn same_quantity(left: &str, right: &str) -> bool {
    matches!((Quantity::new(left).milli(), Quantity::new(right).milli()), (Ok(left), Ok(right)) if left == right)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{changed_owners, covers};

    #[test]
    fn a_volume_that_is_to_stay_loses_our_owner_whoever_set_it_and_is_then_left_alone() {
        let owner =
            |kind: &str, uid: &str| json!({"apiVersion": "kennet.dev/v1alpha1", "kind": kind, "name": "a", "uid": uid});
        let meta = |owners: serde_json::Value| serde_json::from_value(json!({"ownerReferences": owners})).unwrap();
        let ours = owner("KafkaCluster", "1");
        let other = owner("Backup", "2");
        assert_eq!(changed_owners(&meta(json!([ours])), &json!([])), Some(vec![]));
        assert_eq!(changed_owners(&meta(json!([])), &json!([])), None);
        assert_eq!(changed_owners(&meta(json!([])), &json!([ours])), Some(vec![ours.clone()]));
        assert_eq!(changed_owners(&meta(json!([ours])), &json!([ours])), None);
        assert_eq!(changed_owners(&meta(json!([other, ours])), &json!([])), Some(vec![other.clone()]));
        assert_eq!(changed_owners(&meta(json!([other])), &json!([])), None);
        let reborn = owner("KafkaCluster", "3");
        assert_eq!(changed_owners(&meta(json!([ours])), &json!([reborn])), Some(vec![reborn]));
    }

    #[test]
    fn what_the_api_server_adds_or_rewrites_is_no_difference() {
        let live = json!({"spec": {"size": "1Gi", "ports": [{"port": 1, "protocol": "TCP"}], "more": true}});
        assert!(covers(&live, &json!({"spec": {"size": "1024Mi", "ports": [{"port": 1}], "labels": {}}})));
        assert!(!covers(&live, &json!({"spec": {"size": "2Gi"}})));
        assert!(!covers(&live, &json!({"spec": {"ports": [{"port": 2}]}})));
        assert!(!covers(&live, &json!({"spec": {"ports": []}})));
        assert!(!covers(&live, &json!({"spec": {"new": "a"}})));
    }
}
