//! `kennet groups reset-offsets`: a plan, and with `--execute` one commit for each group.

use std::collections::BTreeMap;

use kennet_client::Client;
use kennet_model::admin::{Admin, GroupState, Partition};
use kennet_model::reset::{Plan, Request, Scope, Target, TopicScope, csv, plan};
use serde_json::json;

use crate::clock;
use crate::command_line::ResetOffsets;
use crate::error::CliError;
use crate::groups::admin::{ClientAdmin, commits};
use crate::output::{Output, note, write_bytes};
use crate::time::Instant;

pub(crate) async fn run(client: &Client, output: &Output, options: ResetOffsets) -> Result<(), CliError> {
    let admin = ClientAdmin(client);
    let mut plans = Vec::new();
    for request in requests(client, &options).await? {
        plans.push(plan(&admin, &request).await.map_err(|error| CliError::Failed(error.to_string()))?);
    }
    if options.export {
        return write_bytes(csv::write(&plans).as_bytes());
    }
    for plan in &plans {
        for text in &plan.notes {
            note(text);
        }
        if plan.state == GroupState::Active {
            let why = format!("group '{}' has members: stop them first, the plan can't be applied", plan.group);
            if options.execute {
                return Err(CliError::Failed(why));
            }
            note(&why);
        }
    }
    if options.execute {
        for plan in &plans {
            execute(&admin, client, plan).await?;
        }
    }
    show(output, &plans, options.execute)?;
    if !options.execute && !output.is_json() {
        note("This is the plan; nothing has been changed. Add --execute to apply it.");
    }
    Ok(())
}

async fn execute(admin: &ClientAdmin<'_>, client: &Client, plan: &Plan) -> Result<(), CliError> {
    let offsets: BTreeMap<Partition, i64> = plan.moves.iter().map(|one| (one.partition(), one.target)).collect();
    client.commit_offsets(&plan.group, &commits(&offsets)).await?;
    let committed = admin.committed(&plan.group).await?;
    let wrong = offsets.iter().find(|(partition, offset)| committed.get(*partition) != Some(*offset));
    match wrong {
        None => Ok(()),
        Some((partition, _)) => Err(CliError::Failed(format!(
            "group '{}': {partition} is not where it was put: something else committed at the same time",
            plan.group
        ))),
    }
}

async fn requests(client: &Client, options: &ResetOffsets) -> Result<Vec<Request>, CliError> {
    if let Some(path) = &options.from_file {
        let what = format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|source| CliError::failed(&what, source))?;
        let offsets = csv::read(&text).map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        return from_file(offsets, options);
    }
    let groups = if options.all_groups {
        client.list_groups().await?.into_iter().map(|listed| listed.group).collect()
    } else {
        options.groups.clone()
    };
    let scope = if options.all_topics {
        Scope::Committed
    } else {
        Scope::Topics(options.topics.iter().map(|text| topic_scope(text)).collect::<Result<_, _>>()?)
    };
    let target = target(options)?;
    let request = |group| Request { group, scope: scope.clone(), target: target.clone() };
    Ok(groups.into_iter().map(request).collect())
}

fn from_file(offsets: csv::Offsets, options: &ResetOffsets) -> Result<Vec<Request>, CliError> {
    let mut requests = Vec::new();
    for (named, offsets) in offsets {
        let group = match (named, options.groups.as_slice()) {
            (Some(group), wanted) if wanted.is_empty() || wanted.contains(&group) => group,
            (Some(_), _) => continue,
            (None, [group]) => group.clone(),
            (None, _) => {
                return Err(CliError::Usage("the file names no group: give exactly one --group".to_owned()));
            }
        };
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for partition in offsets.keys() {
            topics.entry(&partition.topic).or_default().push(partition.partition);
        }
        let scope = topics
            .into_iter()
            .map(|(topic, partitions)| TopicScope { topic: topic.to_owned(), partitions: Some(partitions) });
        let scope = Scope::Topics(scope.collect());
        requests.push(Request { group, scope, target: Target::Offsets(offsets) });
    }
    Ok(requests)
}

fn target(options: &ResetOffsets) -> Result<Target, CliError> {
    if options.to_earliest {
        return Ok(Target::Earliest);
    }
    if options.to_latest {
        return Ok(Target::Latest);
    }
    if options.to_current {
        return Ok(Target::Current);
    }
    if let Some(length) = options.by_duration {
        let then = length.before(clock::now()).map_err(CliError::Usage)?;
        return Ok(Target::Timestamp(Instant(then).look_up().0));
    }
    let at = options.to_datetime.map(|at| Target::Timestamp(at.look_up().0));
    let to = at.or(options.to_offset.map(Target::Offset)).or(options.shift_by.map(Target::ShiftBy));
    to.ok_or_else(|| CliError::Usage("no target: give one, such as --to-earliest".to_owned()))
}

/// `topic` or `topic:0,1`.
fn topic_scope(text: &str) -> Result<TopicScope, CliError> {
    let Some((topic, list)) = text.split_once(':') else {
        return Ok(TopicScope { topic: text.to_owned(), partitions: None });
    };
    let partitions: Result<Vec<i32>, _> = list.split(',').map(str::parse).collect();
    let wrong = |_| CliError::Usage(format!("--topic {text}: expected topic or topic:0,1"));
    Ok(TopicScope { topic: topic.to_owned(), partitions: Some(partitions.map_err(wrong)?) })
}

fn show(output: &Output, plans: &[Plan], applied: bool) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for plan in plans {
        for one in &plan.moves {
            let change = one.current.map_or("-".to_owned(), |current| format!("{:+}", one.target - current));
            rows.push(vec![
                plan.group.clone(),
                one.topic.clone(),
                one.partition.to_string(),
                one.current.map_or("-".to_owned(), |current| current.to_string()),
                one.target.to_string(),
                change,
                one.start.to_string(),
                one.end.to_string(),
            ]);
        }
    }
    let columns = ["group", "topic", "partition", "current", "target", "change", "start", "end"];
    output.list(&columns, &rows, &json!({"applied": applied, "plans": plans}))
}

#[cfg(test)]
mod tests {
    use super::topic_scope;

    #[test]
    fn partitions_can_be_named_behind_a_topic() {
        let scope = topic_scope("orders:0,2").unwrap();
        assert_eq!((scope.topic.as_str(), scope.partitions), ("orders", Some(vec![0, 2])));
        assert!(topic_scope("orders:x").is_err());
    }
}
