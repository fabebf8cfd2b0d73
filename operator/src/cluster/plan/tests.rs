//! Tests of plans: rolls, what they leave behind, what holds them, and a cluster that is stopped.

use kennet_api::names::{PREVIOUS_TEMPLATE_ANNOTATION, RESTART_INPUTS_ANNOTATION, REVERTED_ANNOTATION};
use kennet_contract::CONTRACT;
use kennet_contract::management::Status;
use kennet_model::cluster::ValidatedCluster;
use serde_json::{Value, json};

use crate::cluster::build::INPUTS_VERSION;
use crate::cluster::fetch::Observed;
use crate::cluster::fixture::{self, planned, template};
use crate::cluster::plan::{Hold, Step, Template};
use crate::conditions::{Outcome, Progress};

fn version(version: &str) -> ValidatedCluster {
    fixture::cluster(&format!("version: {version}"))
}

fn template_json(valid: &ValidatedCluster) -> String {
    let set = fixture::stateful_set(valid, &json!({}));
    serde_json::to_string(&set.spec.unwrap().template).unwrap()
}

fn live(set: &ValidatedCluster, annotations: &Value, pod: Option<(&ValidatedCluster, &str)>) -> Observed {
    let stateful_set = Some(fixture::stateful_set(set, annotations));
    let pods = pod.map(|(made_by, state)| fixture::pod(made_by, state)).into_iter().collect();
    Observed { stateful_set, pods, ..fixture::observed() }
}

#[test]
fn a_roll_is_forgotten_once_the_pod_with_its_inputs_is_ready_and_not_before() {
    let (old, new) = (version("a"), version("b"));
    let kept = json!({PREVIOUS_TEMPLATE_ANNOTATION: template_json(&old)});
    let forgets = |observed: &Observed| planned(&new, observed).steps.contains(&Step::ForgetRoll);
    assert!(forgets(&live(&new, &kept, Some((&new, "ready")))));
    assert!(forgets(&live(&new, &json!({REVERTED_ANNOTATION: "x\ny"}), Some((&new, "ready")))));
    assert!(!forgets(&live(&new, &json!({}), Some((&new, "ready")))));
    assert!(!forgets(&live(&new, &kept, Some((&old, "ready")))));
    assert!(!forgets(&live(&new, &kept, Some((&new, "starting")))));
    assert!(!forgets(&live(&new, &kept, None)));
}

#[test]
fn a_broker_that_fails_long_after_its_roll_is_not_taken_back() {
    let new = version("b");
    let plan = planned(&new, &live(&new, &json!({}), Some((&new, "failed"))));
    assert_eq!(plan.outcome.reason, "BrokerFailed");
    let said = "pod orders-main-0 does not start: CrashLoopBackOff: the broker ended; look at 'kubectl logs orders-main-0 --previous'";
    assert!(plan.outcome.message.starts_with(said), "{}", plan.outcome.message);
    let kept = json!({PREVIOUS_TEMPLATE_ANNOTATION: template_json(&version("a"))});
    let plan = planned(&new, &live(&new, &kept, Some((&new, "failed"))));
    assert!(plan.steps.iter().any(|step| matches!(step, Step::Revert { .. })));
}

#[test]
fn what_a_roll_goes_back_to_is_the_last_template_that_worked() {
    let (a, b, c) = (version("a"), version("b"), version("c"));
    let anchor = |observed: &Observed| match template(&planned(&c, observed)) {
        Template::New { anchor } => anchor.clone(),
        Template::Live => panic!("the roll is not admitted"),
    };
    let kept = json!({PREVIOUS_TEMPLATE_ANNOTATION: template_json(&a)});
    assert_eq!(anchor(&live(&a, &json!({}), Some((&a, "ready")))), Some(template_json(&a)));
    assert_eq!(anchor(&live(&b, &kept, Some((&b, "failed")))), Some(template_json(&a)));
    assert_eq!(anchor(&live(&b, &kept, Some((&a, "ready")))), Some(template_json(&a)));
    assert_eq!(anchor(&live(&b, &kept, Some((&b, "ready")))), Some(template_json(&b)));
    let back = json!({PREVIOUS_TEMPLATE_ANNOTATION: template_json(&c)});
    assert_eq!(anchor(&live(&b, &back, Some((&b, "failed")))), None);
}

