//! The broker's config file: one TOML file per pool, the same for all of its brokers.
//!
//! `{id}` is its only placeholder and stands for the broker's id, so the file does not depend on how many brokers there are.
//! What may change while a broker runs is not in here but goes through Kafka's admin API.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cluster_id::ClusterId;
use crate::config_keys::{self, KeyError, Scope};

/// The version of this contract. A broker reads its own and the one before.
pub const CONTRACT: u32 = 1;
const PLACEHOLDER: &str = "{id}";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// [`CONTRACT`] of the writer.
    pub contract: u32,
    /// The cluster's name, for people.
    pub cluster_name: String,
    /// The cluster's id, made when the cluster was.
    pub cluster_id: ClusterId,
    /// This broker's id.
    pub broker_id: BrokerIdField,
    /// The data directory.
    pub data_directory: PathBuf,
    /// The rack that the broker is in, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// How logs are written to stderr.
    #[serde(default)]
    pub log_format: LogFormat,
    /// What may be allocated in all, in bytes; without it the cgroup's limit, else 512 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// The management endpoint.
    pub management: ManagementConfig,
    /// `/livez` and `/readyz`.
    pub probes: PlainEndpoint,
    /// `/metrics`.
    pub metrics: PlainEndpoint,
    /// Kafka's broker configs, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kafka: BTreeMap<String, String>,
}

/// The broker's id: a number, or `"{id}"`, which the command line or the pod's ordinal fills in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BrokerIdField {
    /// Written in the file.
    Number(i32),
    /// The placeholder.
    Placeholder(String),
}

/// A port that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// The listener's name, as in the KafkaCluster.
    pub name: String,
    /// The address to listen on; `[::]` takes IPv4 too.
    pub bind: String,
    /// The port to listen on.
    pub port: u16,
    /// The host that Metadata tells clients; may contain `{id}`.
    pub advertised_host: String,
    /// The port that Metadata tells clients.
    pub advertised_port: u16,
}

/// The management endpoint and the certificates that it shares with the control listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagementConfig {
    /// The address to listen on.
    pub bind: String,
    /// The port to listen on.
    pub port: u16,
    /// Certificates; re-read when they change.
    pub certificates: CertificatePaths,
}

/// PEM files; paths may contain `{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificatePaths {
    /// CAs whose certificates are trusted.
    pub ca: PathBuf,
    /// This broker's certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A plain HTTP port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainEndpoint {
    /// The address to listen on.
    pub bind: String,
    /// The port to listen on.
    pub port: u16,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// JSON unless stderr is a terminal.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why a config can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Written for another version of the contract.
    #[error(
        "contract is {found}: expected {CONTRACT}, which this broker reads; use the operator and the broker of one release"
    )]
    Contract {
        /// The file's version.
        found: u32,
    },
    /// `{id}` and no id given, or another text.
    #[error(
        "broker_id is '{found}': expected a number; write one, or {PLACEHOLDER} and start the broker with --id or in a StatefulSet's pod"
    )]
    BrokerId {
        /// The field's text.
        found: String,
    },
    /// Two parts of the file name different ids.
    #[error("broker_id is {file} in the file and {given} on the command line: expected one id; give one, or the same")]
    BrokerIdTwice {
        /// In the file.
        file: i32,
        /// On the command line.
        given: i32,
    },
    /// Out of range.
    #[error("broker_id is {found}: expected a whole number from 0 to 999; give this broker one of them")]
    BrokerIdRange {
        /// The id.
        found: i32,
    },
    /// No listener.
    #[error("listeners is empty: expected at least one, to which clients connect; add a table [[listeners]]")]
    NoListener,
    /// Two sockets would have one port.
    #[error("port {port} is used by {first} and by {second}: expected a port for each; give each its own")]
    PortTwice {
        /// The port.
        port: u16,
        /// Who has it.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// Two listeners of one name.
    #[error("listener '{name}' is there twice: expected a name for each; give each its own")]
    ListenerTwice {
        /// The name.
        name: String,
    },
    /// A Kafka config key or value is wrong.
    #[error("kafka.{name}: {source}; {}", remedy(source))]
    Key {
        /// The key.
        name: String,
        /// What is wrong.
        source: KeyError,
    },
}

