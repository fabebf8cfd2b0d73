//! What a pod's status says: whether the broker is ready, and whether it can't start.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kennet_api::KafkaCluster;
use kube::ResourceExt;

use crate::cluster::waiting::{PULL_FAILED, Waiting, waiting};
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
pub(super) fn failure(pod: &Pod) -> Option<Waiting> {
    const FOR_GOOD: [&str; 7] = [
        "CrashLoopBackOff",
        // a pull may succeed the next time, but between two of them the node says "ImagePullBackOff": a status must not take turns
        PULL_FAILED,
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "RunContainerError",
    ];
    waiting(pod).filter(|waiting| FOR_GOOD.contains(&waiting.reason.as_str()))
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
    fn what_may_pass_by_waiting_is_no_failure() {
        let status = |state: serde_json::Value, last: serde_json::Value| -> Pod {
            let container = json!({
                "name": "broker", "image": "i", "imageID": "", "ready": false, "restartCount": 2,
                "state": state, "lastState": last,
            });
            serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [container]}})).unwrap()
        };
        let ended = json!({"terminated": {"exitCode": 3, "message": "{\"log\": 1}\nerror: port 9092 is taken\n"}});
        let pod = status(json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended);
        assert_eq!(failure(&pod).unwrap().what(), "CrashLoopBackOff: error: port 9092 is taken");
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            assert!(failure(&status(json!({"waiting": {"reason": reason}}), json!({}))).is_some());
        }
        assert_eq!(failure(&status(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}))), None);
        assert_eq!(failure(&status(json!({"running": {}}), json!({}))), None);
    }
}
