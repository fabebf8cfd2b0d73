//! What an OffsetReset does next. Pure: its plans, their Jobs and the group in, a state and at most one act out.

use k8s_openapi::jiff::Timestamp;
use kennet_api::{Approval, OffsetReset};
use kennet_model::admin::GroupState;
use kennet_model::reset::Plan;
use kennet_model::reset::apply::{Step, next_step};
use kube::ResourceExt;

use crate::offset_reset::fetch::{Group, JobState, Record};

/// Notes of a plan that a condition repeats: each is a sentence.
const NOTES_MAX: usize = 5;

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Something that it needs is not there yet.
    Waiting { reason: String, message: String },
    /// The group has members; the plan is only a preview.
    GroupNotEmpty,
    /// A person has to approve.
    AwaitingApproval { message: String },
    /// The Job runs, or would if its pod were not held up.
    Applying { held_up: Option<String> },
    /// The offsets were seen in place.
    Applied { at: String },
    /// It was not applied in time.
    Expired,
    /// A person has to make another one.
    Stalled { reason: &'static str, message: String },
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Write a plan down.
    Record {
        hash: String,
        plan: Plan,
    },
    /// Start the Job of a plan that was written down.
    Start {
        hash: String,
        config_map: String,
    },
    /// Write down that the offsets are in place.
    Applied {
        hash: String,
        config_map: String,
        at: String,
    },
}

/// State, act, and the plan to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) state: State,
    pub(super) act: Act,
    pub(super) shown: Option<Shown>,
}

/// A plan in a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) hash: Option<String>,
    pub(super) config_map: Option<String>,
    pub(super) plan: Plan,
    pub(super) started: bool,
}

impl Decision {
    pub(super) fn only(state: State) -> Self {
        Self { state, act: Act::Nothing, shown: None }
    }
}

impl State {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Waiting { reason, .. } => reason,
            Self::GroupNotEmpty => "GroupNotEmpty",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::Applying { .. } => "Applying",
            Self::Applied { .. } => "Applied",
            Self::Expired => "Expired",
            Self::Stalled { reason, .. } => reason,
        }
    }
}

fn shown(record: &Record) -> Option<Shown> {
    Some(Shown {
        hash: Some(record.hash.clone()),
        config_map: Some(record.config_map.clone()),
        plan: record.plan.clone(),
        started: record.under_way() || record.applied_at.is_some(),
    })
}

/// What needs no cluster: it was applied, or it is too late.
pub(super) fn settled(reset: &OffsetReset, records: &[Record], now: Timestamp) -> Option<Decision> {
    for record in records {
        if let Some(at) = &record.applied_at {
            let state = State::Applied { at: at.clone() };
            return Some(Decision { state, act: Act::Nothing, shown: shown(record) });
        }
    }
    if records.iter().any(Record::under_way) {
        return None;
    }
    let state = match limit(reset) {
        Ok(limit) => limit.filter(|limit| now >= *limit).map(|_| State::Expired)?,
        Err(message) => State::Stalled { reason: "InvalidSpec", message },
    };
    Some(Decision { state, act: Act::Nothing, shown: records.first().and_then(shown) })
}

/// The instant after which nothing may be applied; an error for a text that is none, because it must not mean that there is no limit.
pub(super) fn limit(reset: &OffsetReset) -> Result<Option<Timestamp>, String> {
    let Some(text) = &reset.spec.not_after else { return Ok(None) };
    let parsed: Result<Timestamp, _> = text.parse();
    let wrong = |error| {
        format!("spec.notAfter is '{text}': {error}; create a new OffsetReset with a time such as 2026-01-31T12:00:00Z")
    };
    parsed.map(Some).map_err(wrong)
}

/// Decides, for an OffsetReset that [`settled`] left open.
pub(super) fn decide(reset: &OffsetReset, records: &[Record], group: &Group, now: Timestamp) -> Decision {
    if let Some(record) = records.iter().find(|record| record.under_way()) {
        let expired = match limit(reset) {
            Ok(limit) => limit.is_some_and(|limit| now >= limit),
            Err(_) => true,
        };
        return judge_job(record, group, expired, now);
    }
    if group.state == GroupState::Active {
        let preview = Shown { hash: None, config_map: None, plan: group.fresh.clone(), started: false };
        return Decision { state: State::GroupNotEmpty, act: Act::Nothing, shown: Some(preview) };
    }
    let Some(record) = fitting(reset, records, group) else { return record_fresh(reset, group) };
    if reset.spec.approved_plan.as_ref() == Some(&record.hash) || reset.spec.approval == Some(Approval::Automatic) {
        let act = Act::Start { hash: record.hash.clone(), config_map: record.config_map.clone() };
        return Decision { state: State::Applying { held_up: None }, act, shown: shown(record) };
    }
    Decision { state: awaiting(reset, &record.hash, &record.plan), act: Act::Nothing, shown: shown(record) }
}

