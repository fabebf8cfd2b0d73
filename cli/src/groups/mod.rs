//! `kennet groups`.

pub(crate) mod admin;
mod reset;

use std::collections::{BTreeMap, BTreeSet};

use kennet_client::{Client, TimestampMs, TopicPartition};
use serde_json::{Value, json};

use crate::command_line::Groups;
use crate::error::CliError;
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &Output, command: Groups) -> Result<(), CliError> {
    match command {
        Groups::List => list(client, output).await,
        Groups::Describe { groups } => describe(client, output, &groups).await,
        Groups::Delete { groups } => {
            for group in &groups {
                client.delete_group(group).await?;
            }
            output.say(&format!("Deleted {}.", groups.join(", ")), &json!({"deleted": groups}))
        }
        Groups::ResetOffsets(options) => reset::run(client, output, *options).await,
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), CliError> {
    let groups = client.list_groups().await?;
    let rows: Vec<_> = groups.iter().map(|one| vec![one.group.clone(), one.state.clone()]).collect();
    let json: Vec<Value> = groups
        .iter()
        .map(|one| json!({"group": one.group, "state": one.state, "protocolType": one.protocol_type}))
        .collect();
    output.list(&["group", "state"], &rows, &json.into())
}

async fn describe(client: &Client, output: &Output, groups: &[String]) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for group in groups {
        let described = client.describe_group(group).await?;
        let committed = client.committed_offsets(group).await?;
        if described.state == "Dead" && committed.is_empty() {
            return Err(CliError::Failed(format!("group '{group}' does not exist")));
        }
        let readers: BTreeMap<&TopicPartition, &str> = described
            .members
            .iter()
            .flat_map(|member| member.assigned.iter().map(|partition| (partition, member.member_id.as_str())))
            .collect();
        let partitions: BTreeSet<&TopicPartition> = committed.keys().chain(readers.keys().copied()).collect();
        let known: BTreeSet<String> = client.topics().await?.into_iter().map(|topic| topic.name).collect();
        let latest = partitions.iter().filter(|one| known.contains(&one.topic));
        let latest = latest.map(|partition| ((*partition).clone(), TimestampMs::LATEST)).collect();
        let ends = client.list_offsets(&latest).await?;
        let mut offsets = Vec::new();
        for partition in partitions {
            let current = committed.get(partition).map(|found| found.offset.0);
            let end = ends.get(partition).map(|found| found.offset.0);
            let lag = current.zip(end).map(|(current, end)| (end - current).max(0));
            let reader = readers.get(partition).copied();
            let show = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
            rows.push(vec![
                group.clone(),
                described.state.clone(),
                partition.topic.clone(),
                partition.partition.to_string(),
                show(current),
                show(end),
                show(lag),
                reader.unwrap_or("-").to_owned(),
            ]);
            offsets.push(json!({
                "topic": partition.topic, "partition": partition.partition.0, "offset": current, "endOffset": end,
                "lag": lag, "member": reader,
            }));
        }
        let members: Vec<Value> = described
            .members
            .iter()
            .map(|one| json!({"member": one.member_id, "client": one.client_id, "host": one.client_host}))
            .collect();
        all.push(json!({"group": group, "state": described.state, "members": members, "offsets": offsets}));
    }
    let columns = ["group", "state", "topic", "partition", "offset", "end", "lag", "member"];
    output.list(&columns, &rows, &all.into())
}
