//! From what is wanted of a group's offsets, and what the cluster says, to a list of moves.
//!
//! The rules of each target are those of Kafka's `kafka-consumer-groups --reset-offsets`: targets by number are brought into the
//! partition's range with a note; a time behind the last record means the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::admin::{Admin, GroupState, Partition, Position};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group: String,
    /// Which partitions.
    pub scope: Scope,
    /// Where to.
    pub target: Target,
}

/// Which partitions are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of these topics.
    Topics(Vec<TopicScope>),
    /// All that the group has committed an offset for.
    Committed,
}

/// A topic, or some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicScope {
    /// The topic.
    pub topic: String,
    /// Its partitions; none for all.
    pub partitions: Option<Vec<i32>>,
}

/// Where a group is moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The oldest records.
    Earliest,
    /// The end.
    Latest,
    /// Where it is; partitions without an offset get the end.
    Current,
    /// One offset for all partitions.
    Offset(i64),
    /// So many records on, or back when negative.
    ShiftBy(i64),
    /// The first records of this time or later, in milliseconds since 1970.
    Timestamp(i64),
    /// An offset for each partition; those that are not named stay.
    Offsets(BTreeMap<Partition, i64>),
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The group.
    pub group: String,
    /// Its state when the plan was made.
    pub state: GroupState,
    /// Every partition in scope, in order.
    pub moves: Vec<Move>,
    /// What a person should know about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Plan {
    /// Whether nobody has heard of the group, which gets its first offsets then. A misspelt name looks the same.
    #[must_use]
    pub fn is_of_an_unknown_group(&self) -> bool {
        self.state == GroupState::Missing && self.moves.iter().all(|one| one.current.is_none())
    }
}

/// One partition of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The committed offset; none without one.
    #[serde(default)]
    pub current: Option<i64>,
    /// The offset that will be committed.
    pub target: i64,
    /// The partition's first offset.
    pub start: i64,
    /// The partition's end.
    pub end: i64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError<E: std::error::Error + 'static> {
    /// The cluster did not answer.
    #[error(transparent)]
    Admin(E),
    /// A topic of the scope does not exist.
    #[error("topic '{topic}' does not exist: name a topic of this cluster")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A partition of the scope does not exist.
    #[error("topic '{topic}' has no partition {partition}: it has {count}, from 0")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// How many it has.
        count: i32,
    },
    /// There is nothing to shift from.
    #[error("group '{group}' has no committed offset for {partition}, so it can't be shifted: choose another target")]
    NothingCommitted {
        /// The group.
        group: String,
        /// The partition.
        partition: Partition,
    },
    /// The scope is empty.
    #[error("group '{group}' has committed no offsets: name the topics")]
    EmptyScope {
        /// The group.
        group: String,
    },
}

impl Move {
    /// The partition.
    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition::new(&self.topic, self.partition)
    }
}

impl Plan {
    /// Records that will be read again.
    #[must_use]
    pub fn replayed(&self) -> i64 {
        self.moves.iter().filter_map(|one| Some((one.current? - one.target).max(0))).sum()
    }

    /// Records that will not be read.
    #[must_use]
    pub fn skipped(&self) -> i64 {
        self.moves.iter().filter_map(|one| Some((one.target - one.current?).max(0))).sum()
    }

    /// Records that are left to read afterwards.
    #[must_use]
    pub fn lag_after(&self) -> i64 {
        self.moves.iter().map(|one| (one.end - one.target).max(0)).sum()
    }

    /// A name for exactly these moves of this object (`uid`): an approval of it approves nothing else. The ends of partitions are not part
    /// of it, since producers go on meanwhile.
    #[must_use]
    pub fn hash(&self, uid: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(format!("{uid}\n{}\n", self.group));
        for one in &self.moves {
            digest.update(format!("{}\n{} {:?} {}\n", one.topic, one.partition, one.current, one.target));
        }
        let hex: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("sha256-{hex}")
    }
}

/// The target that undoes a plan. Partitions that had no offset keep theirs: an offset can't be taken back by a commit.
#[must_use]
pub fn rollback_of(plan: &Plan) -> Target {
    Target::Offsets(plan.moves.iter().filter_map(|one| Some((one.partition(), one.current?))).collect())
}

