//! Tests of plans: a pod that is to go and does not.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kennet_model::cluster::ValidatedCluster;
use serde_json::json;

use crate::cluster::fetch::Observed;
use crate::cluster::fixture::{self, desired};
use crate::cluster::plan::{Plan, Step, plan};
use crate::conditions::{Outcome, Progress};

/// The end of its grace.
const DUE: i64 = 10_000;

fn leaving(valid: &ValidatedCluster) -> Pod {
    let mut pod = serde_json::to_value(fixture::pod(valid, "ready")).unwrap();
    pod["metadata"]["deletionTimestamp"] = json!(Timestamp::from_second(DUE).unwrap().to_string());
    pod["spec"] = json!({"nodeName": "n1", "containers": []});
    serde_json::from_value(pod).unwrap()
}

fn at(valid: &ValidatedCluster, pods: Vec<Pod>, now: i64) -> Plan {
    let stateful_set = Some(fixture::stateful_set(&fixture::cluster(""), &json!({})));
    let broker = Some(Ok(fixture::serving(1)));
    let observed = Observed { stateful_set, pods, broker, ..fixture::observed() };
    plan(valid, &desired(valid, &observed), &observed, Timestamp::from_second(now).unwrap())
}

#[test]
fn a_pod_that_should_have_been_gone_for_five_minutes_names_node_and_command() {
    let valid = fixture::cluster("");
    let plan = at(&valid, vec![leaving(&valid)], DUE + 301);
    let Outcome { ready, progress, reason, message } = &plan.outcome;
    assert_eq!((*ready, *progress, reason.as_str()), (false, Progress::Stalled, "PodOnLostNode"));
    let command = "kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    for part in ["pod orders-main-0 ", "1970-01-01T02:46:40Z", "node n1 ", command, "kubectl delete node n1"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    // never by force
    let removes = |step: &Step| matches!(step, Step::Evict { .. } | Step::RemovePod { .. } | Step::Revert { .. });
    assert!(!plan.steps.iter().any(removes), "{:?}", plan.steps);
}

#[test]
fn until_then_it_is_looked_at_again_whatever_else_there_is_to_say() {
    // a restart that is paused has nothing in flight by itself, and a size that is refused is no news either
    let mut stopped = fixture::cluster("");
    stopped.brokers = 0;
    for valid in [fixture::cluster(""), fixture::cluster("version: x, rollout: {paused: true}"), stopped] {
        for now in [DUE - 200, DUE + 300] {
            let plan = at(&valid, vec![leaving(&fixture::cluster(""))], now);
            assert_ne!(plan.outcome.reason, "PodOnLostNode");
            assert!(plan.is_open(), "{:?}", plan.outcome);
        }
    }
    let valid = fixture::cluster("");
    let size = json!({"resources": {"requests": {"storage": "2Gi"}}});
    let claim = serde_json::from_value(json!({"metadata": {"name": "data-orders-main-0"}, "spec": size})).unwrap();
    let observed = Observed { claims: vec![claim], pods: vec![leaving(&valid)], ..fixture::observed() };
    let plan = plan(&valid, &desired(&valid, &observed), &observed, Timestamp::from_second(DUE).unwrap());
    assert_eq!((plan.outcome.reason.as_str(), plan.is_open()), ("ShrinkRefused", true));
}

/// A pod's end is an event, so a cluster that is stalled is not polled for it.
#[test]
fn it_is_not_polled_then_and_heals_when_the_pod_is_gone() {
    let valid = fixture::cluster("");
    assert!(!at(&valid, vec![leaving(&valid)], DUE + 301).is_open());
    let plan = at(&valid, Vec::new(), DUE + 301);
    assert_eq!((plan.outcome.progress, plan.outcome.reason.as_str()), (Progress::Reconciling, "Starting"));
    let plan = at(&valid, vec![fixture::pod(&valid, "ready")], DUE + 400);
    assert_eq!(plan.outcome, Outcome::settled("Serving", ""));
}

#[test]
fn a_finalizer_is_no_lost_node() {
    let valid = fixture::cluster("");
    let mut pod = leaving(&valid);
    pod.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    let message = at(&valid, vec![pod], DUE + 301).outcome.message;
    assert!(message.contains("it has the finalizers example.com/hold") && !message.contains("taint"), "{message}");
}

#[test]
fn other_pods_with_the_cluster_s_label_are_not_its_broker() {
    let valid = fixture::cluster("");
    let mut other = leaving(&valid);
    other.metadata.name = Some("something-else".to_owned());
    let plan = at(&valid, vec![fixture::pod(&valid, "ready"), other], DUE + 301);
    assert_eq!(plan.outcome, Outcome::settled("Serving", ""));
}
