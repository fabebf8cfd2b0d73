//! The StatefulSet: restricted pods, one broker each, replaced only when the operator evicts them.

use kennet_api::names::RESTART_INPUTS_ANNOTATION;
use kennet_contract::{paths, ports};
use kennet_model::cluster::ValidatedCluster;
use serde_json::{Map, Value, json};

use crate::arguments::Arguments;
use crate::cluster::build::objects::Parts;
use crate::cluster::fetch::Observed;
use crate::cluster::went_back;

/// Raised when the meaning of the annotation changes; an older one is then compared field by field.
pub(in crate::cluster) const INPUTS_VERSION: u32 = 1;

/// What a running broker depends on. Values, not hashes of the template, so that a new operator restarts nobody.
pub(super) fn restart_inputs(cluster: &ValidatedCluster, image: &str, config_hash: &str) -> String {
    json!({
        "version": INPUTS_VERSION,
        "image": image,
        "config": config_hash,
        "resources": cluster.resources,
        "pods": cluster.pods,
    })
    .to_string()
}

pub(super) fn stateful_set(
    parts: &Parts<'_>,
    observed: &Observed,
    arguments: &Arguments,
    image: &str,
    config_hash: &str,
    inputs: &str,
) -> Value {
    let cluster = parts.cluster;
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": parts.metadata(&cluster.name.stateful_set()),
        "spec": {
            "replicas": went_back::replicas(cluster, observed),
            "serviceName": cluster.name.headless_service(),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "ordinals": {"start": 0},
            "revisionHistoryLimit": 3,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "selector": {"matchLabels": parts.selector()},
            "volumeClaimTemplates": [claim_template(cluster, observed)],
            "template": template(parts, arguments, image, config_hash, inputs),
        },
    })
}

/// Only its name counts: the operator makes the claims before. It can't be changed, so a live one stays as it is.
fn claim_template(cluster: &ValidatedCluster, observed: &Observed) -> Value {
    let live =
        observed.stateful_set.as_ref().and_then(|set| set.spec.as_ref()?.volume_claim_templates.as_ref()?.first());
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": cluster.storage_size.to_string()}},
    });
    match live.and_then(|claim| claim.spec.as_ref()) {
        Some(live) => {
            if let Some(size) = live.resources.as_ref().and_then(|all| all.requests.as_ref()?.get("storage")) {
                spec["resources"]["requests"]["storage"] = json!(size.0);
            }
            if let Some(class) = &live.storage_class_name {
                spec["storageClassName"] = json!(class);
            }
        }
        None => {
            if let Some(class) = &cluster.storage_class_name {
                spec["storageClassName"] = json!(class);
            }
        }
    }
    json!({"metadata": {"name": "data"}, "spec": spec})
}

fn template(parts: &Parts<'_>, arguments: &Arguments, image: &str, config_hash: &str, inputs: &str) -> Value {
    let cluster = parts.cluster;
    let mut labels = as_map(&parts.labels());
    let mut annotations = Map::new();
    for (key, value) in &cluster.pods.labels {
        labels.entry(key.clone()).or_insert_with(|| json!(value));
    }
    for (key, value) in &cluster.pods.annotations {
        annotations.insert(key.clone(), json!(value));
    }
    annotations.insert(RESTART_INPUTS_ANNOTATION.to_owned(), json!(inputs));
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), json!("broker"));
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": cluster.grace.as_secs(),
        "securityContext": {
            "runAsNonRoot": true, "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(cluster, arguments, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": cluster.name.config_map(config_hash)}},
            {"name": "tls", "secret": {"secretName": cluster.name.tls_secret(), "defaultMode": 288}},
        ],
    });
    let pods = &cluster.pods;
    if !pods.node_selector.is_empty() {
        spec["nodeSelector"] = json!(pods.node_selector);
    }
    if !pods.tolerations.is_empty() {
        spec["tolerations"] = json!(pods.tolerations);
    }
    if !pods.image_pull_secrets.is_empty() {
        spec["imagePullSecrets"] = json!(pods.image_pull_secrets);
    }
    if let Some(class) = pods.priority_class_name.as_ref().filter(|class| !class.is_empty()) {
        spec["priorityClassName"] = json!(class);
    }
    json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})
}

fn container(cluster: &ValidatedCluster, arguments: &Arguments, image: &str) -> Value {
    let mut open: Vec<Value> = cluster
        .listeners
        .iter()
        .map(|one| json!({"name": one.name, "containerPort": one.port, "protocol": "TCP"}))
        .collect();
    for (name, port) in [("management", ports::MANAGEMENT), ("probes", ports::PROBES), ("metrics", ports::METRICS)] {
        open.push(json!({"name": name, "containerPort": port, "protocol": "TCP"}));
    }
    json!({
        "name": "broker",
        "image": image,
        "imagePullPolicy": arguments.image_pull_policy,
        "command": [paths::BROKER_PROGRAM],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        "ports": open,
        "resources": cluster.resources,
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "probes"}, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "probes"}, "periodSeconds": 2, "failureThreshold": 2},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": paths::DATA_DIRECTORY},
            {"name": "config", "mountPath": paths::CONFIG_DIRECTORY, "readOnly": true},
            {"name": "tls", "mountPath": paths::TLS_DIRECTORY, "readOnly": true},
        ],
    })
}

fn as_map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
