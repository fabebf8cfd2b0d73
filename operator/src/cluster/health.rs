//! What a pod's status says: whether the broker is ready, and if it can't start, the sentence that it ended with.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kennet_api::KafkaCluster;
use kube::ResourceExt;

use crate::conditions::Outcome;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::objects;

/// Whether Kubernetes counts the pod as ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Why a pod does not start and will not by waiting, if that is so.
pub(crate) fn failure(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    status.container_statuses.iter().flatten().find_map(container_failure)
}

fn container_failure(container: &ContainerStatus) -> Option<String> {
    const WAITING: [&str; 6] = [
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "RunContainerError",
    ];
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if !WAITING.contains(&reason) {
        return None;
    }
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let said = last.and_then(|terminated| terminated.message.as_deref()).map(last_line);
    let detail = said.or_else(|| waiting.message.clone()).unwrap_or_default();
    Some(format!("{reason}: {detail}"))
}

/// A log's last line that is not empty: the sentence that the broker ended with.
fn last_line(log: &str) -> String {
    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// A spec that can't be used: what runs goes on, and only the status changes.
pub(crate) async fn refused(
    cluster: &KafkaCluster,
    reason: &str,
    message: &str,
    context: &Context,
) -> Result<Outcome, ReconcileError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let live: Option<StatefulSet> =
        objects::get(&context.api(&namespace), &format!("{}-main", cluster.name_any())).await?;
    let ready = live.and_then(|set| set.status?.ready_replicas).unwrap_or(0) > 0;
    Ok(Outcome::stalled(ready, reason, message))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::failure;

    #[test]
    fn a_broker_that_does_not_start_says_why() {
        let status = |state: serde_json::Value, last: serde_json::Value| -> Pod {
            let container = json!({
                "name": "broker", "image": "i", "imageID": "", "ready": false, "restartCount": 2,
                "state": state, "lastState": last,
            });
            serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [container]}})).unwrap()
        };
        let ended = json!({"terminated": {"exitCode": 3, "message": "{\"log\": 1}\nerror: port 9092 is taken\n"}});
        let pod = status(json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended);
        assert_eq!(failure(&pod).unwrap(), "CrashLoopBackOff: error: port 9092 is taken");
        assert_eq!(failure(&status(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}))), None);
        assert_eq!(failure(&status(json!({"running": {}}), json!({}))), None);
    }
}
