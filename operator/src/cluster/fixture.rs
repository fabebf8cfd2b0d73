//! A cluster as a pass may find it, for tests of what is decided about it.

use clap::Parser;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kennet_api::names::{CLUSTER_LABEL, RESTART_INPUTS_ANNOTATION};
use kennet_contract::management::Status;
use kennet_contract::{CONTRACT, ClusterId};
use kennet_model::cluster::{ValidatedCluster, validate};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::cluster::build::{self, Desired};
use crate::cluster::fetch::Observed;
use crate::cluster::plan::{Plan, Step, Template, plan};
use crate::context::Context;
use crate::pki::Pair;

/// The cluster `orders` with one broker and more of a spec.
pub(crate) fn cluster(more: &str) -> ValidatedCluster {
    let text = format!("{{brokers: 1, storage: {{size: 1Gi}}, {more}}}");
    validate("orders", "ns", &serde_saphyr::from_str(&text).unwrap()).unwrap()
}

/// A cluster with its CA and nothing else.
pub(crate) fn observed() -> Observed {
    let ca = Pair { certificate: String::new(), key: String::new() };
    Observed {
        uid: "1".to_owned(),
        generation: 1,
        stateful_set: None,
        pods: Vec::new(),
        claims: Vec::new(),
        services: Vec::new(),
        budget: None,
        config_maps: Vec::new(),
        authority: Some((ClusterId::from_bytes([1; 16]), ca)),
        secrets: Vec::new(),
        identity: None,
        tls: None,
        new_leaves: Vec::new(),
        broker: None,
        applied: None,
        topics: None,
    }
}

/// What should be.
pub(crate) fn desired(valid: &ValidatedCluster, observed: &Observed) -> Desired {
    build::build(valid, observed, &Arguments::parse_from(["kennet-operator"])).unwrap()
}

/// The plan an hour after everything began.
pub(crate) fn planned(valid: &ValidatedCluster, observed: &Observed) -> Plan {
    plan(valid, &desired(valid, observed), observed, Timestamp::from_second(3600).unwrap())
}

/// A StatefulSet as that spec makes it, with these annotations.
pub(crate) fn stateful_set(valid: &ValidatedCluster, annotations: &Value) -> StatefulSet {
    let mut set = desired(valid, &observed()).pool.unwrap().stateful_set;
    set["metadata"]["annotations"] = annotations.clone();
    serde_json::from_value(set).unwrap()
}

/// Broker 0's pod as that spec makes it, made five minutes ago.
pub(crate) fn pod(valid: &ValidatedCluster, state: &str) -> Pod {
    let inputs = desired(valid, &observed()).pool.unwrap().restart_inputs;
    let ready = if state == "ready" { "True" } else { "False" };
    let state = match state {
        "failed" => json!({"waiting": {"reason": "CrashLoopBackOff", "message": "no"}}),
        _ => json!({"running": {}}),
    };
    let container = json!({
        "name": "broker", "image": "i", "imageID": "", "ready": ready == "True", "restartCount": 0, "state": state,
    });
    let pod = json!({
        "metadata": {
            "name": "orders-main-0", "uid": "p", "creationTimestamp": "1970-01-01T00:55:00Z",
            "labels": {CLUSTER_LABEL: "orders"}, "annotations": {RESTART_INPUTS_ANNOTATION: inputs},
        },
        "status": {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [container]},
    });
    serde_json::from_value(pod).unwrap()
}

/// What a broker that serves says.
pub(crate) fn serving(partitions: u32) -> Status {
    serde_json::from_value(json!({
        "clusterId": ClusterId::from_bytes([1; 16]).to_string(), "brokerId": 0, "directoryId": "d", "version": "9.9.9",
        "contract": CONTRACT,
        "state": "Serving", "metadataOffset": 1, "partitions": partitions, "leaders": partitions, "offline": [],
        "underMinIsr": 0, "recovery": {"logsDone": 1, "logsTotal": 1}, "diskAvailableBytes": 1, "diskTotalBytes": 1,
        "configHash": "", "certificateExpires": 0, "voters": [0],
    }))
    .unwrap()
}

/// The template that a plan applies.
pub(crate) fn template(plan: &Plan) -> &Template {
    let applied = plan.steps.iter().find_map(|step| match step {
        Step::ApplyStatefulSet(template) => Some(template),
        _ => None,
    });
    applied.unwrap()
}

/// A context whose API server answers by method and path.
pub(crate) fn answering(answer: impl Fn(&str, &str) -> (u16, Value) + Clone + Send + 'static) -> Context {
    let service = tower::service_fn(move |request: hyper::Request<kube::client::Body>| {
        let (code, body) = answer(request.method().as_str(), request.uri().path());
        let response =
            hyper::Response::builder().status(code).body(kube::client::Body::from(body.to_string().into_bytes()));
        async move { response }
    });
    let (wake, _) = tokio::sync::mpsc::channel(1);
    let client = kube::Client::new(service, "ns");
    Context::new(client.clone(), client, Arguments::parse_from(["kennet-operator"]), wake)
}
