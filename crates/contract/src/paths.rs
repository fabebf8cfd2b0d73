//! Where things are mounted in a broker's pod.

/// The config file, from an immutable ConfigMap.
pub const CONFIG_FILE: &str = "/etc/kennet/broker.toml";
/// The folder of the config file.
pub const CONFIG_DIRECTORY: &str = "/etc/kennet";
/// The data directory's volume.
pub const DATA_DIRECTORY: &str = "/var/lib/kennet";
/// Certificates of the pool, from a Secret keyed by broker id: `<id>.crt`, `<id>.key`, and `ca.crt`.
pub const TLS_DIRECTORY: &str = "/etc/kennet-tls";
/// The CA bundle in the TLS folder.
pub const CA_FILE: &str = "ca.crt";
/// The broker in its image.
pub const BROKER_PROGRAM: &str = "/kennet-broker";
/// The command line in the broker's image.
pub const CLI_PROGRAM: &str = "/kennet";
/// The identity file in the data directory.
pub const IDENTITY_FILE: &str = "identity.json";