/// Makes a plan.
///
/// # Errors
/// When the scope names what does not exist, or the cluster does not answer.
pub async fn plan<A: Admin + Sync>(admin: &A, request: &Request) -> Result<Plan, PlanError<A::Error>> {
    let state = admin.group_state(&request.group).await.map_err(PlanError::Admin)?;
    let committed = admin.committed(&request.group).await.map_err(PlanError::Admin)?;
    let mut notes = Vec::new();
    let partitions = scope(admin, request, &committed, &mut notes).await?;
    let ask = async |position| admin.offsets(&partitions, position).await.map_err(PlanError::Admin);
    let start = ask(Position::Earliest).await?;
    let end = ask(Position::Latest).await?;
    let found = match request.target {
        Target::Timestamp(at) => ask(Position::At(at)).await?,
        _ => BTreeMap::new(),
    };
    let mut moves = Vec::new();
    for partition in &partitions {
        let current = committed.get(partition).copied();
        let (start, end) = (start.get(partition).copied().unwrap_or(0), end.get(partition).copied().unwrap_or(0));
        let wanted = match &request.target {
            Target::Earliest => start,
            Target::Latest => end,
            Target::Current => current.unwrap_or(end),
            Target::Timestamp(_) => found.get(partition).copied().unwrap_or(end),
            Target::Offset(offset) => within(partition, *offset, start, end, &mut notes),
            Target::Offsets(offsets) => match offsets.get(partition) {
                Some(offset) => within(partition, *offset, start, end, &mut notes),
                None => continue,
            },
            Target::ShiftBy(records) => {
                let nothing =
                    || PlanError::NothingCommitted { group: request.group.clone(), partition: partition.clone() };
                let shifted = current.ok_or_else(nothing)?.saturating_add(*records);
                within(partition, shifted, start, end, &mut notes)
            }
        };
        let Partition { topic, partition } = partition.clone();
        moves.push(Move { topic, partition, current, target: wanted, start, end });
    }
    Ok(Plan { group: request.group.clone(), state, moves, notes })
}

