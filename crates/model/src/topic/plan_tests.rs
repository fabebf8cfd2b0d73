//! Plans for topics: each rule by an example, and that applying a plan leaves nothing to do, from wherever it was cut off.

use std::collections::BTreeMap;

use kennet_contract::management::TopicOwner;
use proptest::prelude::*;

use super::{Observed, Ownership, Step, TopicPlan, plan};
use crate::topic::{ValidatedTopic, validate};

fn topic(text: &str) -> ValidatedTopic {
    validate("t", &serde_saphyr::from_str(&format!("{{clusterRef: {{name: c}}, {text}}}")).unwrap()).unwrap()
}

fn me(uid: &str) -> TopicOwner {
    TopicOwner { namespace: "n".into(), name: "t".into(), uid: uid.into() }
}

fn observed(partitions: i32, config: &[(&str, &str)], ownership: Ownership) -> Observed {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Observed { id: "id".into(), partitions, replication_factor: 1, config, ownership }
}

fn owned(keys: &[&str], generation: i64) -> Ownership {
    let managed_keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Ownership { owner: Some(me("1")), managed_keys, generation, ..Ownership::default() }
}

/// The cluster after one step.
fn apply(topic: &ValidatedTopic, now: Option<Observed>, step: &Step) -> Observed {
    let mut now = now.unwrap_or_else(|| Observed {
        id: "id".into(),
        partitions: topic.partitions.unwrap_or(1),
        replication_factor: 1,
        config: topic.config.clone(),
        ownership: Ownership::default(),
    });
    match step {
        Step::Create { agreed } => now.ownership = agreed.clone(),
        Step::Claim { expected, agreed } => {
            assert_eq!(*expected, now.ownership.owner, "compare and set");
            now.ownership = agreed.clone();
        }
        Step::Grow { total } => now.partitions = *total,
        Step::AlterConfig { changes } => {
            for (key, value) in changes {
                match value {
                    Some(value) => now.config.insert(key.clone(), value.clone()),
                    None => now.config.remove(key),
                };
            }
        }
    }
    now
}

fn reason(plan: &TopicPlan) -> Option<&str> {
    plan.stall.as_ref().map(|stall| stall.reason)
}

#[test]
fn a_topic_of_another_object_is_left_alone() {
    let mut other = owned(&[], 1);
    other.owner = Some(TopicOwner { namespace: "n".into(), name: "other".into(), uid: "9".into() });
    let plan = plan(&topic("partitions: 5, adoption: Always"), &me("1"), 1, Some(&observed(1, &[], other)));
    assert_eq!(reason(&plan), Some("TopicClaimed"));
    assert_eq!(plan.steps, []);
}

#[test]
fn an_existing_topic_is_adopted_as_the_spec_says() {
    let present = observed(2, &[("retention.ms", "5")], Ownership::default());
    let decide = |text: &str| plan(&topic(text), &me("1"), 1, Some(&present));
    assert_eq!(reason(&decide("partitions: 2, config: {retention.ms: '5'}")), None);
    assert_eq!(reason(&decide("partitions: 3, config: {retention.ms: '5'}")), Some("TopicDiffers"));
    assert_eq!(reason(&decide("config: {retention.ms: '6'}")), Some("TopicDiffers"));
    assert_eq!(reason(&decide("adoption: Never")), Some("TopicExists"));
    assert_eq!(reason(&decide("partitions: 3, adoption: Always")), None);
}

#[test]
fn a_topic_with_a_config_that_the_spec_does_not_name_is_not_identical() {
    let with = |key: &str| observed(2, &[(key, "1048576")], Ownership::default());
    let decide = |text: &str, key: &str| plan(&topic(text), &me("1"), 1, Some(&with(key)));
    let refused = decide("partitions: 2", "segment.bytes");
    assert_eq!((reason(&refused), refused.steps.as_slice()), (Some("TopicDiffers"), &[][..]));
    let message = refused.stall.unwrap().message;
    assert!(
        message.contains("has segment.bytes 1048576, which spec.config does not name; change the spec"),
        "{message}"
    );
    assert_eq!(reason(&decide("partitions: 2, config: {segment.bytes: '1048576'}", "segment.bytes")), None);
    assert_eq!(reason(&decide("partitions: 2, adoption: Always", "segment.bytes")), None);
    // moving replicas sets it for a while
    assert_eq!(reason(&decide("partitions: 2", "leader.replication.throttled.replicas")), None);
}

#[test]
fn partitions_never_shrink_and_heal_on_revert() {
    let present = observed(6, &[], owned(&[], 1));
    let refused = plan(&topic("partitions: 3"), &me("1"), 2, Some(&present));
    assert_eq!(reason(&refused), Some("PartitionDecreaseRefused"));
    assert_eq!(refused.steps, []);
    assert_eq!(reason(&plan(&topic("partitions: 6"), &me("1"), 3, Some(&present))), None);
}

