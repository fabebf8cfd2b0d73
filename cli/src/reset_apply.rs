//! `kennet reset-apply`: what the Job of an OffsetReset runs. It applies one plan, once, and says what became of it.
//!
//! All partitions are committed in one request, which the coordinator takes only while the group has no members. A Job that is started again
//! finds the group either as the plan saw it, and commits, or where the plan wanted it, and is done; anything else is left alone. Nothing is
//! committed at or after the OffsetReset's time, even if the Job is still there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kennet_client::{Client, ErrorCode};
use kennet_model::admin::{Admin, Partition};
use kennet_model::reset::Plan;
use kennet_model::reset::apply::{Step, next_step};
use serde_json::json;

use crate::command_line::ResetApply;
use crate::error::CliError;
use crate::groups::admin::{ClientAdmin, commits};
use crate::output::{counted, write_bytes};

pub(crate) async fn run(client: &Client, options: &ResetApply, now: impl Fn() -> Timestamp) -> Result<(), CliError> {
    let path = options.plan.display();
    let text = std::fs::read_to_string(&options.plan)
        .map_err(|source| CliError::failed(&format!("reading the plan {path}"), source))?;
    let plan: Plan =
        serde_json::from_str(&text).map_err(|error| CliError::Failed(format!("{path} is not a plan: {error}")))?;
    let committed = ClientAdmin(client).committed(&plan.group).await?;
    match next_step(&plan, &committed) {
        Step::Done => outcome("AlreadyApplied", "every partition is at its target"),
        Step::Moved { partition, found, expected } => {
            let show = |offset: Option<i64>| offset.map_or("no offset".to_owned(), |offset| offset.to_string());
            let message =
                format!("{partition} has {} and the plan saw {}: make a new plan", show(found), show(expected));
            outcome("OffsetsMoved", &message)?;
            Err(CliError::Failed(format!("group '{}': {message}", plan.group)))
        }
        Step::Commit(offsets) => {
            if let Some(message) = too_late(options.not_after.map(|limit| limit.0), now()) {
                outcome("Expired", &message)?;
                return Err(CliError::Failed(format!("group '{}': {message}", plan.group)));
            }
            commit(client, &plan, &offsets).await
        }
    }
}

async fn commit(client: &Client, plan: &Plan, offsets: &BTreeMap<Partition, i64>) -> Result<(), CliError> {
    match client.commit_offsets(&plan.group, &commits(offsets)).await {
        Ok(()) => outcome("Applied", &format!("{} committed", counted(offsets.len(), "partition"))),
        Err(error) if has_members(error.code()) => {
            outcome("GroupNotEmpty", "the group has members: stop them first")?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Why nothing may be committed any more, if that is so.
fn too_late(limit: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let limit = limit.filter(|limit| now >= *limit)?;
    Some(format!("it is {now:.0}, and notAfter is {limit}: nothing was changed; make a new plan with a later time"))
}

/// What a coordinator answers to a commit from outside while the group has members.
fn has_members(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(
            ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::RebalanceInProgress
                | ErrorCode::NonEmptyGroup
        )
    )
}

fn outcome(word: &str, message: &str) -> Result<(), CliError> {
    write_bytes(format!("{}\n", json!({"outcome": word, "message": message})).as_bytes())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::too_late;

    #[test]
    fn nothing_is_committed_from_its_time_on() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(too_late(None, at(100)), None);
        assert_eq!(too_late(Some(at(101)), at(100)), None);
        for limit in [99, 100] {
            let message = too_late(Some(at(limit)), at(100)).unwrap();
            assert!(message.starts_with("it is 1970-01-01T00:01:40Z, and notAfter is 1970-01-01T00:01:"), "{message}");
            assert!(message.ends_with("nothing was changed; make a new plan with a later time"), "{message}");
        }
    }
}
