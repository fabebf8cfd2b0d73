//! One request about many topics, with an outcome for each: what describing or changing them one by one would cost a request each.

use std::collections::BTreeMap;

use kennet_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use kennet_protocol::messages::incremental_alter_configs::{AlterConfigsResource, IncrementalAlterConfigsRequest};

use crate::admin::configs::{ConfigEntry, TOPIC, alterable, read_entry};
use crate::client::{Route, TopicMetadata, read_topic};
use crate::{Client, ClientError};

/// An outcome for each topic by name; what the broker did not answer is missing.
type Outcomes<T> = BTreeMap<String, Result<T, ClientError>>;

impl Client {
    /// The topics of these names, as the cluster has them now.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn topics_named(&self, names: &[String]) -> Result<Outcomes<TopicMetadata>, ClientError> {
        let answer = self.metadata(Some(names), false).await?;
        let found = answer.topics.into_iter().map(|topic| {
            let name = topic.name.clone().unwrap_or_default();
            (name, read_topic(topic).map(|(_, read)| read))
        });
        Ok(found.collect())
    }

    /// Every config of these topics.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn describe_topic_configs(&self, names: &[String]) -> Result<Outcomes<Vec<ConfigEntry>>, ClientError> {
        let resource = |name: &String| DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: name.clone(),
            configuration_keys: None,
        };
        let make = |_| DescribeConfigsRequest {
            resources: names.iter().map(resource).collect(),
            include_synonyms: false,
            include_documentation: false,
        };
        let answer = self.ask(Route::Any, make).await?;
        let described = answer.results.into_iter().map(|result| {
            let object = || format!("topic '{}'", result.resource_name);
            let checked = ClientError::check("DescribeConfigs", object, result.error_code, result.error_message);
            (result.resource_name, checked.map(|()| result.configs.into_iter().map(read_entry).collect()))
        });
        Ok(described.collect())
    }

    /// Sets keys of these topics, or with no value gives them back to their default. A topic that is refused does not hold the others.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn alter_topic_configs(
        &self,
        changes: &BTreeMap<String, Vec<(String, Option<String>)>>,
    ) -> Result<Outcomes<()>, ClientError> {
        let make = |_| IncrementalAlterConfigsRequest {
            resources: changes
                .iter()
                .map(|(name, changes)| AlterConfigsResource {
                    resource_type: TOPIC,
                    resource_name: name.clone(),
                    configs: alterable(changes),
                })
                .collect(),
            validate_only: false,
        };
        let answer = self.ask(Route::Any, make).await?;
        let altered = answer.responses.into_iter().map(|result| {
            let object = || format!("topic '{}'", result.resource_name);
            let checked =
                ClientError::check("IncrementalAlterConfigs", object, result.error_code, result.error_message);
            (result.resource_name, checked)
        });
        Ok(altered.collect())
    }
}
