//! Everything that a pass reads, once, before it decides anything.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kennet_api::names::CLUSTER_LABEL;
use kennet_api::{KafkaCluster, UnprotectedPartitions};
use kennet_contract::management::{AppliedGeneration, BootstrapRecord, BrokerState, Status, TopicOwners};
use kennet_contract::{ClusterId, PeerIdentity};
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;

use crate::context::{Context, operator_client, read_ca, secret_text};
use crate::error::ReconcileError;
use crate::management::{Management, ManagementError};
use crate::objects::Object;
use crate::pki::{self, Pair};
use crate::{clock, objects};

/// The world as one pass sees it.
pub(crate) struct Observed {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) stateful_set: Option<StatefulSet>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) services: Vec<Service>,
    pub(crate) budget: Option<PodDisruptionBudget>,
    pub(crate) config_maps: Vec<ConfigMap>,
    /// The cluster's id and CA; none for a new cluster.
    pub(crate) authority: Option<(ClusterId, Pair)>,
    /// Secrets of the cluster that exist, to set their owner.
    pub(crate) secrets: Vec<Secret>,
    /// Who forms the first quorum; none until the first broker has said its directory.
    pub(crate) identity: Option<BootstrapRecord>,
    /// Certificates of brokers, as they are in their Secret.
    pub(crate) tls: Option<Secret>,
    /// New certificates, if any is missing or ends soon.
    pub(crate) new_leaves: Vec<(i32, Pair)>,
    /// What broker 0 says of itself; an error's text when it does not answer.
    pub(crate) broker: Option<Result<Status, String>>,
    /// The spec that was applied last, as the broker says while it serves; an error's text when it does not say.
    pub(crate) applied: Option<Result<Option<AppliedGeneration>, String>>,
    /// Topics but Kafka's own, in order, if the broker was asked and answered: only when they may hold a restart.
    pub(crate) topics: Option<Vec<String>>,
}

/// Reads everything.
pub(crate) async fn fetch(
    cluster: &KafkaCluster,
    valid: &ValidatedCluster,
    context: &Context,
) -> Result<Observed, ReconcileError> {
    let namespace = &valid.namespace;
    let name = &valid.name;
    let labels = format!("{CLUSTER_LABEL}={name}");
    let uid = cluster.uid().unwrap_or_default();
    let stateful_set: Option<StatefulSet> = objects::get(&context.api(namespace), &name.stateful_set()).await?;
    objects::check_owner(stateful_set.as_ref(), &uid)?;
    let mut services = Vec::new();
    for service in [name.headless_service(), name.bootstrap_service()] {
        let found: Option<Service> = objects::get(&context.api(namespace), &service).await?;
        objects::check_owner(found.as_ref(), &uid)?;
        services.extend(found);
    }
    let claims: Vec<PersistentVolumeClaim> = objects::list(&context.api(namespace), &labels).await?;
    for claim in (0..valid.brokers).map(|id| valid.name.claim(id)) {
        if claims.iter().all(|one| one.name_any() != claim) {
            // one without our label would be mounted by its name all the same
            let found: Option<PersistentVolumeClaim> = objects::get(&context.api(namespace), &claim).await?;
            check_labelled(found.as_ref(), name.as_str())?;
        }
    }
    let budget: Option<PodDisruptionBudget> = objects::get(&context.api(namespace), &name.disruption_budget()).await?;
    objects::check_owner(budget.as_ref(), &uid)?;
    let mut secrets = Vec::new();
    for secret in [name.ca_secret(), name.identity_secret(), name.tls_secret()] {
        let found: Option<Secret> = objects::get(&context.api(namespace), &secret).await?;
        check_labelled(found.as_ref(), name.as_str())?;
        secrets.push(found);
    }
    let [ca, identity, tls] = secrets.try_into().unwrap_or([None, None, None]);
    let authority = ca.as_ref().map(read_ca).transpose()?;
    let mut observed = Observed {
        uid,
        generation: cluster.metadata.generation.unwrap_or(0),
        stateful_set,
        pods: objects::list(&context.api(namespace), &labels).await?,
        claims,
        services,
        budget,
        config_maps: objects::list(&context.api(namespace), &labels).await?,
        authority,
        identity: identity.as_ref().map(read_identity).transpose()?,
        secrets: ca.into_iter().chain(identity).collect(),
        tls,
        new_leaves: Vec::new(),
        broker: None,
        applied: None,
        topics: None,
    };
    observed.new_leaves = new_leaves(valid, &observed, clock::now())?;
    if let Some(management) = broker(valid, &observed)? {
        observed.broker = Some(within(management.status()).await);
        let serving = matches!(&observed.broker, Some(Ok(status)) if status.state == BrokerState::Serving);
        if serving {
            observed.applied = Some(within(management.last_applied()).await.map(|last| last.applied));
        }
        if serving && valid.unprotected_partitions == UnprotectedPartitions::Block {
            observed.topics = within(management.topic_owners()).await.ok().map(names);
        }
    }
    Ok(observed)
}

