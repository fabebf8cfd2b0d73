//! The management endpoint over real mutual TLS: who is let in, what each may do, and how a cluster comes to be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use kennet_contract::management::{BootstrapRecord, BrokerState, Status};
use kennet_contract::{
    BrokerConfig, BrokerIdField, CertificatePaths, ClusterId, ListenerConfig, LogFormat, ManagementConfig,
    PeerIdentity, PlainEndpoint,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::tls::{self, Tls};
use super::{Ready, starting};
use crate::identity::{FORMAT_VERSION, Identity};

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
const OTHER: ClusterId = ClusterId::from_bytes([8; 16]);

/// Any error will do.
type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A CA and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
struct Leaf {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, peer: Option<PeerIdentity>) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if let Some(peer) = peer {
            params.subject_alt_names.push(SanType::URI(peer.to_string().try_into().unwrap()));
        }
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    fn write(&self, folder: &Path, leaf: &Leaf) -> CertificatePaths {
        let paths = CertificatePaths {
            ca: folder.join("ca.crt"),
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        };
        std::fs::write(&paths.ca, &self.pem).unwrap();
        std::fs::write(&paths.certificate, &leaf.certificate).unwrap();
        std::fs::write(&paths.key, &leaf.key).unwrap();
        paths
    }
}

fn broker(cluster: ClusterId) -> PeerIdentity {
    PeerIdentity::Broker { cluster, id: 0 }
}

fn operator(cluster: ClusterId) -> PeerIdentity {
    PeerIdentity::Operator { cluster }
}

fn client(trusted: &str, leaf: Option<&Leaf>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    match leaf {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// One request on a connection of its own; an error when the connection is refused.
async fn ask(
    port: u16,
    config: &ClientConfig,
    method: Method,
    path: &str,
    body: &serde_json::Value,
) -> Answer<(StatusCode, serde_json::Value)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config.clone())).connect(name, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(body.to_string())))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    drop(sender);
    connection.await??;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

async fn status(port: u16, config: &ClientConfig) -> Answer<Status> {
    let (code, body) = ask(port, config, Method::GET, "/status", &serde_json::Value::Null).await?;
    assert_eq!(code, StatusCode::OK);
    Ok(serde_json::from_value(body)?)
}

/// The endpoint alone, as a broker that waits has it.
async fn endpoint(authority: &Authority, folder: &Path) -> (u16, CertificatePaths) {
    let paths = authority.write(folder, &authority.sign(Some(broker(CLUSTER))));
    let tls = Tls::load(&paths, CLUSTER).unwrap();
    let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let identity =
        Identity { cluster_id: CLUSTER, broker_id: 0, directory_id: "mine".to_owned(), format_version: FORMAT_VERSION };
    let (router, _) = starting::router(identity, Ready::new(String::new()));
    tokio::spawn(tls::serve(Arc::new(socket), tls, router, CancellationToken::new()));
    (port, paths)
}

#[tokio::test]
async fn only_a_certificate_that_names_a_peer_of_this_cluster_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (Authority::new(), Authority::new());
    let (port, _) = endpoint(&ours, folder.path()).await;
    for peer in [operator(CLUSTER), broker(CLUSTER), PeerIdentity::Cli { cluster: CLUSTER }] {
        let found = status(port, &client(&ours.pem, Some(&ours.sign(Some(peer))))).await.unwrap();
        assert_eq!((found.cluster_id, found.state), (CLUSTER, BrokerState::AwaitingBootstrap));
    }
    for (who, leaf) in [
        ("nobody", None),
        ("signed by our CA, but without a name", Some(ours.sign(None))),
        ("the operator of another cluster", Some(ours.sign(Some(operator(OTHER))))),
        ("a name signed by another CA", Some(foreign.sign(Some(operator(CLUSTER))))),
    ] {
        assert!(status(port, &client(&ours.pem, leaf.as_ref())).await.is_err(), "{who} was let in");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stops_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    let (port, _) = endpoint(&ours, folder.path()).await;
    let started = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    assert!(answer.is_empty());
    assert!(started.elapsed() <= std::time::Duration::from_secs(11), "{:?}", started.elapsed());
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let (port, paths) = endpoint(&old, folder.path()).await;
    let before = client(&old.pem, Some(&old.sign(Some(operator(CLUSTER)))));
    let after = client(&new.pem, Some(&new.sign(Some(operator(CLUSTER)))));
    status(port, &before).await.unwrap();
    let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let touch = |path: &PathBuf| std::fs::File::options().append(true).open(path).unwrap().set_modified(past).unwrap();

    std::fs::write(&paths.certificate, "nothing").unwrap();
    touch(&paths.certificate);
    status(port, &before).await.unwrap();

    new.write(folder.path(), &new.sign(Some(broker(CLUSTER))));
    status(port, &after).await.unwrap();
    assert!(status(port, &before).await.is_err(), "the old CA is still trusted");
}

