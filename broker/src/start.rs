//! From a config to a serving broker, and from a signal to a stopped one.
//!
//! Order of start: identity, metadata log, management endpoint; then, once the cluster is bootstrapped, recovery and registration; ports
//! for clients last, so whoever connects is served. Order of stop: unready, no new connections, answers, flush, clean mark.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kennet_contract::BrokerConfig;
use kennet_contract::config_keys::Configs;
use kennet_contract::management::{BootstrapRecord, BrokerState};
use kennet_log::fs::{FileSystem, RealFileSystem};
use kennet_log::{DataDirectory, Limits, OpenError};
use kennet_metadata::MetadataLog;
use kennet_metadata::decisions::register_broker;
use kennet_protocol::BrokerId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::config::LoadedConfig;
use crate::controller::Controller;
use crate::identity::{self, Identity};
use crate::management::{self, Control, Ready};
use crate::memory::Shares;
use crate::metadata_log::FileMetadataLog;
use crate::partition::Partitions;
use crate::read_pool::ReadPool;
use crate::server::{ByteBudget, ConnectionLimits, Listeners, serve};
use crate::start_error::StartError;
use crate::{cleaner, clock, retention, system};

/// Open connections get so long to take their last answers.
const DRAIN: Duration = Duration::from_secs(10);
/// A process that was killed keeps the lock of its data directory until the last of its threads is gone, which may be in a write that the disk has not
/// finished: whoever starts in its place waits that long for it.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// And looks this often.
const LOCK_LOOK: Duration = Duration::from_millis(50);
/// Without a limit of our own or of a cgroup, budgets assume a small pod.
const MEMORY_ASSUMED: u64 = 512 << 20;
/// Connections get this part of the files that may be open, at most: a log that can't open its files serves nobody.
const CONNECTIONS_PART: u64 = 2;
/// And segments this part, twice: those that are kept open, and those that are being filled.
const SEGMENT_FILES_PART: u64 = 8;

/// A broker that has started.
pub struct Running {
    broker: Arc<Broker>,
    /// The config with the ports that were bound.
    pub config: BrokerConfig,
    directory: Arc<DataDirectory>,
    ready: Ready,
    stop: CancellationToken,
    /// Ends the management endpoint, which tells how far the stop has come for as long as clients are answered.
    answered: CancellationToken,
    connections: TaskTracker,
    /// Ends soon after the stop.
    cleaner: JoinHandle<()>,
    /// Probes are answered until the very end.
    _control: Control,
}

/// Runs a broker until SIGTERM or SIGINT.
///
/// # Errors
/// Why it does not start.
pub async fn run(loaded: LoadedConfig) -> Result<(), StartError> {
    start_logs(&loaded.config);
    system::raise_file_limit();
    let stop = CancellationToken::new();
    let signal = stop_signal()?;
    let starting = start(loaded, None, stop.clone());
    tokio::pin!(starting, signal);
    let running = tokio::select! {
        running = &mut starting => running?,
        () = &mut signal => return Ok(()),
    };
    signal.await;
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// Starts a broker. With a bootstrap record it needs nobody to send one, which is what tests in one process do.
///
/// # Errors
/// Why it does not start.
pub async fn start(
    loaded: impl Into<LoadedConfig>,
    bootstrap: Option<fn(&str) -> BootstrapRecord>,
    stop: CancellationToken,
) -> Result<Running, StartError> {
    let LoadedConfig { mut config, hash } = loaded.into();
    let root = config.data_directory.clone();
    let io = |source| StartError::Io { path: root.clone(), source };
    std::fs::create_dir_all(&root).map_err(io)?;
    let memory = config.memory_bytes.or_else(system::memory_limit);
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new(&root));
    let shares = Shares::of(memory.unwrap_or(MEMORY_ASSUMED));
    let limits = Limits {
        memory_bytes_max: usize::try_from(shares.tail).unwrap_or(64 << 20),
        open_files_max: Limits::default().open_files_max.min(system::file_limit() / SEGMENT_FILES_PART),
        ..Limits::default()
    };
    identity::refuse_kafkas(fs.as_ref(), &root)?;
    // before anything is written there: opening removes, cuts and moves what a crash left
    Identity::refuse_others(fs.as_ref(), &root, config.cluster_id, config.id())?;
    // the lock comes first: nothing is read or written in a directory that another process has
    let directory = Arc::new(open_when_free(&fs, &root, limits).await?);
    let identity = Identity::open(fs.as_ref(), &root, config.cluster_id, config.id())?;
    let (mut log, loaded) = FileMetadataLog::open(fs, &root)?;
    if loaded.bytes_cut > 0 {
        tracing::warn!(bytes = loaded.bytes_cut, "an unfinished append to the metadata log was cut");
    }
    let mut image = loaded.image;
    let ready = Ready::new(hash);
    let endpoints = management::Endpoints::bind(&mut config, &ready)?;
    if image.broker(BrokerId(config.id())).is_none() && log.committed_offset() < 0 {
        // an empty cluster formed over somebody's records would lose them
        match directory.topics_found().map_err(io)?.len() {
            0 => {}
            topics => return Err(StartError::MetadataLost { path: root, topics }),
        }
        match bootstrap {
            Some(record) => management::check_bootstrap(&record(&identity.directory_id), &identity)
                .map_err(|problem| StartError::Identity { path: root.clone(), what: problem.message })?,
            None => endpoints.wait_for_bootstrap(&identity, &ready, &stop).await?,
        }
    }
    let registration = register_broker::decide(&image, BrokerId(config.id()), identity.directory_uuid());
    for record in &registration {
        image.apply(record).map_err(kennet_metadata::MetadataLogError::from)?;
    }
    log.append(&registration)?;
    let partitions = Partitions::new(BrokerId(config.id()), config.kafka.clone(), Arc::clone(&directory));
    let refused = |what| move |source| StartError::System { what, source };
    let reads = ReadPool::start().map_err(refused("start threads for reading"))?;
    ready.recovering(image.partition_count());
    let recovery = {
        let (partitions, image, ready) = (Arc::clone(&partitions), image.clone(), ready.clone());
        reads.run(move || partitions.open_all(&image, &loaded.removed_topics, || ready.recovered_one()))
    };
    let opened = endpoints.serve_during(&identity, &ready, recovery).await;
    opened.map_err(|error| StartError::System { what: "open the logs", source: std::io::Error::other(error) })?;
    let controller = Controller::start(Box::new(log), image, Arc::clone(&partitions) as Arc<_>)
        .map_err(refused("start the controller's thread"))?;
    tokio::spawn(Arc::clone(&partitions).complete());
    let listeners = Listeners::bind(&mut config)?;
    let broker = Broker::new(config.clone(), identity, controller, partitions, reads, shares, stop.clone());
    let broker = Arc::new(broker);
    let connections = TaskTracker::new();
    let (limits, budget) = connection_limits(&config, shares, memory.is_some());
    broker.groups.start(&broker);
    serve(&broker, listeners, &limits, &budget, &stop, &connections);
    tokio::spawn(Arc::clone(&broker.groups).keep_time(Arc::clone(&broker), stop.clone()));
    tokio::spawn(retention::run(Arc::clone(&broker), stop.clone()));
    let cleaner = tokio::spawn(cleaner::run(Arc::clone(&broker), stop.clone()));
    let answered = CancellationToken::new();
    let control = endpoints.serve(&broker, &ready, &answered);
    // one that could not be read serves nothing; one that fails later stays ready, since consumers may still read
    let could_be_read = directory.failed().is_none();
    ready.set(if could_be_read { BrokerState::Serving } else { BrokerState::Failed });
    announce(&config);
    Ok(Running { broker, config, directory, ready, stop, answered, connections, cleaner, _control: control })
}

