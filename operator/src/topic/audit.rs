//! What becomes of topics whose object is gone: released and kept, or scheduled for deletion, each only with proof.
//!
//! Proof: the claim in the cluster's metadata says so, a live read finds no such object or one of another topic, the definition is established, the
//! namespace is watched, and the KafkaCluster is not being deleted. While its spec has gone back, nothing is released or deleted, and what was
//! scheduled is called off: the next audit after that schedules it again. How many go in an hour is [`super::deletions`]' to say.

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kennet_api::{KafkaCluster, Topic};
use kennet_contract::management::{TopicOwner, TopicOwnerAction, TopicOwnerChange, TopicOwnership};
use kennet_model::cluster::ClusterName;
use kube::core::DeserializeGuard;
use kube::{Api, CustomResourceExt, Resource, ResourceExt};
use serde_json::json;

use crate::cluster::spec_went_back;
use crate::context::{ClusterKey, Context, Link};
use crate::error::ReconcileError;
use crate::health::ClusterLabels;
use crate::topic::deletions::{Ledger, hourly_limit};
use crate::{clock, objects};

/// Where the ledger stands in its ConfigMap.
const LEDGER_KEY: &str = "times-ms";

/// What is done about a topic whose object is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Too many wait for their deletion already; a later audit decides.
    Keep,
    Release,
    Delete {
        at_ms: i64,
    },
    /// The cluster's spec went back, and so the Topics may have.
    CallOff,
}

/// Goes through the owners of a cluster's topics.
pub(crate) async fn audit(context: &Context, key: &ClusterKey, cluster: &ClusterName) -> Result<(), ReconcileError> {
    let link = context.link(&key.0, cluster).await?;
    match link.check_age().await {
        // the cluster's condition says so; the operator that is younger will look
        Err(ReconcileError::OperatorTooOld { .. }) => return Ok(()),
        checked => checked?,
    }
    let owners = link.management.topic_owners().await?;
    let mut orphans = Vec::new();
    for row in &owners.topics {
        let Some(owner) = row.owner.as_ref().filter(|owner| owner.namespace == key.0) else { continue };
        if row.delete_at_ms.is_none() && gone(context, key, row, owner).await? {
            orphans.push((row, owner));
        }
    }
    let owned = owners.topics.iter().filter(|row| row.owner.is_some()).count();
    let waiting: Vec<i64> = owners.topics.iter().filter_map(|row| row.delete_at_ms).collect();
    let limit = hourly_limit(owned);
    let mut ledger = Ledger::new(&written(context, key).await?, &waiting, limit, clock::now_ms());
    show(context, key, &owners.topics, &ledger);
    let scheduled = scheduled(&owners.topics, &key.0);
    if orphans.is_empty() && scheduled.is_empty() {
        return Ok(());
    }
    let Some(live) = proof(context, key).await? else { return Ok(()) };
    if went_back(&link, &live).await? {
        for row in scheduled {
            carry_out(context, &link, &live, row, &Verdict::CallOff).await?;
        }
        return Ok(());
    }
    if orphans.is_empty() {
        return Ok(());
    }
    let held_before = ledger.held();
    let verdicts: Vec<Verdict> = orphans.iter().map(|(row, _)| verdict(row, &mut ledger, clock::now_ms())).collect();
    if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Delete { .. })) {
        write_down(context, key, &live, &ledger).await?;
    }
    if ledger.held() > held_before || verdicts.contains(&Verdict::Keep) {
        let note = format!(
            "{} topics wait for their deletion because no more than {limit} go in an hour; apply their Topics again to keep them",
            ledger.held()
        );
        context.event(&live, true, "MassDeletionHeld", &note).await;
    }
    show(context, key, &owners.topics, &ledger);
    for ((row, owner), verdict) in orphans.into_iter().zip(verdicts) {
        carry_out(context, &link, &live, (row, owner), &verdict).await?;
    }
    Ok(())
}