#[test]
fn a_revert_that_was_interrupted_removes_the_failed_pod() {
    let (old, new) = (version("a"), version("b"));
    let inputs = fixture::desired(&new, &fixture::observed()).pool.unwrap().restart_inputs;
    let reverted = json!({REVERTED_ANNOTATION: format!("{inputs}\nno")});
    let removed = Step::RemovePod { pod: "orders-main-0".to_owned(), uid: "p".to_owned() };
    let plan = planned(&new, &live(&old, &reverted, Some((&new, "failed"))));
    assert!(plan.steps.contains(&removed));
    assert_eq!((plan.outcome.reason.as_str(), template(&plan)), ("RolloutReverted", &Template::Live));
    let plan = planned(&new, &live(&old, &reverted, Some((&old, "ready"))));
    assert!(!plan.steps.contains(&removed));
}

#[test]
fn unprotected_partitions_hold_template_and_eviction_whoever_keeps_the_budget() {
    for budget in ["Managed", "Disabled"] {
        let spec = |version: &str| {
            let rollout = "rollout: {unprotectedPartitions: Block}";
            fixture::cluster(&format!("version: {version}, disruptionBudget: {budget}, {rollout}"))
        };
        let (old, new) = (spec("a"), spec("b"));
        let with = |set: &ValidatedCluster, state: &str, topics: Option<&[&str]>| {
            let broker = Some(topics.map(|_| fixture::serving(3)).ok_or_else(|| "silence".to_owned()));
            let topics = topics.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let identity = serde_json::from_value(json!({"clusterId": "AQEBAQEBAQEBAQEBAQEBAQ", "voters": ["d"]}));
            Observed { broker, topics, identity: identity.ok(), ..live(set, &json!({}), Some((&old, state))) }
        };
        let (t, none): (&[&str], &[&str]) = (&["t"], &[]);
        let (known, unknown) = (Hold::UnprotectedPartitions, Hold::UnknownPartitions);
        for (set, topics, hold) in [(&old, Some(t), known), (&old, None, unknown), (&new, Some(t), known)] {
            let plan = planned(&new, &with(set, "ready", topics));
            assert_eq!((template(&plan), plan.held_by), (&Template::Live, Some(hold)));
            // its end is an event, unless the broker has to be asked again
            assert_eq!(plan.is_open(), hold == unknown);
            assert!(!plan.steps.iter().any(|step| matches!(step, Step::Evict { .. })));
            assert_eq!(plan.outcome.reason, "RolloutHeld");
        }
        assert!(matches!(template(&planned(&new, &with(&old, "ready", Some(none)))), Template::New { .. }));
        // what is down already may be mended
        assert!(matches!(template(&planned(&new, &with(&old, "failed", None))), Template::New { .. }));
    }
}

/// The broker has partitions all the same: those of Kafka's own topics, which are not among the topics that are asked for.
#[test]
fn the_budget_allows_an_eviction_when_there_is_nothing_to_protect() {
    let valid = fixture::cluster("rollout: {unprotectedPartitions: Block}");
    let allowed = |topics: &[&str]| {
        let topics = Some(topics.iter().map(|name| (*name).to_owned()).collect());
        let observed = Observed { broker: Some(Ok(fixture::serving(50))), topics, ..fixture::observed() };
        fixture::desired(&valid, &observed).budget.unwrap()["spec"]["maxUnavailable"].clone()
    };
    assert_eq!((allowed(&[]), allowed(&["t"])), (json!(1), json!(0)));
}

#[test]
fn a_restart_that_is_paused_is_not_polled_while_the_broker_serves() {
    let paused = |version: &str| fixture::cluster(&format!("version: {version}, rollout: {{paused: true}}"));
    let (old, new) = (paused("a"), paused("b"));
    let plan = |state: &str| {
        let observed = live(&old, &json!({}), Some((&old, state)));
        planned(&new, &Observed { broker: Some(Ok(fixture::serving(1))), ..observed })
    };
    assert_eq!((plan("ready").held_by, plan("ready").is_open()), (Some(Hold::Paused), false));
    // the broker is not followed before it serves
    assert!(plan("starting").is_open());
    assert!(planned(&version("b"), &live(&old, &json!({}), Some((&old, "ready")))).is_open());
}

#[test]
fn a_cluster_that_is_stopped_as_wished_is_ready() {
    let mut valid = fixture::cluster("");
    valid.brokers = 0;
    let plan = planned(&valid, &live(&valid, &json!({}), None));
    assert_eq!(plan.outcome, Outcome::settled("Stopped", "spec.brokers is 0; the data is kept"));
    let plan = planned(&valid, &live(&valid, &json!({}), Some((&valid, "ready"))));
    assert_eq!((plan.outcome.ready, plan.outcome.progress), (false, Progress::Reconciling));
}

