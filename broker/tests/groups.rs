//! Groups and their offsets over a real socket: what survives, what is refused, and what is bounded.

mod support;

use kennet_protocol::ErrorCode;
use support::TestBroker;
use support::client::Client;

/// Few partitions, so that starting is quick; no delay before the first generation.
const QUICK: &[(&str, &str)] = &[("offsets.topic.num.partitions", "3"), ("group.initial.rebalance.delay.ms", "0")];

fn broker_with_topic() -> (TestBroker, Client) {
    let broker = TestBroker::with(QUICK);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
    (broker, client)
}

#[test]
fn a_topic_that_is_made_again_has_no_committed_offsets() {
    let (broker, mut client) = broker_with_topic();
    for group in ["a", "b", "c", "d"] {
        assert_eq!(client.commit(group, "t", 5), ErrorCode::None);
        assert_eq!(client.committed(group, "t"), 5);
    }
    assert_eq!(client.delete_topic("t"), ErrorCode::None);
    assert_eq!(client.commit("a", "t", 6), ErrorCode::UnknownTopicOrPartition);
    client.create_topic("t", 1, &[]);
    assert_eq!(client.committed("a", "t"), -1);
    assert_eq!(client.commit("a", "t", 1), ErrorCode::None);
    drop(client);
    let broker = TestBroker::on(broker.stop(), QUICK);
    let mut client = broker.connect();
    assert_eq!(["a", "b", "c", "d"].map(|group| client.committed(group, "t")), [1, -1, -1, -1]);
}
