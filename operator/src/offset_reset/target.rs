//! What an OffsetReset asks for, in the planner's words.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kennet_api::{OffsetReset, TargetType};
use kennet_model::admin::Partition;
use kennet_model::reset::{Plan, Request, Scope, Target, TopicScope, rollback_of};
use kube::ResourceExt;

use crate::context::Context;
use crate::error::ReconcileError;
use crate::objects;
use crate::offset_reset::fetch::{self, Record};

/// The request, or why there is none.
pub(super) async fn request(reset: &OffsetReset, context: &Context) -> Result<Result<Request, String>, ReconcileError> {
    let spec = &reset.spec;
    let scope = match spec.topics.is_empty() {
        true => Scope::Committed,
        false => Scope::Topics(spec.topics.iter().map(scope_of).collect()),
    };
    let group = spec.group_id.clone();
    if spec.target.kind == TargetType::RollbackOf {
        let name = spec.target.rollback_of.as_ref().map(|other| other.name.clone()).unwrap_or_default();
        return Ok(rollback(reset, &name, context).await?.map(|target| {
            let scope = if spec.topics.is_empty() { scope_of_target(&target) } else { scope };
            Request { group, scope, target }
        }));
    }
    Ok(target(reset).map(|target| {
        let scope = if spec.topics.is_empty() { scope_or_named(&target) } else { scope };
        Request { group, scope, target }
    }))
}

fn scope_of(topic: &kennet_api::ResetTopic) -> TopicScope {
    let partitions = (!topic.partitions.is_empty()).then(|| topic.partitions.clone());
    TopicScope { topic: topic.name.clone(), partitions }
}

/// Offsets by name mean these partitions, also when the group has none of them yet.
fn scope_or_named(target: &Target) -> Scope {
    match target {
        Target::Offsets(_) => scope_of_target(target),
        _ => Scope::Committed,
    }
}

fn scope_of_target(target: &Target) -> Scope {
    let Target::Offsets(offsets) = target else { return Scope::Committed };
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in offsets.keys() {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let scope = topics
        .into_iter()
        .map(|(topic, partitions)| TopicScope { topic: topic.to_owned(), partitions: Some(partitions) });
    Scope::Topics(scope.collect())
}

fn target(reset: &OffsetReset) -> Result<Target, String> {
    let wanted = &reset.spec.target;
    let missing = |field: &str| format!("spec.target.{field} is missing: set it for this type");
    Ok(match wanted.kind {
        TargetType::Earliest => Target::Earliest,
        TargetType::Latest => Target::Latest,
        TargetType::Offset => Target::Offset(wanted.offset.ok_or_else(|| missing("offset"))?),
        TargetType::ShiftBy => Target::ShiftBy(wanted.shift_by.ok_or_else(|| missing("shiftBy"))?),
        TargetType::Timestamp => {
            let text = wanted.timestamp.as_ref().ok_or_else(|| missing("timestamp"))?;
            let at: Timestamp = text.parse().map_err(|error| format!("spec.target.timestamp is '{text}': {error}"))?;
            Target::Timestamp(at.as_millisecond())
        }
        TargetType::Duration => {
            let text = wanted.duration.as_ref().ok_or_else(|| missing("duration"))?;
            let back = text.to_std().map_err(|error| format!("spec.target.duration is '{text}': {error}"))?;
            // counted from the object's creation, so that a plan does not change while it waits for approval
            let created = reset.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond());
            Target::Timestamp(created.saturating_sub(i64::try_from(back.as_millis()).unwrap_or(i64::MAX)).max(0))
        }
        TargetType::Offsets => {
            let offsets = wanted.offsets.iter().map(|one| (Partition::new(&one.topic, one.partition), one.offset));
            Target::Offsets(offsets.collect())
        }
        TargetType::RollbackOf => return Err(missing("rollbackOf")),
    })
}

/// What the plan that another OffsetReset applied had replaced.
async fn rollback(
    reset: &OffsetReset,
    name: &str,
    context: &Context,
) -> Result<Result<Target, String>, ReconcileError> {
    let namespace = reset.namespace().unwrap_or_default();
    let field = "spec.target.rollbackOf.name";
    let Some(other) = objects::get::<OffsetReset>(&context.api(&namespace), name).await? else {
        return Ok(Err(format!("{field} is '{name}': there is no such OffsetReset in namespace {namespace}")));
    };
    let records: Vec<Record> = fetch::records_of(&other, context).await?;
    let applied: Option<&Plan> = records.iter().find(|record| record.applied_at.is_some()).map(|record| &record.plan);
    Ok(undo(applied, &reset.spec.group_id).map_err(|why| format!("{field} is '{name}': {why}")))
}

fn undo(applied: Option<&Plan>, group: &str) -> Result<Target, String> {
    let plan = applied.ok_or("it was never applied, so there is nothing to roll back")?;
    if plan.group != group {
        return Err(format!("it moved group '{}'; set spec.groupId to that", plan.group));
    }
    match rollback_of(plan) {
        Target::Offsets(offsets) if offsets.is_empty() => Err(format!(
            "group '{group}' had no offsets before it, so there are none to go back to; choose another target"
        )),
        target => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use kennet_model::admin::GroupState;
    use kennet_model::reset::{Move, Plan};

    use super::undo;

    #[test]
    fn a_group_that_had_no_offsets_can_not_go_back() {
        let plan = |current| {
            let moved = Move { topic: "t".into(), partition: 0, current, target: 4, start: 0, end: 20 };
            Plan { group: "g".into(), state: GroupState::Empty, moves: vec![moved], notes: Vec::new() }
        };
        assert!(undo(Some(&plan(None)), "g").unwrap_err().contains("no offsets before"));
        assert!(undo(Some(&plan(Some(1))), "g").is_ok());
        assert!(undo(Some(&plan(Some(1))), "h").is_err());
        assert!(undo(None, "g").is_err());
    }
}
