//! A whole broker in this process, asked without a socket: what its handlers keep and charge.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kennet_contract::management::BootstrapRecord;
use kennet_contract::{
    BrokerConfig, BrokerIdField, CertificatePaths, ListenerConfig, LogFormat, ManagementConfig, PlainEndpoint,
};
use kennet_log::fs::{FileSystem, RealFileSystem};
use kennet_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kennet_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kennet_protocol::record::BatchBuilder;
use kennet_protocol::{Decoder, PartitionIndex, Request, RequestHeader, TimestampMs, encode_request};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Running, start};
use crate::broker::{ConnectionId, Session};
use crate::handler::{self, Reply};

const CLUSTER: &str = "ABCDEFGHIJKLMNOPQRSTUg";

fn config(folder: &TempDir) -> BrokerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificates = CertificatePaths {
        ca: file("ca.crt", made.cert.pem()),
        certificate: file("broker.crt", made.cert.pem()),
        key: file("broker.key", made.signing_key.serialize_pem()),
    };
    let any = || PlainEndpoint { bind: "127.0.0.1".to_owned(), port: 0 };
    BrokerConfig {
        contract: 1,
        cluster_name: "test".to_owned(),
        cluster_id: CLUSTER.parse().unwrap(),
        broker_id: BrokerIdField::Number(0),
        data_directory: folder.path().join("data"),
        rack: None,
        log_format: LogFormat::Text,
        memory_bytes: Some(64 << 20),
        listeners: vec![ListenerConfig {
            name: "plain".to_owned(),
            bind: "127.0.0.1".to_owned(),
            port: 0,
            advertised_host: "127.0.0.1".to_owned(),
            advertised_port: 0,
        }],
        management: ManagementConfig { bind: "127.0.0.1".to_owned(), port: 0, certificates },
        probes: any(),
        metrics: any(),
        kafka: std::collections::BTreeMap::new(),
    }
}

/// A broker and a client of it.
struct Asked {
    running: Running,
    session: Session,
    _folder: TempDir,
}

impl Asked {
    /// A broker with topic `t` of two partitions.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = |directory: &str| BootstrapRecord {
            cluster_id: CLUSTER.parse().unwrap(),
            voters: vec![directory.to_owned()],
        };
        let running = start(config(&folder), Some(bootstrap), CancellationToken::new()).await.unwrap();
        let listener = Arc::new(running.config.listeners[0].clone());
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let asked =
            Self { running, session: Session { listener, peer, connection: ConnectionId::next() }, _folder: folder };
        let topic = CreatableTopic {
            name: "t".to_owned(),
            num_partitions: 2,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        asked.ask(7, &request).await;
        asked
    }

    /// Handles a request; answers the reply and the request's memory.
    async fn ask<R: Request>(&self, version: i16, request: &R) -> (Reply, Bytes) {
        let frame = Bytes::from(encode_request(version, 1, None, request).unwrap().concat()[4..].to_vec());
        let mut decoder = Decoder::new(frame.clone());
        let header = RequestHeader::decode(&mut decoder).unwrap();
        let reply = handler::dispatch(&self.running.broker, &self.session, &header, &mut decoder).await;
        (reply, frame)
    }

    fn tail_bytes(&self) -> usize {
        self.running.directory.pending_bytes()
    }
}

#[tokio::test]
async fn a_start_waits_for_a_killed_process_to_leave_the_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    std::fs::create_dir_all(&config.data_directory).unwrap();
    let held = RealFileSystem::new(&config.data_directory).lock(&config.data_directory.join("lock")).unwrap();
    let bootstrap =
        |directory: &str| BootstrapRecord { cluster_id: CLUSTER.parse().unwrap(), voters: vec![directory.to_owned()] };
    let starting = start(config, Some(bootstrap), CancellationToken::new());
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(held);
    };
    let (running, ()) = tokio::join!(starting, leaving);
    running.unwrap().stop().await;
}

fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(TimestampMs(5));
    builder.push(TimestampMs(5), None, Some(&vec![7; bytes]), &[]);
    builder.build().unwrap()
}

fn produce(acks: i16, batches: &[Bytes]) -> ProduceRequest {
    let partition = |(index, records): (i32, &Bytes)| PartitionProduceData {
        index: PartitionIndex(index),
        records: Some(records.clone()),
    };
    let topic = TopicProduceData {
        name: "t".to_owned(),
        partition_data: (0..).zip(batches).map(partition).collect(),
        ..TopicProduceData::default()
    };
    ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_small_in_its_request_does_not_keep_it_and_a_large_one_is_charged_with_all_of_it() {
    let asked = Asked::new().await;
    let before = asked.tail_bytes();
    let (reply, frame) = asked.ask(9, &produce(-1, &[batch(1_000), batch(1_000)])).await;
    assert!(matches!(reply, Reply::Later(_)));
    drop(reply);
    assert!(frame.is_unique(), "two halves: neither keeps the request");
    let two = asked.tail_bytes() - before;
    assert!((2_000..3_000).contains(&two), "{two}");
    let (reply, frame) = asked.ask(9, &produce(-1, &[batch(1_000), batch(9_000)])).await;
    drop(reply);
    assert!(!frame.is_unique(), "nearly all of the request is kept as it is");
    let more = asked.tail_bytes() - before - two;
    assert!(more >= frame.len() + 1_000, "{more} for {} of one and 1000 of the other", frame.len());
    asked.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acks_there_is_nothing_to_wait_for() {
    let asked = Asked::new().await;
    let (reply, _) = asked.ask(9, &produce(0, &[batch(10)])).await;
    assert!(matches!(reply, Reply::Nothing));
    let (reply, _) = asked.ask(9, &produce(0, &[Bytes::from_static(b"none")])).await;
    assert!(matches!(reply, Reply::Close), "an error that can't be answered ends the connection");
    asked.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_charged_with_a_first_batch_that_is_larger_than_every_limit() {
    let asked = Asked::new().await;
    let (reply, _) = asked.ask(9, &produce(-1, &[batch(900_000)])).await;
    let Reply::Later(acknowledged) = reply else { panic!("acks=-1 is answered when the records are durable") };
    acknowledged.await;
    let partition = FetchPartition { partition_max_bytes: 1, ..FetchPartition::default() };
    let topic = FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest { min_bytes: 1, max_bytes: 1, topics: vec![topic], ..FetchRequest::default() };
    let (reply, _) = asked.ask(12, &request).await;
    let Reply::Now(chunks, Some(charge)) = reply else { panic!("records are charged") };
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    assert!(bytes > 900_000);
    assert!(charge.num_permits() >= 900_000 / 1_024, "{} KiB for {bytes} bytes", charge.num_permits());
    drop(charge);
    asked.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_takes_more_than_half_of_the_memory_for_answers() {
    let asked = Asked::new().await;
    for _ in 0..12 {
        let (reply, _) = asked.ask(9, &produce(-1, &[batch(900_000)])).await;
        let Reply::Later(acknowledged) = reply else { panic!("acks=-1 is answered when the records are durable") };
        acknowledged.await;
    }
    let partition = FetchPartition { partition_max_bytes: i32::MAX, ..FetchPartition::default() };
    let topic = FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest { min_bytes: 1, max_bytes: i32::MAX, topics: vec![topic], ..FetchRequest::default() };
    let (reply, _) = asked.ask(12, &request).await;
    let Reply::Now(chunks, Some(_charge)) = reply else { panic!("records are charged") };
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    // 64 MiB in all, an eighth of it for answers
    assert!((3 << 20..=4 << 20).contains(&bytes), "{bytes}");
    asked.running.stop().await;
}
