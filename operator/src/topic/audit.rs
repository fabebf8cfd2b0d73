//! What becomes of topics whose object is gone: released and kept, or scheduled for deletion, each only with proof.
//!
//! Proof: the claim in the cluster's metadata says so, a live read finds no such object or another uid, the definition is established, the
//! namespace is watched, the KafkaCluster is not being deleted, and not too many go at once.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kennet_api::{KafkaCluster, Topic};
use kennet_contract::management::{TopicOwner, TopicOwnerAction, TopicOwnerChange, TopicOwnership};
use kennet_model::cluster::ClusterName;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, CustomResourceExt, Resource, ResourceExt};

use crate::clock;
use crate::context::{ClusterKey, Context, Link};
use crate::error::ReconcileError;
use crate::health::ClusterLabels;

/// At most so many topics, or a tenth of all owned ones, wait for their deletion at one time.
const HELD_ABOVE: usize = 10;

/// What is done about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Keep,
    Release,
    Delete { at_ms: i64 },
}

/// Goes through the owners of a cluster's topics.
pub(crate) async fn audit(
    context: &Context,
    key: &ClusterKey,
    cluster: &ClusterName,
    port: u16,
) -> Result<(), ReconcileError> {
    let link = context.link(&key.0, cluster, port).await?;
    let owners = link.management.topic_owners().await?;
    let retained = owners.topics.iter().filter(|row| row.owner.is_none()).count();
    let labels = ClusterLabels { namespace: key.0.clone(), cluster: key.1.clone() };
    context.metrics.topics_retained.get_or_create(&labels).set(i64::try_from(retained).unwrap_or(i64::MAX));
    let owned = owners.topics.iter().filter(|row| row.owner.is_some()).count();
    let mut scheduled = owners.topics.iter().filter(|row| row.delete_at_ms.is_some()).count();
    for row in &owners.topics {
        let Some(owner) = row.owner.as_ref().filter(|owner| owner.namespace == key.0) else { continue };
        if row.delete_at_ms.is_some() || !gone(context, owner).await? {
            continue;
        }
        let Some(live) = proof(context, key).await? else { return Ok(()) };
        match verdict(row, scheduled, owned, clock::now_ms()) {
            Verdict::Keep => {
                let note = format!(
                    "{scheduled} topics wait for their deletion already; topic '{}' is kept for now",
                    row.topic
                );
                context.event(&live, true, "MassDeletionHeld", &note).await;
            }
            Verdict::Release => {
                change(&link, row, TopicOwnerAction::Release { owner: owner.clone() }).await?;
                let note = format!("Topic {} is gone; topic '{}' and its records stay", owner.name, row.topic);
                context.event(&live, false, "TopicRetained", &note).await;
            }
            Verdict::Delete { at_ms } => {
                scheduled += 1;
                let action = TopicOwnerAction::ScheduleDeletion { owner: owner.clone(), delete_at_ms: at_ms };
                change(&link, row, action).await?;
                let note = format!("Topic {} is gone; topic '{}' is deleted after its delay", owner.name, row.topic);
                context.event(&live, false, "TopicDeletionScheduled", &note).await;
            }
        }
    }
    Ok(())
}

fn verdict(row: &TopicOwnership, scheduled: usize, owned: usize, now_ms: i64) -> Verdict {
    match row.delete_after_ms {
        None => Verdict::Release,
        Some(_) if scheduled >= HELD_ABOVE.max(owned / 10) => Verdict::Keep,
        Some(delay) => Verdict::Delete { at_ms: now_ms.saturating_add(delay) },
    }
}

async fn change(link: &Link, row: &TopicOwnership, action: TopicOwnerAction) -> Result<(), ReconcileError> {
    link.management.change_topic_owner(&TopicOwnerChange { topic: row.topic.clone(), action }).await?;
    Ok(())
}

/// A live read: no such object, or another one of that name.
async fn gone(context: &Context, owner: &TopicOwner) -> Result<bool, ReconcileError> {
    let api = context.api::<Topic>(&owner.namespace);
    let found: Option<PartialObjectMeta<Topic>> =
        api.get_metadata_opt(&owner.name).await.map_err(ReconcileError::api("read a Topic"))?;
    // another uid takes the topic over by itself
    Ok(found.is_none())
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
    use kennet_contract::management::TopicOwnership;

    use super::{Verdict, verdict};

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

    #[test]
    fn a_topic_is_kept_unless_its_claim_says_otherwise() {
        assert_eq!(verdict(&row(None), 0, 5, 100), Verdict::Release);
        assert_eq!(verdict(&row(Some(50)), 0, 5, 100), Verdict::Delete { at_ms: 150 });
    }

    #[test]
    fn many_deletions_at_once_are_held() {
        assert_eq!(verdict(&row(Some(0)), 10, 50, 100), Verdict::Keep);
        assert_eq!(verdict(&row(Some(0)), 10, 500, 100), Verdict::Delete { at_ms: 100 });
        assert_eq!(verdict(&row(Some(0)), 50, 500, 100), Verdict::Keep);
    }
}
