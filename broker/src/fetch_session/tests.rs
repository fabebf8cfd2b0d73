//! Sessions remember, end and make room as KIP-227 says.

use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use kennet_protocol::{ErrorCode, Offset, PartitionIndex, TimestampMs, Uuid};

use super::{Asking, EVICTION_MS, FetchKey, FetchSessions, Plan, SESSION_PARTITIONS_MAX};
use crate::broker::ConnectionId;

/// Partitions of all sessions.
const PARTITIONS_MAX: usize = 100_000;

fn ask(new_id: i32) -> Asking {
    Asking { connection: ConnectionId(1), version: 12, now: TimestampMs(0), new_id }
}

fn request(id: i32, epoch: i32, partitions: &[i32]) -> FetchRequest {
    let partition = |index: &i32| FetchPartition { partition: PartitionIndex(*index), ..FetchPartition::default() };
    let topic = FetchTopic {
        topic: "t".to_owned(),
        partitions: partitions.iter().map(partition).collect(),
        ..FetchTopic::default()
    };
    FetchRequest { session_id: id, session_epoch: epoch, topics: vec![topic], ..FetchRequest::default() }
}

fn indexes(plan: &Plan) -> Vec<i32> {
    let mut found: Vec<_> = plan.partitions.iter().map(|(key, _)| key.partition.0).collect();
    found.sort_unstable();
    found
}

#[test]
fn a_session_remembers_what_is_not_named_again() {
    let sessions = FetchSessions::new(10, PARTITIONS_MAX);
    assert_eq!(sessions.plan(&request(0, 0, &[0, 1]), ask(7)).unwrap().session_id, 7);
    let plan = sessions.plan(&request(7, 1, &[2]), ask(8)).unwrap();
    assert!(plan.is_incremental);
    assert_eq!(indexes(&plan), [0, 1, 2]);
    let mut forget = request(7, 2, &[]);
    let partitions = vec![PartitionIndex(1)];
    forget.forgotten_topics_data =
        vec![ForgottenTopic { topic: "t".to_owned(), partitions, ..ForgottenTopic::default() }];
    assert_eq!(indexes(&sessions.plan(&forget, ask(8)).unwrap()), [0, 2]);
}

