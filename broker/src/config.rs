//! Reading the config file: from bytes to a resolved config, or to one sentence that says what is wrong.

mod wrong;

use std::path::Path;

use kennet_contract::{BrokerConfig, config_hash};

use crate::start_error::StartError;

/// A config, and which file content it came from.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// The config.
    pub config: BrokerConfig,
    /// Hash of the file's bytes; empty for a config that came from no file.
    pub hash: String,
}

impl From<BrokerConfig> for LoadedConfig {
    fn from(config: BrokerConfig) -> Self {
        Self { config, hash: String::new() }
    }
}

/// Reads and resolves the config file. `id` fills in `{id}`; without it, a StatefulSet's pod name does.
///
/// # Errors
/// One sentence with file, field, value and remedy.
pub fn load(path: &Path, id: Option<i32>) -> Result<LoadedConfig, StartError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| StartError::ReadConfig { path: path.to_owned(), source })?;
    let config = wrong::parse(&text).map_err(|wrong::Wrong { line, what }| {
        let path = path.to_owned();
        StartError::ParseConfig { path, line, what }
    })?;
    let config = config.resolve(id.or_else(ordinal_of_pod));
    let config = config.map_err(|source| StartError::Config { path: path.to_owned(), source })?;
    Ok(LoadedConfig { config, hash: config_hash(&text) })
}

/// The number behind the last dash of the pod's name, which Kubernetes sets as the host name.
fn ordinal_of_pod() -> Option<i32> {
    let name = std::env::var("POD_NAME").ok()?;
    ordinal(&name)
}

fn ordinal(pod: &str) -> Option<i32> {
    pod.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn a_pods_name_ends_with_the_brokers_id() {
        assert_eq!(ordinal("orders-main-7"), Some(7));
        assert_eq!(ordinal("laptop"), None);
    }
}
