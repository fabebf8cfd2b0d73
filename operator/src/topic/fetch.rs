//! Everything that a pass about Topics reads: their cluster, the topics, who owns them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kennet_api::KafkaCluster;
use kennet_client::{Client, ClientError, ClientOptions, ConfigEntry, ErrorCode, TopicMetadata};
use kennet_contract::management::TopicOwnership;
use kennet_model::cluster::{ClusterName, validate};
use kennet_model::topic::{Observed, Ownership};
use kube::core::DeserializeGuard;

use crate::cluster::{clients_port, first_port};
use crate::context::{Context, Link};
use crate::error::ReconcileError;
use crate::objects;
use crate::topic::batch::Snapshot;

/// A Topic's cluster.
pub(crate) enum Cluster {
    /// It has a broker that can be asked.
    Serving { name: ClusterName, port: u16 },
    /// It has not, for this reason.
    Not {
        reason: &'static str,
        message: String,
        /// Whether it will have one again by itself, as after a restart: its topics are ready all the same.
        soon: bool,
    },
}

/// A cluster that is connected to.
pub(crate) struct Access {
    pub(crate) link: Link,
    pub(crate) kafka: Client,
}

/// Looks a Topic's cluster up.
pub(crate) async fn cluster(context: &Context, namespace: &str, name: &str) -> Result<Cluster, ReconcileError> {
    let api = context.api::<DeserializeGuard<KafkaCluster>>(namespace);
    let found = api.get_opt(name).await.map_err(ReconcileError::api("read a KafkaCluster"))?;
    let not = |reason, message| Ok(Cluster::Not { reason, message, soon: false });
    let Some(found) = found else {
        let message = format!(
            "spec.clusterRef.name is '{name}': there is no such KafkaCluster in namespace {namespace}; create it"
        );
        return not("ClusterMissing", message);
    };
    let valid = match &found.0 {
        Ok(cluster) => match validate(name, namespace, &cluster.spec) {
            Ok(valid) => valid,
            Err(_) => {
                return as_it_runs(context, namespace, name, format!("the spec of KafkaCluster {name} is invalid"))
                    .await;
            }
        },
        Err(_) => {
            return as_it_runs(context, namespace, name, format!("this operator can't read KafkaCluster {name}")).await;
        }
    };
    if valid.brokers == 0 {
        return not("ClusterStopped", format!("KafkaCluster {name} is stopped: set its spec.brokers to 1"));
    }
    let pod = objects::get::<Pod>(&context.api(namespace), &valid.name.pod(0)).await?;
    if !pod.as_ref().is_some_and(crate::cluster::is_ready) {
        return Ok(not_ready(format!("KafkaCluster {name} is not ready yet")));
    }
    Ok(Cluster::Serving { port: first_port(&valid), name: valid.name })
}

fn not_ready(message: String) -> Cluster {
    Cluster::Not { reason: "ClusterNotReady", message, soon: true }
}

/// A cluster whose spec says nothing goes on as it was, and so do its topics: where it is reached is said by the pod that serves.
async fn as_it_runs(context: &Context, namespace: &str, name: &str, why: String) -> Result<Cluster, ReconcileError> {
    if let Ok(name) = ClusterName::new(name) {
        let pod = objects::get::<Pod>(&context.api(namespace), &name.pod(0)).await?;
        if let Some(port) = pod.filter(crate::cluster::is_ready).as_ref().and_then(clients_port) {
            return Ok(Cluster::Serving { name, port });
        }
    }
    Ok(not_ready(format!("{why}, and its broker is not ready: correct the KafkaCluster")))
}

/// Connects to a cluster.
pub(crate) async fn access(
    context: &Context,
    namespace: &str,
    cluster: &ClusterName,
) -> Result<Access, ReconcileError> {
    let link = context.link(namespace, cluster).await?;
    link.check_age().await?;
    let mut options = ClientOptions::new(&link.bootstrap);
    options.client_id = "kennet-operator".to_owned();
    options.request_timeout = std::time::Duration::from_secs(10);
    options.operation_timeout = std::time::Duration::from_secs(20);
    let kafka = Client::connect(options).await.map_err(ReconcileError::kafka("answer"))?;
    Ok(Access { link, kafka })
}

