//! The ConfigMap that holds a plan and the Job that applies it.

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::jiff::Timestamp;
use kennet_api::OffsetReset;
use kennet_api::names::CLUSTER_LABEL;
use kennet_contract::{paths, short_hash};
use kennet_model::cluster::ClusterName;
use kennet_model::reset::Plan;
use kube::ResourceExt;
use serde_json::{Value, json};

/// Label with the OffsetReset's name, shortened when it is too long for a label.
pub(super) const RESET_LABEL: &str = "kennet.dev/offset-reset";
/// Annotation with the plan's hash.
pub(super) const HASH_ANNOTATION: &str = "kennet.dev/plan-hash";
/// Annotation with the time at which the new offsets were seen.
pub(super) const APPLIED_ANNOTATION: &str = "kennet.dev/applied-at";

/// Annotation with the time at which the Job was let go, written before it was: from then on no other Job is, whatever became of it.
pub(super) const STARTED_ANNOTATION: &str = "kennet.dev/started-at";
/// A Job's longest time.
const DEADLINE_S: i64 = 600;

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

/// How long a Job that is let go now may take, seconds: it must have ended when the OffsetReset's time is over. None when that is now.
pub(super) fn deadline(limit: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    let left = limit.map_or(DEADLINE_S, |limit| limit.as_second() - now.as_second());
    (left > 0).then(|| left.min(DEADLINE_S))
}

/// What a Job's pod takes over from the cluster's: the image and where it comes from, and the nodes that it may run on.
pub(super) fn pod_spec(cluster: Option<&PodSpec>, default_image: &str) -> Value {
    let image = cluster.and_then(|pod| pod.containers.first()?.image.clone());
    let mut spec = json!({"containers": [{"image": image.unwrap_or_else(|| default_image.to_owned())}]});
    if let Some(pod) = cluster {
        spec["imagePullSecrets"] = json!(pod.image_pull_secrets);
        spec["tolerations"] = json!(pod.tolerations);
        spec["nodeSelector"] = json!(pod.node_selector);
    }
    spec
}

/// The Job. It only applies what its ConfigMap says, once, and may be killed at any time. It does nothing until it is let go.
pub(super) fn job(
    reset: &OffsetReset,
    hash: &str,
    config_map: &str,
    pod: &Value,
    pull_policy: &str,
    (cluster, port): (&ClusterName, u16),
) -> Value {
    let bootstrap = format!("{}.{}.svc:{port}", cluster.bootstrap_service(), reset.namespace().unwrap_or_default());
    let labels = json!({RESET_LABEL: label_value(&reset.name_any())});
    let mut env = vec![json!({"name": "KENNET_BOOTSTRAP", "value": bootstrap})];
    if let Some(limit) = &reset.spec.not_after {
        // the deadline ends the Job about then; only what commits can tell the last moment before from the first after
        env.push(json!({"name": "KENNET_NOT_AFTER", "value": limit}));
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(reset, &job_name(reset, hash), hash),
        "spec": {
            "suspend": true,
            "backoffLimit": 2,
            // never two at a time, not even while one is ending
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": DEADLINE_S,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "imagePullSecrets": pod["imagePullSecrets"],
                    "tolerations": pod["tolerations"],
                    "nodeSelector": pod["nodeSelector"],
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "reset-apply",
                        "image": pod["containers"][0]["image"],
                        "imagePullPolicy": pull_policy,
                        "command": [paths::CLI_PROGRAM, "reset-apply", "--plan", "/plan/plan.json"],
                        "env": env,
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
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::PodSpec;
    use k8s_openapi::jiff::Timestamp;
    use kennet_api::OffsetReset;
    use kennet_model::cluster::ClusterName;
    use serde_json::json;

    use super::{deadline, job, job_name, label_value, pod_spec};

    fn reset(name: &str) -> OffsetReset {
        let text = format!(
            "{{metadata: {{name: {name}}}, apiVersion: a, kind: b, spec: {{clusterRef: {{name: c}}, groupId: g, target: {{type: Latest}}}}}}",
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_long_name_still_gives_legal_names() {
        assert!(job_name(&reset(&"a".repeat(200)), "sha256-01234567").len() <= 52);
        assert!(label_value(&"a".repeat(200)).len() <= 63);
    }

    #[test]
    fn a_job_ends_before_its_time_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(deadline(None, at(100)), Some(600));
        assert_eq!(deadline(Some(at(130)), at(100)), Some(30));
        assert_eq!(deadline(Some(at(100)), at(100)), None);
    }

    #[test]
    fn what_commits_is_told_when_it_is_too_late() {
        let env = |reset: &OffsetReset| {
            let (cluster, pod) = (ClusterName::new("c").unwrap(), pod_spec(None, "default"));
            let job = job(reset, "sha256-1", "map", &pod, "Always", (&cluster, 9092));
            let env = job["spec"]["template"]["spec"]["containers"][0]["env"].clone();
            env.as_array().unwrap().iter().find(|one| one["name"] == "KENNET_NOT_AFTER").map(|one| one["value"].clone())
        };
        let mut reset = reset("r");
        assert_eq!(env(&reset), None);
        reset.spec.not_after = Some("2026-11-21T00:00:00Z".to_owned());
        assert_eq!(env(&reset), Some(json!("2026-11-21T00:00:00Z")));
    }

    #[test]
    fn a_job_runs_where_the_cluster_s_pods_run_and_only_when_it_is_let_go() {
        let pod: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "broker", "image": "registry/kennet:1"}], "imagePullSecrets": [{"name": "pull"}],
            "tolerations": [{"key": "kafka"}], "nodeSelector": {"pool": "kafka"},
        }))
        .unwrap();
        let make = |pod: Option<&PodSpec>| -> Job {
            let (cluster, pod) = (ClusterName::new("c").unwrap(), pod_spec(pod, "default"));
            serde_json::from_value(job(&reset("r"), "sha256-1", "map", &pod, "Always", (&cluster, 9092))).unwrap()
        };
        let spec = make(Some(&pod)).spec.unwrap();
        assert_eq!(spec.suspend, Some(true));
        let made = spec.template.spec.unwrap();
        assert_eq!(made.containers[0].image, pod.containers[0].image);
        assert_eq!(made.image_pull_secrets, pod.image_pull_secrets);
        assert_eq!(made.tolerations, pod.tolerations);
        assert_eq!(made.node_selector, pod.node_selector);
        let made = make(None).spec.unwrap().template.spec.unwrap();
        assert_eq!(made.containers[0].image.as_deref(), Some("default"));
    }
}
