//! Where on this machine a cluster runs: its ports and files.
//!
//! Ports are a base + 10 x broker id; listeners come first, Kennet's own ports at 7, 8 and 9. A base that was found free is kept, so that clients
//! find the cluster again.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use kennet_contract::{BrokerConfig, CertificatePaths, ClusterId, LogFormat};
use kennet_model::cluster::{Placement, ValidatedCluster, render};

use crate::error::CliError;

pub(super) const HOST: &str = "127.0.0.1";
pub(super) const MANAGEMENT: u16 = 7;
/// A broker's data, in the cluster's folder.
pub(super) const DATA: &str = "data";
const PROBES: u16 = 8;
const METRICS: u16 = 9;
/// Bases that `--base-port auto` tries.
const BASES: std::ops::Range<u16> = 2909..3900;

/// The config of broker 0, on ports from `base`.
pub(super) fn config(
    cluster: &ValidatedCluster,
    cluster_id: ClusterId,
    folder: &Path,
    base: u16,
) -> Result<BrokerConfig, CliError> {
    let tls = |file: &str| folder.join("tls").join(file);
    let placement = Placement {
        bind: HOST.to_owned(),
        advertised_host: HOST.to_owned(),
        data_directory: folder.join(DATA),
        certificates: CertificatePaths { ca: tls("ca.crt"), certificate: tls("broker.crt"), key: tls("broker.key") },
        log_format: LogFormat::Text,
    };
    let mut config = render(cluster, cluster_id, &placement);
    if config.listeners.len() > usize::from(MANAGEMENT) {
        let why = format!("{} listeners: at most {MANAGEMENT} have a port on this machine", config.listeners.len());
        return Err(CliError::Config(why));
    }
    for (port, listener) in (base..).zip(&mut config.listeners) {
        listener.port = port;
        listener.advertised_port = port;
    }
    config.management.port = base + MANAGEMENT;
    config.probes.port = base + PROBES;
    config.metrics.port = base + METRICS;
    Ok(config)
}

/// A base whose ten ports are all free, `before` if it is one.
pub(super) fn free_base(before: Option<u16>) -> Result<u16, CliError> {
    let tens = BASES.map(|tens| tens * 10);
    before
        .into_iter()
        .chain(tens)
        .find(|base| is_free(*base))
        .ok_or_else(|| CliError::Port("no ten ports in a row are free between 29090 and 39000".to_owned()))
}

/// Checks a base that was asked for.
pub(super) fn check_base(base: u16) -> Result<u16, CliError> {
    if !(1024..=u16::MAX - METRICS).contains(&base) {
        return Err(CliError::Usage(format!("--base-port {base}: expected 1024 to {}", u16::MAX - METRICS)));
    }
    match (base..=base + METRICS).find(|port| !port_is_free(*port)) {
        None => Ok(base),
        Some(port) => {
            Err(CliError::Port(format!("port {port} is taken by another program: choose another --base-port, or auto")))
        }
    }
}

fn is_free(base: u16) -> bool {
    (base..=base + METRICS).all(port_is_free)
}

fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
