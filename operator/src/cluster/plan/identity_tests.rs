//! Tests of plans: whose data it is, and sizes that can't be had.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kennet_api::names::{CLUSTER_ID_ANNOTATION, DIRECTORY_ID_ANNOTATION};
use kennet_contract::ClusterId;
use kennet_contract::management::{BootstrapRecord, BrokerState, Status};
use serde_json::{Value, json};

use crate::cluster::fetch::Observed;
use crate::cluster::fixture::{self, planned};
use crate::cluster::plan::Step;
use crate::conditions::{Outcome, Progress};

/// The id of the fixture's CA.
const OURS: ClusterId = ClusterId::from_bytes([1; 16]);
const OTHER: ClusterId = ClusterId::from_bytes([2; 16]);

fn claim(name: &str, size: &str, annotations: &Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"resources": {"requests": {"storage": size}}},
    }))
    .unwrap()
}

/// A volume of that cluster.
fn volume(name: &str, id: ClusterId) -> PersistentVolumeClaim {
    claim(name, "1Gi", &json!({CLUSTER_ID_ANNOTATION: id.to_string()}))
}

fn identity(cluster_id: ClusterId, voter: &str) -> Option<BootstrapRecord> {
    Some(BootstrapRecord { cluster_id, voters: vec![voter.to_owned()] })
}

#[test]
fn a_volume_of_another_cluster_than_the_ca_stalls_and_nothing_is_done() {
    let claims = vec![volume("data-orders-main-0", OTHER)];
    let plan = planned(&fixture::cluster(""), &Observed { claims, ..fixture::observed() });
    assert_eq!((plan.outcome.progress, plan.outcome.reason.as_str()), (Progress::Stalled, "IdentityConflict"));
    assert_eq!(
        plan.outcome.message,
        format!(
            "the CA belongs to cluster {OURS} and claim data-orders-main-0 to cluster {OTHER}: remove what is not of this cluster"
        )
    );
    assert_eq!(plan.steps, []);
}

#[test]
fn so_does_one_of_another_cluster_than_the_identity_or_another_volume() {
    let conflict = |identity, claims| {
        // the CA is gone, so it can't say who is right
        let observed = Observed { authority: None, identity, claims, ..fixture::observed() };
        let plan = planned(&fixture::cluster(""), &observed);
        (plan.outcome.reason == "IdentityConflict", plan.steps.is_empty())
    };
    let (first, second) = (volume("data-orders-main-0", OURS), volume("data-orders-main-1", OTHER));
    assert_eq!(conflict(identity(OTHER, "d"), vec![first.clone()]), (true, true));
    assert_eq!(conflict(None, vec![first.clone(), second]), (true, true));
    let unreadable = claim("data-orders-main-0", "1Gi", &json!({CLUSTER_ID_ANNOTATION: "nonsense"}));
    assert_eq!(conflict(None, vec![unreadable]), (true, true));
    // they agree: it is no conflict, and the cluster goes on
    assert_eq!(conflict(identity(OURS, "d"), vec![first]), (false, false));
}

#[test]
fn a_cluster_of_which_only_volumes_are_left_gets_their_id_back() {
    let made = |claims| {
        let observed = Observed { authority: None, claims, ..fixture::observed() };
        planned(&fixture::cluster(""), &observed).steps
    };
    assert_eq!(made(vec![volume("data-orders-main-0", OTHER)]), [Step::CreateAuthority(Some(OTHER))]);
    assert_eq!(made(Vec::new()), [Step::CreateAuthority(None)]);
    // a claim that was never stamped says nothing
    assert_eq!(made(vec![claim("data-orders-main-0", "1Gi", &json!({}))]), [Step::CreateAuthority(None)]);
}

/// A broker that says which directory it has.
fn reporting(state: BrokerState) -> Option<Result<Status, String>> {
    Some(Ok(Status { state, directory_id: "found".to_owned(), ..fixture::serving(1) }))
}

fn stamped(directory: &str) -> Vec<PersistentVolumeClaim> {
    let annotations = json!({CLUSTER_ID_ANNOTATION: OURS.to_string(), DIRECTORY_ID_ANNOTATION: directory});
    vec![claim("data-orders-main-0", "1Gi", &annotations)]
}