#[test]
fn epochs_and_ids_that_do_not_fit_are_told_apart() {
    let sessions = FetchSessions::new(10, PARTITIONS_MAX);
    sessions.plan(&request(0, 0, &[0]), ask(7)).unwrap();
    assert_eq!(sessions.plan(&request(7, 5, &[]), ask(8)).unwrap_err(), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(sessions.plan(&request(9, 1, &[]), ask(8)).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
    sessions.plan(&request(7, -1, &[]), ask(8)).unwrap();
    assert_eq!(sessions.plan(&request(7, 1, &[]), ask(8)).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn a_session_in_use_makes_room_for_nobody_and_an_idle_one_does() {
    let sessions = FetchSessions::new(2, PARTITIONS_MAX);
    let asking = |connection, id, ms| Asking { connection: ConnectionId(connection), now: TimestampMs(ms), ..ask(id) };
    for id in [1_i32, 2] {
        sessions.plan(&request(0, 0, &[0]), asking(u64::from(id.unsigned_abs()), id, 0)).unwrap();
    }
    assert_eq!(sessions.plan(&request(0, 0, &[0]), asking(3, 3, 1_000)).unwrap().session_id, 0);
    sessions.plan(&request(2, 1, &[]), asking(2, 9, 60_000)).unwrap();
    let later = EVICTION_MS + 1;
    assert_eq!(sessions.plan(&request(0, 0, &[0]), asking(3, 3, later)).unwrap().session_id, 3);
    assert_eq!(sessions.plan(&request(1, 1, &[]), asking(1, 9, later)).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
    assert!(sessions.plan(&request(2, 2, &[]), asking(2, 9, later)).is_ok(), "it was in use");
    assert_eq!(
        sessions.plan(&request(0, 0, &[0]), asking(4, 4, later)).unwrap().session_id,
        0,
        "no larger than others"
    );
    assert_eq!(
        sessions.plan(&request(0, 0, &[0, 1]), asking(4, 4, later)).unwrap().session_id,
        4,
        "larger than an old one"
    );
    assert_eq!(sessions.plan(&request(2, 3, &[]), asking(2, 9, later)).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn one_connection_displaces_only_its_own_sessions() {
    let sessions = FetchSessions::new(1_000, PARTITIONS_MAX);
    sessions.plan(&request(0, 0, &[0]), Asking { connection: ConnectionId(7), ..ask(5_000) }).unwrap();
    for id in 1..=2_000 {
        assert_eq!(sessions.plan(&request(0, 0, &[0]), ask(id)).unwrap().session_id, id);
    }
    assert!(sessions.plan(&request(5_000, 1, &[]), ask(9_000)).is_ok(), "the other connection's session is there");
    assert!(sessions.plan(&request(2_000, 1, &[]), ask(9_000)).is_ok(), "and its own newest");
    assert_eq!(sessions.plan(&request(1_000, 1, &[]), ask(9_000)).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn partitions_are_limited_per_session_and_in_all() {
    let sessions = FetchSessions::new(1_000, PARTITIONS_MAX);
    let many: Vec<i32> = (0..).take(SESSION_PARTITIONS_MAX).collect();
    let asking = |id: i32| Asking { connection: ConnectionId(u64::from(id.unsigned_abs())), ..ask(id) };
    let fitting = i32::try_from(PARTITIONS_MAX / SESSION_PARTITIONS_MAX).unwrap();
    for id in 1..=fitting {
        assert_eq!(sessions.plan(&request(0, 0, &many), asking(id)).unwrap().session_id, id);
    }
    let next = fitting + 1;
    assert_eq!(sessions.plan(&request(0, 0, &[0]), asking(next)).unwrap().session_id, 0, "all together have too many");
    let one_more = request(1, 1, &[i32::MAX]);
    assert_eq!(sessions.plan(&one_more, asking(1)).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
    let too_many: Vec<i32> = (0..).take(SESSION_PARTITIONS_MAX + 1).collect();
    assert_eq!(sessions.plan(&request(0, 0, &too_many), asking(1)).unwrap().session_id, 0);
}

#[test]
fn a_partition_that_is_named_twice_is_answered_once_and_the_last_entry_counts() {
    let mut twice = request(0, 0, &[0, 1, 0]);
    twice.topics[0].partitions[2].fetch_offset = Offset(9);
    let plan = FetchSessions::new(10, PARTITIONS_MAX).plan(&twice, ask(7)).unwrap();
    let found: Vec<_> = plan.partitions.iter().map(|(key, wanted)| (key.partition.0, wanted.fetch_offset.0)).collect();
    assert_eq!(found, [(0, 9), (1, 0)]);
}

#[test]
fn a_session_by_name_can_not_go_on_by_id_nor_the_other_way() {
    for (first, second) in [(12, 13), (13, 12)] {
        let sessions = FetchSessions::new(10, PARTITIONS_MAX);
        sessions.plan(&request(0, 0, &[0]), Asking { version: first, ..ask(7) }).unwrap();
        let error = sessions.plan(&request(7, 1, &[]), Asking { version: second, ..ask(8) }).unwrap_err();
        assert_eq!(error, ErrorCode::FetchSessionTopicIdError);
    }
}

#[test]
fn without_slots_a_client_gets_id_zero() {
    assert_eq!(FetchSessions::new(0, PARTITIONS_MAX).plan(&request(0, 0, &[0]), ask(7)).unwrap().session_id, 0);
}

#[test]
fn an_answer_that_was_given_is_no_news() {
    let sessions = FetchSessions::new(2, PARTITIONS_MAX);
    sessions.plan(&request(0, 0, &[0]), ask(7)).unwrap();
    let key = FetchKey { topic: "t".to_owned(), topic_id: Uuid::nil(), partition: PartitionIndex(0) };
    let news = |watermark| sessions.is_news(7, &key, Offset(watermark), Offset(0), ErrorCode::None, 0);
    assert!(news(5));
    assert!(!news(5));
    assert!(news(6));
}
