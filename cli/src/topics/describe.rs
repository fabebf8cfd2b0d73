//! `kennet topics describe`: partitions, offsets and configs.
//!
//! A partition that is offline is what somebody looks for here, so it is shown as such and takes nothing away from the others.

use std::collections::BTreeMap;
use std::time::Duration;

use kennet_client::{
    BrokerId, Client, ClientError, ConfigResource, ListedOffset, PartitionMetadata, TimestampMs, TopicMetadata,
    TopicPartition,
};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::{Output, note};
use crate::topics::id;

/// An election is over by then; what does not answer any later is shown without offsets.
pub(crate) const OFFSETS_PATIENCE: Duration = Duration::from_secs(3);

type Offsets = BTreeMap<TopicPartition, Result<ListedOffset, ClientError>>;

pub(super) async fn run(client: &Client, output: &Output, names: &[String]) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let mut configs = Vec::new();
    let mut failed = None;
    for name in names {
        // what is wrong with one takes nothing away from the others
        let topic = match client.topic(name).await {
            Ok(topic) => topic,
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        };
        let (start, end) = offsets(client, &topic).await;
        let mut partitions = Vec::new();
        for one in &topic.partitions {
            let key = TopicPartition::new(name, one.index.0);
            let (row, json) = partition(name, one, start.get(&key), end.get(&key));
            rows.push(row);
            partitions.push(json);
        }
        let entries = client.describe_configs(&ConfigResource::Topic(name.clone())).await?;
        let own = entries.iter().filter(|entry| entry.own);
        configs
            .extend(own.map(|entry| vec![name.clone(), entry.name.clone(), entry.value.clone().unwrap_or_default()]));
        let config: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.name, &entry.value)).collect();
        let own: Vec<_> = entries.iter().filter(|entry| entry.own).map(|entry| &entry.name).collect();
        all.push(json!({
            "topic": name, "topicId": id(topic.id), "partitions": partitions, "config": config, "ownConfig": own,
        }));
    }
    let columns = ["topic", "partition", "leader", "replicas", "in sync", "start", "end"];
    if !rows.is_empty() {
        output.list(&columns, &rows, &all.into())?;
    }
    if !configs.is_empty() && !output.is_json() {
        crate::output::write_bytes(b"\n")?;
        output.list(&["topic", "config", "value"], &configs, &Value::Null)?;
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// First and last offsets; a partition without a leader has nobody who knows them.
async fn offsets(client: &Client, topic: &TopicMetadata) -> (Offsets, Offsets) {
    let led = topic.partitions.iter().filter(|one| one.leader.is_some());
    let ends = led.map(|one| (TopicPartition::new(&topic.name, one.index.0), TimestampMs::LATEST)).collect();
    let ends = client.list_offsets_each(&ends, OFFSETS_PATIENCE).await;
    // who did not answer is not waited for again
    let answered = ends.iter().filter(|(_, outcome)| outcome.is_ok());
    let starts = answered.map(|(partition, _)| (partition.clone(), TimestampMs::EARLIEST)).collect();
    (client.list_offsets_each(&starts, OFFSETS_PATIENCE).await, ends)
}

fn partition(
    topic: &str,
    one: &PartitionMetadata,
    start: Option<&Result<ListedOffset, ClientError>>,
    end: Option<&Result<ListedOffset, ClientError>>,
) -> (Vec<String>, Value) {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect::<Vec<_>>();
    let leader = one.leader.map(|leader| leader.0);
    let found =
        |outcome: Option<&Result<ListedOffset, ClientError>>| outcome?.as_ref().ok().map(|found| found.offset.0);
    let show = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let problem = [end, start].into_iter().flatten().find_map(|outcome| outcome.as_ref().err());
    let no_leader = || ClientError::NoLeader { partition: TopicPartition::new(topic, one.index.0) }.to_string();
    let problem = problem.map(ToString::to_string).or_else(|| leader.is_none().then(no_leader));
    if let Some(why) = &problem {
        note(why);
    }
    let row = vec![
        topic.to_owned(),
        one.index.to_string(),
        leader.map_or("none".to_owned(), |leader| leader.to_string()),
        format!("{:?}", ids(&one.replicas)),
        format!("{:?}", ids(&one.in_sync)),
        show(found(start)),
        show(found(end)),
    ];
    let mut json = json!({
        "partition": one.index.0, "leader": leader, "replicas": ids(&one.replicas),
        "inSyncReplicas": ids(&one.in_sync), "startOffset": found(start), "endOffset": found(end),
    });
    if let Some(why) = problem {
        json["error"] = why.into();
    }
    (row, json)
}