/// The plan that still fits, so that new records at the end do not take an approval away: the approved one, or the newest. Not only the
/// newest can: offsets that moved and came back fit an older one.
fn fitting<'a>(reset: &OffsetReset, records: &'a [Record], group: &Group) -> Option<&'a Record> {
    let fits =
        || records.iter().filter(|record| !matches!(next_step(&record.plan, &group.committed), Step::Moved { .. }));
    let approved = fits().find(|record| reset.spec.approved_plan.as_ref() == Some(&record.hash));
    approved.or_else(|| fits().next())
}

fn record_fresh(reset: &OffsetReset, group: &Group) -> Decision {
    let hash = group.fresh.hash(&reset.uid().unwrap_or_default());
    let act = Act::Record { hash: hash.clone(), plan: group.fresh.clone() };
    let plan = group.fresh.clone();
    let state = awaiting(reset, &hash, &plan);
    let shown = Shown { hash: Some(hash), config_map: None, plan, started: false };
    Decision { state, act, shown: Some(shown) }
}

fn awaiting(reset: &OffsetReset, hash: &str, plan: &Plan) -> State {
    let mut message = match &reset.spec.approved_plan {
        Some(approved) if approved != hash => format!(
            "spec.approvedPlan is '{approved}', which is not the plan of this object; look at status.plan and set it to {hash}"
        ),
        _ => format!("look at status.plan and set spec.approvedPlan to {hash}"),
    };
    // who approves has to know what is not as the spec says
    for remark in remarks(plan) {
        message.push_str("; ");
        message.push_str(&remark);
    }
    State::AwaitingApproval { message }
}

/// What a person should know about a plan; the ConfigMap has all of it.
fn remarks(plan: &Plan) -> Vec<String> {
    let unknown = plan.is_of_an_unknown_group().then(|| {
        format!(
            "group '{}' has no offsets yet, and gets its first: is spec.groupId spelt as its consumers have it?",
            plan.group
        )
    });
    let left = plan.notes.len().saturating_sub(NOTES_MAX);
    let more = (left > 0).then(|| format!("and {left} more notes in the plan's ConfigMap"));
    unknown.into_iter().chain(plan.notes.iter().take(NOTES_MAX).cloned()).chain(more).collect()
}

/// A Job's own word is not enough: the offsets themselves say what happened.
fn judge_job(record: &Record, group: &Group, expired: bool, now: Timestamp) -> Decision {
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (hash, config_map) = (record.hash.clone(), record.config_map.clone());
    let (state, act) = match (record.job, next_step(&record.plan, &group.committed)) {
        // it was to be let go when the operator was cut off
        (Some(JobState::Suspended), _) if expired => (State::Expired, Act::Nothing),
        (Some(JobState::Suspended), _) => (State::Applying { held_up: None }, Act::Start { hash, config_map }),
        (Some(JobState::Running), _) => (State::Applying { held_up: record.held_up.clone() }, Act::Nothing),
        // consumers may have gone on since a Job ended well
        (_, Step::Done) | (Some(JobState::Complete), Step::Moved { .. }) => {
            (State::Applied { at: at.clone() }, Act::Applied { hash, config_map, at })
        }
        (Some(JobState::Failed), Step::Commit(_)) if expired => (State::Expired, Act::Nothing),
        (job, step) => (stalled(job, &step), Act::Nothing),
    };
    Decision { state, act, shown: shown(record) }
}

/// Why a person has to look at what became of a Job.
fn stalled(job: Option<JobState>, step: &Step) -> State {
    let (reason, message) = match (job, step) {
        (None, _) => (
            "JobDeleted",
            "the Job was deleted before its end was seen, so whether it moved offsets is not known; look at the group's offsets, then \
             create a new OffsetReset"
                .to_owned(),
        ),
        (_, Step::Moved { partition, found, expected }) => {
            let text = |offset: Option<i64>| offset.map_or("none".to_owned(), |offset| offset.to_string());
            let (found, expected) = (text(*found), text(*expected));
            let message = format!(
                "{partition} is at {found} and the plan saw {expected}: consumers ran meanwhile; stop them and create a new OffsetReset"
            );
            ("OffsetsMoved", message)
        }
        (Some(JobState::Complete), _) => (
            "NotInPlace",
            "the Job succeeded, and the group's offsets are those from before; read its log, then create a new OffsetReset".to_owned(),
        ),
        _ => (
            "ApplyFailed",
            "the Job failed and no offset was changed; read its log, then create a new OffsetReset".to_owned(),
        ),
    };
    State::Stalled { reason, message }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
