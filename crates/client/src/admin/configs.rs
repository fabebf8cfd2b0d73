//! Configs of topics, brokers and groups: describe, and change key by key.

use kennet_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use kennet_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::client::Route;
use crate::{BrokerId, Client, ClientError};

/// AlterConfigOp.SET and DELETE of KIP-339.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// ConfigResource.Type of Kafka.
pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Whose configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic's, by name.
    Topic(String),
    /// A broker's.
    Broker(BrokerId),
}

/// One config with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its key.
    pub name: String,
    /// Its value; none when it is a secret.
    pub value: Option<String>,
    /// Whether it can be set.
    pub read_only: bool,
    /// Whether it was set on this very object.
    pub own: bool,
    /// What it does, if the broker tells.
    pub documentation: Option<String>,
}

impl ConfigResource {
    fn code_and_name(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (TOPIC, name.clone()),
            Self::Broker(id) => (BROKER, id.to_string()),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic '{name}'"),
            Self::Broker(id) => format!("broker {id}"),
        }
    }

    fn route(&self) -> Route {
        match self {
            Self::Topic(_) => Route::Any,
            Self::Broker(id) => Route::Broker(*id),
        }
    }
}

impl Client {
    /// Every config of one object, in the broker's order.
    ///
    /// # Errors
    /// What the broker refused it for.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, ClientError> {
        let (resource_type, resource_name) = resource.code_and_name();
        let make = |version: i16| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: resource_name.clone(),
                configuration_keys: None,
            }],
            include_synonyms: false,
            include_documentation: version >= 3,
        };
        let answer = self.ask(resource.route(), make).await?;
        let missing = || ClientError::Missing { api: "DescribeConfigs", object: resource.describe() };
        let result = answer.results.into_iter().next().ok_or_else(missing)?;
        ClientError::check("DescribeConfigs", || resource.describe(), result.error_code, result.error_message)?;
        Ok(result.configs.into_iter().map(read_entry).collect())
    }

    /// Sets keys, or with no value gives them back to their default.
    ///
    /// # Errors
    /// What the broker refused it for; then nothing has changed.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(String, Option<String>)],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let (resource_type, resource_name) = resource.code_and_name();
        let configs = alterable(changes);
        let make = |_| IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: resource_name.clone(),
                configs: configs.clone(),
            }],
            validate_only,
        };
        let answer = self.ask(resource.route(), make).await?;
        let missing = || ClientError::Missing { api: "IncrementalAlterConfigs", object: resource.describe() };
        let result = answer.responses.into_iter().next().ok_or_else(missing)?;
        ClientError::check("IncrementalAlterConfigs", || resource.describe(), result.error_code, result.error_message)
    }
}

pub(super) fn read_entry(config: DescribeConfigsResourceResult) -> ConfigEntry {
    /// DYNAMIC_TOPIC_CONFIG and DYNAMIC_BROKER_CONFIG of DescribeConfigs.
    const OWN: [i8; 2] = [1, 2];
    ConfigEntry {
        own: OWN.contains(&config.config_source),
        name: config.name,
        value: config.value,
        read_only: config.read_only,
        documentation: config.documentation.filter(|text| !text.is_empty()),
    }
}

pub(super) fn alterable(changes: &[(String, Option<String>)]) -> Vec<AlterableConfig> {
    let alterable = changes.iter().map(|(name, value)| AlterableConfig {
        name: name.clone(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.clone(),
    });
    alterable.collect()
}
