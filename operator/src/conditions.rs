//! Conditions as kstatus reads them: `Ready` always; `Reconciling` and `Stalled` only when True.
//!
//! A condition's time changes with its status only, so a reconcile that finds nothing new writes nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it does what it is for.
    pub(crate) ready: bool,
    /// Whether the operator still works on it, or only a person can.
    pub(crate) progress: Progress,
    /// A CamelCase word.
    pub(crate) reason: String,
    /// A sentence, or nothing.
    pub(crate) message: String,
}

/// Whether anything is still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing.
    Settled,
    /// The operator works on it.
    Reconciling,
    /// A person has to act.
    Stalled,
}

impl Outcome {
    /// All is as the spec says.
    pub(crate) fn settled(reason: &str, message: impl Into<String>) -> Self {
        Self { ready: true, progress: Progress::Settled, reason: reason.to_owned(), message: message.into() }
    }

    /// The operator works on it.
    pub(crate) fn reconciling(ready: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { ready, progress: Progress::Reconciling, reason: reason.to_owned(), message: message.into() }
    }

    /// A person has to act.
    pub(crate) fn stalled(ready: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { ready, progress: Progress::Stalled, reason: reason.to_owned(), message: message.into() }
    }
}

/// The conditions of an outcome, with the times of those before where the status did not change.
pub(crate) fn conditions(before: &[Condition], generation: i64, outcome: &Outcome, now: Timestamp) -> Vec<Condition> {
    let mut all = vec![condition(before, "Ready", outcome.ready, generation, outcome, now)];
    match outcome.progress {
        Progress::Settled => {}
        Progress::Reconciling => all.push(condition(before, "Reconciling", true, generation, outcome, now)),
        Progress::Stalled => all.push(condition(before, "Stalled", true, generation, outcome, now)),
    }
    all
}

/// One condition.
pub(crate) fn condition(
    before: &[Condition],
    kind: &str,
    status: bool,
    generation: i64,
    outcome: &Outcome,
    now: Timestamp,
) -> Condition {
    /// The API's own limit.
    const MESSAGE_CHARS_MAX: usize = 32_000;
    let status = if status { "True" } else { "False" };
    let same = before.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: outcome.reason.clone(),
        message: outcome.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        observed_generation: Some(generation),
        last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::{Outcome, conditions};

    #[test]
    fn a_time_changes_with_its_status_only() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = conditions(&[], 1, &Outcome::reconciling(false, "Starting", "a"), at(1));
        let second = conditions(&first, 1, &Outcome::stalled(false, "Broken", "b"), at(2));
        assert_eq!(second.iter().map(|one| one.last_transition_time.0).collect::<Vec<_>>(), [at(1), at(2)]);
        let third = conditions(&second, 2, &Outcome::settled("Serving", ""), at(3));
        assert_eq!(third.len(), 1);
        assert_eq!(third[0].last_transition_time.0, at(3));
    }
}