/// Secrets and volumes of a cluster outlive its object, so they are known by their label.
fn check_labelled<K: Object>(live: Option<&K>, cluster: &str) -> Result<(), ReconcileError> {
    match live {
        Some(live) if live.labels().get(CLUSTER_LABEL).map(String::as_str) != Some(cluster) => {
            Err(ReconcileError::NameCollision { object: format!("{} {}", K::kind(&()), live.name_any()) })
        }
        _ => Ok(()),
    }
}

fn read_identity(secret: &Secret) -> Result<BootstrapRecord, ReconcileError> {
    let damaged = |what: String| ReconcileError::Damaged { object: format!("Secret {}", secret.name_any()), what };
    let text = |key: &str| secret_text(secret, key).ok_or_else(|| damaged(format!("it has no {key}")));
    let cluster_id = text("clusterId")?.parse().map_err(|error| damaged(format!("{error}")))?;
    let voters = serde_json::from_str(&text("voters")?).map_err(|error| damaged(error.to_string()))?;
    Ok(BootstrapRecord { cluster_id, voters })
}

/// Certificates that are missing, of another CA or end soon. Broker 0 has one even while it is stopped.
fn new_leaves(
    valid: &ValidatedCluster,
    observed: &Observed,
    now: Timestamp,
) -> Result<Vec<(i32, Pair)>, ReconcileError> {
    let Some((cluster_id, ca)) = &observed.authority else { return Ok(Vec::new()) };
    let stored = |key: &str| observed.tls.as_ref().and_then(|tls| secret_text(tls, key));
    let trusted = stored("ca.crt").as_ref() == Some(&ca.certificate);
    let mut fresh = Vec::new();
    for id in 0..valid.brokers.max(1) {
        let peer = PeerIdentity::Broker { cluster: *cluster_id, id };
        let host = valid.name.host(&valid.namespace, &id.to_string());
        let good = match (stored(&format!("{id}.crt")), stored(&format!("{id}.key"))) {
            (Some(leaf), Some(_)) => trusted && pki::serves(&leaf, &ca.certificate, peer, &host, now)?,
            _ => false,
        };
        if !good {
            fresh.push((id, pki::new_leaf(ca, peer, &[host], now)?));
        }
    }
    Ok(fresh)
}

/// The management endpoint of broker 0, if its pod runs.
fn broker(valid: &ValidatedCluster, observed: &Observed) -> Result<Option<Management>, ReconcileError> {
    let Some((cluster_id, ca)) = &observed.authority else { return Ok(None) };
    let pod = observed.pods.iter().find(|pod| pod.name_any() == valid.name.pod(0));
    let running = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let Some(address) = running.and_then(|pod| pod.status.as_ref()?.pod_ip.clone()) else { return Ok(None) };
    let host = valid.name.host(&valid.namespace, "0");
    operator_client(&address, &host, *cluster_id, ca).map(Some)
}

/// An answer, or why there is none.
async fn within<T>(asked: impl Future<Output = Result<T, ManagementError>>) -> Result<T, String> {
    /// Longer than an answer takes, shorter than a pass may hang.
    const PATIENCE: Duration = Duration::from_secs(3);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("broker 0 does not answer within {} s", PATIENCE.as_secs())),
    }
}

fn names(owners: TopicOwners) -> Vec<String> {
    let mut names: Vec<String> = owners.topics.into_iter().map(|row| row.topic).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
    use k8s_openapi::jiff::Timestamp;
    use kennet_contract::ClusterId;
    use serde_json::json;

    use super::{Observed, check_labelled, new_leaves};
    use crate::cluster::fixture;
    use crate::pki;

    #[test]
    fn a_claim_without_our_label_is_somebody_elses() {
        let claim = |labels: serde_json::Value| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": "data-orders-main-0", "labels": labels}})).unwrap()
        };
        assert!(check_labelled(Some(&claim(json!({"kennet.dev/cluster": "orders"}))), "orders").is_ok());
        assert!(check_labelled(Some(&claim(json!({"kennet.dev/cluster": "other"}))), "orders").is_err());
        let error = check_labelled(Some(&claim(json!({}))), "orders").unwrap_err();
        assert_eq!((error.reason(), error.stalls()), ("NameCollision", true));
        assert!(check_labelled::<PersistentVolumeClaim>(None, "orders").is_ok());
    }

    #[test]
    fn a_ca_that_was_made_again_has_its_leaves_made_again() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let valid = fixture::cluster("");
        let under = |ca: &pki::Pair, tls: Option<Secret>| {
            let authority = Some((ClusterId::from_bytes([1; 16]), ca.clone()));
            new_leaves(&valid, &Observed { authority, tls, ..fixture::observed() }, now).unwrap()
        };
        let (first, second) = (pki::new_ca("orders", now).unwrap(), pki::new_ca("orders", now).unwrap());
        let leaf = under(&first, None).remove(0).1;
        let tls = |ca: &pki::Pair| -> Option<Secret> {
            let text = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
            let data = [("ca.crt", &ca.certificate), ("0.crt", &leaf.certificate), ("0.key", &leaf.key)];
            let data = data.map(|(key, value)| (key.to_owned(), text(value))).into();
            Some(Secret { data: Some(data), ..Secret::default() })
        };
        assert!(under(&first, tls(&first)).is_empty());
        assert_eq!(under(&second, tls(&first)).len(), 1);
        assert_eq!(under(&first, tls(&second)).len(), 1);
    }
}
