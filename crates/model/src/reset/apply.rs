//! What to do with a plan, from the offsets that are committed now: so that applying it twice, or after a crash, does no harm.

use std::collections::BTreeMap;

use crate::admin::Partition;
use crate::reset::Plan;

/// The next step of applying a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Every partition is at its target: it has been applied, or there was nothing to do.
    Done,
    /// Every partition is as it was when the plan was made: commit these, all in one request.
    Commit(BTreeMap<Partition, i64>),
    /// Something else has moved the group since: the plan does not hold any more.
    Moved {
        /// The first partition that is elsewhere.
        partition: Partition,
        /// Where it is.
        found: Option<i64>,
        /// Where the plan saw it.
        expected: Option<i64>,
    },
}

/// Compares a plan with what is committed.
#[must_use]
pub fn next_step(plan: &Plan, committed: &BTreeMap<Partition, i64>) -> Step {
    let now = |partition: &Partition| committed.get(partition).copied();
    if plan.moves.iter().all(|one| now(&one.partition()) == Some(one.target)) {
        return Step::Done;
    }
    for one in &plan.moves {
        let partition = one.partition();
        let found = now(&partition);
        if found != one.current {
            return Step::Moved { partition, found, expected: one.current };
        }
    }
    Step::Commit(plan.moves.iter().map(|one| (one.partition(), one.target)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::GroupState;
    use crate::reset::Move;

    fn plan() -> Plan {
        let one = |partition, current, target| Move { topic: "t".into(), partition, current, target, start: 0, end: 9 };
        let moves = vec![one(0, Some(5), 1), one(1, None, 0)];
        Plan { group: "g".into(), state: GroupState::Empty, moves, notes: Vec::new() }
    }

    fn at(offsets: &[(i32, i64)]) -> BTreeMap<Partition, i64> {
        offsets.iter().map(|(partition, offset)| (Partition::new("t", *partition), *offset)).collect()
    }

    #[test]
    fn an_untouched_group_is_committed() {
        assert_eq!(next_step(&plan(), &at(&[(0, 5)])), Step::Commit(at(&[(0, 1), (1, 0)])));
    }

    #[test]
    fn an_applied_plan_is_done() {
        assert_eq!(next_step(&plan(), &at(&[(0, 1), (1, 0)])), Step::Done);
    }

    #[test]
    fn a_group_that_has_moved_is_left_alone() {
        for offsets in [&[(0, 6)][..], &[(0, 5), (1, 4)], &[(0, 1)]] {
            assert!(matches!(next_step(&plan(), &at(offsets)), Step::Moved { .. }), "{offsets:?}");
        }
    }
}
