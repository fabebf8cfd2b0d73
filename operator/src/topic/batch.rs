//! Many Topics of one cluster at once: one snapshot, a plan for each, their steps in waves, and a snapshot again, until nothing is left to do.
//!
//! A Topic's steps keep their order. What fails ends that Topic's pass and no other's.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use futures::{StreamExt, stream};
use kennet_contract::management::TopicOwner;
use kennet_model::topic::{Observed, Step, ValidatedTopic, plan};

use crate::conditions::Outcome;
use crate::error::ReconcileError;
use crate::topic::{refusal, status};

/// Claims by another operator or a changed topic are settled by planning again.
const ROUNDS: usize = 3;
/// Requests at one time of steps that are one request each.
const CONCURRENT: usize = 16;

/// What an object wants.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) topic: ValidatedTopic,
    pub(super) me: TopicOwner,
    pub(super) generation: i64,
    /// What the batch put back because somebody else had changed it, in words.
    pub(super) reverted: Arc<OnceLock<String>>,
}

/// What became of it.
pub(super) type Settled = Result<(Outcome, Option<status::Report>), Arc<ReconcileError>>;

/// Keys with new values; none for the default.
pub(super) type Changes = Vec<(String, Option<String>)>;

/// Each topic of a snapshot by name: none when there is no such topic.
pub(super) type Snapshot = BTreeMap<String, Result<Option<Observed>, ReconcileError>>;

/// The cluster, as a batch sees it.
pub(super) trait Broker: Sync {
    /// The topics of these names.
    fn snapshot(&self, names: &[String]) -> impl Future<Output = Result<Snapshot, ReconcileError>> + Send;

    /// Changes the configs of many topics, with an outcome for each.
    fn alter(
        &self,
        changes: &BTreeMap<String, Changes>,
    ) -> impl Future<Output = Result<BTreeMap<String, Result<(), ReconcileError>>, ReconcileError>> + Send;

    /// Carries out any other step.
    fn apply(&self, wanted: &Wanted, step: &Step) -> impl Future<Output = Result<(), ReconcileError>> + Send;
}

/// A Topic that is not settled yet.
struct Open {
    index: usize,
    /// Whether its topic serves, for what is said of a refusal.
    serves: bool,
    steps: std::vec::IntoIter<Step>,
    /// What its change of configs puts back.
    reverts: Option<String>,
}