fn config(folder: &Path, certificates: CertificatePaths) -> BrokerConfig {
    let bind = || "127.0.0.1".to_owned();
    let plain = || PlainEndpoint { bind: bind(), port: 0 };
    BrokerConfig {
        contract: kennet_contract::CONTRACT,
        cluster_name: "test".to_owned(),
        cluster_id: CLUSTER,
        broker_id: BrokerIdField::Number(0),
        data_directory: folder.join("data"),
        rack: None,
        log_format: LogFormat::Auto,
        memory_bytes: None,
        listeners: vec![ListenerConfig {
            name: "plain".to_owned(),
            bind: bind(),
            port: 0,
            advertised_host: bind(),
            advertised_port: 0,
        }],
        management: ManagementConfig { bind: bind(), port: free_port(), certificates },
        probes: plain(),
        metrics: plain(),
        kafka: std::collections::BTreeMap::new(),
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_becomes_a_cluster_only_by_the_record_for_its_directory_and_serves_owners_then() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    let certificates = ours.write(folder.path(), &ours.sign(Some(broker(CLUSTER))));
    let config = config(folder.path(), certificates);
    let port = config.management.port;
    let stop = CancellationToken::new();
    let (file, text) = (folder.path().join("broker.toml"), toml::to_string(&config).unwrap());
    std::fs::write(&file, &text).unwrap();
    let starting = tokio::spawn(crate::start(crate::load(&file, None).unwrap(), None, stop.clone()));
    let boss = client(&ours.pem, Some(&ours.sign(Some(operator(CLUSTER)))));
    let peer = client(&ours.pem, Some(&ours.sign(Some(broker(CLUSTER)))));

    let waiting = until(port, &boss, BrokerState::AwaitingBootstrap).await;
    assert_eq!(waiting.config_hash, kennet_contract::config_hash(&text));
    assert_eq!(waiting.contract, kennet_contract::CONTRACT);
    let record = |cluster_id, voter: &str| {
        serde_json::to_value(BootstrapRecord { cluster_id, voters: vec![voter.to_owned()] }).unwrap()
    };
    let put = async |config: &ClientConfig, record: &serde_json::Value| {
        ask(port, config, Method::PUT, "/v1/bootstrap", record).await.unwrap()
    };
    let right = record(CLUSTER, &waiting.directory_id);
    assert_eq!(put(&peer, &right).await.0, StatusCode::FORBIDDEN);
    assert_eq!(put(&boss, &record(OTHER, &waiting.directory_id)).await.1["reason"], "ForeignCluster");
    assert_eq!(put(&boss, &record(CLUSTER, "another")).await.1["reason"], "ForeignDirectory");
    assert_eq!(status(port, &boss).await.unwrap().state, BrokerState::AwaitingBootstrap);
    assert_eq!(put(&boss, &right).await.0, StatusCode::NO_CONTENT);

    let serving = until(port, &boss, BrokerState::Serving).await;
    assert_eq!((serving.directory_id.as_str(), serving.voters.as_slice()), (waiting.directory_id.as_str(), &[0][..]));
    assert_eq!((&serving.config_hash, serving.contract), (&waiting.config_hash, waiting.contract));
    assert!(serving.metadata_offset >= 0 && serving.certificate_expires > 0, "{serving:?}");
    assert_eq!(put(&boss, &right).await.0, StatusCode::NO_CONTENT);
    assert_eq!(put(&boss, &record(CLUSTER, "another")).await.0, StatusCode::CONFLICT);

    let owner = serde_json::json!({"namespace": "n", "name": "t", "uid": "u"});
    let claim = serde_json::json!({"topic": "t", "action": "claim", "owner": owner});
    let claimed = ask(port, &boss, Method::POST, "/v1/topic-owners", &claim).await.unwrap();
    assert_eq!((claimed.0, claimed.1["reason"].as_str()), (StatusCode::NOT_FOUND, Some("UnknownTopic")));
    let claimed = ask(port, &peer, Method::POST, "/v1/topic-owners", &claim).await.unwrap();
    assert_eq!(claimed.0, StatusCode::FORBIDDEN);
    let changes = ask(port, &peer, Method::GET, "/v1/changes?after=-1", &serde_json::Value::Null).await.unwrap();
    assert_eq!(changes.1["metadataOffset"], serving.metadata_offset);
    generations(port, &boss, &peer).await;
    starting.await.unwrap().unwrap().stop().await;
}

#[tokio::test]
async fn a_broker_that_is_stopped_while_it_waits_forms_no_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    let certificates = ours.write(folder.path(), &ours.sign(Some(broker(CLUSTER))));
    let stop = CancellationToken::new();
    stop.cancel();
    let started = crate::start(config(folder.path(), certificates), None, stop).await;
    assert!(matches!(started.err(), Some(crate::StartError::Stopped)));
    let log = std::fs::read(folder.path().join("data/quorum/metadata.log")).unwrap();
    assert!(log.iter().all(|byte| *byte == 0), "room is reserved and nothing is said");
}

