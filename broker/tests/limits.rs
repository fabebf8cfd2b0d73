//! What one client can't take from the others: time by sending slowly, memory by counts and by connections; and that both families of
//! addresses are listened to.

mod support;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kennet_protocol::ApiKey;
use kennet_protocol::messages::api_versions::ApiVersionsRequest;
use support::TestBroker;
use support::client::{Client, header};

/// Memory is the process's, so tests take turns: a broker that another one starts would be measured too.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells a process's memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the pace is one of real time, over a real socket")]
fn who_sends_a_request_slowly_is_closed() {
    let _turn = alone();
    let broker = TestBroker::start();
    let started = Instant::now();
    let mut stuck = broker.connect();
    stuck.send_bytes(&[0, 0]);
    let mut dripping = broker.connect();
    dripping.send_bytes(&1_000_i32.to_be_bytes());
    let mut patient = broker.connect();
    for _ in 0..4 {
        dripping.send_bytes(&[0]);
        patient.assert_alive();
        std::thread::sleep(Duration::from_secs(1));
    }
    dripping.assert_closed("a byte a second");
    stuck.assert_closed("half a length");
    assert!(started.elapsed() < Duration::from_secs(9), "closed by the pace, not by the idle limit");
    patient.assert_alive();
}

/// A request in whose header there are so many tagged fields, all unknown and empty.
fn with_tagged_fields(count: u32) -> Vec<u8> {
    let mut frame = header(ApiKey::Metadata.code(), 12);
    frame.pop();
    put_unsigned(&mut frame, count);
    for tag in 0..count {
        put_unsigned(&mut frame, tag);
        frame.push(0);
    }
    // no topics, no flags, no tagged fields
    frame.extend_from_slice(&[1, 0, 0, 0]);
    frame
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[test]
fn ten_thousand_tagged_fields_are_skipped_and_one_more_closes_the_connection() {
    let _turn = alone();
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send_frame(&with_tagged_fields(10_000));
    assert!(client.frame().is_some());
    client.assert_alive();
    client.send_frame(&with_tagged_fields(10_001));
    client.assert_closed("too many tagged fields");
}

/// A request for the metadata of topics with empty names, which must not be created.
fn metadata_of_empty_names(count: i32) -> Vec<u8> {
    let mut frame = header(ApiKey::Metadata.code(), 4);
    frame.extend_from_slice(&count.to_be_bytes());
    frame.resize(frame.len() + 2 * usize::try_from(count).expect("a count"), 0);
    frame.push(0);
    frame
}

#[test]
fn a_million_empty_elements_take_bounded_memory_and_one_more_is_refused_before_any() {
    let _turn = alone();
    let broker = TestBroker::start();
    let before = resident_kib();
    let mut client = broker.connect();
    client.send_frame(&metadata_of_empty_names(1_000_001));
    client.assert_closed("more elements than an array may have");
    let refused = resident_kib().saturating_sub(before);
    assert!(refused < 32 * 1024, "a refused array took {refused} KiB");
    let mut client = broker.connect();
    client.send_frame(&metadata_of_empty_names(1_000_000));
    assert!(client.frame().is_some());
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 512 * 1024, "a million empty elements took {grown} KiB");
    client.assert_alive();
}

#[test]
fn idle_connections_take_little_memory() {
    const CONNECTIONS: u64 = 300;
    let _turn = alone();
    let broker = TestBroker::start();
    let connected = |_| {
        let mut client = broker.connect();
        client.call(3, &ApiVersionsRequest::default());
        client
    };
    // what the first ones take is the broker's own
    let first: Vec<Client> = (0..20).map(connected).collect();
    let before = resident_kib();
    let mut idle: Vec<Client> = (0..CONNECTIONS).map(connected).collect();
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < CONNECTIONS * 32, "{CONNECTIONS} idle connections took {grown} KiB");
    idle.iter_mut().for_each(|client| {
        client.call(3, &ApiVersionsRequest::default());
    });
    drop(first);
}

#[test]
fn both_families_of_addresses_are_listened_to() {
    let _turn = alone();
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        skipped("this machine has no IPv6");
        return;
    }
    let broker = TestBroker::listening("::");
    broker.connect().assert_alive();
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, broker.address.port()));
    Client::connect(v6).assert_alive();
}

#[expect(clippy::print_stderr, reason = "a test that can't run says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
