//! Probes and metrics over plain HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::context::{ClusterKey, Context};
use crate::start::StartError;

/// Probes come over whichever family the cluster has.
const EVERY_ADDRESS: &str = "::";

/// Labels of a reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReconcileLabels {
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

/// Labels of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClusterLabels {
    pub(crate) namespace: String,
    pub(crate) cluster: String,
}

impl ClusterLabels {
    pub(crate) fn new((namespace, cluster): &ClusterKey) -> Self {
        Self { namespace: namespace.clone(), cluster: cluster.clone() }
    }
}

const PREFIX: &str = "kennet_operator";

/// A line of the one table that makes `/metrics` and the operator's part of the page in docs.
struct Metric {
    name: &'static str,
    /// What the exposition adds to the name.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the page in docs says it"))]
    suffix: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "only the page in docs says it"))]
    labels: &'static str,
    help: &'static str,
    register: fn(&mut Metrics, &Metric),
}

const METRICS: &[Metric] = &[
    Metric {
        name: "reconciles",
        suffix: "_total",
        labels: "kind, reason",
        help: "Reconciles by kind and what became of them",
        register: |all, metric| all.registry.register(metric.name, metric.help, all.reconciles.clone()),
    },
    Metric {
        name: "topics_retained",
        suffix: "",
        labels: "namespace, cluster",
        help: "Topics that no object declares: kept when theirs went, or made by clients",
        register: |all, metric| all.registry.register(metric.name, metric.help, all.topics_retained.clone()),
    },
    Metric {
        name: "topic_deletions_held",
        suffix: "",
        labels: "namespace, cluster",
        help: "Topics that wait for their deletion because too many would go in one hour",
        register: |all, metric| all.registry.register(metric.name, metric.help, all.topic_deletions_held.clone()),
    },
    Metric {
        name: "leader",
        suffix: "",
        labels: "",
        help: "1 while this operator holds the lease",
        register: |all, metric| all.registry.register(metric.name, metric.help, all.leader.clone()),
    },
];

/// Counters of the operator.
pub(crate) struct Metrics {
    registry: Registry,
    /// Reconciles by kind and reason.
    pub(crate) reconciles: Family<ReconcileLabels, Counter>,
    /// Topics that nobody looks after any more.
    pub(crate) topics_retained: Family<ClusterLabels, Gauge>,
    /// Topics that would be deleted already if not so many were.
    pub(crate) topic_deletions_held: Family<ClusterLabels, Gauge>,
    /// Whether this operator holds the lease.
    pub(crate) leader: Gauge,
    /// Whether the definitions are there and the lease is held or waited for.
    pub(crate) ready: AtomicBool,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut made = Self {
            registry: Registry::with_prefix(PREFIX),
            reconciles: Family::default(),
            topics_retained: Family::default(),
            topic_deletions_held: Family::default(),
            leader: Gauge::default(),
            ready: AtomicBool::new(false),
        };
        for metric in METRICS {
            (metric.register)(&mut made, metric);
        }
        made
    }

    /// Shows nothing of a cluster any more.
    pub(crate) fn forget(&self, cluster: &ClusterKey) {
        let labels = ClusterLabels::new(cluster);
        self.topics_retained.remove(&labels);
        self.topic_deletions_held.remove(&labels);
    }
}

/// The ports, bound.
pub(crate) struct Ports {
    probes: TcpListener,
    metrics: TcpListener,
}

impl Ports {
    /// Binds both.
    pub(crate) fn bind(probes: u16, metrics: u16) -> Result<Self, StartError> {
        let bind = |what: &'static str, port| {
            kennet_process::listen(EVERY_ADDRESS, port).map_err(|source| StartError::Port { what, port, source })
        };
        Ok(Self { probes: bind("probes", probes)?, metrics: bind("metrics", metrics)? })
    }
}

/// Serves both ports until the process ends.
pub(crate) fn serve(ports: Ports, context: Arc<Context>) {
    let probes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Arc::clone(&context));
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(context);
    for (endpoint, socket, router) in [("probes", ports.probes, probes), ("metrics", ports.metrics, metrics)] {
        tokio::spawn(async move {
            if let Err(error) = axum::serve(socket, router).await {
                tracing::error!(%error, endpoint, "an endpoint ended");
            }
        });
    }
}

async fn readyz(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    if context.metrics.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the definitions are missing or older than this operator\n")
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let mut text = String::new();
    let status = match encode(&mut text, &context.metrics.registry) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use prometheus_client::encoding::text::encode;

    use super::{ClusterLabels, METRICS, Metrics, PREFIX, ReconcileLabels};

    const HEADING: &str = "\n## Operator\n";

    fn section() -> String {
        let mut section = format!(
            "{HEADING}\n<!-- made from operator/src/health.rs: KENNET_WRITE_DOCS=1 cargo test -p kennet-operator health -->\n\n\
             `GET /metrics` on the operator's metrics port (9193) answers these in OpenMetrics text.\n\n\
             | metric | labels | meaning |\n|---|---|---|\n"
        );
        for metric in METRICS {
            writeln!(section, "| `{PREFIX}_{}{}` | {} | {} |", metric.name, metric.suffix, metric.labels, metric.help)
                .unwrap();
        }
        section
    }

    #[test]
    fn the_page_in_docs_lists_the_metrics_that_are_served() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let text = std::fs::read_to_string(&file).unwrap();
        let (broker, present) = text.split_at(text.find(HEADING).unwrap_or(text.len()));
        if std::env::var_os("KENNET_WRITE_DOCS").is_some() {
            std::fs::write(&file, broker.to_owned() + &section()).unwrap();
            return;
        }
        assert_eq!(present, section());
    }

    #[test]
    fn every_metric_of_the_table_is_served_under_its_name() {
        let metrics = Metrics::new();
        metrics.reconciles.get_or_create(&ReconcileLabels { kind: "Topic", reason: "Ready".to_owned() }).inc();
        let cluster = ClusterLabels::new(&("n".to_owned(), "c".to_owned()));
        metrics.topics_retained.get_or_create(&cluster).set(1);
        metrics.topic_deletions_held.get_or_create(&cluster).set(1);
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        for metric in METRICS {
            let name = format!("\n{PREFIX}_{}{}", metric.name, metric.suffix);
            assert!(text.contains(&format!("{name} ")) || text.contains(&format!("{name}{{")), "{name}: {text}");
        }
    }
}
