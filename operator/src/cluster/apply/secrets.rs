//! Secrets: the CA and the identity are created once and never written again; certificates are renewed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kennet_contract::ClusterId;
use kennet_contract::management::BootstrapRecord;
use kennet_model::cluster::ValidatedCluster;
use serde_json::{Value, json};

use crate::cluster::build::Desired;
use crate::cluster::fetch::Observed;
use crate::context::{Context, secret_text};
use crate::error::ReconcileError;
use crate::{clock, objects, pki};

/// Makes the CA, and with it the cluster's id unless retained volumes name one.
pub(super) async fn create_authority(
    found: Option<ClusterId>,
    valid: &ValidatedCluster,
    desired: &Desired,
    context: &Context,
) -> Result<(), ReconcileError> {
    let cluster_id = found.unwrap_or_else(|| ClusterId::from_bytes(*uuid::Uuid::new_v4().as_bytes()));
    let ca = pki::new_ca(valid.name.as_str(), clock::now())?;
    let data = json!({"clusterId": cluster_id.to_string(), "ca.crt": ca.certificate, "ca.key": ca.key});
    create(&valid.name.ca_secret(), &data, valid, desired, context).await
}

/// Writes down who forms the first quorum: one create, never an apply.
pub(super) async fn create_identity(
    record: &BootstrapRecord,
    valid: &ValidatedCluster,
    desired: &Desired,
    context: &Context,
) -> Result<(), ReconcileError> {
    let data = json!({
        "clusterId": record.cluster_id.to_string(),
        "voters": serde_json::to_string(&record.voters)?,
    });
    create(&valid.name.identity_secret(), &data, valid, desired, context).await
}

async fn create(
    name: &str,
    data: &Value,
    valid: &ValidatedCluster,
    desired: &Desired,
    context: &Context,
) -> Result<(), ReconcileError> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": name, "namespace": valid.namespace, "labels": desired.labels,
            "ownerReferences": desired.volume_owners,
        },
        "stringData": data,
    });
    objects::create::<Secret>(&context.api(&valid.namespace), &secret).await.map(drop)
}

/// CA and identity go with the volumes: they have an owner only when the volumes do.
pub(super) async fn own(
    desired: &Desired,
    observed: &Observed,
    context: &Context,
    namespace: &str,
) -> Result<(), ReconcileError> {
    let api = context.api::<Secret>(namespace);
    for secret in &observed.secrets {
        objects::set_owners(&api, secret, &desired.volume_owners).await?;
    }
    // certificates are made again from the CA, so nothing is lost with them, and a later cluster of this name finds none
    if let Some(tls) = &observed.tls {
        objects::set_owners(&api, tls, &desired.owners).await?;
    }
    Ok(())
}

/// Writes new certificates beside those that are still good.
pub(super) async fn write_leaves(
    valid: &ValidatedCluster,
    desired: &Desired,
    observed: &Observed,
    context: &Context,
) -> Result<(), ReconcileError> {
    let Some((_, ca)) = &observed.authority else { return Ok(()) };
    let mut data: BTreeMap<String, String> = BTreeMap::new();
    if let Some(tls) = &observed.tls {
        for key in tls.data.iter().flatten().map(|(key, _)| key) {
            data.extend(secret_text(tls, key).map(|text| (key.clone(), text)));
        }
    }
    data.insert("ca.crt".to_owned(), ca.certificate.clone());
    for (id, leaf) in &observed.new_leaves {
        data.insert(format!("{id}.crt"), leaf.certificate.clone());
        data.insert(format!("{id}.key"), leaf.key.clone());
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": valid.name.tls_secret(), "namespace": valid.namespace, "labels": desired.labels},
        "stringData": data,
    });
    // its owner is set by the pass that sees it: were it applied, two managers would hold it
    objects::apply::<Secret>(&context.api(&valid.namespace), None, &secret).await.map(drop)
}
