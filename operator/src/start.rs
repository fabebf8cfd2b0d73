//! From settings to running controllers, and from a signal to a released lease.
//!
//! Order: probes, definitions at least as new as this operator, lease, controllers. An operator that lost its lease ends, and its pod starts
//! again as a candidate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kennet_api::{KafkaCluster, OffsetReset, SCHEMA_REVISION, SCHEMA_REVISION_ANNOTATION, Topic};
use kube::{Api, Client, CustomResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};

use crate::arguments::Arguments;
use crate::context::{ClusterKey, Context};
use crate::leader::Leader;
use crate::{cluster, health, offset_reset, topic};

/// Clusters that wait for their topics to be looked at; more than that are the same ones again.
const WAKE_MAX: usize = 1024;

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No threads.
    #[error("the runtime could not be started: {source}")]
    Runtime {
        /// What the system said.
        source: std::io::Error,
    },
    /// No way to the API server.
    #[error("the Kubernetes API can't be used: {source}; run in a pod, or set KUBECONFIG")]
    Client {
        /// What is wrong.
        source: Box<kube::Error>,
    },
    /// A port is taken.
    #[error(
        "port {probes} or {metrics} can't be opened: {source}; choose others with --probes-port and --metrics-port"
    )]
    Port {
        /// Of the probes.
        probes: u16,
        /// Of the metrics.
        metrics: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else has the lease.
    #[error("the lease was lost, so another operator acts now")]
    LeaseLost,
}

/// Runs the operator until SIGTERM.
///
/// # Errors
/// Why it does not start, or that it lost its lease.
pub async fn run(arguments: Arguments) -> Result<(), StartError> {
    log(&arguments);
    let mut term = signal(SignalKind::terminate()).map_err(|source| StartError::Runtime { source })?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| StartError::Runtime { source })?;
    let client = Client::try_default().await.map_err(|source| StartError::Client { source: Box::new(source) })?;
    let (wake, woken) = mpsc::channel(WAKE_MAX);
    let context = Arc::new(Context::new(client.clone(), arguments.clone(), wake));
    let (probes, metrics) = (arguments.probes_port, arguments.metrics_port);
    let ports = health::serve(probes, metrics, Arc::clone(&context));
    ports.map_err(|source| StartError::Port { probes, metrics, source })?;
    let leader = Leader::new(client, &arguments.pod_namespace, &arguments.pod_name);
    let act = async {
        definitions(&context).await;
        context.metrics.ready.store(true, Ordering::Relaxed);
        leader.acquire().await;
        tracing::info!(holder = %arguments.pod_name, "the lease is held");
        context.metrics.leader.set(1);
        tokio::select! {
            () = leader.hold() => {}
            () = controllers(&context, woken) => {}
        }
    };
    let stopped = tokio::select! {
        () = act => Err(StartError::LeaseLost),
        _ = term.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    if stopped.is_ok() {
        tracing::info!("stopping");
        leader.release().await;
    }
    stopped
}

/// Waits until every definition is at least as new as this operator; under an older one it would write what gets lost.
async fn definitions(context: &Context) {
    let api: Api<CustomResourceDefinition> = Api::all(context.client.clone());
    for name in [KafkaCluster::crd_name(), Topic::crd_name(), OffsetReset::crd_name()] {
        loop {
            let revision = match api.get_opt(name).await {
                Ok(Some(found)) => found
                    .metadata
                    .annotations
                    .as_ref()
                    .and_then(|all| all.get(SCHEMA_REVISION_ANNOTATION)?.parse::<u32>().ok()),
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(%error, name, "a definition can't be read");
                    None
                }
            };
            if revision >= Some(SCHEMA_REVISION) {
                break;
            }
            tracing::warn!(
                name,
                ?revision,
                needed = SCHEMA_REVISION,
                "a definition is missing or older than this operator; nothing is written"
            );
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
}

/// Runs the controllers of every watched namespace.
async fn controllers(context: &Arc<Context>, mut woken: mpsc::Receiver<ClusterKey>) {
    let (sender, _) = broadcast::channel::<ClusterKey>(WAKE_MAX);
    let namespaces = context.arguments.namespaces();
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let mut tasks = tokio::task::JoinSet::new();
    for scope in scopes {
        tasks.spawn(cluster::run(Arc::clone(context), scope.clone()));
        tasks.spawn(topic::run(Arc::clone(context), scope.clone(), sender.subscribe()));
        tasks.spawn(topic::watch_deletions(Arc::clone(context), scope.clone()));
        tasks.spawn(offset_reset::run(Arc::clone(context), scope));
    }
    let forward = async {
        while let Some(key) = woken.recv().await {
            // nobody listening means that the controllers have ended
            let _ = sender.send(key);
        }
    };
    tokio::select! {
        ended = tasks.join_next() => tracing::error!(?ended, "a controller ended"),
        () = forward => {}
    }
}

fn log(arguments: &Arguments) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(&arguments.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started =
        if arguments.log_format == "json" { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    // only a second start in one process, as in tests, fails here
    drop(started);
}
