//! Tests of batches against a cluster in memory that counts its requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kennet_contract::management::TopicOwner;
use kennet_model::topic::{Observed, Step, validate};

use super::{Broker, Changes, Settled, Snapshot, Wanted, settle};
use crate::error::ReconcileError;
use crate::management::ManagementError;

#[derive(Default)]
struct Cluster {
    topics: Mutex<BTreeMap<String, Observed>>,
    requests: Mutex<Vec<String>>,
}

impl Cluster {
    fn log(&self, request: impl Into<String>) {
        self.requests.lock().unwrap().push(request.into());
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Observed)) -> Result<(), ReconcileError> {
        match self.topics.lock().unwrap().get_mut(name) {
            Some(topic) => {
                change(topic);
                Ok(())
            }
            None => Err(ReconcileError::Lost),
        }
    }
}

fn unreachable() -> ReconcileError {
    ManagementError::Unreachable { host: "h".to_owned(), what: "w".to_owned() }.into()
}

fn refused(reason: &str) -> ReconcileError {
    let problem = serde_json::from_value(serde_json::json!({"reason": reason, "message": "no"})).unwrap();
    ManagementError::Refused { host: "h".to_owned(), problem }.into()
}

impl Broker for Cluster {
    async fn snapshot(&self, names: &[String]) -> Result<Snapshot, ReconcileError> {
        self.log(format!("snapshot {}", names.len()));
        let topics = self.topics.lock().unwrap();
        Ok(names.iter().map(|name| (name.clone(), Ok(topics.get(name).cloned()))).collect())
    }

    async fn alter(
        &self,
        changes: &BTreeMap<String, Changes>,
    ) -> Result<BTreeMap<String, Result<(), ReconcileError>>, ReconcileError> {
        self.log(format!("alter {}", changes.len()));
        let altered = changes.iter().map(|(name, changes)| {
            let done = self.change(name, |topic| {
                for (key, value) in changes {
                    match value {
                        Some(value) => topic.config.insert(key.clone(), value.clone()),
                        None => topic.config.remove(key),
                    };
                }
            });
            (name.clone(), done)
        });
        Ok(altered.collect())
    }

    async fn apply(&self, wanted: &Wanted, step: &Step) -> Result<(), ReconcileError> {
        let name = &wanted.topic.name;
        match step {
            Step::Create { .. } if name == "bad" => Err(refused("InvalidReplicationFactor")),
            Step::Create { .. } if name == "later" => Err(unreachable()),
            Step::Create { agreed } => {
                self.log("create");
                // the same name again is no error, as the endpoint's answer is taken
                self.topics.lock().unwrap().entry(name.clone()).or_insert_with(|| Observed {
                    id: "id".to_owned(),
                    partitions: wanted.topic.partitions.unwrap_or(1),
                    replication_factor: 1,
                    config: wanted.topic.config.clone(),
                    ownership: agreed.clone(),
                });
                Ok(())
            }
            Step::Claim { expected, agreed } => {
                self.log("claim");
                let mut free = false;
                self.change(name, |topic| {
                    free = topic.ownership.owner == *expected;
                    if free {
                        topic.ownership = agreed.clone();
                    }
                })?;
                if free { Ok(()) } else { Err(refused("TopicClaimed")) }
            }
            Step::Grow { total } => {
                self.log("grow");
                self.change(name, |topic| topic.partitions = *total)
            }
            Step::AlterConfig { .. } => panic!("configs are altered together"),
        }
    }
}

fn wanted(object: &str, spec: &str, generation: i64) -> Wanted {
    let spec = serde_saphyr::from_str(&format!("{{clusterRef: {{name: c}}, {spec}}}")).unwrap();
    let me = TopicOwner { namespace: "n".into(), name: object.into(), uid: object.into() };
    Wanted { topic: validate(object, &spec).unwrap(), me, generation, reverted: Arc::default() }
}

fn reasons(settled: &[Settled]) -> Vec<&str> {
    settled.iter().map(|one| one.as_ref().map_or_else(|error| error.reason(), |(outcome, _)| &outcome.reason)).collect()
}

fn many(spec: &str, generation: i64) -> Vec<Wanted> {
    (0..500).map(|index| wanted(&format!("t{index}"), spec, generation)).collect()
}

#[tokio::test]
async fn topics_that_are_in_sync_cost_one_snapshot_however_many_they_are() {
    let cluster = Cluster::default();
    let made = settle(&cluster, &many("partitions: 2", 1)).await;
    assert!(reasons(&made).iter().all(|reason| *reason == "InSync"));
    let requests = cluster.requests();
    assert_eq!((requests.len(), &*requests[0], &*requests[501]), (502, "snapshot 500", "snapshot 500"));
    let again = settle(&cluster, &many("partitions: 2", 1)).await;
    assert!(reasons(&again).iter().all(|reason| *reason == "InSync"));
    assert_eq!(cluster.requests(), ["snapshot 500"]);
}

#[tokio::test]
async fn configs_of_many_topics_are_altered_in_one_request() {
    let cluster = Cluster::default();
    settle(&cluster, &many("config: {retention.ms: '5'}", 1)).await;
    cluster.requests();
    for topic in cluster.topics.lock().unwrap().values_mut() {
        topic.config.insert("retention.ms".to_owned(), "7".to_owned());
    }
    let batch = many("config: {retention.ms: '5'}", 1);
    let settled = settle(&cluster, &batch).await;
    let told =
        |wanted: &Wanted| wanted.reverted.get().is_some_and(|text| text == "retention.ms was '7' and is '5' again");
    assert!(batch.iter().all(told), "{:?}", batch[0].reverted);
    assert!(reasons(&settled).iter().all(|reason| *reason == "InSync"));
    assert_eq!(cluster.requests(), ["snapshot 500", "alter 500", "snapshot 500"]);
}

#[tokio::test]
async fn a_topic_that_fails_holds_no_other() {
    let cluster = Cluster::default();
    let batch = ["bad", "good", "later"].map(|name| wanted(name, "replicationFactor: 1", 1));
    let settled = settle(&cluster, &batch).await;
    assert_eq!(reasons(&settled), ["InvalidReplicationFactor", "InSync", "ClusterUnreachable"]);
    assert_eq!(cluster.requests(), ["snapshot 3", "create", "snapshot 1"]);
}

#[tokio::test]
async fn of_two_objects_for_one_topic_in_a_batch_one_has_it() {
    let cluster = Cluster::default();
    let batch = ["a", "b"].map(|object| wanted(object, "topicName: t, partitions: 1", 1));
    let settled = settle(&cluster, &batch).await;
    let mut found = reasons(&settled);
    found.sort_unstable();
    assert_eq!(found, ["InSync", "TopicClaimed"]);
    let owner = cluster.topics.lock().unwrap()["t"].ownership.owner.clone().unwrap();
    let at = usize::from(owner.name == "b");
    assert_eq!(reasons(&settled)[at], "InSync");
}

#[tokio::test]
async fn the_steps_of_a_topic_keep_their_order() {
    let cluster = Cluster::default();
    settle(&cluster, &[wanted("t", "partitions: 1", 1)]).await;
    cluster.requests();
    let batch = [wanted("t", "partitions: 3, config: {retention.ms: '5'}", 2)];
    let settled = settle(&cluster, &batch).await;
    assert_eq!(reasons(&settled), ["InSync"]);
    assert_eq!(batch[0].reverted.get(), None, "a new spec puts nothing back");
    let requests = cluster.requests();
    // who owns a key is written down before it is changed
    assert_eq!(requests, ["snapshot 1", "claim", "grow", "alter 1", "claim", "snapshot 1"]);
}
