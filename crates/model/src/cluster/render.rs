//! The broker's config file from a validated cluster and a place to run in.
//!
//! It does not depend on the number of brokers, so scaling restarts nobody.

use std::path::PathBuf;

use kennet_contract::{
    BrokerConfig, BrokerIdField, CONTRACT, CertificatePaths, ClusterId, ListenerConfig, LogFormat, ManagementConfig,
    PlainEndpoint, paths, ports,
};

use crate::cluster::ValidatedCluster;

/// Where brokers run: addresses, directories, certificates. Everything may contain `{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The address to listen on.
    pub bind: String,
    /// The host that clients are told.
    pub advertised_host: String,
    /// The data directory.
    pub data_directory: PathBuf,
    /// Certificates.
    pub certificates: CertificatePaths,
    /// How logs are written.
    pub log_format: LogFormat,
}

impl Placement {
    /// In a pod.
    #[must_use]
    pub fn pod(cluster: &ValidatedCluster) -> Self {
        let tls = |file: &str| PathBuf::from(paths::TLS_DIRECTORY).join(file);
        Self {
            bind: "[::]".to_owned(),
            advertised_host: cluster.name.host(&cluster.namespace, "{id}"),
            data_directory: PathBuf::from(paths::DATA_DIRECTORY).join("data"),
            certificates: CertificatePaths {
                ca: tls(paths::CA_FILE),
                certificate: tls("{id}.crt"),
                key: tls("{id}.key"),
            },
            log_format: LogFormat::Json,
        }
    }
}

/// The config of every broker of the pool.
#[must_use]
pub fn render(cluster: &ValidatedCluster, cluster_id: ClusterId, placement: &Placement) -> BrokerConfig {
    let listeners = cluster.listeners.iter().map(|listener| ListenerConfig {
        name: listener.name.clone(),
        bind: placement.bind.clone(),
        port: listener.port,
        advertised_host: placement.advertised_host.clone(),
        advertised_port: listener.port,
    });
    let plain = |port| PlainEndpoint { bind: placement.bind.clone(), port };
    BrokerConfig {
        contract: CONTRACT,
        cluster_name: cluster.name.to_string(),
        cluster_id,
        broker_id: BrokerIdField::Placeholder("{id}".to_owned()),
        data_directory: placement.data_directory.clone(),
        rack: None,
        log_format: placement.log_format,
        memory_bytes: None,
        listeners: listeners.collect(),
        management: ManagementConfig {
            bind: placement.bind.clone(),
            port: ports::MANAGEMENT,
            certificates: placement.certificates.clone(),
        },
        probes: plain(ports::PROBES),
        metrics: plain(ports::METRICS),
        kafka: cluster.config.clone(),
    }
}

#[cfg(test)]
mod tests {
    use kennet_contract::ClusterId;

    use super::{Placement, render};
    use crate::cluster::validate;

    #[test]
    fn the_file_is_one_that_the_broker_reads_and_does_not_depend_on_the_number_of_brokers() {
        let file = |brokers| {
            let spec = format!("{{brokers: {brokers}, storage: {{size: 1Gi}}, config: {{num.partitions: '3'}}}}");
            let cluster = validate("orders", "streaming", &serde_saphyr::from_str(&spec).unwrap()).unwrap();
            let config = render(&cluster, ClusterId::from_bytes([1; 16]), &Placement::pod(&cluster));
            config.clone().resolve(Some(0)).unwrap();
            toml::to_string(&config).unwrap()
        };
        assert_eq!(file(0), file(1));
        insta::assert_snapshot!(file(1));
    }
}
