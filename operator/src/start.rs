//! From settings to running controllers, and from a signal to a released lease.
//!
//! Order: ports, definitions at least as new as this operator, lease, controllers. An operator that lost its lease ends, and its pod starts
//! again as a candidate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kennet_api::{KafkaCluster, OffsetReset, SCHEMA_REVISION, SCHEMA_REVISION_ANNOTATION, Topic};
use kennet_contract::ExitCode;
use kube::{Api, Config, CustomResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};

use crate::arguments::Arguments;
use crate::context::{ClusterKey, Context, clients};
use crate::error::said;
use crate::leader::Leader;
use crate::{cluster, health, offset_reset, topic};

/// Clusters that wait for their topics to be looked at; more than that are the same ones again.
const WAKE_MAX: usize = 1024;

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// No threads, no signals.
    #[error(
        "cannot {what}: {source}; expected a system that allows it: raise the limits on threads, memory and open files"
    )]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// No way to the API server.
    #[error(
        "cannot use the Kubernetes API: {source}; expected a service account or a kubeconfig: run in a pod, or set KUBECONFIG"
    )]
    Client {
        /// What is wrong.
        source: Box<kube::Error>,
    },
    /// A port is taken or not allowed.
    #[error("cannot listen on port {port} for {what}: {source}; free the port or choose another with --{what}-port")]
    Port {
        /// Which endpoint.
        what: &'static str,
        /// The port.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else has the lease.
    #[error("the lease was lost and another operator acts now; started again, this one waits for its turn")]
    LeaseLost,
}

impl StartError {
    /// The exit code by the contract.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Port { .. } => ExitCode::Port,
            Self::System { .. } | Self::Client { .. } | Self::LeaseLost => ExitCode::Failed,
        }
    }
}

/// Runs the operator until SIGTERM.
///
/// # Errors
/// Why it does not start, or that it lost its lease.
pub(crate) async fn run(arguments: Arguments) -> Result<(), StartError> {
    kennet_process::start_logs(arguments.log_format, &arguments.log, &Vec::new());
    let system = |source| StartError::System { what: "wait for signals", source };
    let mut term = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let ports = health::Ports::bind(arguments.probes_port, arguments.metrics_port)?;
    let config = Config::infer().await.map_err(kube::Error::InferConfig);
    let (client, evictions) =
        config.and_then(clients).map_err(|source| StartError::Client { source: Box::new(source) })?;
    let (wake, woken) = mpsc::channel(WAKE_MAX);
    let context = Arc::new(Context::new(client.clone(), evictions, arguments.clone(), wake));
    health::serve(ports, Arc::clone(&context));
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
                Ok(found) => found.as_ref().and_then(revision),
                Err(error) => {
                    tracing::warn!(error = said(&error), name, "a definition can't be read");
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

fn revision(definition: &CustomResourceDefinition) -> Option<u32> {
    definition.metadata.annotations.as_ref()?.get(SCHEMA_REVISION_ANNOTATION)?.parse().ok()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kennet_api::SCHEMA_REVISION;
    use serde_json::json;

    use super::{StartError, definitions};
    use crate::cluster::fixture;

    #[tokio::test]
    async fn an_operator_waits_under_older_definitions_and_only_reads() {
        let acts_under = async |revision: Option<u32>| {
            let context = fixture::answering(move |method, path| {
                assert_eq!(method, "GET", "{path}");
                let annotations = revision.map(|revision| json!({"kennet.dev/schema-revision": revision.to_string()}));
                let names = json!({"kind": "K", "plural": "ks"});
                let spec = json!({"group": "g", "names": names, "scope": "Namespaced", "versions": []});
                (200, json!({"metadata": {"name": "n", "annotations": annotations}, "spec": spec}))
            });
            tokio::time::timeout(Duration::from_millis(200), definitions(&context)).await.is_ok()
        };
        assert!(acts_under(Some(SCHEMA_REVISION)).await);
        assert!(acts_under(Some(SCHEMA_REVISION + 1)).await);
        assert!(!acts_under(Some(SCHEMA_REVISION - 1)).await);
        assert!(!acts_under(None).await);
    }

    /// Those that a test can't make a process run into; `program.rs` has the others.
    #[test]
    fn errors_of_the_system_say_what_to_do() {
        let source = std::io::Error::from_raw_os_error(11);
        let said = [StartError::System { what: "start the runtime", source }, StartError::LeaseLost]
            .map(|error| format!("{} {error}", error.exit_code() as u8));
        insta::assert_snapshot!(said.join("\n"));
    }
}