/// Settles all; the answers are in the order of `wanted`.
pub(super) async fn settle(broker: &impl Broker, wanted: &[Wanted]) -> Vec<Settled> {
    let mut settled: Vec<Option<Settled>> = wanted.iter().map(|_| None).collect();
    for round in 0..=ROUNDS {
        let left: Vec<usize> = (0..wanted.len()).filter(|index| settled[*index].is_none()).collect();
        if left.is_empty() {
            break;
        }
        let mut names: Vec<String> = left.iter().map(|index| wanted[*index].topic.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        match broker.snapshot(&names).await {
            Ok(snapshot) => {
                let open = plans(wanted, &left, snapshot, round == ROUNDS, &mut settled);
                waves(broker, wanted, open, &mut settled).await;
            }
            Err(error) => {
                let error = Arc::new(error);
                left.into_iter().for_each(|index| settled[index] = Some(Err(Arc::clone(&error))));
            }
        }
    }
    let unplanned = || Err(Arc::new(ReconcileError::Lost));
    settled.into_iter().map(|one| one.unwrap_or_else(unplanned)).collect()
}

/// A plan for each; those with nothing to do, or in the last round, are settled.
fn plans(
    wanted: &[Wanted],
    left: &[usize],
    snapshot: Snapshot,
    last: bool,
    settled: &mut [Option<Settled>],
) -> Vec<Open> {
    let snapshot: BTreeMap<_, _> = snapshot.into_iter().map(|(name, found)| (name, found.map_err(Arc::new))).collect();
    let mut open = Vec::new();
    for &index in left {
        let Wanted { topic, me, generation, .. } = &wanted[index];
        let observed = match snapshot.get(&topic.name) {
            Some(Ok(observed)) => observed.as_ref(),
            Some(Err(error)) => {
                settled[index] = Some(Err(Arc::clone(error)));
                continue;
            }
            None => {
                settled[index] = Some(Err(Arc::new(ReconcileError::Lost)));
                continue;
            }
        };
        let plan = plan(topic, me, *generation, observed);
        if plan.steps.is_empty() || last {
            settled[index] = Some(Ok(status::report(topic, me, &plan, observed)));
        } else {
            let reverts = observed.and_then(|observed| reverts(*generation, observed, &plan.steps));
            open.push(Open { index, serves: status::serves(me, observed), steps: plan.steps.into_iter(), reverts });
        }
    }
    open
}

/// What these steps put back, if the spec is the one that was applied already: the keys, what they were, and what they are again.
fn reverts(generation: i64, observed: &Observed, steps: &[Step]) -> Option<String> {
    if observed.ownership.generation != generation {
        return None;
    }
    let changes = steps.iter().find_map(|step| match step {
        Step::AlterConfig { changes } => Some(changes),
        _ => None,
    })?;
    let text = |value: Option<&String>| value.map_or("the default".to_owned(), |value| format!("'{value}'"));
    let one = |(key, value): &(String, Option<String>)| {
        format!("{key} was {} and is {} again", text(observed.config.get(key)), text(value.as_ref()))
    };
    Some(changes.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The next step of each, until none has any: changes of configs in one request, the others a few at a time.
async fn waves(broker: &impl Broker, wanted: &[Wanted], mut open: Vec<Open>, settled: &mut [Option<Settled>]) {
    while !open.is_empty() {
        let mut altered: Vec<(usize, Changes)> = Vec::new();
        let mut others: Vec<(usize, Step)> = Vec::new();
        open.retain_mut(|one| match one.steps.next() {
            Some(Step::AlterConfig { changes }) => {
                altered.push((one.index, changes));
                true
            }
            Some(step) => {
                others.push((one.index, step));
                true
            }
            None => false,
        });
        let indexes: Vec<usize> = altered.iter().map(|(index, _)| *index).collect();
        let mut failed = alter(broker, wanted, altered).await;
        for one in open.iter_mut().filter(|one| indexes.contains(&one.index)) {
            let is_done = failed.iter().all(|(index, _)| *index != one.index);
            if let Some(text) = one.reverts.take().filter(|_| is_done) {
                // who changes it a second time meanwhile is told of once
                let _ = wanted[one.index].reverted.set(text);
            }
        }
        let applied = stream::iter(others)
            .map(async |(index, step)| (index, broker.apply(&wanted[index], &step).await))
            .buffer_unordered(CONCURRENT);
        let applied: Vec<_> = applied.collect().await;
        failed.extend(applied.into_iter().filter_map(|(index, done)| Some((index, Arc::new(done.err()?)))));
        for (index, error) in failed {
            let Some(at) = open.iter().position(|one| one.index == index) else { continue };
            let one = open.swap_remove(at);
            settled[index] = Some(refused(&wanted[index].topic, one.serves, error));
        }
    }
}

async fn alter(
    broker: &impl Broker,
    wanted: &[Wanted],
    altered: Vec<(usize, Changes)>,
) -> Vec<(usize, Arc<ReconcileError>)> {
    if altered.is_empty() {
        return Vec::new();
    }
    let name = |index: usize| wanted[index].topic.name.clone();
    // only its owner changes a topic, so there are no two of a name
    let indexes: BTreeMap<String, usize> = altered.iter().map(|(index, _)| (name(*index), *index)).collect();
    let changes: BTreeMap<String, Changes> =
        altered.into_iter().map(|(index, changes)| (name(index), changes)).collect();
    match broker.alter(&changes).await {
        Ok(mut outcomes) => {
            let outcome = |(name, index)| match outcomes.remove(&name) {
                Some(Ok(())) => None,
                Some(Err(error)) => Some((index, Arc::new(error))),
                None => Some((index, Arc::new(ReconcileError::Lost))),
            };
            indexes.into_iter().filter_map(outcome).collect()
        }
        Err(error) => {
            let error = Arc::new(error);
            indexes.into_values().map(|index| (index, Arc::clone(&error))).collect()
        }
    }
}

/// What a cluster refuses for good needs a person; anything else is tried again.
fn refused(topic: &ValidatedTopic, serves: bool, error: Arc<ReconcileError>) -> Settled {
    match refusal::refusal(topic, &error) {
        Some((reason, message)) => Ok((Outcome::stalled(serves, reason, message), None)),
        None => Err(error),
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