#[tokio::test]
async fn records_without_their_metadata_are_not_built_over() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    let certificates = ours.write(folder.path(), &ours.sign(Some(broker(CLUSTER))));
    let topic = folder.path().join("data/topics").join(uuid::Uuid::from_u128(5).to_string());
    std::fs::create_dir_all(topic.join("0000")).unwrap();
    let started = crate::start(config(folder.path(), certificates), None, CancellationToken::new()).await;
    assert!(matches!(started.err(), Some(crate::StartError::MetadataLost { topics: 1, .. })));
}

/// The spec that was applied last: written by operators only, by compare-and-set, and it never goes down for one object.
async fn generations(port: u16, boss: &ClientConfig, peer: &ClientConfig) {
    let applied = async |config: &ClientConfig, uid: &str, generation: i64, expected: &serde_json::Value| {
        let change = serde_json::json!({"applied": {"uid": uid, "generation": generation}, "expected": expected});
        ask(port, config, Method::PUT, "/v1/applied-generation", &change).await.unwrap()
    };
    let (none, second) = (serde_json::Value::Null, serde_json::json!({"uid": "u", "generation": 2}));
    assert_eq!(applied(peer, "u", 2, &none).await.0, StatusCode::FORBIDDEN);
    let read = async || ask(port, peer, Method::GET, "/v1/applied-generation", &none).await.unwrap();
    assert_eq!(read().await, (StatusCode::OK, serde_json::json!({})));
    assert_eq!(applied(boss, "u", 2, &none).await, (StatusCode::OK, serde_json::json!({"applied": second})));
    assert_eq!(read().await.1["applied"], second);
    for (generation, expected, reason) in [(3, &none, "GenerationMoved"), (1, &second, "SpecWentBack")] {
        let (code, problem) = applied(boss, "u", generation, expected).await;
        assert_eq!((code, problem["reason"].as_str()), (StatusCode::CONFLICT, Some(reason)));
    }
    assert_eq!(applied(boss, "", 1, &second).await.1["reason"], "InvalidUid");
    // another object starts anew
    assert_eq!(applied(boss, "v", 1, &second).await.0, StatusCode::OK);
}

/// Asks until the broker has come as far as `state`.
async fn until(port: u16, config: &ClientConfig, state: BrokerState) -> Status {
    for _ in 0..500 {
        if let Ok(found) = status(port, config).await
            && found.state == state
        {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the broker did not come to {state:?} in 10 s");
}
