//! Tests of specs that went back: what is held, what is said, and what is written down when.

use kennet_contract::management::{AppliedGeneration, AppliedGenerationChange, Problem};
use kennet_model::cluster::ValidatedCluster;
use serde_json::json;

use super::{message, was_overtaken};
use crate::cluster::fetch::Observed;
use crate::cluster::fixture::{self, desired, planned};
use crate::cluster::plan::Step;
use crate::conditions::{Outcome, Progress};
use crate::error::ReconcileError;
use crate::management::ManagementError;

fn applied(uid: &str, generation: i64) -> Option<AppliedGeneration> {
    Some(AppliedGeneration { uid: uid.to_owned(), generation })
}

/// The object with uid 1 and generation 3, whose broker serves and says what was applied last.
fn serving(said: Result<Option<AppliedGeneration>, String>) -> Observed {
    let valid = fixture::cluster("");
    Observed {
        generation: 3,
        stateful_set: Some(fixture::stateful_set(&valid, &json!({}))),
        pods: vec![fixture::pod(&valid, "ready")],
        broker: Some(Ok(fixture::serving(1))),
        applied: Some(said),
        ..fixture::observed()
    }
}

fn stopped() -> ValidatedCluster {
    ValidatedCluster { brokers: 0, ..fixture::cluster("") }
}

fn replicas(valid: &ValidatedCluster, observed: &Observed) -> i64 {
    desired(valid, observed).pool.unwrap().stateful_set["spec"]["replicas"].as_i64().unwrap()
}

fn recorded(valid: &ValidatedCluster, observed: &Observed) -> Option<AppliedGenerationChange> {
    planned(valid, observed).steps.into_iter().find_map(|step| match step {
        Step::RecordGeneration(change) => Some(change),
        _ => None,
    })
}

#[test]
fn a_spec_that_went_back_stops_no_broker_and_says_how_to_go_on() {
    let observed = serving(Ok(applied("1", 5)));
    assert_eq!(replicas(&stopped(), &observed), 1);
    for valid in [stopped(), fixture::cluster("")] {
        let plan = planned(&valid, &observed);
        let Outcome { ready, progress, reason, message } = &plan.outcome;
        assert_eq!((*ready, *progress, reason.as_str()), (true, Progress::Stalled, "SpecWentBack"));
        assert!(message.contains("has generation 3, and its generation 5 was applied before"), "{message}");
        assert!(message.contains("changed it 2 times, so that it has generation 5 again"), "{message}");
        // what is higher is not overwritten
        assert_eq!(recorded(&valid, &observed), None);
    }
    assert!(message("1", 4, applied("1", 5).as_ref()).unwrap().contains("changed it once"));
}

#[test]
fn it_goes_on_when_the_generation_is_reached_again() {
    for generation in [5, 6] {
        let observed = Observed { generation, ..serving(Ok(applied("1", 5))) };
        assert_eq!(replicas(&stopped(), &observed), 0);
        assert_eq!(planned(&stopped(), &observed).outcome.reason, "Stopping");
        assert_eq!(planned(&fixture::cluster(""), &observed).outcome, Outcome::settled("Serving", ""));
    }
}

#[test]
fn an_object_that_was_created_again_starts_anew() {
    let observed = serving(Ok(applied("another", 900)));
    assert_eq!(replicas(&stopped(), &observed), 0);
    assert_eq!(planned(&fixture::cluster(""), &observed).outcome, Outcome::settled("Serving", ""));
    let change = recorded(&fixture::cluster(""), &observed).unwrap();
    assert_eq!((Some(change.applied), change.expected), (applied("1", 3), applied("another", 900)));
}

#[test]
fn a_generation_is_written_down_once_and_before_a_broker_is_stopped() {
    let valid = fixture::cluster("");
    for (before, written) in [(None, true), (applied("1", 2), true), (applied("1", 3), false)] {
        let change = recorded(&valid, &serving(Ok(before.clone())));
        let wanted = AppliedGenerationChange { applied: applied("1", 3).unwrap(), expected: before };
        assert_eq!(change, written.then_some(wanted));
    }
    let steps = planned(&stopped(), &serving(Ok(None))).steps;
    let at = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
    let record = at(|step| matches!(step, Step::RecordGeneration(_)));
    assert!(record < at(|step| matches!(step, Step::ApplyStatefulSet(_))), "{steps:?}");
    // a broker that says nothing is told nothing
    assert_eq!(recorded(&valid, &serving(Err("silence".to_owned()))), None);
}

#[test]
fn a_ready_broker_that_can_t_be_asked_is_not_stopped_and_one_that_is_not_ready_is() {
    let silent = || serving(Err("silence".to_owned()));
    for observed in [silent(), Observed { applied: None, broker: Some(Err("silence".to_owned())), ..silent() }] {
        assert_eq!(replicas(&stopped(), &observed), 1);
        let plan = planned(&stopped(), &observed);
        assert_eq!((plan.outcome.reason.as_str(), plan.is_open()), ("ShrinkHeld", true));
        assert!(plan.outcome.message.contains("delete pod orders-main-0 to stop it all the same"));
        // without a shrink there is nothing to hold
        assert_ne!(planned(&fixture::cluster(""), &observed).outcome.reason, "ShrinkHeld");
    }
    let pods = vec![fixture::pod(&fixture::cluster(""), "failed")];
    let failed = Observed { pods, broker: None, applied: None, ..silent() };
    assert_eq!(replicas(&stopped(), &failed), 0);
}

#[test]
fn only_who_was_overtaken_begins_again() {
    let refused = |reason: &str| {
        let problem: Problem = serde_json::from_value(json!({"reason": reason, "message": ""})).unwrap();
        was_overtaken(&ReconcileError::Management(ManagementError::Refused { host: String::new(), problem }))
    };
    assert!(refused("GenerationMoved") && refused("SpecWentBack") && !refused("MetadataUnavailable"));
}
