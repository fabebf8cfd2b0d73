//! Services, disruption budget, config and volume claims of a cluster.

use kennet_api::names::{CLUSTER_ID_ANNOTATION, CLUSTER_LABEL, MAIN_POOL, POOL_LABEL};
use kennet_api::{DisruptionBudget, WhenDeleted};
use kennet_contract::ports;
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::fetch::Observed;
use crate::cluster::listening::service_ports;
use crate::cluster::plan::unprotected;

/// What all objects of a cluster share.
pub(super) struct Parts<'a> {
    pub(super) cluster: &'a ValidatedCluster,
    pub(super) owner: Value,
}

impl Parts<'_> {
    /// Labels of every object.
    pub(super) fn labels(&self) -> Value {
        json!({
            CLUSTER_LABEL: self.cluster.name.as_str(),
            POOL_LABEL: MAIN_POOL,
            "app.kubernetes.io/name": "kennet-broker",
            "app.kubernetes.io/instance": self.cluster.name.as_str(),
            "app.kubernetes.io/managed-by": "kennet-operator",
        })
    }

    /// What selects the pool's pods: exactly these two, for ever.
    pub(super) fn selector(&self) -> Value {
        json!({CLUSTER_LABEL: self.cluster.name.as_str(), POOL_LABEL: MAIN_POOL})
    }

    /// Metadata of an object that goes with the KafkaCluster.
    pub(super) fn metadata(&self, name: &str) -> Value {
        json!({
            "name": name, "namespace": self.cluster.namespace, "labels": self.labels(), "ownerReferences": [self.owner],
        })
    }

    /// Owners of volumes and of the Secrets that belong to their data.
    pub(super) fn volume_owners(&self) -> Value {
        match self.cluster.when_deleted {
            WhenDeleted::Delete => json!([self.owner]),
            WhenDeleted::Retain => json!([]),
        }
    }

    pub(super) fn services(&self, observed: &Observed) -> Vec<Value> {
        let name = &self.cluster.name;
        let pod = observed.pods.iter().find(|pod| pod.name_any() == name.pod(0));
        let clients = service_ports(&self.cluster.listeners, pod);
        let mut all = clients.clone();
        all.push(json!({"name": "management", "port": ports::MANAGEMENT, "targetPort": ports::MANAGEMENT, "protocol": "TCP"}));
        let headless = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(&name.headless_service()),
            "spec": {
                // a broker's own name must resolve before it is ready, or nothing could make it so
                "clusterIP": "None", "publishNotReadyAddresses": true, "selector": self.selector(), "ports": all,
            },
        });
        let bootstrap = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(&name.bootstrap_service()),
            "spec": {"type": "ClusterIP", "selector": self.selector(), "ports": clients},
        });
        vec![headless, bootstrap]
    }

    pub(super) fn budget(&self, observed: &Observed) -> Option<Value> {
        if self.cluster.disruption_budget == DisruptionBudget::Disabled {
            return None;
        }
        let unavailable = i32::from(!unprotected::held(self.cluster, observed));
        Some(json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": self.metadata(&self.cluster.name.disruption_budget()),
            "spec": {
                "maxUnavailable": unavailable, "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": {CLUSTER_LABEL: self.cluster.name.as_str()}},
            },
        }))
    }

    pub(super) fn config_map(&self, hash: &str, config: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(&self.cluster.name.config_map(hash)),
            "immutable": true, "data": {"broker.toml": config},
        })
    }

    /// A broker's volume claim as it is created; its size may grow later, its class never changes.
    pub(super) fn claim(&self, id: i32, observed: &Observed) -> Value {
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": self.cluster.storage_size.to_string()}},
        });
        if let Some(class) = &self.cluster.storage_class_name {
            spec["storageClassName"] = json!(class);
        }
        let mut metadata = self.metadata(&self.cluster.name.claim(id));
        metadata["ownerReferences"] = self.volume_owners();
        if let Some((cluster_id, _)) = &observed.authority {
            metadata["annotations"] = json!({CLUSTER_ID_ANNOTATION: cluster_id.to_string()});
        }
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    }
}
