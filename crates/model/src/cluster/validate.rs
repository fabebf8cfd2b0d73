//! From a spec as somebody wrote it to a cluster that can't be wrong, or to everything that is wrong with it.
//!
//! Defaults are computed here and nowhere else, so that no schema has one.

use std::collections::BTreeMap;
use std::time::Duration;

use kennet_api::{
    DisruptionBudget, KafkaClusterSpec, Listener, Pods, Quantity, Resources, UnprotectedPartitions, WhenDeleted,
};
use kennet_contract::config_keys::{self, Scope};
use kennet_contract::ports;

use crate::cluster::{ClusterName, labels};
use crate::problem::{Problem, Problems};

/// A cluster whose every part was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedCluster {
    /// Its name.
    pub name: ClusterName,
    /// Its namespace.
    pub namespace: String,
    /// Brokers of the pool `main`.
    pub brokers: i32,
    /// The version, if the spec names one.
    pub version: Option<String>,
    /// The image without a tag, if the spec names one.
    pub image: Option<String>,
    /// Size of each volume, as it was written.
    pub storage_size: Quantity,
    /// Size of each volume in bytes.
    pub storage_bytes: i128,
    /// The storage class, if the spec names one.
    pub storage_class_name: Option<String>,
    /// What becomes of volumes.
    pub when_deleted: WhenDeleted,
    /// Resources of each broker.
    pub resources: Resources,
    /// What pods carry.
    pub pods: Pods,
    /// How long a broker may take to stop.
    pub grace: Duration,
    /// Where clients connect; at least one.
    pub listeners: Vec<ValidListener>,
    /// Kafka's broker configs.
    pub config: BTreeMap<String, String>,
    /// Whether restarts wait.
    pub paused: bool,
    /// What to do about partitions with one replica.
    pub unprotected_partitions: UnprotectedPartitions,
    /// Whether the operator keeps a PodDisruptionBudget.
    pub disruption_budget: DisruptionBudget,
}

/// A listener whose port was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidListener {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// Checks a spec.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate(name: &str, namespace: &str, spec: &KafkaClusterSpec) -> Result<ValidatedCluster, Problems> {
    let mut problems = Vec::new();
    let cluster_name = ClusterName::new(name);
    if let Err(error) = &cluster_name {
        problems.push(Problem::new("metadata.name", name, &error.to_string()));
    }
    if !(0..=1).contains(&spec.brokers) {
        let remedy = "more than one broker comes with replication; set brokers to 0 or 1";
        problems.push(Problem::new("spec.brokers", &spec.brokers.to_string(), remedy));
    }
    let storage_bytes = storage_bytes(&spec.storage.size, &mut problems);
    let resources = resources(spec.resources.as_ref(), &mut problems);
    let pods = spec.pods.clone().unwrap_or_default();
    let grace = check_pods(&pods, &mut problems);
    let listeners = check_listeners(&spec.listeners, &mut problems);
    check_config(&spec.config, &mut problems);
    let rollout = spec.rollout.clone().unwrap_or_default();
    match cluster_name {
        Ok(name) if problems.is_empty() => Ok(ValidatedCluster {
            name,
            namespace: namespace.to_owned(),
            brokers: spec.brokers,
            version: spec.version.clone(),
            image: spec.image.clone(),
            storage_size: spec.storage.size.clone(),
            storage_bytes,
            storage_class_name: spec.storage.storage_class_name.clone(),
            when_deleted: spec.storage.when_deleted.unwrap_or_default(),
            resources,
            pods,
            grace,
            listeners,
            config: spec.config.clone(),
            paused: rollout.paused.unwrap_or(false),
            unprotected_partitions: rollout.unprotected_partitions.unwrap_or_default(),
            disruption_budget: spec.disruption_budget.unwrap_or_default(),
        }),
        _ => Err(Problems(problems)),
    }
}

fn storage_bytes(size: &Quantity, problems: &mut Vec<Problem>) -> i128 {
    /// Two segments of metadata and offsets, and room to say that the disk is full.
    const BYTES_MIN: i128 = 64 << 20;
    match size.units() {
        Ok(bytes) if bytes >= BYTES_MIN => bytes,
        Ok(_) => {
            problems.push(Problem::new("spec.storage.size", &size.to_string(), "use at least 64Mi"));
            0
        }
        Err(error) => {
            problems.push(Problem::new("spec.storage.size", &size.to_string(), &error.to_string()));
            0
        }
    }
}

fn resources(given: Option<&Resources>, problems: &mut Vec<Problem>) -> Resources {
    let mut resources = given.cloned().unwrap_or_default();
    let requests = resources.requests.get_or_insert_default();
    requests.cpu.get_or_insert_with(|| Quantity::new("100m"));
    requests.memory.get_or_insert_with(|| Quantity::new("128Mi"));
    let requests = requests.clone();
    let limits = resources.limits.clone().unwrap_or_default();
    for (field, request, limit) in [("cpu", &requests.cpu, &limits.cpu), ("memory", &requests.memory, &limits.memory)] {
        for (which, quantity) in [("requests", request), ("limits", limit)] {
            if let Some(Err(error)) = quantity.as_ref().map(Quantity::milli) {
                let path = format!("spec.resources.{which}.{field}");
                problems.push(Problem::new(
                    &path,
                    &quantity.as_ref().map(ToString::to_string).unwrap_or_default(),
                    &error.to_string(),
                ));
            }
        }
        let (Some(request), Some(limit)) = (request, limit) else { continue };
        if let (Ok(wanted), Ok(most)) = (request.milli(), limit.milli())
            && wanted > most
        {
            let remedy = format!("it is below the request of {request}; raise it or lower the request");
            problems.push(Problem::new(&format!("spec.resources.limits.{field}"), &limit.to_string(), &remedy));
        }
    }
    resources
}

