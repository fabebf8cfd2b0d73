//! The pure group, event by event, and the invariants under any order of events.

use bytes::Bytes;
use kennet_protocol::{ErrorCode, GenerationId};
use proptest::prelude::*;

use crate::group::join::Join;
use crate::group::memory::GROUP_BYTES_MAX;
use crate::group::state::{Action, Group, GroupLimits, JoinAnswer, Purpose, State, SyncAnswer, Ticket};
use crate::group::sync::Sync;

const LIMITS: GroupLimits = GroupLimits {
    session_ms_min: 6_000,
    session_ms_max: 1_800_000,
    initial_delay_ms: 0,
    members_max: 100,
    bytes_max: GROUP_BYTES_MAX,
    room: usize::MAX,
};
const SESSION: i64 = 10_000;
const REBALANCE: i64 = 60_000;

fn join_of(member_id: &str, new_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        instance: None,
        new_member_id: new_id.to_owned(),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_ms: SESSION,
        rebalance_ms: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        id_required: false,
        can_skip_assignment: true,
    }
}

fn static_join(new_id: &str) -> Join {
    Join { instance: Some("instance".to_owned()), ..join_of("", new_id) }
}

fn sync_of(member_id: &str, generation: i32, assignments: &[(&str, &'static str)]) -> Sync {
    Sync {
        member_id: member_id.to_owned(),
        instance: None,
        generation: GenerationId(generation),
        protocol_type: None,
        protocol: None,
        assignments: assignments
            .iter()
            .map(|(id, bytes)| ((*id).to_owned(), Bytes::from_static(bytes.as_bytes())))
            .collect(),
    }
}

fn joins(actions: &[Action]) -> Vec<&JoinAnswer> {
    actions.iter().filter_map(|action| if let Action::Join(_, answer) = action { Some(answer) } else { None }).collect()
}

fn syncs(actions: &[Action]) -> Vec<&SyncAnswer> {
    actions.iter().filter_map(|action| if let Action::Sync(_, answer) = action { Some(answer) } else { None }).collect()
}

fn purpose(actions: Vec<Action>) -> Purpose {
    let mut found = actions
        .into_iter()
        .filter_map(|action| if let Action::Persist(purpose) = action { Some(purpose) } else { None });
    found.next().expect("the group is written")
}

/// A stable group whose one member is `a`, in generation 1.
fn stable() -> Group {
    let mut group = Group::new("g");
    group.join(join_of("", "a"), Ticket(1), &LIMITS, 0);
    let written = purpose(group.sync(sync_of("a", 1, &[("a", "all")]), Ticket(2), usize::MAX, 0));
    group.persisted(written, true, 0);
    assert_eq!(group.state, State::Stable);
    group
}

#[test]
fn the_first_member_leads_the_first_generation() {
    let mut group = Group::new("g");
    let actions = group.join(join_of("", "a"), Ticket(1), &LIMITS, 0);
    let answer = joins(&actions)[0];
    assert_eq!((answer.error, answer.generation, answer.leader.as_str()), (ErrorCode::None, GenerationId(1), "a"));
    assert_eq!(answer.members.len(), 1);
}

#[test]
fn a_new_group_waits_its_delay_out_for_more_members() {
    let limits = GroupLimits { initial_delay_ms: 3_000, ..LIMITS };
    let mut group = Group::new("g");
    assert_eq!(joins(&group.join(join_of("", "a"), Ticket(1), &limits, 0)).len(), 0);
    assert_eq!(group.next_deadline(), Some(3_000));
    assert_eq!(joins(&group.join(join_of("", "b"), Ticket(2), &limits, 1_000)).len(), 0);
    let first = group.tick(3_000);
    assert_eq!(joins(&first).len(), 0, "somebody came meanwhile, so the group waits once more");
    let answers = group.tick(6_000);
    assert_eq!(joins(&answers).iter().filter(|answer| answer.generation == GenerationId(1)).count(), 2);
}

#[test]
fn who_opens_a_new_group_alone_waits_its_delay_once() {
    let limits = GroupLimits { initial_delay_ms: 3_000, ..LIMITS };
    let mut group = Group::new("g");
    group.join(join_of("", "a"), Ticket(1), &limits, 0);
    assert_eq!(joins(&group.tick(3_000))[0].generation, GenerationId(1));
}

#[test]
fn a_client_that_knows_ids_is_given_one_first() {
    let mut group = Group::new("g");
    let wanted = Join { id_required: true, ..join_of("", "a") };
    let actions = group.join(wanted, Ticket(1), &LIMITS, 0);
    assert_eq!((joins(&actions)[0].error, joins(&actions)[0].member_id.as_str()), (ErrorCode::MemberIdRequired, "a"));
    let actions = group.join(join_of("a", "unused"), Ticket(2), &LIMITS, 10);
    assert_eq!(joins(&actions)[0].error, ErrorCode::None);
}

#[test]
fn an_id_that_nobody_uses_lapses_with_its_session() {
    let mut group = Group::new("g");
    group.join(Join { id_required: true, ..join_of("", "a") }, Ticket(1), &LIMITS, 0);
    group.tick(SESSION);
    let actions = group.join(join_of("a", "unused"), Ticket(2), &LIMITS, SESSION);
    assert_eq!(joins(&actions)[0].error, ErrorCode::UnknownMemberId);
}

#[test]
fn an_assignment_is_told_only_after_it_is_written() {
    let mut group = Group::new("g");
    group.join(join_of("", "a"), Ticket(1), &LIMITS, 0);
    let actions = group.sync(sync_of("a", 1, &[("a", "all")]), Ticket(2), usize::MAX, 0);
    assert_eq!(syncs(&actions).len(), 0);
    let actions = group.persisted(purpose(actions), true, 0);
    assert_eq!(syncs(&actions)[0].assignment.as_ref(), b"all");
}

#[test]
fn an_assignment_that_can_not_be_written_is_taken_back() {
    let mut group = Group::new("g");
    group.join(join_of("", "a"), Ticket(1), &LIMITS, 0);
    let written = purpose(group.sync(sync_of("a", 1, &[("a", "all")]), Ticket(2), usize::MAX, 0));
    let actions = group.persisted(written, false, 0);
    assert_eq!(syncs(&actions)[0].error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(group.state, State::PreparingRebalance);
    assert!(group.members["a"].assignment.is_empty());
}

#[test]
fn a_second_member_starts_a_rebalance_and_the_first_learns_of_it() {
    let mut group = stable();
    assert_eq!(joins(&group.join(join_of("", "b"), Ticket(3), &LIMITS, 0)).len(), 0);
    assert_eq!(group.heartbeat("a", None, GenerationId(1), 1), ErrorCode::RebalanceInProgress);
    let actions = group.join(join_of("a", "unused"), Ticket(4), &LIMITS, 2);
    let answers = joins(&actions);
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| answer.generation == GenerationId(2) && answer.leader == "a"));
    assert_eq!(
        answers.iter().filter(|answer| answer.members.len() == 2).count(),
        1,
        "only the leader sees the members"
    );
}

#[test]
fn a_member_that_does_not_come_back_is_left_behind() {
    let mut group = stable();
    group.join(join_of("", "b"), Ticket(3), &LIMITS, 0);
    group.heartbeat("a", None, GenerationId(1), REBALANCE - 1);
    let actions = group.tick(REBALANCE);
    assert_eq!(joins(&actions)[0].leader, "b");
    assert_eq!(group.heartbeat("a", None, GenerationId(1), REBALANCE), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_is_removed_and_the_group_is_empty() {
    let mut group = stable();
    assert!(group.tick(SESSION - 1).is_empty());
    let actions = group.tick(SESSION);
    assert_eq!(purpose(actions), Purpose::Emptied);
    assert_eq!((group.state, group.generation), (State::Empty, GenerationId(2)));
}

#[test]
fn errors_of_heartbeats_are_kafkas() {
    let mut group = stable();
    assert_eq!(group.heartbeat("a", None, GenerationId(1), 1), ErrorCode::None);
    assert_eq!(group.heartbeat("a", None, GenerationId(0), 1), ErrorCode::IllegalGeneration);
    assert_eq!(group.heartbeat("x", None, GenerationId(1), 1), ErrorCode::UnknownMemberId);
    assert_eq!(group.heartbeat("a", Some("nobody"), GenerationId(1), 1), ErrorCode::UnknownMemberId);
}

#[test]
fn joins_that_can_not_be_are_refused() {
    let refused = |join: Join| {
        let actions = stable().join(join, Ticket(9), &LIMITS, 0);
        joins(&actions)[0].error
    };
    assert_eq!(refused(Join { session_ms: 5_999, ..join_of("", "b") }), ErrorCode::InvalidSessionTimeout);
    assert_eq!(
        refused(Join { protocol_type: "connect".to_owned(), ..join_of("", "b") }),
        ErrorCode::InconsistentGroupProtocol
    );
    let other = vec![("sticky".to_owned(), Bytes::new())];
    assert_eq!(refused(Join { protocols: other, ..join_of("", "b") }), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(join_of("stranger", "b")), ErrorCode::UnknownMemberId);
    let full = GroupLimits { members_max: 1, ..LIMITS };
    let actions = stable().join(join_of("", "b"), Ticket(9), &full, 0);
    assert_eq!(joins(&actions)[0].error, ErrorCode::GroupMaxSizeReached);
}

/// A stable group whose one member is static, under the id `old`.
fn stable_static() -> Group {
    let mut group = Group::new("g");
    group.join(static_join("old"), Ticket(1), &LIMITS, 0);
    let written = purpose(group.sync(
        Sync { instance: Some("instance".to_owned()), ..sync_of("old", 1, &[("old", "all")]) },
        Ticket(2),
        usize::MAX,
        0,
    ));
    group.persisted(written, true, 0);
    group
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_keeps_its_assignment() {
    let mut group = stable_static();
    let actions = group.join(static_join("new"), Ticket(3), &LIMITS, 5);
    let actions = group.persisted(purpose(actions), true, 5);
    let answer = joins(&actions)[0];
    assert_eq!((answer.error, answer.generation, answer.skip_assignment), (ErrorCode::None, GenerationId(1), true));
    assert_eq!(group.heartbeat("old", Some("instance"), GenerationId(1), 6), ErrorCode::FencedInstanceId);
    let actions =
        group.sync(Sync { instance: Some("instance".to_owned()), ..sync_of("new", 1, &[]) }, Ticket(4), usize::MAX, 6);
    assert_eq!(syncs(&actions)[0].assignment.as_ref(), b"all");
}

#[test]
fn a_rebalance_to_which_no_static_member_comes_goes_on_until_their_sessions_end() {
    let long = |instance: &str, id: &str| Join {
        instance: Some(instance.to_owned()),
        session_ms: 3 * REBALANCE,
        ..join_of("", id)
    };
    let mut group = Group::new("g");
    group.join(long("one", "a"), Ticket(1), &LIMITS, 0);
    group.join(long("two", "b"), Ticket(2), &LIMITS, 0);
    group.join(Join { instance: Some("one".to_owned()), ..join_of("a", "unused") }, Ticket(3), &LIMITS, 0);
    assert_eq!((group.generation, group.state), (GenerationId(2), State::CompletingRebalance));
    assert_eq!(group.join(join_of("", "c"), Ticket(4), &LIMITS, 0).len(), 0);
    assert_eq!(group.leave("c", None, 1).0, ErrorCode::None);
    assert!(group.tick(REBALANCE).is_empty());
    assert_eq!((group.generation, group.state), (GenerationId(2), State::PreparingRebalance));
    assert_eq!(group.next_deadline(), Some(2 * REBALANCE));
    let actions = group.join(long("one", "d"), Ticket(5), &LIMITS, REBALANCE + 1);
    assert_eq!(actions.len(), 0);
    let actions = group.tick(2 * REBALANCE);
    assert_eq!((joins(&actions)[0].generation, joins(&actions)[0].leader.as_str()), (GenerationId(3), "d"));
}

#[test]
fn static_members_that_never_come_back_leave_an_empty_group() {
    let mut group = Group::new("g");
    group.join(Join { rebalance_ms: 0, ..static_join("old") }, Ticket(1), &LIMITS, 0);
    group.join(Join { rebalance_ms: 0, ..join_of("", "c") }, Ticket(2), &LIMITS, 0);
    group.tick(0);
    group.leave("c", None, 0);
    let mut now = 0;
    for _ in 0..=SESSION / 1_000 {
        let Some(next) = group.next_deadline() else { break };
        assert!(next > now || now == 0, "it waits for something");
        now = next;
        group.tick(now);
    }
    assert_eq!(group.state, State::Empty);
}

#[test]
fn a_join_that_changes_nothing_is_a_sign_of_life() {
    let mut group = stable();
    group.join(join_of("", "b"), Ticket(3), &LIMITS, 0);
    group.join(join_of("a", "unused"), Ticket(4), &LIMITS, 0);
    assert_eq!(group.state, State::CompletingRebalance);
    group.join(join_of("b", "unused"), Ticket(5), &LIMITS, SESSION - 1);
    group.heartbeat("a", None, GenerationId(2), SESSION - 1);
    group.tick(SESSION);
    assert!(group.members.contains_key("b"));
}

#[test]
fn a_static_member_with_another_subscription_starts_a_rebalance() {
    let mut group = stable_static();
    let changed = Join { protocols: vec![("range".to_owned(), Bytes::from_static(b"other"))], ..static_join("new") };
    let actions = group.join(changed, Ticket(3), &LIMITS, 5);
    assert_eq!(joins(&actions)[0].generation, GenerationId(2));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut group = stable_static();
    assert_eq!(group.leave("", Some("stranger"), 5).0, ErrorCode::UnknownMemberId);
    assert_eq!(group.leave("", Some("instance"), 5).0, ErrorCode::None);
    assert_eq!(group.state, State::Empty);
}

#[test]
fn tools_commit_only_while_nobody_is_a_member() {
    let mut empty = Group::new("g");
    assert_eq!(empty.may_commit("", None, GenerationId(-1), 0), Ok(()));
    let mut group = stable();
    assert_eq!(group.may_commit("", None, GenerationId(-1), 0), Err(ErrorCode::UnknownMemberId));
    assert_eq!(group.may_commit("a", None, GenerationId(1), 0), Ok(()));
    assert_eq!(group.may_commit("a", None, GenerationId(0), 0), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn what_a_group_takes_is_bounded_and_a_member_that_takes_no_more_is_not_concerned() {
    let big = |id: &str, new_id: &str| Join {
        protocols: vec![("range".to_owned(), Bytes::from(vec![0; 10_000]))],
        ..join_of(id, new_id)
    };
    for limits in [GroupLimits { bytes_max: 20_000, ..LIMITS }, GroupLimits { room: 9_000, ..LIMITS }] {
        let mut group = Group::new("g");
        group.join(big("", "a"), Ticket(1), &LIMITS, 0);
        group.join(join_of("", "small"), Ticket(2), &LIMITS, 0);
        let refused = group.join(big("", "b"), Ticket(3), &limits, 0);
        assert_eq!(joins(&refused)[0].error, ErrorCode::GroupMaxSizeReached);
        let refused = group.join(big("small", "unused"), Ticket(4), &limits, 0);
        assert_eq!(joins(&refused)[0].error, ErrorCode::GroupMaxSizeReached);
        let tight = GroupLimits { bytes_max: 1, room: 0, ..LIMITS };
        let again = group.join(big("a", "unused"), Ticket(5), &tight, 0);
        assert!(joins(&again).iter().all(|answer| answer.error == ErrorCode::None));
    }
}

#[test]
fn ids_that_nobody_uses_count_too() {
    let mut group = Group::new("g");
    let limits = GroupLimits { bytes_max: 5_000, ..LIMITS };
    let refused = (0..100).find(|number| {
        let wanted = Join { id_required: true, ..join_of("", &format!("m{number}")) };
        joins(&group.join(wanted, Ticket(*number), &limits, 0))[0].error == ErrorCode::GroupMaxSizeReached
    });
    assert!(refused.is_some_and(|number| number > 2));
}

#[test]
fn an_assignment_is_bounded() {
    let mut group = Group::new("g");
    group.join(join_of("", "a"), Ticket(1), &LIMITS, 0);
    let of = |bytes| Sync { assignments: vec![("a".to_owned(), Bytes::from(vec![0; bytes]))], ..sync_of("a", 1, &[]) };
    let refused = group.sync(of(GROUP_BYTES_MAX), Ticket(2), usize::MAX, 0);
    assert_eq!(syncs(&refused)[0].error, ErrorCode::InvalidRequest);
    let refused = group.sync(of(1_000), Ticket(3), 999, 0);
    assert_eq!(syncs(&refused)[0].error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(purpose(group.sync(of(1_000), Ticket(4), 1_000, 0)), Purpose::Assignment(GenerationId(1)));
}

#[derive(Debug, Clone)]
enum Event {
    Join(usize),
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Written(bool),
    Pass(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..4_usize).prop_map(Event::Join),
        4 => (0..4_usize).prop_map(Event::Sync),
        2 => (0..4_usize).prop_map(Event::Heartbeat),
        1 => (0..4_usize).prop_map(Event::Leave),
        4 => any::<bool>().prop_map(Event::Written),
        2 => (1..70_000_i64).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #[test]
    fn whatever_happens_each_request_is_answered_once_and_a_generation_has_one_number_and_one_leader(events in events()) {
        let mut group = Group::new("g");
        let mut ids: [Option<String>; 4] = Default::default();
        let (mut now, mut tickets) = (0_i64, 0_u64);
        let mut answered = std::collections::BTreeSet::new();
        let mut leaders = std::collections::BTreeMap::new();
        let mut unwritten = Vec::new();
        for event in events {
            tickets += 1;
            let ticket = Ticket(tickets);
            let actions = match event {
                Event::Join(client) => {
                    let id = ids[client].clone().unwrap_or_default();
                    let new_id = format!("{client}-{tickets}");
                    if id.is_empty() { ids[client] = Some(new_id.clone()); }
                    group.join(join_of(&id, &new_id), ticket, &LIMITS, now)
                }
                Event::Sync(client) => match &ids[client] {
                    Some(id) => group.sync(sync_of(id, group.generation.0, &[(id, "x")]), ticket, usize::MAX, now),
                    None => Vec::new(),
                },
                Event::Heartbeat(client) => {
                    if let Some(id) = &ids[client] { group.heartbeat(id, None, group.generation, now); }
                    Vec::new()
                }
                Event::Leave(client) => match ids[client].take() {
                    Some(id) => group.leave(&id, None, now).1,
                    None => Vec::new(),
                },
                Event::Written(is_written) => match unwritten.pop() {
                    Some(purpose) => group.persisted(purpose, is_written, now),
                    None => Vec::new(),
                },
                Event::Pass(time) => { now += time; group.tick(now) }
            };
            for action in actions {
                match action {
                    Action::Join(ticket, answer) => {
                        prop_assert!(answered.insert(ticket), "a join was answered twice");
                        if answer.error == ErrorCode::None {
                            let leader = leaders.entry(answer.generation).or_insert(answer.leader.clone());
                            prop_assert_eq!(&*leader, &answer.leader, "two leaders in one generation");
                        } else {
                            for id in &mut ids { if id.as_deref() == Some(answer.member_id.as_str()) { *id = None; } }
                        }
                    }
                    Action::Sync(ticket, _) => prop_assert!(answered.insert(ticket), "a sync was answered twice"),
                    Action::Persist(purpose) => unwritten.push(purpose),
                }
            }
            if group.state == State::Stable {
                prop_assert!(!group.members.is_empty(), "a stable group has members");
            }
            if !group.members.is_empty() && unwritten.is_empty() {
                prop_assert!(group.next_deadline().is_some(), "nothing would ever wake this group: {group:?}");
            }
        }
    }
}
