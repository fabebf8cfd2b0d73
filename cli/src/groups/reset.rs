//! `kennet groups reset-offsets`: a plan, and with `--execute` one commit for each group, whose outcome is told.

use std::collections::BTreeMap;

use kennet_client::Client;
use kennet_model::admin::{Admin, GroupState, Partition};
use kennet_model::reset::{Plan, PlanError, Request, Scope, Target, TopicScope, csv, plan};
use serde_json::json;

use crate::clock;
use crate::command_line::ResetOffsets;
use crate::error::CliError;
use crate::groups::admin::{ClientAdmin, commits};
use crate::output::{Output, note, write_bytes};
use crate::time::Instant;

pub(crate) async fn run(client: &Client, output: &Output, options: ResetOffsets) -> Result<(), CliError> {
    if options.export && output.is_json() {
        let why = "--export writes CSV, which Kafka's tools and --from-file read, and no JSON: leave out one of --export and --output json; the plan \
                   without --export is JSON";
        return Err(CliError::Usage(why.to_owned()));
    }
    let admin = ClientAdmin(client);
    let mut plans = Vec::new();
    for request in requests(client, &options).await? {
        match plan(&admin, &request).await {
            Ok(plan) => plans.push(plan),
            // whoever says all groups does not mean that each of them has something to move
            Err(error @ (PlanError::EmptyScope { .. } | PlanError::NothingCommitted { .. })) if options.all_groups => {
                note(&format!("left out: {error}"));
            }
            Err(error) => return Err(CliError::Failed(error.to_string())),
        }
    }
    plans.iter().filter_map(first_offsets).for_each(|text| note(&text));
    if options.export {
        return write_bytes(csv::write(&plans).as_bytes());
    }
    for plan in &plans {
        for text in &plan.notes {
            note(text);
        }
        if plan.state == GroupState::Active {
            let why = with_members(plan);
            // one of all groups does not keep the others from being moved; a group that was named does, before anything is changed
            if options.execute && !options.all_groups {
                return Err(CliError::Failed(why));
            }
            // what became of a group that was to be moved is told at the end
            if !options.execute {
                note(&why);
            }
        }
    }
    if options.execute {
        let outcomes = execute_all(&admin, client, &plans).await;
        show(output, &plans, Some(&outcomes))?;
        return all_moved(&plans, &outcomes);
    }
    show(output, &plans, None)?;
    if !output.is_json() {
        note(end_of_plan(&plans, options.all_groups));
    }
    Ok(())
}

/// Below a plan that was only shown. One group with members keeps all that were named from being moved, and only itself of all groups.
fn end_of_plan(plans: &[Plan], all_groups: bool) -> &'static str {
    let mut active = plans.iter().map(|plan| plan.state == GroupState::Active);
    let in_vain = if all_groups { active.all(|active| active) } else { active.any(|active| active) };
    match in_vain {
        true => "This is the plan; nothing has been changed.",
        false => "This is the plan; nothing has been changed. Add --execute to apply it.",
    }
}

/// Kafka's tool plans for a group that nobody has heard of, which is how a group is given its first offsets; a misspelt name looks the same.
fn first_offsets(plan: &Plan) -> Option<String> {
    plan.is_of_an_unknown_group().then(|| {
        format!(
            "group '{}' has no offsets yet, the plan gives it its first: kennet groups list shows the groups that there are",
            plan.group
        )
    })
}

fn with_members(plan: &Plan) -> String {
    format!("group '{}' has members: stop them first, the plan can't be applied", plan.group)
}

/// What became of one plan.
enum Outcome {
    Applied,
    Failed(String),
    /// The cluster could not be reached any more.
    NotTried,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Applied => "Applied",
            Self::Failed(_) => "Failed",
            Self::NotTried => "NotTried",
        }
    }
}

/// Groups have nothing to do with each other: the refusal of one does not keep the others where they are. What became of each is always told,
/// because a shift that is repeated shifts twice.
async fn execute_all(admin: &ClientAdmin<'_>, client: &Client, plans: &[Plan]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for plan in plans {
        if plan.state == GroupState::Active {
            outcomes.push(Outcome::Failed(with_members(plan)));
            continue;
        }
        match execute(admin, client, plan).await {
            Ok(()) => outcomes.push(Outcome::Applied),
            Err(error) => {
                let unreachable = matches!(&error, CliError::Client(error) if error.code().is_none());
                outcomes.push(Outcome::Failed(error.to_string()));
                if unreachable {
                    break;
                }
            }
        }
    }
    outcomes.resize_with(plans.len(), || Outcome::NotTried);
    outcomes
}