/// The partitions in scope, in order.
async fn scope<A: Admin + Sync>(
    admin: &A,
    request: &Request,
    committed: &BTreeMap<Partition, i64>,
    notes: &mut Vec<String>,
) -> Result<Vec<Partition>, PlanError<A::Error>> {
    let mut found = Vec::new();
    match &request.scope {
        Scope::Topics(topics) => {
            for wanted in topics {
                let topic = &wanted.topic;
                let count = admin.partition_count(topic).await.map_err(PlanError::Admin)?;
                let count = count.ok_or_else(|| PlanError::NoTopic { topic: topic.clone() })?;
                let indexes = wanted.partitions.clone().unwrap_or_else(|| (0..count).collect());
                if let Some(partition) = indexes.iter().copied().find(|index| !(0..count).contains(index)) {
                    return Err(PlanError::NoPartition { topic: topic.clone(), partition, count });
                }
                found.extend(indexes.into_iter().map(|index| Partition::new(topic, index)));
            }
        }
        Scope::Committed => {
            let mut counts = BTreeMap::new();
            for partition in committed.keys() {
                if !counts.contains_key(&partition.topic) {
                    let count = admin.partition_count(&partition.topic).await.map_err(PlanError::Admin)?;
                    counts.insert(partition.topic.clone(), count.unwrap_or(0));
                }
                if partition.partition < counts[&partition.topic] {
                    found.push(partition.clone());
                } else {
                    notes.push(format!("{partition} does not exist any more and is left alone"));
                }
            }
            if found.is_empty() {
                return Err(PlanError::EmptyScope { group: request.group.clone() });
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn within(partition: &Partition, offset: i64, start: i64, end: i64, notes: &mut Vec<String>) -> i64 {
    let inside = offset.clamp(start, end.max(start));
    if inside != offset {
        notes.push(format!("{partition}: offset {offset} lies outside of {start} to {end}, so it becomes {inside}"));
    }
    inside
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Future, ready};

    use super::*;

    /// One topic `t` with three partitions holding offsets 10 to 20; a record every second from second 0.
    struct Cluster {
        committed: BTreeMap<Partition, i64>,
    }

    impl Admin for Cluster {
        type Error = Infallible;

        fn partition_count(&self, topic: &str) -> impl Future<Output = Result<Option<i32>, Infallible>> + Send {
            ready(Ok((topic == "t").then_some(3)))
        }

        fn group_state(&self, _: &str) -> impl Future<Output = Result<GroupState, Infallible>> + Send {
            ready(Ok(GroupState::Empty))
        }

        fn committed(&self, _: &str) -> impl Future<Output = Result<BTreeMap<Partition, i64>, Infallible>> + Send {
            ready(Ok(self.committed.clone()))
        }

        fn offsets(
            &self,
            partitions: &[Partition],
            position: Position,
        ) -> impl Future<Output = Result<BTreeMap<Partition, i64>, Infallible>> + Send {
            let offset = match position {
                Position::Earliest => 10,
                Position::Latest => 20,
                Position::At(ms) => (10 + ms.div_euclid(1000)).clamp(10, 20),
            };
            ready(Ok(partitions.iter().map(|partition| (partition.clone(), offset)).collect()))
        }
    }

    fn targets(scope: Scope, target: Target) -> Result<Vec<i64>, String> {
        made(scope, target).map(|plan| plan.moves.iter().map(|one| one.target).collect())
    }

    fn made(scope: Scope, target: Target) -> Result<Plan, String> {
        let committed = [(Partition::new("t", 0), 12), (Partition::new("t", 1), 18), (Partition::new("gone", 0), 5)];
        let cluster = Cluster { committed: committed.into() };
        let request = Request { group: "g".to_owned(), scope, target };
        let mut future = Box::pin(plan(&cluster, &request));
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(outcome) => outcome.map_err(|error| error.to_string()),
            std::task::Poll::Pending => Err("a cluster that answers at once made the plan wait".to_owned()),
        }
    }

    fn topic() -> Scope {
        Scope::Topics(vec![TopicScope { topic: "t".to_owned(), partitions: None }])
    }

    #[test]
    fn each_target_follows_kafkas_rule() {
        assert_eq!(targets(topic(), Target::Earliest), Ok(vec![10, 10, 10]));
        assert_eq!(targets(topic(), Target::Latest), Ok(vec![20, 20, 20]));
        assert_eq!(targets(topic(), Target::Current), Ok(vec![12, 18, 20]));
        assert_eq!(targets(topic(), Target::Offset(15)), Ok(vec![15, 15, 15]));
        assert_eq!(targets(topic(), Target::Offset(3)), Ok(vec![10, 10, 10]));
        assert_eq!(targets(topic(), Target::Timestamp(4000)), Ok(vec![14, 14, 14]));
        assert_eq!(targets(Scope::Committed, Target::ShiftBy(-5)), Ok(vec![10, 13]));
        assert_eq!(targets(topic(), Target::Offsets([(Partition::new("t", 2), 11)].into())), Ok(vec![11]));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = targets(topic(), Target::ShiftBy(1)).unwrap_err();
        assert!(error.contains("no committed offset for t-2"), "{error}");
        let partitions = Some(vec![3]);
        let scope = Scope::Topics(vec![TopicScope { topic: "t".to_owned(), partitions }]);
        assert_eq!(targets(scope, Target::Latest), Err("topic 't' has no partition 3: it has 3, from 0".to_owned()));
    }

    #[test]
    fn a_deleted_topic_is_left_alone_and_said() {
        let plan = made(Scope::Committed, Target::Earliest).unwrap();
        assert_eq!(plan.moves.len(), 2);
        assert_eq!(plan.notes, ["gone-0 does not exist any more and is left alone"]);
    }

    #[test]
    fn a_plan_counts_what_it_does() {
        let plan = made(topic(), Target::Offset(15)).unwrap();
        assert_eq!((plan.replayed(), plan.skipped(), plan.lag_after()), (3, 3, 15));
    }

    #[test]
    fn an_approval_is_for_one_object_and_one_plan() {
        let plan = made(topic(), Target::Earliest).unwrap();
        let mut moved = plan.clone();
        moved.moves[0].current = Some(13);
        let mut grown = plan.clone();
        grown.moves[0].end = 99;
        assert_ne!(plan.hash("a"), plan.hash("b"));
        assert_ne!(plan.hash("a"), moved.hash("a"));
        assert_eq!(plan.hash("a"), grown.hash("a"));
    }

    #[test]
    fn a_rollback_goes_back_to_what_was_committed() {
        let plan = made(topic(), Target::Earliest).unwrap();
        let back = [(Partition::new("t", 0), 12), (Partition::new("t", 1), 18)];
        assert_eq!(rollback_of(&plan), Target::Offsets(back.into()));
    }
}
