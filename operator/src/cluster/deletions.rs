//! What the audit of a cluster's topics means for the cluster: while too many wait for their deletion, a person should look. Pure.

use kennet_api::KafkaCluster;

use crate::conditions::{Outcome, Progress};

const REASON: &str = "MassDeletionHeld";

/// No number: conditions change with what people do, not with every topic that goes.
const MESSAGE: &str = "more Topics with onDelete Delete are gone than topics may be deleted in an hour (10, or a tenth of those that are owned), \
     and the other topics wait; apply their Topics again to keep them, or leave it, and they go hour by hour";

/// What becomes of a cluster's outcome. `held` is what the last audit found; before the first one what was said last is said again, so that an
/// operator that starts takes nothing back that it then says again.
pub(super) fn outcome(outcome: Outcome, held: Option<bool>, said: bool) -> Outcome {
    let held = held.unwrap_or(said);
    match outcome.progress {
        Progress::Settled if held => Outcome::stalled(outcome.ready, REASON, MESSAGE),
        _ => outcome,
    }
}

/// Whether the status says so; only for what is shown until the first audit.
pub(super) fn said(cluster: &KafkaCluster) -> bool {
    let conditions = cluster.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Stalled" && one.reason == REASON)
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE, outcome};
    use crate::conditions::Outcome;

    #[test]
    fn a_cluster_whose_deletions_are_held_is_ready_and_stalled_with_the_remedy() {
        let serving = || Outcome::settled("Serving", "");
        assert_eq!(outcome(serving(), Some(false), true), serving());
        assert_eq!(outcome(serving(), Some(true), false), Outcome::stalled(true, "MassDeletionHeld", MESSAGE));
        assert!(MESSAGE.contains("apply their Topics again to keep them"));
    }

    #[test]
    fn what_was_said_stays_until_the_first_audit() {
        let serving = || Outcome::settled("Serving", "");
        assert_eq!(outcome(serving(), None, true).reason, "MassDeletionHeld");
        assert_eq!(outcome(serving(), None, false), serving());
    }

    #[test]
    fn other_trouble_comes_first() {
        let rolling = || Outcome::reconciling(true, "Rolling", "broker 0 restarts");
        let shrinks = || Outcome::stalled(true, "ShrinkRefused", "m");
        assert_eq!(outcome(rolling(), Some(true), true), rolling());
        assert_eq!(outcome(shrinks(), Some(true), true), shrinks());
    }
}