/// The newer operator wrote it down with the template; or somebody set an image whose broker is newer.
#[test]
fn what_a_newer_operator_or_release_runs_is_not_touched() {
    let valid = version("a");
    let serving = |contract| Some(Ok(Status { contract, ..fixture::serving(1) }));
    let mut newer = live(&valid, &json!({}), Some((&valid, "ready")));
    let template = &mut newer.stateful_set.as_mut().unwrap().spec.as_mut().unwrap().template;
    let annotations = template.metadata.as_mut().unwrap().annotations.as_mut().unwrap();
    annotations.insert(RESTART_INPUTS_ANNOTATION.to_owned(), json!({"version": INPUTS_VERSION + 1}).to_string());
    newer.broker = serving(CONTRACT);
    let broker = live(&valid, &json!({}), Some((&valid, "ready")));
    for (observed, there) in
        [(newer, INPUTS_VERSION + 1), (Observed { broker: serving(CONTRACT + 1), ..broker }, CONTRACT + 1)]
    {
        let plan = planned(&version("b"), &observed);
        // it serves on, and even what is missing is not made
        assert_eq!((plan.outcome.ready, plan.outcome.progress), (true, Progress::Stalled));
        assert_eq!((plan.outcome.reason.as_str(), plan.steps.as_slice()), ("OperatorTooOld", &[][..]));
        assert!(plan.outcome.message.contains(&format!("version {there}, and")), "{}", plan.outcome.message);
    }
    let same = live(&valid, &json!({}), Some((&valid, "ready")));
    let plan = planned(&valid, &Observed { broker: serving(CONTRACT), ..same });
    assert_eq!(plan.outcome, Outcome::settled("Serving", ""));
}

/// Kubernetes may still heal it, so it is no failure; but whoever waits is told what for.
#[test]
fn a_pod_that_waits_says_what_for_and_is_still_worked_on() {
    let valid = version("a");
    let waits = |status: Value, broker: Option<Result<Status, String>>| {
        let mut pod = serde_json::to_value(fixture::pod(&valid, "starting")).unwrap();
        pod["status"] = status;
        let mut observed = live(&valid, &json!({}), None);
        observed.pods = vec![serde_json::from_value(pod).unwrap()];
        planned(&valid, &Observed { broker, ..observed }).outcome
    };
    let said = "0/1 nodes are available: 1 Insufficient memory.";
    let pending = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said});
    let outcome = waits(json!({"conditions": [pending]}), None);
    assert_eq!(
        (outcome.ready, outcome.progress, outcome.reason.as_str()),
        (false, Progress::Reconciling, "Unschedulable")
    );
    assert!(
        outcome.message.contains("0/1 nodes are available: 1 Insufficient memory; look at spec.resources.requests")
    );
    let container = |reason: &str| {
        let container = json!({
            "name": "broker", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "not found"}},
        });
        json!({"containerStatuses": [container]})
    };
    let outcome = waits(container("CreateContainerError"), Some(Err("silence".to_owned())));
    assert_eq!(
        (outcome.ready, outcome.progress, outcome.reason.as_str()),
        (false, Progress::Reconciling, "CreateContainerError")
    );
    // whoever answers runs, whatever was said before
    assert_eq!(waits(container("CreateContainerError"), Some(Ok(fixture::serving(1)))).reason, "Starting");
    let outcome = waits(container("ErrImagePull"), Some(Err("silence".to_owned())));
    assert_eq!((outcome.progress, outcome.reason.as_str()), (Progress::Stalled, "BrokerFailed"));
    assert!(outcome.message.contains("ErrImagePull: not found; look at spec.version"), "{}", outcome.message);
    assert_eq!(waits(json!({}), None).message, "pod orders-main-0 starts");
}

#[test]
fn a_pod_that_took_too_long_says_what_it_waits_for() {
    let valid = version("a");
    let mut pod = serde_json::to_value(fixture::pod(&valid, "starting")).unwrap();
    pod["metadata"]["creationTimestamp"] = json!("1970-01-01T00:49:00Z");
    pod["status"] = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "pod has unbound immediate PersistentVolumeClaims",
    }]});
    let mut observed = live(&valid, &json!({}), None);
    observed.pods = vec![serde_json::from_value(pod).unwrap()];
    let outcome = planned(&valid, &observed).outcome;
    assert_eq!(outcome.reason, "BrokerFailed");
    assert!(
        outcome
            .message
            .starts_with("not ready after 600 s: pod orders-main-0 does not start: Unschedulable: pod has unbound")
    );
    assert!(outcome.message.contains("spec.storage.storageClassName"));
}
