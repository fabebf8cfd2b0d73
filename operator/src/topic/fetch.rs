//! Everything that a Topic's pass reads: its cluster, the topic, who owns it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kennet_api::KafkaCluster;
use kennet_client::{Client, ClientOptions, ConfigResource, ErrorCode};
use kennet_model::cluster::{ClusterName, validate};
use kennet_model::topic::{Observed, Ownership};
use kube::core::DeserializeGuard;

use crate::cluster::first_port;
use crate::context::{Context, Link};
use crate::error::ReconcileError;
use crate::objects;

/// A Topic's cluster.
pub(crate) enum Cluster {
    /// It has a broker that can be asked.
    Serving { name: ClusterName, port: u16 },
    /// It has not, for this reason.
    Not { reason: &'static str, message: String },
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
    let not = |reason, message| Ok(Cluster::Not { reason, message });
    let Some(found) = found else {
        let message = format!(
            "spec.clusterRef.name is '{name}': there is no such KafkaCluster in namespace {namespace}; create it"
        );
        return not("ClusterMissing", message);
    };
    let valid = match &found.0 {
        Ok(cluster) => validate(name, namespace, &cluster.spec),
        Err(_) => return not("ClusterNotReady", format!("this operator can't read KafkaCluster {name}")),
    };
    let Ok(valid) = valid else {
        return not("ClusterNotReady", format!("the spec of KafkaCluster {name} is invalid"));
    };
    if valid.brokers == 0 {
        return not("ClusterStopped", format!("KafkaCluster {name} is stopped: set its spec.brokers to 1"));
    }
    let pod = objects::get::<Pod>(&context.api(namespace), &valid.name.pod(0)).await?;
    if !pod.as_ref().is_some_and(crate::cluster::is_ready) {
        return not("ClusterNotReady", format!("KafkaCluster {name} is not ready yet"));
    }
    Ok(Cluster::Serving { port: first_port(&valid), name: valid.name })
}

/// Connects to a cluster.
pub(crate) async fn access(
    context: &Context,
    namespace: &str,
    cluster: &ClusterName,
    port: u16,
) -> Result<Access, ReconcileError> {
    let link = context.link(namespace, cluster, port).await?;
    let mut options = ClientOptions::new(&link.bootstrap);
    options.client_id = "kennet-operator".to_owned();
    options.request_timeout = std::time::Duration::from_secs(10);
    options.operation_timeout = std::time::Duration::from_secs(20);
    let kafka = Client::connect(options).await.map_err(ReconcileError::kafka("answer"))?;
    Ok(Access { link, kafka })
}

/// A topic as the cluster has it.
pub(crate) async fn topic(access: &Access, name: &str) -> Result<Option<Observed>, ReconcileError> {
    let found = match access.kafka.topic(name).await {
        Ok(found) => found,
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => return Ok(None),
        Err(error) => return Err(ReconcileError::kafka(format!("describe topic '{name}'"))(error)),
    };
    let resource = ConfigResource::Topic(name.to_owned());
    let described = access.kafka.describe_configs(&resource).await;
    let described = described.map_err(ReconcileError::kafka(format!("describe the configs of topic '{name}'")))?;
    let config: BTreeMap<String, String> =
        described.into_iter().filter(|entry| entry.own).filter_map(|entry| Some((entry.name, entry.value?))).collect();
    let owners = access.link.management.topic_owners().await?;
    let ownership = owners.topics.into_iter().find(|row| row.topic == name).map(|row| Ownership {
        owner: row.owner,
        managed_keys: row.managed_keys,
        generation: row.generation,
        delete_after_ms: row.delete_after_ms,
        delete_at_ms: row.delete_at_ms,
    });
    let replicas = found.partitions.first().map_or(0, |partition| partition.replicas.len());
    Ok(Some(Observed {
        id: found.id.to_string(),
        partitions: i32::try_from(found.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i32::try_from(replicas).unwrap_or(i32::MAX),
        config,
        ownership: ownership.unwrap_or_default(),
    }))
}