/// The grace period; labels and annotations may not be Kennet's own.
fn check_pods(pods: &Pods, problems: &mut Vec<Problem>) -> Duration {
    const GRACE: Duration = Duration::from_mins(5);
    for (field, map) in [("labels", &pods.labels), ("annotations", &pods.annotations)] {
        for key in map.keys().filter(|key| key.starts_with("kennet.dev/")) {
            let path = format!("spec.pods.{field}");
            problems.push(Problem::new(&path, key, "keys under kennet.dev/ are the operator's; remove it"));
        }
    }
    for (field, map) in [("labels", &pods.labels), ("nodeSelector", &pods.node_selector)] {
        labels::check_values(&format!("spec.pods.{field}"), map, problems);
    }
    let keyed = [("labels", &pods.labels), ("annotations", &pods.annotations), ("nodeSelector", &pods.node_selector)];
    for (field, map) in keyed {
        labels::check_keys(&format!("spec.pods.{field}"), map, problems);
    }
    match pods.termination_grace_period.as_ref().map(|period| (period, period.to_std())) {
        None => GRACE,
        Some((_, Ok(duration))) => duration,
        Some((period, Err(error))) => {
            let path = "spec.pods.terminationGracePeriod";
            problems.push(Problem::new(path, &period.to_string(), &error.to_string()));
            GRACE
        }
    }
}

fn check_listeners(given: &[Listener], problems: &mut Vec<Problem>) -> Vec<ValidListener> {
    if given.is_empty() {
        return vec![ValidListener { name: "plain".to_owned(), port: ports::CLIENTS }];
    }
    let mut listeners: Vec<ValidListener> = Vec::new();
    for (at, listener) in given.iter().enumerate() {
        if let Some(remedy) = wrong_name(&listener.name) {
            problems.push(Problem::new(&format!("spec.listeners[{at}].name"), &listener.name, remedy));
        }
        let path = format!("spec.listeners[{at}].port");
        let written = listener.port.to_string();
        let port = u16::try_from(listener.port).ok().filter(|port| *port >= 1024 && !ports::RESERVED.contains(port));
        let Some(port) = port else {
            problems.push(Problem::new(&path, &written, "use 1024 to 65535 without 9190 to 9199"));
            continue;
        };
        if let Some(other) = listeners.iter().find(|other| other.port == port || other.name == listener.name) {
            let remedy = format!("listener '{}' has the same name or port; give each its own", other.name);
            problems.push(Problem::new(&path, &written, &remedy));
        }
        listeners.push(ValidListener { name: listener.name.clone(), port });
    }
    listeners
}

/// Why a listener can't have this name, which is also that of a port of pods and Services (RFC 6335).
fn wrong_name(name: &str) -> Option<&'static str> {
    /// Names of the ports that every broker has.
    const TAKEN: [&str; 3] = ["management", "metrics", "probes"];
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let ends = name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.ends_with('-');
    if TAKEN.contains(&name) {
        Some("management, metrics and probes are Kennet's own ports; choose another name")
    } else if !letters || !ends || name.len() > 15 || name.contains("--") {
        Some("use at most 15 characters a-z, 0-9 and '-', a letter first, no '-' last and no two together")
    } else {
        None
    }
}

fn check_config(config: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for (name, value) in config {
        if let Err(error) = config_keys::check(Scope::Broker, name, value) {
            problems.push(Problem::new(&format!("spec.config[{name}]"), value, &error.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use kennet_api::KafkaClusterSpec;

    use super::validate;

    fn spec(text: &str) -> KafkaClusterSpec {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let cluster = validate("orders", "ns", &spec("{brokers: 1, storage: {size: 1Gi}}")).unwrap();
        assert_eq!(cluster.listeners[0].port, 9092);
        assert_eq!(cluster.grace.as_secs(), 300);
        assert_eq!(cluster.storage_bytes, 1 << 30);
        assert!(!cluster.paused);
    }

    #[test]
    fn what_a_stateful_set_would_be_refused_for_is_said_of_its_field() {
        for (field, value, wrong) in [
            ("spec.pods.labels[team]", "a b", "pods: {labels: {team: a b}}"),
            ("spec.pods.labels", "te am", "pods: {labels: {te am: a}}"),
            ("spec.pods.annotations", "a/b/c", "pods: {annotations: {a/b/c: any thing}}"),
            ("spec.pods.nodeSelector[zone]", "-a", "pods: {nodeSelector: {zone: -a}}"),
            ("spec.listeners[0].name", "metrics", "listeners: [{name: metrics, port: 9092}]"),
            ("spec.listeners[0].name", "a--b", "listeners: [{name: a--b, port: 9092}]"),
        ] {
            let problems = validate("orders", "ns", &spec(&format!("{{brokers: 1, storage: {{size: 1Gi}}, {wrong}}}")));
            let said = problems.unwrap_err().to_string();
            assert!(said.starts_with(&format!("{field} is '{value}': ")), "{said}");
        }
        let right = "{brokers: 1, storage: {size: 1Gi}, listeners: [{name: a-b, port: 9092}], \
            pods: {labels: {example.com/team: a.b, empty: ''}, annotations: {note: any thing}}}";
        assert!(validate("orders", "ns", &spec(right)).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = "{brokers: 7, storage: {size: 1Kx}, config: {num.partitions: '0', nonsense: a}, \
            listeners: [{name: a, port: 9191}, {name: b, port: 9092}, {name: c, port: 9092}], \
            resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}, pods: {labels: {kennet.dev/pool: x}}}";
        let problems = validate("Orders", "ns", &spec(text)).unwrap_err();
        insta::assert_snapshot!(problems.to_string().replace("; ", "\n"));
    }
}
