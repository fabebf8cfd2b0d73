//! Leader epochs (KIP-320): each start of the broker is one, and clients learn of each where it ended and who leads now.

use crate::fetches::{broker_with_topic, topic_id};
use crate::support::TestBroker;
use crate::support::client::Client;
use crate::support::records::{batch, fetch_request, values};
use kennet_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kennet_protocol::messages::fetch::{FetchPartition, PartitionData};
use kennet_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kennet_protocol::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

/// Stops the broker and starts it again: a new leader epoch.
fn restart(broker: TestBroker, client: Client) -> (TestBroker, Client) {
    drop(client);
    let broker = TestBroker::on(broker.stop(), &[]);
    let client = broker.connect();
    (broker, client)
}

/// A topic whose epochs 0, 1 and 3 wrote offsets 0 to 1, 2 and 3 to 5; epoch 2 wrote nothing.
fn broker_with_epochs() -> (TestBroker, Client) {
    let (broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a", "b"]));
    let (broker, mut client) = restart(broker, client);
    client.produce("t", batch(&["c"]));
    let (broker, client) = restart(broker, client);
    let (broker, mut client) = restart(broker, client);
    assert_eq!(client.produce("t", batch(&["d", "e", "f"])).base_offset.0, 3);
    (broker, client)
}

/// Error, epoch and offset of OffsetForLeaderEpoch.
fn end_of(client: &mut Client, version: i16, leader_epoch: i32, current: i32) -> (ErrorCode, i32, i64) {
    let partition = OffsetForLeaderPartition {
        partition: PartitionIndex(0),
        current_leader_epoch: LeaderEpoch(current),
        leader_epoch: LeaderEpoch(leader_epoch),
    };
    let topic = OffsetForLeaderTopic { topic: "t".to_owned(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..OffsetForLeaderEpochRequest::default() };
    let found = client.call(version, &request).topics.remove(0).partitions.remove(0);
    (found.error_code, found.leader_epoch.0, found.end_offset.0)
}

fn ends(client: &mut Client, epochs: impl IntoIterator<Item = i32>) -> Vec<(i32, i64)> {
    let of = |epoch| {
        let (error_code, found, end) = end_of(client, 4, epoch, -1);
        assert_eq!(error_code, ErrorCode::None, "epoch {epoch}");
        (found, end)
    };
    epochs.into_iter().map(of).collect()
}

/// A fetch by a client that read up to `offset`, the last record of which was of this epoch.
fn fetch_after(client: &mut Client, last_fetched_epoch: i32, offset: i64) -> PartitionData {
    let mut request = fetch_request("t", offset);
    request.topics[0].partitions[0].last_fetched_epoch = LeaderEpoch(last_fetched_epoch);
    client.call(12, &request).responses.remove(0).partitions.remove(0)
}

fn delete_before(client: &mut Client, offset: i64) {
    let partition = DeleteRecordsPartition { partition_index: PartitionIndex(0), offset: Offset(offset) };
    let topic = DeleteRecordsTopic { name: "t".to_owned(), partitions: vec![partition] };
    let answer = client.call(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000 });
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::None);
}

