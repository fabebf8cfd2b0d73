//! `kennet topics`: create, list, change and delete; describing has a file of its own.

mod describe;
pub(crate) mod orphaned;

use kennet_client::{Client, ConfigResource, NewTopic, TopicMetadata, Uuid};
use kennet_contract::ClusterId;
use serde_json::{Value, json};

use crate::command_line::Topics;
use crate::deleted;
use crate::error::CliError;
use crate::output::{Output, counted};

pub(crate) use crate::topics::describe::OFFSETS_PATIENCE;

pub(crate) async fn run(client: &Client, output: &Output, command: Topics) -> Result<(), CliError> {
    match command {
        Topics::Create { name, partitions, replication_factor, config, dry_run } => {
            let config = config.into_iter().collect();
            let topic = NewTopic { name, partitions, replication_factor, config, validate_only: dry_run };
            create(client, output, &topic).await
        }
        Topics::List { internal, .. } => list(client, output, internal).await,
        Topics::Describe { names } => describe::run(client, output, &names).await,
        Topics::Alter { name, partitions, config, delete_config, dry_run } => {
            let set = config.into_iter().map(|(key, value)| (key, Some(value)));
            let changes: Vec<_> = set.chain(delete_config.into_iter().map(|key| (key, None))).collect();
            alter(client, output, &name, partitions, &changes, dry_run).await
        }
        Topics::Delete { names } => {
            deleted::each(output, "topic", &names, async |name| client.delete_topic(name).await).await
        }
    }
}

async fn create(client: &Client, output: &Output, topic: &NewTopic) -> Result<(), CliError> {
    let created = client.create_topic(topic).await?;
    let (name, partitions) = (&topic.name, created.partitions);
    let words = counted(partitions, "partition");
    let verb = if topic.validate_only { "Could create" } else { "Created" };
    let json = json!({
        "topic": name, "topicId": id(created.id), "partitions": partitions,
        "replicationFactor": created.replication_factor, "created": !topic.validate_only,
    });
    output.say(&format!("{verb} topic {name} with {words}."), &json)
}

async fn list(client: &Client, output: &Output, internal: bool) -> Result<(), CliError> {
    let mut topics = client.topics().await?;
    topics.retain(|topic| internal || !topic.internal);
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    let replicas = |topic: &TopicMetadata| topic.partitions.first().map_or(0, |first| first.replicas.len());
    let rows: Vec<Vec<String>> = topics
        .iter()
        .map(|topic| vec![topic.name.clone(), topic.partitions.len().to_string(), replicas(topic).to_string()])
        .collect();
    let json: Vec<Value> = topics
        .iter()
        .map(|topic| {
            json!({
                "topic": topic.name, "topicId": id(topic.id), "partitions": topic.partitions.len(),
                "replicationFactor": replicas(topic), "internal": topic.internal,
            })
        })
        .collect();
    output.list(&["topic", "partitions", "replicas"], &rows, &json.into())
}

async fn alter(
    client: &Client,
    output: &Output,
    name: &str,
    partitions: Option<i32>,
    changes: &[(String, Option<String>)],
    dry_run: bool,
) -> Result<(), CliError> {
    if partitions.is_none() && changes.is_empty() {
        return Err(CliError::Usage("nothing to change: give --partitions, --config or --delete-config".to_owned()));
    }
    if !changes.is_empty() {
        client.alter_configs(&ConfigResource::Topic(name.to_owned()), changes, dry_run).await?;
    }
    if let Some(total) = partitions {
        client.create_partitions(name, total, dry_run).await?;
    }
    let verb = if dry_run { "Could change" } else { "Changed" };
    output.say(&format!("{verb} topic {name}."), &json!({"topic": name, "changed": !dry_run}))
}

/// Ids as Kafka writes them.
fn id(id: Uuid) -> String {
    ClusterId::from_bytes(*id.as_bytes()).to_string()
}