fn show(context: &Context, key: &ClusterKey, rows: &[TopicOwnership], ledger: &Ledger) {
    let labels = ClusterLabels::new(key);
    let retained = rows.iter().filter(|row| row.owner.is_none()).count();
    for (gauge, count) in
        [(&context.metrics.topics_retained, retained), (&context.metrics.topic_deletions_held, ledger.held())]
    {
        gauge.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    context.set_deletions_held(key, Some(ledger.held() > 0));
}

async fn carry_out(
    context: &Context,
    link: &Link,
    live: &KafkaCluster,
    (row, owner): (&TopicOwnership, &TopicOwner),
    verdict: &Verdict,
) -> Result<(), ReconcileError> {
    let (name, topic) = (&owner.name, &row.topic);
    let (action, reason, note) = match verdict {
        Verdict::Keep => return Ok(()),
        Verdict::Release => (
            TopicOwnerAction::Release { owner: owner.clone() },
            "TopicRetained",
            format!("Topic {name} is gone; topic '{topic}' and its records stay"),
        ),
        Verdict::CallOff => (
            TopicOwnerAction::CancelDeletion { owner: owner.clone() },
            "TopicDeletionHeld",
            format!("topic '{topic}' is not deleted, because the spec of its KafkaCluster went back"),
        ),
        Verdict::Delete { at_ms } => (
            TopicOwnerAction::ScheduleDeletion { owner: owner.clone(), delete_at_ms: *at_ms },
            "TopicDeletionScheduled",
            format!("Topic {name} is gone; topic '{topic}' is deleted at {}", clock::text(*at_ms)),
        ),
    };
    link.management.change_topic_owner(&TopicOwnerChange { topic: topic.clone(), action }).await?;
    context.event_about(live, Some(reference(owner)), false, reason, &note).await;
    Ok(())
}

/// The object that is gone. Events about the same objects count as one, so each topic's needs another.
fn reference(owner: &TopicOwner) -> ObjectReference {
    ObjectReference {
        api_version: Some(Topic::api_version(&()).into_owned()),
        kind: Some(Topic::kind(&()).into_owned()),
        namespace: Some(owner.namespace.clone()),
        name: Some(owner.name.clone()),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Topics of this namespace's objects that wait for their deletion.
fn scheduled<'a>(rows: &'a [TopicOwnership], namespace: &str) -> Vec<(&'a TopicOwnership, &'a TopicOwner)> {
    let owned = rows.iter().filter(|row| row.delete_at_ms.is_some());
    owned.filter_map(|row| Some((row, row.owner.as_ref()?))).filter(|(_, owner)| owner.namespace == namespace).collect()
}

/// Whether the object is older than what was applied of it. Both are read now, since nothing else would be proof.
async fn went_back(link: &Link, live: &KafkaCluster) -> Result<bool, ReconcileError> {
    let applied = link.management.last_applied().await?.applied;
    let (uid, generation) = (live.uid().unwrap_or_default(), live.metadata.generation.unwrap_or(0));
    Ok(spec_went_back(&uid, generation, applied.as_ref()).is_some())
}

fn verdict(row: &TopicOwnership, ledger: &mut Ledger, now_ms: i64) -> Verdict {
    match row.delete_after_ms {
        None => Verdict::Release,
        Some(delay) => match ledger.book(now_ms.saturating_add(delay)) {
            Some(at_ms) => Verdict::Delete { at_ms },
            None => Verdict::Keep,
        },
    }
}

/// Where times of deletions stand: with the cluster's owners they are lost once they are due, and with this process at any time.
fn ledger_name(key: &ClusterKey) -> String {
    format!("{}-topic-deletions", key.1)
}

async fn written(context: &Context, key: &ClusterKey) -> Result<String, ReconcileError> {
    let map = objects::get::<ConfigMap>(&context.api(&key.0), &ledger_name(key)).await?;
    Ok(map.and_then(|map| map.data?.remove(LEDGER_KEY)).unwrap_or_default())
}

async fn write_down(
    context: &Context,
    key: &ClusterKey,
    cluster: &KafkaCluster,
    ledger: &Ledger,
) -> Result<(), ReconcileError> {
    let (api, name) = (context.api::<ConfigMap>(&key.0), ledger_name(key));
    let live = objects::get(&api, &name).await?;
    let uid = cluster.uid().unwrap_or_default();
    objects::check_owner(live.as_ref(), &uid)?;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": key.0,
            "ownerReferences": [{
                "apiVersion": "kennet.dev/v1alpha1", "kind": "KafkaCluster", "name": key.1, "uid": uid,
                "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "data": {LEDGER_KEY: ledger.text()},
    });
    objects::apply(&api, live.as_ref(), &map).await.map(drop)
}

/// A live read: there is no such object any more, or it is another one that does not want this topic.
async fn gone(
    context: &Context,
    key: &ClusterKey,
    row: &TopicOwnership,
    owner: &TopicOwner,
) -> Result<bool, ReconcileError> {
    let api = context.api::<DeserializeGuard<Topic>>(&owner.namespace);
    let found = api.get_opt(&owner.name).await.map_err(ReconcileError::api("read a Topic"))?;
    Ok(match found.as_ref().map(|topic| &topic.0) {
        None => true,
        // what can't be read proves nothing
        Some(Err(_)) => false,
        Some(Ok(topic)) => !wants(topic, row, &key.1),
    })
}

/// Whether an object is about this topic. One that was created again under the owner's name takes the topic over by itself.
fn wants(topic: &Topic, row: &TopicOwnership, cluster: &str) -> bool {
    let name = topic.spec.topic_name.clone().unwrap_or_else(|| topic.name_any());
    name == row.topic && topic.spec.cluster_ref.name == cluster
}

/// The KafkaCluster, if nothing speaks against deleting: the definition is there and the cluster stays.
async fn proof(context: &Context, key: &ClusterKey) -> Result<Option<KafkaCluster>, ReconcileError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(context.client.clone());
    let definition = definitions.get_opt(Topic::crd_name()).await.map_err(ReconcileError::api("read a definition"))?;
    let established =
        definition.filter(|definition| definition.metadata.deletion_timestamp.is_none()).is_some_and(|one| {
            let conditions = one.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        });
    let clusters = context.api::<DeserializeGuard<KafkaCluster>>(&key.0);
    let cluster = clusters.get_opt(&key.1).await.map_err(ReconcileError::api("read a KafkaCluster"))?;
    let cluster = cluster.filter(|cluster| established && cluster.meta().deletion_timestamp.is_none());
    let watched = context.arguments.namespaces();
    let in_scope = watched.is_empty() || watched.contains(&key.0);
    Ok(cluster.and_then(|cluster| cluster.0.ok()).filter(|cluster| in_scope && cluster.uid().is_some()))
}

#[cfg(test)]
mod tests {
    use kennet_api::Topic;
    use kennet_contract::management::{TopicOwner, TopicOwnership};

    use super::{Ledger, Verdict, reference, scheduled, verdict, wants};

    fn row(delete_after_ms: Option<i64>) -> TopicOwnership {
        TopicOwnership {
            topic: "t".into(),
            topic_id: "id".into(),
            owner: None,
            managed_keys: Vec::new(),
            generation: 1,
            delete_after_ms,
            delete_at_ms: None,
        }
    }

    fn object(name: &str, spec: &str) -> Topic {
        let text = format!("{{apiVersion: a, kind: b, metadata: {{name: {name}, uid: '2'}}, spec: {{{spec}}}}}");
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_topic_is_kept_unless_its_claim_says_otherwise() {
        let mut ledger = Ledger::new("", &[], 10, 100);
        assert_eq!(verdict(&row(None), &mut ledger, 100), Verdict::Release);
        assert_eq!(verdict(&row(Some(50)), &mut ledger, 100), Verdict::Delete { at_ms: 150 });
    }

    #[test]
    fn what_is_called_off_is_what_waits_and_has_an_owner_here() {
        let owner =
            |namespace: &str| Some(TopicOwner { namespace: namespace.into(), name: "t".into(), uid: "u".into() });
        let of = |owner, delete_at_ms| TopicOwnership { owner, delete_at_ms, ..row(Some(5)) };
        let rows = [of(owner("n"), Some(9)), of(owner("n"), None), of(owner("other"), Some(9)), of(None, Some(9))];
        assert_eq!(scheduled(&rows, "n"), [(&rows[0], rows[0].owner.as_ref().unwrap())]);
    }

    #[test]
    fn an_object_of_the_same_name_for_another_topic_or_cluster_is_no_owner() {
        assert!(wants(&object("t", "clusterRef: {name: c}"), &row(None), "c"));
        assert!(wants(&object("x", "clusterRef: {name: c}, topicName: t"), &row(None), "c"));
        assert!(!wants(&object("t", "clusterRef: {name: c}, topicName: other"), &row(None), "c"));
        assert!(!wants(&object("t", "clusterRef: {name: d}"), &row(None), "c"));
    }

    #[test]
    fn topics_that_go_together_have_events_of_their_own() {
        let owner = |name: &str| TopicOwner { namespace: "n".into(), name: name.into(), uid: "u".into() };
        assert_ne!(reference(&owner("a")), reference(&owner("b")));
    }
}
