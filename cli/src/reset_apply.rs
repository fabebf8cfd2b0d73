//! `kennet reset-apply`: what the Job of an OffsetReset runs. It applies one plan, once, and says what became of it.
//!
//! All partitions are committed in one request, which the coordinator takes only while the group has no members. A Job that is started again
//! finds the group either as the plan saw it, and commits, or where the plan wanted it, and is done; anything else is left alone.

use kennet_client::{Client, ErrorCode};
use kennet_model::admin::Admin;
use kennet_model::reset::Plan;
use kennet_model::reset::apply::{Step, next_step};
use serde_json::json;

use crate::command_line::ResetApply;
use crate::error::CliError;
use crate::groups::admin::{ClientAdmin, commits};
use crate::output::write_bytes;

pub(crate) async fn run(client: &Client, options: &ResetApply) -> Result<(), CliError> {
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
        Step::Commit(offsets) => match client.commit_offsets(&plan.group, &commits(&offsets)).await {
            Ok(()) => outcome("Applied", &format!("{} partitions committed", offsets.len())),
            Err(error) if has_members(error.code()) => {
                outcome("GroupNotEmpty", "the group has members: stop them first")?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        },
    }
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
