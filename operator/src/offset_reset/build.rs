//! The ConfigMap that holds a plan and the Job that applies it.

use kennet_api::OffsetReset;
use kennet_api::names::CLUSTER_LABEL;
use kennet_contract::paths;
use kennet_model::cluster::ClusterName;
use kennet_model::reset::Plan;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::short_hash;

/// Label with the OffsetReset's name, shortened when it is too long for a label.
pub(super) const RESET_LABEL: &str = "kennet.dev/offset-reset";
/// Annotation with the plan's hash.
pub(super) const HASH_ANNOTATION: &str = "kennet.dev/plan-hash";
/// Annotation with the time at which the new offsets were seen.
pub(super) const APPLIED_ANNOTATION: &str = "kennet.dev/applied-at";

/// A name as a label's value, which has at most 63 characters.
pub(super) fn label_value(name: &str) -> String {
    if name.len() <= 63 { name.to_owned() } else { format!("{}-{}", &name[..50], short_hash(name)) }
}

/// The hash without its algorithm, for names.
fn digits(hash: &str) -> &str {
    hash.strip_prefix("sha256-").unwrap_or(hash)
}

/// The name of a plan's ConfigMap.
pub(super) fn config_map_name(reset: &OffsetReset, hash: &str) -> String {
    format!("{}-plan-{}", reset.name_any(), digits(hash))
}

/// The name of a plan's Job; names of its pods add to it and have at most 63 characters.
pub(super) fn job_name(reset: &OffsetReset, hash: &str) -> String {
    let name = reset.name_any();
    let short = if name.len() <= 40 { name } else { format!("{}-{}", &name[..29], short_hash(&name)) };
    format!("{}-{}", short.replace('.', "-"), digits(hash))
}

fn metadata(reset: &OffsetReset, name: &str, hash: &str) -> Value {
    json!({
        "name": name,
        "namespace": reset.namespace(),
        "labels": {RESET_LABEL: label_value(&reset.name_any()), CLUSTER_LABEL: reset.spec.cluster_ref.name},
        "annotations": {HASH_ANNOTATION: hash},
        "ownerReferences": [{
            "apiVersion": "kennet.dev/v1alpha1", "kind": "OffsetReset", "name": reset.name_any(), "uid": reset.uid(),
            "controller": true, "blockOwnerDeletion": false,
        }],
    })
}

/// The plan with the offsets that it replaces.
pub(super) fn config_map(reset: &OffsetReset, hash: &str, plan: &Plan) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(reset, &config_map_name(reset, hash), hash),
        "immutable": true, "data": {"plan.json": serde_json::to_string_pretty(plan)?},
    }))
}

/// The Job. It only applies what its ConfigMap says, once, and may be killed at any time.
pub(super) fn job(
    reset: &OffsetReset,
    hash: &str,
    config_map: &str,
    image: &str,
    pull_policy: &str,
    (cluster, port): (&ClusterName, u16),
) -> Value {
    let bootstrap = format!("{}.{}.svc:{port}", cluster.bootstrap_service(), reset.namespace().unwrap_or_default());
    let labels = json!({RESET_LABEL: label_value(&reset.name_any())});
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(reset, &job_name(reset, hash), hash),
        "spec": {
            "backoffLimit": 2,
            // never two at a time, not even while one is ending
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "reset-apply",
                        "image": image,
                        "imagePullPolicy": pull_policy,
                        "command": [paths::CLI_PROGRAM, "reset-apply", "--plan", "/plan/plan.json"],
                        "env": [{"name": "KENNET_BOOTSTRAP", "value": bootstrap}],
                        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "plan", "mountPath": "/plan", "readOnly": true}],
                    }],
                    "volumes": [{"name": "plan", "configMap": {"name": config_map}}],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use kennet_api::OffsetReset;

    use super::{job_name, label_value};

    #[test]
    fn a_long_name_still_gives_legal_names() {
        let text = format!(
            "{{metadata: {{name: {}}}, apiVersion: a, kind: b, spec: {{clusterRef: {{name: c}}, groupId: g, target: {{type: Latest}}}}}}",
            "a".repeat(200)
        );
        let reset: OffsetReset = serde_saphyr::from_str(&text).unwrap();
        assert!(job_name(&reset, "sha256-01234567").len() <= 52);
        assert!(label_value(&"a".repeat(200)).len() <= 63);
    }
}
