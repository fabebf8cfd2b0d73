//! Applies a file's Topics once: creates what is missing, grows what has grown, sets the configs that the file names.

use kennet_client::{Client, ConfigResource, ErrorCode, NewTopic};
use kennet_model::topic::ValidatedTopic;

use crate::error::CliError;

/// What was done, in words; nothing when all was as it should be.
pub(super) async fn apply(client: &Client, topic: &ValidatedTopic) -> Result<Option<String>, CliError> {
    let new = NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.and_then(|replicas| i16::try_from(replicas).ok()),
        config: topic.config.clone(),
        validate_only: false,
    };
    match client.create_topic(&new).await {
        Ok(created) => Ok(Some(format!("created with {} partitions", created.partitions))),
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => align(client, topic).await,
        Err(error) => Err(error.into()),
    }
}

async fn align(client: &Client, topic: &ValidatedTopic) -> Result<Option<String>, CliError> {
    let mut done = Vec::new();
    let known = client.topic(&topic.name).await?;
    let count = i32::try_from(known.partitions.len()).unwrap_or(i32::MAX);
    if let Some(wanted) = topic.partitions.filter(|wanted| *wanted > count) {
        client.create_partitions(&topic.name, wanted, false).await?;
        done.push(format!("grown from {count} to {wanted} partitions"));
    }
    let resource = ConfigResource::Topic(topic.name.clone());
    let entries = client.describe_configs(&resource).await?;
    let is_set =
        |key: &str, value: &str| entries.iter().any(|entry| entry.name == key && entry.value.as_deref() == Some(value));
    let changes: Vec<(String, Option<String>)> = topic
        .config
        .iter()
        .filter(|(key, value)| !is_set(key, value))
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    if !changes.is_empty() {
        client.alter_configs(&resource, &changes, false).await?;
        done.push(format!("{} configs set", changes.len()));
    }
    Ok((!done.is_empty()).then(|| done.join(", ")))
}