fn remedy(error: &KeyError) -> &'static str {
    match error {
        KeyError::Unknown { .. } => "correct the name or remove the line",
        KeyError::Value { .. } | KeyError::CompactionLags { .. } => {
            "correct the value, or remove the line to have the default"
        }
        KeyError::Fixed { .. } | KeyError::NoList { .. } => "remove the line",
    }
}

impl BrokerConfig {
    /// The file with `{id}` filled in everywhere, checked.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn resolve(mut self, given_id: Option<i32>) -> Result<Self, ConfigError> {
        if self.contract != CONTRACT {
            return Err(ConfigError::Contract { found: self.contract });
        }
        let id = self.resolve_id(given_id)?;
        self.broker_id = BrokerIdField::Number(id);
        let text = id.to_string();
        for listener in &mut self.listeners {
            listener.advertised_host = listener.advertised_host.replace(PLACEHOLDER, &text);
        }
        let certificates = &mut self.management.certificates;
        for path in
            [&mut certificates.ca, &mut certificates.certificate, &mut certificates.key, &mut self.data_directory]
        {
            *path = path.to_string_lossy().replace(PLACEHOLDER, &text).into();
        }
        self.check_ports()?;
        for (name, value) in &self.kafka {
            config_keys::check(Scope::Broker, name, value)
                .map_err(|source| ConfigError::Key { name: name.clone(), source })?;
        }
        Ok(self)
    }

    /// The broker's id, once resolved; -1 before.
    #[must_use]
    pub fn id(&self) -> i32 {
        match self.broker_id {
            BrokerIdField::Number(id) => id,
            BrokerIdField::Placeholder(_) => -1,
        }
    }

    fn resolve_id(&self, given: Option<i32>) -> Result<i32, ConfigError> {
        /// Ids go to 999: ten pools of a hundred brokers.
        const BROKER_ID_MAX: i32 = 999;
        let id = match (&self.broker_id, given) {
            (BrokerIdField::Number(file), Some(given)) if *file != given => {
                return Err(ConfigError::BrokerIdTwice { file: *file, given });
            }
            (BrokerIdField::Number(id), _) => *id,
            (BrokerIdField::Placeholder(text), Some(given)) if text == PLACEHOLDER => given,
            (BrokerIdField::Placeholder(found), _) => return Err(ConfigError::BrokerId { found: found.clone() }),
        };
        if (0..=BROKER_ID_MAX).contains(&id) { Ok(id) } else { Err(ConfigError::BrokerIdRange { found: id }) }
    }

    fn check_ports(&self) -> Result<(), ConfigError> {
        if self.listeners.is_empty() {
            return Err(ConfigError::NoListener);
        }
        let mut names: Vec<&str> = Vec::new();
        let mut ports: Vec<(u16, String)> = vec![
            (self.management.port, "management".to_owned()),
            (self.probes.port, "probes".to_owned()),
            (self.metrics.port, "metrics".to_owned()),
        ];
        for listener in &self.listeners {
            if names.contains(&listener.name.as_str()) {
                return Err(ConfigError::ListenerTwice { name: listener.name.clone() });
            }
            names.push(&listener.name);
            ports.push((listener.port, format!("listener '{}'", listener.name)));
        }
        for (at, (port, second)) in ports.iter().enumerate() {
            // port 0 asks the system for any free one
            if let Some((_, first)) = ports[..at].iter().find(|(other, _)| other == port && *port != 0) {
                return Err(ConfigError::PortTwice { port: *port, first: first.clone(), second: second.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BrokerConfig, ConfigError};

    const FILE: &str = r#"
contract = 1
cluster_name = "orders"
cluster_id = "5L6g3nShT-eMCtK--X86sw"
broker_id = "{id}"
data_directory = "/var/lib/kennet"

[[listeners]]
name = "plain"
bind = "[::]"
port = 9092
advertised_host = "orders-main-{id}.orders-brokers.streaming.svc"
advertised_port = 9092

[management]
bind = "[::]"
port = 9191
[management.certificates]
ca = "/etc/kennet-tls/ca.crt"
certificate = "/etc/kennet-tls/{id}.crt"
key = "/etc/kennet-tls/{id}.key"

[probes]
bind = "[::]"
port = 9192

[metrics]
bind = "[::]"
port = 9193

[kafka]
"num.partitions" = "3"
"#;

    fn parse(text: &str) -> BrokerConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_id_is_filled_in_everywhere() {
        let config = parse(FILE).resolve(Some(7)).unwrap();
        assert_eq!(config.id(), 7);
        assert_eq!(config.listeners[0].advertised_host, "orders-main-7.orders-brokers.streaming.svc");
        assert_eq!(config.management.certificates.key.to_str(), Some("/etc/kennet-tls/7.key"));
    }

    #[test]
    fn a_written_file_is_read_back() {
        let config = parse(FILE);
        assert_eq!(parse(&toml::to_string(&config).unwrap()), config);
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_name() {
        let error = toml::from_str::<BrokerConfig>(&format!("memmory = 1\n{FILE}")).unwrap_err();
        assert!(error.to_string().contains("memmory"), "{error}");
    }

    #[test]
    fn a_placeholder_needs_an_id() {
        let error = parse(FILE).resolve(None).unwrap_err();
        assert_eq!(error, ConfigError::BrokerId { found: "{id}".to_owned() });
    }

    #[test]
    fn two_sockets_can_not_share_a_port() {
        let error = parse(&FILE.replace("port = 9092\nadvertised_host", "port = 9192\nadvertised_host"));
        assert!(matches!(error.resolve(Some(0)), Err(ConfigError::PortTwice { port: 9192, .. })));
    }

    #[test]
    fn a_newer_contract_is_refused() {
        let error = parse(&FILE.replace("contract = 1", "contract = 9")).resolve(Some(0)).unwrap_err();
        assert_eq!(error, ConfigError::Contract { found: 9 });
    }

    #[test]
    fn a_wrong_kafka_config_is_named() {
        let error = parse(&FILE.replace("\"3\"", "\"0\"")).resolve(Some(0)).unwrap_err();
        assert!(error.to_string().starts_with("kafka.num.partitions: "), "{error}");
    }

    #[test]
    fn every_error_says_what_was_expected_and_what_to_do() {
        let changes = [
            ("contract = 1", "contract = 9"),
            ("\"{id}\"", "\"seven\""),
            ("\"{id}\"", "8"),
            ("port = 9092\nadvertised_host", "port = 9192\nadvertised_host"),
            ("num.partitions", "num.partition"),
            ("\"3\"", "\"0\""),
            ("\"num.partitions\" = \"3\"", "\"advertised.listeners\" = \"x\""),
        ];
        let mut said = changes.map(|(right, wrong)| {
            let error = parse(&FILE.replacen(right, wrong, 1)).resolve(Some(7)).expect_err(wrong);
            error.to_string()
        });
        assert!(said[4].contains("docs/configuration.md lists, perhaps 'num.partitions'; correct"), "{}", said[4]);
        // the reason stands in for what is expected: there is nothing else
        said[6] = said[6].replace("can only be", "expected");
        let more = [ConfigError::BrokerIdRange { found: 1_000 }, ConfigError::NoListener];
        let twice = ConfigError::ListenerTwice { name: "plain".to_owned() };
        for said in said.into_iter().chain(more.map(|error| error.to_string())).chain([twice.to_string()]) {
            let (found, remedy) = said.rsplit_once("; ").unwrap_or_else(|| panic!("no remedy: {said}"));
            assert!(found.contains("expected") && !remedy.is_empty(), "{said}");
        }
    }
}
