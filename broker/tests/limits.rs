//! What one client can't take from the others: time by sending slowly, memory by counts and by connections; and that each family of
//! addresses that the host has is listened to.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::support::client::{Client, header};
use crate::support::records::{batch, fetch_request, produce_request, sealed};
use crate::support::{TestBroker, loopbacks};
use kennet_protocol::messages::api_versions::ApiVersionsRequest;
use kennet_protocol::messages::produce::PartitionProduceData;
use kennet_protocol::messages::{describe_configs, describe_groups, metadata, offset_fetch};
use kennet_protocol::record::{Attributes, BatchBuilder, BatchHeader, Compression, HEADER_LENGTH};
use kennet_protocol::{ApiKey, ErrorCode, TimestampMs, encode_request};

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
fn empty_elements_that_would_take_much_memory_are_refused_before_any() {
    let _turn = alone();
    let broker = TestBroker::start();
    let before = resident_kib();
    // one more than an array may have, and more than memory is for: a thirty-second of 256 MiB
    for count in [1_000_001, 1_000_000, 300_000] {
        let mut client = broker.connect();
        client.send_frame(&metadata_of_empty_names(count));
        client.assert_closed("more elements than there is memory for");
    }
    let refused = resident_kib().saturating_sub(before);
    assert!(refused < 32 * 1024, "refused arrays took {refused} KiB");
    let mut client = broker.connect();
    client.send_frame(&metadata_of_empty_names(100_000));
    assert!(client.frame().is_some());
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "a hundred thousand empty elements took {grown} KiB");
    client.assert_alive();
}

#[test]
fn a_request_that_names_the_same_thing_a_hundred_thousand_times_is_answered_once() {
    let _turn = alone();
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 100, &[]);
    let before = resident_kib();
    let topic = metadata::MetadataRequestTopic { name: Some("t".to_owned()), ..Default::default() };
    let request = metadata::MetadataRequest { topics: Some(vec![topic; 100_000]), ..Default::default() };
    assert_eq!(client.call(12, &request).topics.len(), 1);
    let resource = describe_configs::DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t".to_owned(),
        ..Default::default()
    };
    let request = describe_configs::DescribeConfigsRequest {
        resources: vec![resource; 100_000],
        include_synonyms: true,
        include_documentation: true,
    };
    assert_eq!(client.call(4, &request).results.len(), 1);
    let request =
        describe_groups::DescribeGroupsRequest { groups: vec!["g".to_owned(); 100_000], ..Default::default() };
    assert_eq!(client.call(5, &request).groups.len(), 1);
    let topic = offset_fetch::OffsetFetchRequestTopics {
        name: "t".to_owned(),
        partition_indexes: vec![kennet_protocol::PartitionIndex(0); 100_000],
    };
    let group = offset_fetch::OffsetFetchRequestGroup {
        group_id: "g".to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = offset_fetch::OffsetFetchRequest { groups: vec![group; 2], ..Default::default() };
    let answer = client.call(8, &request);
    assert_eq!((answer.groups.len(), answer.groups[0].topics[0].partitions.len()), (1, 1));
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 100 * 1024, "such requests took {grown} KiB");
}

#[test]
fn a_broker_of_128_mib_stays_below_it_whatever_clients_send_and_do_not_read() {
    const MIB: u64 = 1 << 20;
    let _turn = alone();
    let broker = TestBroker::with_memory(128 * MIB);
    let mut client = broker.connect();
    client.create_topic("t", 4, &[]);
    let before = resident_kib();
    let value = "x".repeat(900_000);
    let large = batch(&[&value]);
    let produce = produce_request("t", -1, Some(large.clone()));
    for _ in 0..20 {
        assert_eq!(client.produce("t", large.clone()).error_code, ErrorCode::None);
    }
    let mut fetch = fetch_request("t", 0);
    fetch.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    let clients: Vec<Client> = (0..24)
        .map(|number| {
            let mut client = broker.connect();
            client.stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a deadline");
            // half of them send as fast as they can, the others ask for everything and read nothing
            for _ in 0..12 {
                let bytes = match number % 2 {
                    0 => encode_request(9, 1, None, &produce).expect("it encodes").concat(),
                    _ => encode_request(12, 1, None, &fetch).expect("it encodes").concat(),
                };
                if client.stream.write_all(&bytes).is_err() {
                    break;
                }
            }
            client
        })
        .collect();
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 100 * 1024, "24 clients took {grown} KiB");
    drop(clients);
    broker.connect().assert_alive();
}

