//! The status of an OffsetReset: the plan in short and the conditions `Ready` and `Applied`.

use kennet_api::{OffsetReset, PlanStatus, PlannedPartition};
use kennet_model::admin::GroupState;
use kube::ResourceExt;

use crate::conditions::{Outcome, condition, conditions};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::offset_reset::build::{config_map_name, job_name};
use crate::offset_reset::decide::{Decision, Shown, State};
use crate::{clock, objects};

/// Partitions that a status lists; the largest moves.
const SAMPLE_MAX: usize = 20;

/// Writes what was decided; what it shows no plan of keeps the last one.
pub(super) async fn write(reset: &OffsetReset, context: &Context, decision: &Decision) -> Result<(), ReconcileError> {
    let live = reset.status.clone().unwrap_or_default();
    let mut status = live.clone();
    if let Some(shown) = &decision.shown {
        status.plan = Some(plan(reset, shown));
        let started = shown.started || matches!(decision.state, State::Applying { .. });
        status.job_name = shown.hash.as_ref().filter(|_| started).map(|hash| job_name(reset, hash));
    }
    if let State::Applied { at } = &decision.state {
        status.applied_at = Some(at.clone());
    }
    let generation = reset.metadata.generation.unwrap_or(0);
    let outcome = outcome(&decision.state);
    let before = live.conditions.clone().unwrap_or_default();
    let now = clock::now();
    let mut all = conditions(&before, generation, &outcome, now);
    let applied = matches!(decision.state, State::Applied { .. });
    all.push(condition(&before, "Applied", applied, generation, &outcome, now));
    status.conditions = Some(all);
    status.observed_generation = Some(generation);
    let (live, status) = (serde_json::to_value(&live)?, serde_json::to_value(&status)?);
    let namespace = reset.namespace().unwrap_or_default();
    objects::apply_status::<OffsetReset>(&context.api(&namespace), &reset.name_any(), &live, &status).await
}

fn outcome(state: &State) -> Outcome {
    let reason = state.reason();
    match state {
        State::Waiting { message, .. } => Outcome::reconciling(false, reason, message.clone()),
        State::GroupNotEmpty => Outcome::reconciling(
            false,
            reason,
            "the group has members: stop its consumers to get a plan that can be approved",
        ),
        State::AwaitingApproval { message } => Outcome::settled(reason, message.clone()),
        State::Applying { held_up: None } => Outcome::reconciling(false, reason, "the Job sets the offsets"),
        State::Applying { held_up: Some(why) } => Outcome::reconciling(false, reason, format!("the Job's {why}")),
        State::Applied { .. } => Outcome::settled(reason, ""),
        State::Expired => Outcome::stalled(false, reason, "spec.notAfter has passed; create a new OffsetReset"),
        State::Stalled { message, .. } => Outcome::stalled(false, reason, message.clone()),
    }
}

fn plan(reset: &OffsetReset, shown: &Shown) -> PlanStatus {
    let plan = &shown.plan;
    let mut moves: Vec<_> = plan.moves.iter().collect();
    moves.sort_by_key(|one| std::cmp::Reverse(one.current.map_or(0, |current| (current - one.target).abs())));
    let sample = moves.into_iter().take(SAMPLE_MAX).map(|one| PlannedPartition {
        topic: Some(one.topic.clone()),
        partition: Some(one.partition),
        current: one.current,
        target: Some(one.target),
        replayed: one.current.map(|current| current - one.target),
    });
    let group = match plan.state {
        GroupState::Missing => "Missing",
        GroupState::Empty => "Empty",
        GroupState::Active => "Active",
    };
    let map = shown.config_map.clone().or_else(|| shown.hash.as_ref().map(|hash| config_map_name(reset, hash)));
    PlanStatus {
        hash: shown.hash.clone(),
        group: Some(group.to_owned()),
        partitions: i32::try_from(plan.moves.len()).ok(),
        records_skipped: Some(plan.skipped()),
        records_replayed: Some(plan.replayed()),
        lag_after: Some(plan.lag_after()),
        config_map_name: map,
        sample: Some(sample.collect()),
    }
}
