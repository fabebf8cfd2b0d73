//! A broker in this process, or as a process of its own, on free ports of loopback.
//!
//! The broker runs on a runtime of its own; tests are plain threads with blocking sockets, so a test can send any bytes at any time. What a
//! request's bytes are is `client.rs`.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

pub mod client;
pub mod groups;
pub mod records;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kennet_broker::Running;
use kennet_contract::management::BootstrapRecord;
use kennet_contract::{
    BrokerConfig, BrokerIdField, CertificatePaths, ListenerConfig, LogFormat, ManagementConfig, PlainEndpoint,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use client::Client;

/// Threads of a test broker's runtime.
const WORKERS: usize = 2;
const CLUSTER: &str = "ABCDEFGHIJKLMNOPQRSTUg";

/// Panics in any thread of this process since it started; a broker must never have one, whatever it is sent.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A broker in this process. It stops, in order, when it is dropped.
pub struct TestBroker {
    pub address: SocketAddr,
    runtime: Runtime,
    running: Option<Running>,
    folder: Option<TempDir>,
}

impl TestBroker {
    /// Starts a broker with an empty data directory.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with broker configs.
    pub fn with(kafka: &[(&str, &str)]) -> Self {
        Self::on(tempfile::tempdir().expect("a folder for the data"), kafka)
    }

    /// Starts a broker that may use so much memory.
    pub fn with_memory(bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the data");
        let mut config = config(folder.path(), &[]);
        config.memory_bytes = Some(bytes);
        Self::of(folder, config)
    }

    /// Starts a broker whose clients connect to this address.
    pub fn listening(bind: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the data");
        let mut config = config(folder.path(), &[]);
        bind.clone_into(&mut config.listeners[0].bind);
        Self::of(folder, config)
    }

    /// Starts a broker on a folder that is there.
    pub fn on(folder: TempDir, kafka: &[(&str, &str)]) -> Self {
        let config = config(folder.path(), kafka);
        Self::of(folder, config)
    }

    fn of(folder: TempDir, config: BrokerConfig) -> Self {
        count_panics();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .expect("a runtime for the broker");
        let started = kennet_broker::start(config, Some(bootstrap), CancellationToken::new());
        let running = runtime.block_on(started).expect("the broker starts");
        let address = SocketAddr::from(([127, 0, 0, 1], running.config.listeners[0].port));
        Self { address, runtime, running: Some(running), folder: Some(folder) }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Keeps all threads of the runtime busy until the answer is dropped.
    pub fn hang(&self) -> std::sync::mpsc::Sender<()> {
        let (busy, until) = std::sync::mpsc::channel::<()>();
        let until = std::sync::Arc::new(std::sync::Mutex::new(until));
        let all = std::sync::Arc::new(std::sync::Barrier::new(WORKERS + 1));
        for _ in 0..WORKERS {
            let (until, all) = (std::sync::Arc::clone(&until), std::sync::Arc::clone(&all));
            self.runtime.spawn(async move {
                all.wait();
                // ends with an error when the sender is gone
                let _ = until.lock().expect("nobody panics").recv();
            });
        }
        all.wait();
        busy
    }

    /// The ports of probes and metrics.
    pub fn control_ports(&self) -> (u16, u16) {
        let config = &self.running.as_ref().expect("the broker runs").config;
        (config.probes.port, config.metrics.port)
    }

    /// The folder with the broker's data.
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.as_ref().expect("a broker has its folder until it stops").path().join("data")
    }

    /// Stops the broker and gives its folder back.
    pub fn stop(mut self) -> TempDir {
        self.end();
        self.folder.take().expect("a broker has its folder until it stops")
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.end();
        if !std::thread::panicking() {
            assert_eq!(panics(), 0, "nothing that a client sends makes a thread panic");
        }
    }
}

/// The loopback addresses at which a listener on `::` must be reached. On a host without IPv6 that is IPv4's alone, and then it is a test that `::`
/// stands for every address there too.
pub fn loopbacks() -> Vec<IpAddr> {
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let has_v6 = std::net::TcpListener::bind((v6, 0)).is_ok();
    [IpAddr::from(Ipv4Addr::LOCALHOST)].into_iter().chain(has_v6.then_some(v6)).collect()
}

/// Waits for what the broker does by itself, for longer than a loaded machine needs for it.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(30);
    #[expect(clippy::disallowed_methods, reason = "a test waits for what the broker does by itself")]
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        #[expect(clippy::disallowed_methods, reason = "a test waits for what the broker does by itself")]
        let now = Instant::now();
        assert!(now < deadline, "{what} within {PATIENCE:?}");
        #[expect(clippy::disallowed_methods, reason = "a test waits for what the broker does by itself")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many panics there were.
pub fn panics() -> usize {
    PANICS.load(Ordering::SeqCst)
}

/// Counts panics of the broker's threads; those of the test itself are the test harness's business.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            // test threads have the names of their tests, which are sentences with underscores
            if thread.name().is_some_and(|name| name != "main" && !name.contains('_')) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
}

fn bootstrap(directory_id: &str) -> BootstrapRecord {
    BootstrapRecord { cluster_id: CLUSTER.parse().expect("the id is one"), voters: vec![directory_id.to_owned()] }
}

/// A config with ports that the system chooses, its certificates beside the data.
pub fn config(folder: &Path, kafka: &[(&str, &str)]) -> BrokerConfig {
    let any = || PlainEndpoint { bind: "127.0.0.1".to_owned(), port: 0 };
    BrokerConfig {
        contract: 1,
        cluster_name: "test".to_owned(),
        cluster_id: CLUSTER.parse().expect("the id is one"),
        broker_id: BrokerIdField::Number(0),
        data_directory: folder.join("data"),
        rack: None,
        log_format: LogFormat::Text,
        memory_bytes: Some(256 << 20),
        listeners: vec![ListenerConfig {
            name: "plain".to_owned(),
            bind: "127.0.0.1".to_owned(),
            port: 0,
            advertised_host: "127.0.0.1".to_owned(),
            advertised_port: 0,
        }],
        management: ManagementConfig { bind: "127.0.0.1".to_owned(), port: 0, certificates: certificates(folder) },
        probes: any(),
        metrics: any(),
        kafka: kafka.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
    }
}

/// One self-signed certificate is CA and leaf: enough for an endpoint that these tests don't call.
fn certificates(folder: &Path) -> CertificatePaths {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate is made");
    let paths = CertificatePaths {
        ca: folder.join("ca.crt"),
        certificate: folder.join("broker.crt"),
        key: folder.join("broker.key"),
    };
    let write = |path: &Path, text: String| std::fs::write(path, text).expect("the certificate is written");
    write(&paths.ca, made.cert.pem());
    write(&paths.certificate, made.cert.pem());
    write(&paths.key, made.signing_key.serialize_pem());
    paths
}