#[test]
fn a_changed_replication_factor_is_refused() {
    let present = observed(6, &[], owned(&[], 1));
    let refused = plan(&topic("replicationFactor: 3"), &me("1"), 2, Some(&present));
    assert_eq!(reason(&refused), Some("ReplicationFactorChangeRefused"));
}

#[test]
fn a_removed_key_goes_back_to_its_default_and_a_foreign_key_stays() {
    let set = [("retention.ms", "5"), ("segment.bytes", "9"), ("leader.replication.throttled.replicas", "*")];
    let present = observed(1, &set, owned(&["retention.ms"], 1));
    let plan = plan(&topic("partitions: 1"), &me("1"), 2, Some(&present));
    assert!(plan.steps.contains(&Step::AlterConfig { changes: vec![("retention.ms".into(), None)] }));
    let foreign: Vec<&str> = plan.drift.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(foreign, ["segment.bytes"]);
}

#[test]
fn drift_is_reported_or_reverted_and_a_new_spec_is_neither() {
    let present = observed(1, &[("retention.ms", "7")], owned(&["retention.ms"], 1));
    let decide = |text: &str, generation| plan(&topic(text), &me("1"), generation, Some(&present));
    let alters = |plan: &TopicPlan| plan.steps.iter().any(|step| matches!(step, Step::AlterConfig { .. }));
    assert!(alters(&decide("config: {retention.ms: '5'}", 1)));
    let reported = decide("config: {retention.ms: '5'}, drift: Report", 1);
    assert!(!alters(&reported));
    assert_eq!(reported.drift.len(), 1);
    assert!(alters(&decide("config: {retention.ms: '5'}, drift: Report", 2)));
}

#[test]
fn a_claim_cancels_a_deletion_and_a_re_created_object_takes_over() {
    let mut ownership = owned(&[], 1);
    ownership.delete_at_ms = Some(99);
    let plan = plan(&topic("partitions: 1"), &me("2"), 1, Some(&observed(1, &[], ownership)));
    assert!(
        matches!(&plan.steps[..], [Step::Claim { expected: Some(old), agreed }] if old.uid == "1" && agreed.delete_at_ms.is_none())
    );
}

proptest! {
    #[test]
    fn a_topic_that_was_being_made_is_never_a_stranger_s(
        adoption in prop::sample::select(vec!["Never", "IfIdentical", "Always"]),
        wanted in prop::collection::btree_map("[a-c]", "[0-3]", 0..3),
        cuts in prop::collection::vec(0_usize..3, 0..3),
    ) {
        let mut topic = topic(&format!("partitions: 4, adoption: {adoption}"));
        topic.config = wanted;
        let mut now: Option<Observed> = None;
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let plan = plan(&topic, &me("1"), 1, now.as_ref());
            prop_assert_eq!(&plan.stall, &None);
            for step in plan.steps.iter().take(cut) {
                now = Some(apply(&topic, now, step));
            }
        }
        prop_assert_eq!(plan(&topic, &me("1"), 1, now.as_ref()), TopicPlan::default());
        prop_assert_eq!(now.unwrap().ownership.owner, Some(me("1")));
    }

    #[test]
    fn a_plan_cut_off_anywhere_is_finished_by_the_next(
        exists in any::<bool>(),
        had in prop::collection::btree_map("[a-c]", "[0-3]", 0..3),
        managed in prop::collection::btree_set("[a-c]", 0..3),
        wanted in prop::collection::btree_map("[a-c]", "[0-3]", 0..3),
        cut in 0_usize..4,
    ) {
        let mut topic = topic("partitions: 4, adoption: Always");
        topic.config = wanted.clone();
        let mut ownership = owned(&[], 1);
        ownership.managed_keys = managed.iter().cloned().collect();
        let mut now = exists.then(|| Observed { config: had.clone(), ..observed(2, &[], ownership) });
        for round in 0..3 {
            let plan = plan(&topic, &me("1"), 2, now.as_ref());
            prop_assert!(plan.stall.is_none());
            let upto = if round == 0 { cut } else { usize::MAX };
            for step in plan.steps.iter().take(upto) {
                now = Some(apply(&topic, now, step));
            }
        }
        let now = now.unwrap();
        prop_assert_eq!(plan(&topic, &me("1"), 2, Some(&now)).steps, vec![]);
        let foreign: BTreeMap<String, String> =
            had.into_iter().filter(|(key, _)| exists && !managed.contains(key) && !wanted.contains_key(key)).collect();
        let expected: BTreeMap<String, String> = wanted.into_iter().chain(foreign).collect();
        prop_assert_eq!(now.config, expected);
    }
}