#[test]
fn small_batches_in_large_requests_do_not_keep_the_requests_in_memory() {
    let _turn = alone();
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    // one partition's batch is small, the other's has a million bytes that are refused
    let refused = bytes::Bytes::from(vec![0; 1_000_000]);
    let mut request = produce_request("t", -1, Some(batch(&["small"])));
    request.topic_data[0]
        .partition_data
        .push(PartitionProduceData { index: kennet_protocol::PartitionIndex(1), records: Some(refused) });
    let before = resident_kib();
    for number in 0..150 {
        let answer = client.call(9, &request);
        let parts = &answer.responses[0].partition_responses;
        assert_eq!((parts[0].error_code, parts[0].base_offset.0), (ErrorCode::None, number));
        assert_ne!(parts[1].error_code, ErrorCode::None);
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 40 * 1024, "150 batches of a hundred bytes took {grown} KiB");
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
    // the client's half is measured too
    assert!(grown < CONNECTIONS * 12, "{CONNECTIONS} idle connections took {grown} KiB");
    idle.iter_mut().for_each(|client| {
        client.call(3, &ApiVersionsRequest::default());
    });
    drop(first);
}

#[test]
fn each_family_of_addresses_that_the_host_has_is_listened_to() {
    let _turn = alone();
    let broker = TestBroker::listening("::");
    for loopback in loopbacks() {
        Client::connect(SocketAddr::from((loopback, broker.address.port()))).assert_alive();
    }
}

#[test]
fn a_batch_that_decompresses_without_end_is_refused_and_takes_no_memory() {
    let _turn = alone();
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "100000")]);
    let zeros = "\0".repeat(50 << 20);
    for codec in [Compression::Gzip, Compression::Zstd] {
        let mut builder = BatchBuilder::new(TimestampMs(5)).compression(codec);
        builder.push(TimestampMs(5), Some(b"key"), Some(zeros.as_bytes()), &[]);
        let bomb = builder.build().expect("a batch");
        assert!(bomb.len() < 100_000, "{codec:?}: {}", bomb.len());
        let before = resident_kib();
        let answer = client.produce("t", bomb);
        assert_eq!(answer.error_code, ErrorCode::InvalidRecord, "{codec:?}: {:?}", answer.error_message);
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{codec:?} took {grown} KiB");
    }
    assert_eq!(client.end_offset("t"), 0);
}

/// A zstd frame of one block, raw and the last one; the byte of the window is exponent and mantissa, from 1 KiB on.
fn zstd_frame(window: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let block = (u32::try_from(payload.len()).expect("a small payload") << 3) | 1;
    frame.extend_from_slice(&block.to_le_bytes()[..3]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn a_window_that_a_zstd_frame_claims_is_not_allocated() {
    let _turn = alone();
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("passed", 1, &[]);
    client.create_topic("read", 1, &[("cleanup.policy", "compact")]);
    let plain = batch(&["a"]);
    let mut header = BatchHeader::parse(&plain).expect("a header");
    header.attributes = Attributes(4);
    let of_window = |window| sealed(header, &zstd_frame(window, &plain[HEADER_LENGTH..]));
    let before = resident_kib();
    // 8 MiB is read, as any
    assert_eq!(client.produce("read", of_window(13 << 3)).error_code, ErrorCode::None);
    // 128 MiB, which the library would take, and 3.75 TiB
    for (offset, window) in [(0, 17 << 3), (1, 0xff)] {
        let batch = of_window(window);
        // who looks for keys must decompress
        assert_eq!(client.produce("read", batch.clone()).error_code, ErrorCode::InvalidRecord, "window {window}");
        // other batches are passed through as they are: consumers judge them, and nobody here allocates what they claim
        let produced = client.produce("passed", batch.clone());
        assert_eq!((produced.error_code, produced.base_offset.0), (ErrorCode::None, offset), "window {window}");
        let found = client.fetch("passed", offset).records.expect("records").into_bytes();
        assert_eq!(found[HEADER_LENGTH..], batch[HEADER_LENGTH..], "window {window}");
    }
    // a look-up by time can't look inside, and takes the batch for one record
    assert_eq!(client.list_offset("passed", 1_000).offset.0, 0);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "windows took {grown} KiB");
}

pub(crate) fn ask(port: u16, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the port accepts");
    stream.set_read_timeout(Some(Duration::from_secs(9))).expect("a deadline");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    answer
}

#[test]
fn topics_that_metadata_does_not_name_are_kept_and_counted() {
    let folder = TestBroker::start().stop();
    let topics = crate::support::config(folder.path(), &[]).data_directory.join("topics");
    let unknown = topics.join("00000000-0000-0000-0000-000000000009/0000");
    std::fs::create_dir_all(&unknown).expect("a folder");
    let broker = TestBroker::on(folder, &[]);
    let (_, metrics) = broker.control_ports();
    let told = ask(metrics, "/metrics");
    assert!(told.contains("kennet_broker_topics_unknown 1"), "{told}");
    assert!(unknown.is_dir());
}

#[test]
fn metrics_and_probes_are_answered_while_the_loop_of_the_clients_hangs() {
    let _turn = alone();
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.assert_alive();
    let hung = broker.hang();
    let (probes, metrics) = broker.control_ports();
    assert!(ask(metrics, "/metrics").contains("kennet_broker_partitions"));
    assert!(ask(probes, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(ask(probes, "/livez").starts_with("HTTP/1.1 503"), "a kubelet starts a broker again that hangs");
    drop(hung);
    client.assert_alive();
    assert!(ask(probes, "/livez").starts_with("HTTP/1.1 200"));
}