/// Opens the data directory, once a process that is ending has left it.
async fn open_when_free(fs: &Arc<dyn FileSystem>, root: &Path, limits: Limits) -> Result<DataDirectory, StartError> {
    let since = clock::monotonic_ms();
    loop {
        match DataDirectory::open(Arc::clone(fs), root, limits) {
            Err(OpenError::Locked { path }) => {
                let waited = Duration::from_millis(u64::try_from(clock::monotonic_ms() - since).unwrap_or(0));
                if waited >= LOCK_PATIENCE {
                    return Err(StartError::Locked { path, seconds: waited.as_secs() });
                }
                tokio::time::sleep(LOCK_LOOK).await;
            }
            opened => return Ok(opened?),
        }
    }
}

impl Running {
    /// Stops in order; everything that was appended is on disk, and the next start reads nothing twice.
    pub async fn stop(self) {
        // unready first: nobody is sent here any more while who is here takes the last answers
        self.ready.set(BrokerState::Stopping);
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "some connections did not take their last answers");
        }
        self.answered.cancel();
        if self.cleaner.await.is_err() {
            tracing::warn!("the cleaner ended in disorder");
        }
        self.broker.controller.stop().await;
        let directory = Arc::clone(&self.directory);
        let closed = self.broker.reads.run(move || directory.close()).await;
        if closed.is_err() {
            self.directory.close();
        }
        tracing::info!("stopped");
    }
}

fn connection_limits(config: &BrokerConfig, shares: Shares, has_limit: bool) -> (Arc<ConnectionLimits>, ByteBudget) {
    let none = std::collections::BTreeMap::new();
    let configs = Configs { topic: &none, dynamic_broker: &none, dynamic_cluster: &none, file: &config.kafka };
    let count = |name| usize::try_from(configs.broker_number(name)).unwrap_or(0);
    let files = usize::try_from(system::file_limit() / CONNECTIONS_PART).unwrap_or(usize::MAX);
    // where memory has no limit nobody is killed for it, and what is assumed is no reason to refuse who connects
    let memory = if has_limit { shares.connections_max() } else { usize::MAX };
    let limits =
        ConnectionLimits::new(count("max.connections").min(files).min(memory), count("max.connections.per.ip"));
    (limits, ByteBudget::new(shares.requests))
}

fn start_logs(config: &BrokerConfig) {
    let filter = std::env::var("KENNET_LOG").unwrap_or_else(|_| "info".to_owned());
    let cluster = serde_json::Value::from(config.cluster_name.as_str()).to_string();
    let fields = vec![("cluster", cluster), ("broker", config.id().to_string())];
    kennet_process::start_logs(config.log_format, &filter, &fields);
}

fn announce(config: &BrokerConfig) {
    for listener in &config.listeners {
        tracing::info!(
            listener = listener.name,
            bind = listener.bind,
            port = listener.port,
            advertised = format!("{}:{}", listener.advertised_host, listener.advertised_port),
            "serving"
        );
    }
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let system = |source| StartError::System { what: "wait for signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests;