#[test]
fn epochs_are_checked_when_they_are_given() {
    let (_broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a"]));
    for (epoch, expected) in [(-1, ErrorCode::None), (1_000, ErrorCode::UnknownLeaderEpoch)] {
        let mut request = fetch_request("t", 0);
        request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(epoch);
        assert_eq!(client.call(12, &request).responses[0].partitions[0].error_code, expected);
    }
}

#[test]
fn a_restart_is_a_new_leader_epoch_that_fences_the_old_one() {
    let (broker, mut client) = broker_with_topic(&[]);
    client.produce("t", batch(&["a"]));
    let (_broker, mut client) = restart(broker, client);
    let mut request = fetch_request("t", 0);
    request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(0);
    assert_eq!(client.call(12, &request).responses[0].partitions[0].error_code, ErrorCode::FencedLeaderEpoch);
    for version in 2..=4 {
        let told = |client: &mut Client, current| end_of(client, version, 0, current);
        assert_eq!(told(&mut client, 0), (ErrorCode::FencedLeaderEpoch, -1, -1), "version {version}");
        assert_eq!(told(&mut client, 1), (ErrorCode::None, 0, 1), "version {version}");
        assert_eq!(told(&mut client, 2), (ErrorCode::UnknownLeaderEpoch, -1, -1), "version {version}");
    }
    assert_eq!(values(client.fetch("t", 0)), [(0, "a".to_owned())]);
}

#[test]
fn who_is_fenced_is_told_who_leads_and_where_without_asking_for_metadata() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    let (broker, mut client) = restart(broker, client);
    let topic_id = topic_id(&mut client);
    // KIP-951: before version 16 nobody is told, and who knows more than the leader has nothing to learn
    for (version, epoch, expected) in [
        (12, 0, ErrorCode::FencedLeaderEpoch),
        (15, 0, ErrorCode::FencedLeaderEpoch),
        (16, 0, ErrorCode::FencedLeaderEpoch),
        (17, 0, ErrorCode::FencedLeaderEpoch),
        (18, 0, ErrorCode::FencedLeaderEpoch),
        (18, 1, ErrorCode::None),
        (18, 2, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut request = fetch_request("t", 0);
        request.topics[0].topic_id = topic_id;
        request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(epoch);
        // a wait that the client's patience does not cover: an error ends it
        request.max_wait_ms = if expected == ErrorCode::None { 0 } else { 60_000 };
        // of both partitions the leader is told, and where it is only once
        let other = FetchPartition { partition: PartitionIndex(1), ..request.topics[0].partitions[0].clone() };
        request.topics[0].partitions.push(other);
        let answer = client.call(version, &request);
        let found = &answer.responses[0].partitions[0];
        assert_eq!(found.error_code, expected, "version {version}, epoch {epoch}");
        assert_eq!(answer.responses[0].partitions[1].current_leader, found.current_leader);
        let leader = (found.current_leader.leader_id.0, found.current_leader.leader_epoch.0);
        let nodes: Vec<_> = answer.node_endpoints.iter().map(|at| (at.node_id.0, at.host.as_str(), at.port)).collect();
        if version >= 16 && expected == ErrorCode::FencedLeaderEpoch {
            assert_eq!(leader, (0, 1), "version {version}");
            assert_eq!(nodes, [(0, "127.0.0.1", i32::from(broker.address.port()))], "version {version}");
        } else {
            assert_eq!((leader, nodes), ((-1, -1), Vec::new()), "version {version}, epoch {epoch}");
        }
    }
}

#[test]
fn an_epoch_ends_where_the_next_one_that_wrote_starts() {
    let (broker, mut client) = broker_with_epochs();
    let expected = [(0, 2), (1, 3), (1, 3), (3, 6)];
    assert_eq!(ends(&mut client, 0..4), expected);
    assert_eq!(ends(&mut client, [4, i32::MAX, -1, i32::MIN]), [(-1, -1); 4], "epochs that never were");
    // an epoch that has written nothing yet ends where the log does, and so do those before it
    let (_broker, mut client) = restart(broker, client);
    assert_eq!(ends(&mut client, 0..4), expected);
    assert_eq!(ends(&mut client, [4, 5]), [(4, 6), (-1, -1)]);
}

#[test]
fn a_client_that_knows_an_epoch_without_records_keeps_its_place() {
    let (broker, mut client) = broker_with_topic(&[]);
    assert_eq!(ends(&mut client, [0]), [(0, 0)]);
    // the end of the log is told with the leader's epoch, so a consumer may have one that never wrote
    let (broker, mut client) = restart(broker, client);
    assert_eq!(client.list_offset("t", -1).leader_epoch.0, 1);
    let (broker, mut client) = restart(broker, client);
    assert_eq!(ends(&mut client, 0..3), [(0, 0), (1, 0), (2, 0)]);
    client.produce("t", batch(&["a"]));
    assert_eq!(ends(&mut client, 0..3), [(0, 0), (1, 0), (2, 1)]);
    let (broker, mut client) = restart(broker, client);
    assert_eq!(ends(&mut client, 0..4), [(0, 0), (1, 0), (2, 1), (3, 1)]);
    let (_broker, mut client) = restart(broker, client);
    assert_eq!(ends(&mut client, [3, 4]), [(2, 1), (4, 1)]);
    let found = fetch_after(&mut client, 4, 1);
    assert_eq!((found.error_code, found.diverging_epoch.end_offset.0), (ErrorCode::None, -1));
}

#[test]
fn an_epoch_whose_records_are_deleted_ends_where_the_log_starts() {
    let (broker, mut client) = broker_with_epochs();
    delete_before(&mut client, 2);
    let expected = [(0, 2), (1, 3), (1, 3), (3, 6)];
    assert_eq!(ends(&mut client, 0..4), expected);
    // who had read all of epoch 0 goes on
    assert_eq!(values(fetch_after(&mut client, 0, 2))[0], (2, "c".to_owned()));
    let (broker, mut client) = restart(broker, client);
    assert_eq!(ends(&mut client, 0..4), expected);
    delete_before(&mut client, 6);
    assert_eq!(ends(&mut client, 0..5), [(0, 6), (1, 6), (2, 6), (3, 6), (4, 6)]);
    let (_broker, mut client) = restart(broker, client);
    assert_eq!(ends(&mut client, 0..6), [(0, 6), (1, 6), (2, 6), (3, 6), (4, 6), (5, 6)]);
}

#[test]
fn who_read_an_epoch_beyond_its_end_is_told_where_it_ended_and_gets_no_records() {
    let (_broker, mut client) = broker_with_epochs();
    for (epoch, offset, expected) in [
        (0, 3, (0, 2)),
        (0, 6, (0, 2)),
        // also beyond the end of the log
        (0, 100, (0, 2)),
        (1, 4, (1, 3)),
        (3, 7, (3, 6)),
        // an epoch that wrote nothing here: who has records of it has them of another leader
        (2, 0, (1, 3)),
        (2, 3, (1, 3)),
    ] {
        let found = fetch_after(&mut client, epoch, offset);
        let diverging = (found.diverging_epoch.epoch.0, found.diverging_epoch.end_offset.0);
        assert_eq!((found.error_code, diverging), (ErrorCode::None, expected), "epoch {epoch} to {offset}");
        assert_eq!((found.high_watermark.0, found.log_start_offset.0), (6, 0), "epoch {epoch} to {offset}");
        assert!(values(found).is_empty(), "epoch {epoch} to {offset}");
    }
}

#[test]
fn in_a_session_too_who_has_to_go_back_is_told_each_time() {
    let (_broker, mut client) = broker_with_epochs();
    let mut request = fetch_request("t", 6);
    request.session_epoch = 0;
    let opened = client.call(12, &request);
    assert!(opened.session_id > 0 && opened.responses.len() == 1);
    request.session_id = opened.session_id;
    // nothing else of the partition is new
    request.topics[0].partitions[0].last_fetched_epoch = LeaderEpoch(0);
    for session_epoch in 1..4 {
        request.session_epoch = session_epoch;
        let answer = client.call(12, &request);
        assert_eq!((answer.error_code, answer.responses.len()), (ErrorCode::None, 1), "request {session_epoch}");
        let diverging = &answer.responses[0].partitions[0].diverging_epoch;
        assert_eq!((diverging.epoch.0, diverging.end_offset.0), (0, 2), "request {session_epoch}");
        // the session remembers what was asked for
        request.topics.clear();
    }
}

#[test]
fn who_read_an_epoch_to_its_end_or_less_gets_what_follows() {
    let (_broker, mut client) = broker_with_epochs();
    for (epoch, offset) in [(-1, 0), (i32::MIN, 0), (0, 0), (0, 2), (1, 2), (1, 3), (3, 3), (3, 6)] {
        let found = fetch_after(&mut client, epoch, offset);
        let diverging = (found.diverging_epoch.epoch.0, found.diverging_epoch.end_offset.0);
        assert_eq!((found.error_code, diverging), (ErrorCode::None, (-1, -1)), "epoch {epoch} to {offset}");
        let records = values(found);
        let has = records.iter().any(|(found, _)| *found == offset);
        assert_eq!(has, offset < 6, "epoch {epoch} to {offset}: {records:?}");
    }
}

#[test]
fn an_epoch_that_never_was_and_an_offset_before_the_log_are_out_of_range() {
    let (_broker, mut client) = broker_with_epochs();
    for epoch in [4, i32::MAX] {
        assert_eq!(fetch_after(&mut client, epoch, 0).error_code, ErrorCode::OffsetOutOfRange, "epoch {epoch}");
    }
    delete_before(&mut client, 3);
    for (epoch, offset) in [(0, 2), (1, 0), (2, 2), (3, 2), (3, -1)] {
        let found = fetch_after(&mut client, epoch, offset);
        assert_eq!(found.error_code, ErrorCode::OffsetOutOfRange, "epoch {epoch} to {offset}");
        assert_eq!(found.diverging_epoch.end_offset.0, -1, "epoch {epoch} to {offset}");
    }
}