fn all_moved(plans: &[Plan], outcomes: &[Outcome]) -> Result<(), CliError> {
    let mut left = Vec::new();
    for (plan, outcome) in plans.iter().zip(outcomes) {
        match outcome {
            Outcome::Applied => continue,
            Outcome::Failed(why) => left.push(why.clone()),
            Outcome::NotTried => left.push(format!("group '{}' was not tried", plan.group)),
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(CliError::Failed(format!("{} of {} groups were not moved: {}", left.len(), plans.len(), left.join("; "))))
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
        return from_file(offsets, options).map_err(|why| match why {
            CliError::Usage(why) => CliError::Usage(format!("{}: {why}", path.display())),
            other => other,
        });
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
    let named: Vec<&str> = offsets.keys().flatten().map(String::as_str).collect();
    if offsets.is_empty() {
        return Err(CliError::Usage("there are no offsets in it".to_owned()));
    }
    let missing = options.groups.iter().find(|group| !named.is_empty() && !named.contains(&group.as_str()));
    if let Some(group) = missing {
        let why = format!("there are no offsets of group '{group}' in it, only of {}", named.join(", "));
        return Err(CliError::Usage(why));
    }
    let mut requests = Vec::new();
    for (named, offsets) in offsets {
        let group = match (named, options.groups.as_slice()) {
            (Some(group), wanted) if wanted.is_empty() || wanted.contains(&group) => group,
            (Some(_), _) => continue,
            (None, [group]) => group.clone(),
            (None, _) => {
                return Err(CliError::Usage("it names no group: give exactly one --group".to_owned()));
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

/// The plans, and once they have been executed what became of each.
fn show(output: &Output, plans: &[Plan], outcomes: Option<&[Outcome]>) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for (at, plan) in plans.iter().enumerate() {
        for one in &plan.moves {
            let change = one.current.map_or("-".to_owned(), |current| format!("{:+}", one.target - current));
            let mut row = vec![
                plan.group.clone(),
                one.topic.clone(),
                one.partition.to_string(),
                one.current.map_or("-".to_owned(), |current| current.to_string()),
                one.target.to_string(),
                change,
                one.start.to_string(),
                one.end.to_string(),
            ];
            row.extend(outcomes.and_then(|all| all.get(at)).map(|outcome| outcome.word().to_owned()));
            rows.push(row);
        }
    }
    let mut columns = vec!["group", "topic", "partition", "current", "target", "change", "start", "end"];
    let all_applied = outcomes.is_some_and(|all| all.iter().all(|one| matches!(one, Outcome::Applied)));
    let mut json = json!({"applied": all_applied, "plans": plans});
    if let Some(outcomes) = outcomes {
        columns.push("outcome");
        let of = |(plan, outcome): (&Plan, &Outcome)| match outcome {
            Outcome::Failed(why) => json!({"group": plan.group, "outcome": outcome.word(), "message": why}),
            _ => json!({"group": plan.group, "outcome": outcome.word()}),
        };
        json["outcomes"] = plans.iter().zip(outcomes).map(of).collect();
    }
    output.list(&columns, &rows, &json)
}

#[cfg(test)]
mod tests {
    use kennet_model::reset::csv;

    use kennet_model::admin::GroupState;
    use kennet_model::reset::{Move, Plan};

    use super::{end_of_plan, first_offsets, from_file, topic_scope};
    use crate::command_line::ResetOffsets;

    fn of_groups(groups: &[&str]) -> ResetOffsets {
        ResetOffsets {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            all_groups: false,
            topics: Vec::new(),
            all_topics: false,
            to_earliest: false,
            to_latest: false,
            to_current: false,
            to_offset: None,
            shift_by: None,
            to_datetime: None,
            by_duration: None,
            from_file: None,
            execute: true,
            export: false,
        }
    }

    #[test]
    fn a_file_that_does_not_have_what_was_asked_for_is_refused() {
        let read = |text: &str, groups: &[&str]| from_file(csv::read(text).unwrap(), &of_groups(groups));
        let named = "\"a\",\"t\",0,1\n\"b\",\"t\",0,2\n";
        assert_eq!(read(named, &[]).unwrap().len(), 2);
        assert_eq!(read(named, &["b"]).unwrap().len(), 1);
        assert!(read(named, &["c"]).unwrap_err().to_string().contains("'c'"));
        assert!(read(named, &["a", "c"]).is_err());
        assert_eq!(read("\"t\",0,1\n", &["c"]).unwrap().len(), 1);
        assert!(read("\"t\",0,1\n", &[]).is_err());
        assert!(read("", &["a"]).is_err());
    }

    #[test]
    fn a_group_without_offsets_is_told_from_one_that_has_some() {
        let plan = |state, current| {
            let one = Move { topic: "t".to_owned(), partition: 0, current, target: 0, start: 0, end: 9 };
            Plan { group: "g".to_owned(), state, moves: vec![one], notes: Vec::new() }
        };
        assert!(first_offsets(&plan(GroupState::Missing, None)).unwrap().contains("group 'g' has no offsets yet"));
        assert_eq!(first_offsets(&plan(GroupState::Missing, Some(1))), None);
        assert_eq!(first_offsets(&plan(GroupState::Empty, None)), None);
    }

    #[test]
    fn nobody_is_told_to_apply_what_can_not_be() {
        let plan = |state| Plan { group: "g".to_owned(), state, moves: Vec::new(), notes: Vec::new() };
        let (active, empty) = (plan(GroupState::Active), plan(GroupState::Empty));
        for (plans, all_groups, told) in [
            (vec![empty.clone()], false, true),
            (vec![active.clone()], false, false),
            (vec![active.clone(), empty.clone()], false, false),
            (vec![active.clone(), empty], true, true),
            (vec![active], true, false),
        ] {
            assert_eq!(end_of_plan(&plans, all_groups).contains("--execute"), told, "{plans:?} {all_groups}");
        }
    }

    #[test]
    fn partitions_can_be_named_behind_a_topic() {
        let scope = topic_scope("orders:0,2").unwrap();
        assert_eq!((scope.topic.as_str(), scope.partitions), ("orders", Some(vec![0, 2])));
        assert!(topic_scope("orders:x").is_err());
    }
}
