//! OffsetReset, decision by decision.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kennet_api::OffsetReset;
use kennet_model::admin::{GroupState, Partition};
use kennet_model::reset::{Move, Plan};

use super::{Act, Decision, State, decide, settled};
use crate::offset_reset::fetch::{Group, JobState, Record};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn reset(uid: &str, spec: &str) -> OffsetReset {
    let text = format!(
        "{{apiVersion: kennet.dev/v1alpha1, kind: OffsetReset, metadata: {{name: r, namespace: n, uid: {uid}}}, \
         spec: {{clusterRef: {{name: c}}, groupId: g, target: {{type: Earliest}}, {spec}}}}}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn plan() -> Plan {
    let moved = Move { topic: "t".into(), partition: 0, current: Some(9), target: 4, start: 0, end: 20 };
    Plan { group: "g".into(), state: GroupState::Empty, moves: vec![moved], notes: Vec::new() }
}

fn record(uid: &str, job: Option<JobState>) -> Record {
    let (hash, plan) = (plan().hash(uid), plan());
    Record { hash, config_map: "cm".into(), plan, applied_at: None, started_at: None, job, held_up: None }
}

fn group(state: GroupState, offset: i64) -> Group {
    let committed: BTreeMap<Partition, i64> = [(Partition::new("t", 0), offset)].into();
    Group { state, committed, fresh: plan() }
}

fn with_record(spec: &str, job: Option<JobState>, offset: i64) -> Decision {
    decide(&reset("u", spec), &[record("u", job)], &group(GroupState::Empty, offset), now())
}

#[test]
fn a_group_with_members_gets_a_preview_without_a_hash() {
    let decision = decide(&reset("u", ""), &[], &group(GroupState::Active, 9), now());
    assert_eq!(decision.state, State::GroupNotEmpty);
    assert_eq!(decision.shown.unwrap().hash, None);
    assert_eq!(decision.act, Act::Nothing);
}

#[test]
fn a_plan_is_written_down_and_waits_for_its_hash() {
    let decision = decide(&reset("u", ""), &[], &group(GroupState::Empty, 9), now());
    assert!(matches!(decision.act, Act::Record { .. }));
    let decision = with_record("approvedPlan: sha256-00000000", None, 9);
    assert!(matches!(decision.state, State::AwaitingApproval { .. }));
    assert_eq!(decision.act, Act::Nothing);
    let approved = format!("approvedPlan: {}", plan().hash("u"));
    assert!(matches!(with_record(&approved, None, 9).act, Act::Start { .. }));
}

#[test]
fn who_approves_is_told_what_is_not_as_the_spec_says() {
    let mut group = group(GroupState::Missing, 0);
    group.committed.clear();
    group.fresh.state = GroupState::Missing;
    group.fresh.moves[0].current = None;
    group.fresh.notes = (0..7).map(|number| format!("note {number}")).collect();
    let decision = decide(&reset("u", ""), &[], &group, now());
    let State::AwaitingApproval { message } = decision.state else { panic!("{:?}", decision.state) };
    for words in ["group 'g' has no offsets yet", "note 0; note 1", "note 4; and 2 more notes"] {
        assert!(message.contains(words), "'{words}' is not in: {message}");
    }
    assert!(!message.contains("note 5"), "{message}");
}

#[test]
fn an_old_approval_means_nothing_to_a_re_created_object() {
    let approved = format!("approvedPlan: {}", plan().hash("old"));
    let decision = decide(&reset("new", &approved), &[record("new", None)], &group(GroupState::Empty, 9), now());
    assert_eq!(decision.act, Act::Nothing);
    assert!(matches!(decision.state, State::AwaitingApproval { .. }));
}

#[test]
fn offsets_that_moved_need_a_new_plan() {
    let approved = format!("approvedPlan: {}", plan().hash("u"));
    assert!(matches!(with_record(&approved, None, 11).act, Act::Record { .. }));
}

#[test]
fn offsets_that_came_back_fit_the_plan_that_was_made_for_them() {
    let mut second = record("u", None);
    second.plan.moves[0].current = Some(11);
    second.hash = second.plan.hash("u");
    let records = [second, record("u", None)];
    let decide = |spec: &str| decide(&reset("u", spec), &records, &group(GroupState::Empty, 9), now());
    let first = plan().hash("u");
    assert_eq!(decide("").shown.unwrap().hash, Some(first.clone()));
    assert!(matches!(decide(&format!("approvedPlan: {first}")).act, Act::Start { hash, .. } if hash == first));
}

#[test]
fn of_two_plans_that_fit_the_approved_one_counts() {
    let mut newer = record("u", None);
    newer.plan.moves[0].target = 5;
    newer.hash = newer.plan.hash("u");
    let (approved, records) = (plan().hash("u"), [newer, record("u", None)]);
    let spec = format!("approvedPlan: {approved}");
    let decision = decide(&reset("u", &spec), &records, &group(GroupState::Empty, 9), now());
    assert!(matches!(decision.act, Act::Start { hash, .. } if hash == approved));
}

#[test]
fn a_job_that_was_killed_is_judged_by_the_offsets() {
    assert!(matches!(with_record("", Some(JobState::Failed), 4).state, State::Applied { .. }));
    assert_eq!(with_record("", Some(JobState::Failed), 9).state.reason(), "ApplyFailed");
    assert_eq!(with_record("", Some(JobState::Failed), 15).state.reason(), "OffsetsMoved");
    assert_eq!(with_record("", Some(JobState::Running), 9).state, State::Applying { held_up: None });
    // consumers may have gone on since
    assert!(matches!(with_record("", Some(JobState::Complete), 15).state, State::Applied { .. }));
}

#[test]
fn a_job_whose_pod_does_not_start_says_why() {
    let why = Some("pod r-1 does not start: Unschedulable: no node".to_owned());
    let held_up = Record { held_up: why.clone(), ..record("u", Some(JobState::Running)) };
    let decision = decide(&reset("u", ""), &[held_up], &group(GroupState::Empty, 9), now());
    assert_eq!(decision.state, State::Applying { held_up: why });
}

#[test]
fn nothing_starts_after_its_time_and_nothing_is_repeated() {
    let late = reset("u", "notAfter: '2020-01-01T00:00:00Z'");
    assert_eq!(settled(&late, &[], now()).unwrap().state, State::Expired);
    assert!(settled(&late, &[record("u", Some(JobState::Running))], now()).is_none());
    let mut done = record("u", None);
    done.applied_at = Some("2026-11-20T10:00:00Z".into());
    assert!(matches!(settled(&late, &[done], now()).unwrap().state, State::Applied { .. }));
}

#[test]
fn a_job_is_let_go_once() {
    let spec = "approval: Automatic, notAfter: '2099-01-01T00:00:00Z'";
    // made, and the operator was cut off before it wrote down that it is let go: nothing ran
    assert!(matches!(with_record(spec, Some(JobState::Suspended), 9).act, Act::Start { .. }));
    let mut started = record("u", Some(JobState::Suspended));
    started.started_at = Some("2026-11-20T10:00:00Z".into());
    let judge = |record: &Record, offset| {
        decide(&reset("u", spec), std::slice::from_ref(record), &group(GroupState::Empty, offset), now())
    };
    assert!(matches!(judge(&started, 9).act, Act::Start { .. }));
    // its Job was deleted: the rewind may have happened, and consumers have come back to where they were
    started.job = None;
    assert_eq!(judge(&started, 9).state.reason(), "JobDeleted");
    assert_eq!(judge(&started, 9).act, Act::Nothing);
    assert!(matches!(judge(&started, 4).state, State::Applied { .. }));
}

#[test]
fn a_job_s_success_is_read_back() {
    assert!(matches!(with_record("", Some(JobState::Complete), 4).state, State::Applied { .. }));
    let decision = with_record("", Some(JobState::Complete), 9);
    assert_eq!((decision.state.reason(), decision.act), ("NotInPlace", Act::Nothing));
}

#[test]
fn a_time_that_can_not_be_read_or_is_over_stops_what_did_not_run() {
    let unreadable = reset("u", "notAfter: tomorrow");
    assert_eq!(settled(&unreadable, &[], now()).unwrap().state.reason(), "InvalidSpec");
    let late = "notAfter: '2020-01-01T00:00:00Z'";
    assert_eq!(
        settled(&reset("u", late), &[record("u", Some(JobState::Suspended))], now()).unwrap().state,
        State::Expired
    );
    assert_eq!(with_record(late, Some(JobState::Failed), 9).state, State::Expired);
    let mut started = record("u", Some(JobState::Suspended));
    started.started_at = Some("2019-12-31T10:00:00Z".into());
    let decision = decide(&reset("u", late), &[started], &group(GroupState::Empty, 9), now());
    assert_eq!((decision.state, decision.act), (State::Expired, Act::Nothing));
}
