//! Why a pod does not run yet, in the words of the scheduler or of its node, and which field of the spec to look at. Pure.
//!
//! What counts attempts or grows with time is left out: a status is written when something changed, not whenever somebody tries again.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::ResourceExt;

/// What is copied of a message; the API server's limit is far above, but nobody reads more in a condition.
const SAID_CHARS_MAX: usize = 1000;
/// Every container passes through these, so they say nothing.
const ON_ITS_WAY: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];
const CRASHES: &str = "CrashLoopBackOff";
const KILLED_FOR_MEMORY: &str = "OOMKilled";
/// A node says this when it has tried, and `ImagePullBackOff` until it tries again, in turns for as long as it fails.
pub(super) const PULL_FAILED: &str = "ErrImagePull";

/// Why a pod does not run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The word of Kubernetes, such as `Unschedulable` or `ErrImagePull`.
    pub(super) reason: String,
    /// What it says.
    pub(super) said: String,
    /// What a person can look at.
    remedy: String,
}

impl Waiting {
    /// Without the remedy.
    pub(super) fn what(&self) -> String {
        format!("{}: {}", self.reason, self.said)
    }

    /// With the remedy, about the pod of this name.
    pub(super) fn sentence(&self, pod: &str) -> String {
        format!("pod {pod} does not start: {}; {}", self.what(), self.remedy)
    }
}

/// Why a pod that is no broker's does not run yet: it takes over what its cluster says of nodes and images, but not of resources.
pub(crate) fn why_not_running(pod: &Pod) -> Option<String> {
    let (name, waiting) = (pod.name_any(), waiting(pod)?);
    Some(format!("pod {name} does not start: {}; look at 'kubectl describe pod {name}'", waiting.what()))
}

/// Why this pod does not run yet, if Kubernetes says so.
pub(super) fn waiting(pod: &Pod) -> Option<Waiting> {
    let (name, status) = (pod.name_any(), pod.status.as_ref()?);
    let of_container = |container| of_container(container, &name);
    unscheduled(status, &name).or_else(|| status.container_statuses.iter().flatten().find_map(of_container))
}

/// What the scheduler says of a pod that has no node.
fn unscheduled(status: &PodStatus, pod: &str) -> Option<Waiting> {
    let conditions = status.conditions.iter().flatten();
    let condition = conditions.into_iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    let message = condition.message.as_deref().unwrap_or_default();
    let message = without_preemption(message);
    let reason = condition.reason.clone().filter(|reason| !reason.is_empty());
    let remedy = format!("look at {}", scheduling_fields(message, pod));
    Some(Waiting { reason: reason.unwrap_or_else(|| "Unschedulable".to_owned()), said: short(message), remedy })
}

/// What follows says once more why no other pod can make room; the sentence in which it stands may begin with what it says of resource claims.
fn without_preemption(message: &str) -> &str {
    let Some((before, _)) = message.split_once("preemption:") else { return message };
    let before = before.trim_end();
    if before.ends_with(',') { before.rsplit_once(". ").map_or(before, |(sentence, _)| sentence) } else { before }
}

/// The fields that the scheduler's message is about.
fn scheduling_fields(message: &str, pod: &str) -> String {
    let message = message.to_lowercase();
    let about = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let mut fields = Vec::new();
    if about(&["insufficient"]) {
        fields.push("spec.resources.requests and at what the nodes have".to_owned());
    }
    if about(&["taint"]) {
        fields.push("spec.pods.tolerations".to_owned());
    }
    if about(&["affinity/selector"]) {
        fields.push("spec.pods.nodeSelector".to_owned());
    }
    if about(&["persistentvolume", "persistent volume", "storageclass", "storage class", "volume node affinity"]) {
        fields.push(format!(
            "spec.storage.storageClassName and claim data-{pod}; a claim keeps its class: to change that of a new cluster, delete the KafkaCluster \
             and the claim, which holds nothing yet, and apply it again"
        ));
    }
    if fields.is_empty() {
        return format!("spec.pods, spec.resources and 'kubectl describe pod {pod}'");
    }
    fields.join(", and at ")
}

/// What a node says of a container that it can't run.
fn of_container(container: &ContainerStatus, pod: &str) -> Option<Waiting> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !ON_ITS_WAY.contains(reason))?;
    let message = waiting.message.as_deref().unwrap_or_default();
    let (reason, message) = of_the_pull(message).map_or((reason, message), |message| (PULL_FAILED, message));
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let killed = last.is_some_and(|last| last.reason.as_deref() == Some(KILLED_FOR_MEMORY));
    let ended = last.and_then(|last| last.message.as_deref()).map(last_line).filter(|line| !line.is_empty());
    let said = match (ended, last) {
        (_, Some(_)) if killed => {
            "the broker needed more memory than it may have and was killed (OOMKilled)".to_owned()
        }
        (Some(line), _) => line,
        // its own message tells the pause until the next attempt, which grows
        (None, Some(last)) if reason == CRASHES => format!("the broker ended with code {}", last.exit_code),
        (None, None) if reason == CRASHES => "the broker ended".to_owned(),
        (None, _) => message.to_owned(),
    };
    let remedy = match reason {
        _ if killed => "look at spec.resources.limits.memory".to_owned(),
        PULL_FAILED | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            "look at spec.version, spec.image and spec.pods.imagePullSecrets".to_owned()
        }
        CRASHES => format!("look at 'kubectl logs {pod} --previous', spec.config and spec.resources"),
        _ => format!("look at 'kubectl describe pod {pod}', spec.image and spec.pods"),
    };
    Some(Waiting { reason: reason.to_owned(), said: short(&said), remedy })
}