#[test]
fn another_directory_than_the_identity_or_the_volume_names_is_told_nothing() {
    let valid = fixture::cluster("");
    for (identity, claims) in [(identity(OURS, "lost"), Vec::new()), (None, stamped("lost"))] {
        let broker = reporting(BrokerState::AwaitingBootstrap);
        let plan = planned(&valid, &Observed { identity, claims, broker, ..fixture::observed() });
        let Outcome { ready, progress, reason, message } = &plan.outcome;
        assert_eq!((*ready, *progress, reason.as_str()), (false, Progress::Stalled, "DirectoryUnavailable"));
        assert!(message.contains("has the data directory found, and the cluster's data is in lost"), "{message}");
        assert!(message.contains("bring the volume of claim data-orders-main-0 back"), "{message}");
        let told = |step: &Step| {
            matches!(step, Step::Bootstrap(_) | Step::CreateIdentity(_) | Step::StampClaim { .. } | Step::Evict { .. })
        };
        assert!(!plan.steps.iter().any(told), "{:?}", plan.steps);
    }
}

#[test]
fn the_directory_that_they_name_is_bootstrapped_and_written_down_where_it_is_missing() {
    let valid = fixture::cluster("");
    let steps = |identity, claims| {
        let broker = reporting(BrokerState::AwaitingBootstrap);
        planned(&valid, &Observed { identity, claims, broker, ..fixture::observed() }).steps
    };
    let record = identity(OURS, "found").unwrap();
    let stamp = Step::StampClaim { claim: "data-orders-main-0".to_owned(), directory_id: "found".to_owned() };
    let fresh = steps(None, Vec::new());
    assert!(fresh.contains(&Step::CreateIdentity(record.clone())) && fresh.contains(&stamp));
    assert!(fresh.contains(&Step::Bootstrap(record.clone())));
    // who forms the quorum is written down before anybody is told
    let at = |wanted: &Step| fresh.iter().position(|step| step == wanted);
    assert!(at(&Step::CreateIdentity(record.clone())) < at(&Step::Bootstrap(record.clone())));
    let again = steps(Some(record.clone()), stamped("found"));
    assert!(!again.contains(&stamp) && !again.contains(&Step::CreateIdentity(record.clone())));
    assert!(again.contains(&Step::Bootstrap(record)));
}

#[test]
fn a_size_below_the_volumes_is_refused_and_heals_when_it_is_taken_back() {
    let valid = fixture::cluster("");
    let plan = |size: &str| {
        let claims = vec![claim("data-orders-main-0", size, &json!({}))];
        let pods = vec![fixture::pod(&valid, "ready")];
        let stateful_set = Some(fixture::stateful_set(&valid, &json!({})));
        let broker = Some(Ok(fixture::serving(1)));
        planned(&valid, &Observed { claims, pods, stateful_set, broker, ..fixture::observed() })
    };
    let message =
        "spec.storage.size is '1Gi': claim data-orders-main-0 has 2Gi, and a volume can't shrink; set 2Gi or more";
    let refused = plan("2Gi");
    assert_eq!(refused.outcome, Outcome::stalled(true, "ShrinkRefused", message));
    // everything else goes on
    assert!(refused.steps.contains(&Step::ApplyServices) && refused.steps.contains(&Step::ApplyClaims));
    for size in ["1Gi", "1024Mi", "512Mi"] {
        assert_eq!(plan(size).outcome, Outcome::settled("Serving", ""), "{size}");
    }
}

#[test]
fn a_data_directory_that_failed_is_told_with_its_reason_and_waits_for_a_person() {
    let offline = kennet_contract::management::OfflinePartition {
        topic: "orders".to_owned(),
        partition: 0,
        reason: "the data directory failed: /data/journal/00000001 is missing".to_owned(),
    };
    let status = Status { offline: vec![offline], ..reporting(BrokerState::Failed).unwrap().unwrap() };
    let observed = Observed { broker: Some(Ok(status)), identity: identity(OURS, "found"), ..fixture::observed() };
    let Outcome { ready, progress, reason, message } = planned(&fixture::cluster(""), &observed).outcome;
    assert_eq!((ready, progress, reason.as_str()), (false, Progress::Stalled, "DirectoryFailed"));
    assert!(message.contains("/data/journal/00000001 is missing. `kubectl logs orders-main-0`"), "{message}");
    assert!(message.contains("claim data-orders-main-0"), "{message}");
}
