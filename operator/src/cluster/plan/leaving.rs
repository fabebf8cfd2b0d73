//! A broker's pod that is to go: how long that may take, and what to say when its node does not answer. It is never force-deleted here,
//! because only who looks at the machine can know that the broker on it writes no more.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kennet_model::cluster::ValidatedCluster;
use kube::ResourceExt;

use crate::clock;
use crate::cluster::fetch::Observed;
use crate::conditions::Outcome;

/// How long a pod may be there behind the end of its grace. Kubernetes gives a node that says nothing 5 minutes too before it deletes its pods:
/// one that only restarts is back by then.
const LATE_S_MAX: i64 = 300;

/// The pod of broker 0 on its way out, if it is.
pub(super) fn pod<'a>(valid: &ValidatedCluster, observed: &'a Observed) -> Option<&'a Pod> {
    let leaves = |pod: &&Pod| pod.metadata.deletion_timestamp.is_some() && pod.name_any() == valid.name.pod(0);
    observed.pods.iter().find(leaves)
}

/// Says that a pod should have been gone for long. Its end is an event, so nothing has to be asked for again.
pub(super) fn outcome(pod: &Pod, now: Timestamp) -> Option<Outcome> {
    // Kubernetes writes the time of the request and the grace
    let due = pod.metadata.deletion_timestamp.as_ref()?.0;
    if now.as_second() - due.as_second() <= LATE_S_MAX {
        return None;
    }
    let (name, due) = (pod.name_any(), clock::text(due.as_millisecond()));
    let finalizers = pod.finalizers();
    let message = match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        _ if !finalizers.is_empty() => format!(
            "pod {name} should have been gone at {due} and is still there: it has the finalizers {}; whoever set them has to take them away",
            finalizers.join(", ")
        ),
        Some(node) => format!(
            "pod {name} should have been gone at {due}, and its node {node} does not say that it has ended: bring the node back; or make sure \
             that it is off, and only then run 'kubectl taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute' or \
             'kubectl delete node {node}'. The operator never force-deletes a pod, because its broker may still write"
        ),
        None => format!(
            "pod {name} should have been gone at {due} and is still there, although it has no node: look at it with 'kubectl describe pod {name}'"
        ),
    };
    Some(Outcome::stalled(false, "PodOnLostNode", message))
}