/// What went wrong with a pull, of what a node says that waits before it tries again: so both of its turns are told in the same words.
fn of_the_pull(message: &str) -> Option<&str> {
    message.strip_prefix("Back-off pulling image ")?.split_once(": ErrImagePull: ").map(|(_, error)| error)
}

/// A message that ends like a part of a sentence.
fn short(message: &str) -> String {
    let cut: String = message.trim().chars().take(SAID_CHARS_MAX).collect();
    cut.trim_end_matches(['.', ' ']).to_owned()
}

/// A log's last line that is not empty: the sentence that the broker ended with.
fn last_line(log: &str) -> String {
    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::waiting;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "c-main-0"}, "status": status})).unwrap()
    }

    fn unscheduled(message: &str) -> String {
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        waiting(&pod(json!({"conditions": [condition]}))).unwrap().sentence("c-main-0")
    }

    fn container(state: Value, last: Value) -> Option<String> {
        let container = json!({
            "name": "broker", "image": "i", "imageID": "", "ready": false, "restartCount": 2, "state": state, "lastState": last,
        });
        let scheduled = json!({"type": "PodScheduled", "status": "True"});
        let found = waiting(&pod(json!({"conditions": [scheduled], "containerStatuses": [container]})));
        found.map(|waiting| waiting.sentence("c-main-0"))
    }

    #[test]
    fn a_pod_that_fits_on_no_node_says_what_the_scheduler_said_and_which_fields_that_is_about() {
        let preemption = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
        for between in ["", "no new claims to deallocate, "] {
            assert_eq!(
                unscheduled(&format!("0/1 nodes are available: 1 Insufficient memory. {between}{preemption}")),
                "pod c-main-0 does not start: Unschedulable: 0/1 nodes are available: 1 Insufficient memory; look at \
             spec.resources.requests and at what the nodes have"
            );
        }
        let both = unscheduled(
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {a: b}.",
        );
        assert!(both.ends_with("look at spec.pods.tolerations, and at spec.pods.nodeSelector"), "{both}");
        for said in [
            "pod has unbound immediate PersistentVolumeClaims",
            "storageclass.storage.k8s.io \"nope\" not found",
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
        ] {
            let text = unscheduled(said);
            assert!(
                text.contains(said) && text.contains("spec.storage.storageClassName and claim data-c-main-0"),
                "{text}"
            );
        }
        assert!(unscheduled("something else").ends_with("'kubectl describe pod c-main-0'"));
    }

    #[test]
    fn a_container_that_can_not_be_made_says_why_and_which_fields_that_is_about() {
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let state = json!({"waiting": {"reason": reason, "message": "failed to resolve reference \"i:0.9.9\""}});
            assert_eq!(
                container(state, json!({})).unwrap(),
                format!(
                    "pod c-main-0 does not start: {reason}: failed to resolve reference \"i:0.9.9\"; look at spec.version, spec.image and \
                     spec.pods.imagePullSecrets"
                )
            );
        }
        let message = "Back-off pulling image \"i:0.9.9\": ErrImagePull: rpc error: not found";
        let again = container(json!({"waiting": {"reason": "ImagePullBackOff", "message": message}}), json!({}));
        let first = json!({"waiting": {"reason": "ErrImagePull", "message": "rpc error: not found"}});
        assert_eq!(again, container(first, json!({})), "the turns of a node that tries again and again");
        let state = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}});
        assert!(
            container(state, json!({}))
                .unwrap()
                .contains("CreateContainerConfigError: secret \"x\" not found; look at")
        );
        assert_eq!(container(json!({"waiting": {"reason": "ContainerCreating"}}), json!({})), None);
        assert_eq!(container(json!({"running": {}}), json!({})), None);
    }

    #[test]
    fn a_broker_that_ends_again_and_again_says_its_last_sentence_and_no_pause_that_grows() {
        let crashes =
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}});
        let ended = |more: Value| {
            let mut last = json!({"exitCode": 3});
            last.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            container(crashes.clone(), json!({"terminated": last})).unwrap()
        };
        let said = ended(json!({"message": "{\"log\": 1}\nerror: port 9092 is taken\n"}));
        assert!(
            said.contains("CrashLoopBackOff: error: port 9092 is taken; look at 'kubectl logs c-main-0 --previous'"),
            "{said}"
        );
        assert!(ended(json!({})).contains("CrashLoopBackOff: the broker ended with code 3; "));
        assert!(ended(json!({"reason": "OOMKilled"})).ends_with("look at spec.resources.limits.memory"));
        assert!(!container(crashes.clone(), json!({})).unwrap().contains("40s"));
    }
}
