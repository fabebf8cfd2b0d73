//! `kennet groups`.

pub(crate) mod admin;
mod reset;

use std::collections::{BTreeMap, BTreeSet};

use kennet_client::{Client, ClientError, Committed, GroupDescription, ListedOffset, TimestampMs, TopicPartition};
use serde_json::{Value, json};

use crate::advice;
use crate::command_line::Groups;
use crate::deleted;
use crate::error::CliError;
use crate::output::{Output, note};
use crate::topics::OFFSETS_PATIENCE;

pub(crate) async fn run(client: &Client, output: &Output, command: Groups) -> Result<(), CliError> {
    match command {
        Groups::List => list(client, output).await,
        Groups::Describe { groups } => describe(client, output, &groups).await,
        Groups::Delete { groups } => {
            deleted::each(output, "group", &groups, async |group| client.delete_group(group).await).await
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
    let mut failed = None;
    for group in groups {
        let described = client.describe_group(group).await?;
        let committed = client.committed_offsets(group).await?;
        if described.state == "Dead" && committed.is_empty() {
            // what is wrong with one takes nothing away from the others
            failed.get_or_insert(CliError::Failed(advice::no_group(&format!("group '{group}'"))));
            continue;
        }
        let known: BTreeSet<String> = client.topics().await?.into_iter().map(|topic| topic.name).collect();
        let readers = readers(&described);
        let read = committed.keys().chain(readers.keys().copied()).filter(|one| known.contains(&one.topic));
        let latest = read.map(|partition| (partition.clone(), TimestampMs::LATEST)).collect();
        let ends = client.list_offsets_each(&latest, OFFSETS_PATIENCE).await;
        let mut offsets = Vec::new();
        for row in offset_rows(&committed, &readers, &ends) {
            rows.push([vec![group.clone(), described.state.clone()], row.cells()].concat());
            offsets.push(row.json());
        }
        // members without a share, and a group with nothing at all, are not to be overlooked
        let idle = described.members.iter().filter(|member| member.assigned.is_empty());
        let mut without: Vec<&str> = idle.map(|member| member.member_id.as_str()).collect();
        if offsets.is_empty() && without.is_empty() {
            without.push("-");
        }
        rows.extend(without.into_iter().map(|member| {
            [group.as_str(), &described.state, "-", "-", "-", "-", "-", member].map(str::to_owned).to_vec()
        }));
        let members: Vec<Value> = described
            .members
            .iter()
            .map(|one| json!({"member": one.member_id, "client": one.client_id, "host": one.client_host}))
            .collect();
        all.push(json!({"group": group, "state": described.state, "members": members, "offsets": offsets}));
    }
    let columns = ["group", "state", "topic", "partition", "offset", "end", "lag", "member"];
    if !rows.is_empty() {
        output.list(&columns, &rows, &all.into())?;
    }
    failed.map_or(Ok(()), Err)
}

type Readers<'a> = BTreeMap<&'a TopicPartition, &'a str>;

fn readers(described: &GroupDescription) -> Readers<'_> {
    let members = described.members.iter();
    members.flat_map(|one| one.assigned.iter().map(|partition| (partition, one.member_id.as_str()))).collect()
}

/// One partition of a group, by what is known of it.
struct OffsetRow<'a> {
    partition: &'a TopicPartition,
    current: Option<i64>,
    end: Option<i64>,
    member: Option<&'a str>,
}

fn offset_rows<'a>(
    committed: &'a BTreeMap<TopicPartition, Committed>,
    readers: &Readers<'a>,
    ends: &BTreeMap<TopicPartition, Result<ListedOffset, ClientError>>,
) -> Vec<OffsetRow<'a>> {
    let partitions: BTreeSet<&TopicPartition> = committed.keys().chain(readers.keys().copied()).collect();
    let row = |partition| {
        let end = ends.get(partition).and_then(|outcome| match outcome {
            Ok(found) => Some(found.offset.0),
            Err(why) => {
                note(&why.to_string());
                None
            }
        });
        let current = committed.get(partition).map(|found| found.offset.0);
        OffsetRow { partition, current, end, member: readers.get(partition).copied() }
    };
    partitions.into_iter().map(row).collect()
}

impl OffsetRow<'_> {
    fn lag(&self) -> Option<i64> {
        self.current.zip(self.end).map(|(current, end)| (end - current).max(0))
    }

    /// All columns but group and state.
    fn cells(&self) -> Vec<String> {
        let show = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let (topic, index) = (self.partition.topic.clone(), self.partition.partition.to_string());
        let member = self.member.unwrap_or("-").to_owned();
        vec![topic, index, show(self.current), show(self.end), show(self.lag()), member]
    }

    fn json(&self) -> Value {
        json!({
            "topic": self.partition.topic, "partition": self.partition.partition.0, "offset": self.current,
            "endOffset": self.end, "lag": self.lag(), "member": self.member,
        })
    }
}
