//! Applies a file's Topics once: creates what is missing, grows what has grown, sets the configs that the file names.

use kennet_client::{Client, ConfigResource, ErrorCode, NewTopic};
use kennet_model::topic::ValidatedTopic;

use crate::error::CliError;
use crate::output::counted;

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
        Ok(created) => Ok(Some(format!("created with {}", counted(created.partitions, "partition")))),
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
    done.extend(topic.partitions.and_then(|wanted| more_than(wanted, count)));
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
        done.push(format!("{} set", counted(changes.len(), "config")));
    }
    Ok((!done.is_empty()).then(|| done.join(", ")))
}

/// For a file that wants fewer partitions than there are: records would be lost, so Kafka has no way to take any away.
fn more_than(wanted: i32, count: i32) -> Option<String> {
    (wanted < count).then(|| format!("stays at {count} partitions instead of {wanted}: they can't become fewer"))
}

#[cfg(test)]
mod tests {
    use super::more_than;

    #[test]
    fn a_topic_that_would_have_to_shrink_is_told() {
        assert_eq!(more_than(6, 6), None);
        assert_eq!(more_than(7, 6), None);
        let said = more_than(3, 6).unwrap();
        assert!(said.contains("stays at 6 partitions instead of 3"), "{said}");
    }
}
