//! The operator's settings: flags, each with an environment variable that the chart sets.

use clap::Parser;
use kennet_contract::LogFormat;

/// Looks after KafkaClusters, Topics and OffsetResets.
#[derive(Parser, Debug, Clone)]
#[command(version)]
pub(crate) struct Arguments {
    /// Namespaces to look after, separated by commas; empty for all.
    #[arg(long, env = "KENNET_WATCH_NAMESPACES", default_value = "")]
    pub(crate) watch_namespaces: String,
    /// Image of brokers without a tag.
    #[arg(long, env = "KENNET_BROKER_IMAGE", default_value = "localhost/kennet/broker")]
    pub(crate) broker_image: String,
    /// Version of brokers of a new cluster.
    #[arg(long, env = "KENNET_BROKER_VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    pub(crate) broker_version: String,
    /// Pull policy of the brokers' image.
    #[arg(long, env = "KENNET_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub(crate) image_pull_policy: String,
    /// This pod's name, the holder of the lease.
    #[arg(long, env = "POD_NAME", default_value = "kennet-operator")]
    pub(crate) pod_name: String,
    /// This pod's namespace, where the lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub(crate) pod_namespace: String,
    /// Port of /livez and /readyz.
    #[arg(long, env = "KENNET_PROBES_PORT", default_value_t = kennet_contract::ports::PROBES)]
    pub(crate) probes_port: u16,
    /// Port of /metrics.
    #[arg(long, env = "KENNET_METRICS_PORT", default_value_t = kennet_contract::ports::METRICS)]
    pub(crate) metrics_port: u16,
    /// What is logged, as a filter of the tracing crate.
    #[arg(long, env = "KENNET_LOG", default_value = "info")]
    pub(crate) log: String,
    /// json, text, or auto: text on a terminal and json elsewhere.
    #[arg(long, env = "KENNET_LOG_FORMAT", default_value = "auto", value_parser = log_format)]
    pub(crate) log_format: LogFormat,
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        "auto" => Ok(LogFormat::Auto),
        other => Err(format!("'{other}' is no log format: expected json, text or auto")),
    }
}

impl Arguments {
    /// The namespaces to watch; none means all.
    #[must_use]
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.watch_namespaces.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}