/// Topics as the cluster has them: three requests, however many they are.
pub(super) async fn topics(access: &Access, names: &[String]) -> Result<Snapshot, ReconcileError> {
    let count = names.len();
    let found = access.kafka.topics_named(names).await;
    let found = found.map_err(ReconcileError::kafka(format!("describe {count} topics")))?;
    let there: Vec<String> = found.iter().filter(|(_, one)| one.is_ok()).map(|(name, _)| name.clone()).collect();
    if there.is_empty() {
        return Ok(found.into_iter().map(|(name, one)| (name.clone(), absent(&name, one.err()))).collect());
    }
    let configs = access.kafka.describe_topic_configs(&there).await;
    let mut configs = configs.map_err(ReconcileError::kafka(format!("describe the configs of {count} topics")))?;
    let owners = access.link.management.topic_owners().await?;
    let mut owners: BTreeMap<String, Ownership> = owners.topics.into_iter().map(ownership).collect();
    let named = found.into_iter().map(|(name, one)| {
        let observed = match one {
            Ok(topic) => match configs.remove(&name) {
                Some(Ok(entries)) => Ok(Some(observed(&topic, entries, owners.remove(&name)))),
                // it went between the two requests
                Some(Err(error)) => absent(&name, Some(error)),
                None => Err(ReconcileError::Lost),
            },
            Err(error) => absent(&name, Some(error)),
        };
        (name, observed)
    });
    Ok(named.collect())
}

/// What an error says about a topic: that there is none, or nothing.
fn absent(name: &str, error: Option<ClientError>) -> Result<Option<Observed>, ReconcileError> {
    match error {
        Some(error) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => {
            Err(ReconcileError::kafka(format!("describe topic '{name}'"))(error))
        }
        _ => Ok(None),
    }
}

fn ownership(row: TopicOwnership) -> (String, Ownership) {
    let ownership = Ownership {
        owner: row.owner,
        managed_keys: row.managed_keys,
        generation: row.generation,
        delete_after_ms: row.delete_after_ms,
        delete_at_ms: row.delete_at_ms,
    };
    (row.topic, ownership)
}

fn observed(found: &TopicMetadata, entries: Vec<ConfigEntry>, ownership: Option<Ownership>) -> Observed {
    let own = entries.into_iter().filter(|entry| entry.own).filter_map(|entry| Some((entry.name, entry.value?)));
    let replicas = found.partitions.first().map_or(0, |partition| partition.replicas.len());
    Observed {
        id: found.id.to_string(),
        partitions: i32::try_from(found.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i32::try_from(replicas).unwrap_or(i32::MAX),
        config: own.collect(),
        ownership: ownership.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Cluster, cluster};
    use crate::cluster::fixture;

    /// The cluster `orders` with this spec and, if it has one, the ports of its ready pod.
    async fn found(spec: &Value, open: Option<&[u16]>) -> Cluster {
        let object = json!({
            "apiVersion": "kennet.dev/v1alpha1", "kind": "KafkaCluster", "metadata": {"name": "orders", "namespace": "ns"}, "spec": spec,
        });
        let pod = open.map(|open| {
            let mut pod = serde_json::to_value(fixture::pod(&fixture::cluster(""), "ready")).unwrap();
            let open: Vec<Value> = open.iter().map(|port| json!({"containerPort": port})).collect();
            pod["spec"] = json!({"containers": [{"name": "broker", "ports": open}]});
            pod
        });
        let missing = json!({"kind": "Status", "status": "Failure", "code": 404, "message": "", "reason": "NotFound"});
        let context = fixture::answering(move |_, path| match (path.rsplit_once('/').unwrap().1, &pod) {
            ("orders", _) => (200, object.clone()),
            ("orders-main-0", Some(pod)) => (200, pod.clone()),
            _ => (404, missing.clone()),
        });
        cluster(&context, "ns", "orders").await.unwrap()
    }

    #[tokio::test]
    async fn a_spec_that_says_nothing_stops_no_topic_of_a_cluster_that_serves() {
        let typo = json!({"brokers": 1, "storage": {"size": "1Gi"}, "config": {"log.retention.hourz": "4"}});
        let unreadable = json!({"brokers": "one"});
        for spec in [typo, unreadable] {
            let served = found(&spec, Some(&[9191, 9192, 9193, 9095])).await;
            assert!(matches!(served, Cluster::Serving { ref name, port: 9095 } if name.as_str() == "orders"));
            for open in [None, Some(&[9191_u16][..])] {
                let Cluster::Not { reason, message, soon } = found(&spec, open).await else { panic!("it serves") };
                assert_eq!((reason, soon), ("ClusterNotReady", true));
                assert!(message.contains("correct the KafkaCluster"), "{message}");
            }
        }
    }

    #[tokio::test]
    async fn a_cluster_that_starts_will_serve_and_one_that_is_stopped_will_not() {
        let spec = |brokers: i32| json!({"brokers": brokers, "storage": {"size": "1Gi"}});
        let why = |cluster| match cluster {
            Cluster::Not { reason, soon, .. } => Some((reason, soon)),
            Cluster::Serving { .. } => None,
        };
        assert_eq!(why(found(&spec(1), None).await), Some(("ClusterNotReady", true)));
        assert_eq!(why(found(&spec(0), None).await), Some(("ClusterStopped", false)));
        assert_eq!(why(found(&spec(1), Some(&[9092])).await), None);
    }
}
