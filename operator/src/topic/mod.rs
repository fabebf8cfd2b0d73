//! Topic: one topic of a KafkaCluster, created with its owner or claimed by compare-and-set, altered and grown through Kafka's admin protocol,
//! together with others of its cluster.
//!
//! No finalizer: what becomes of a topic whose object is gone is decided by [`audit`], from the claim in the cluster's own metadata.

mod apply;
mod audit;
mod batch;
mod deletions;
mod desk;
mod fetch;
mod refusal;
mod status;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kennet_api::{KafkaCluster, Topic};
use kennet_contract::management::TopicOwner;
use kennet_model::topic::validate;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::sync::broadcast;

pub(crate) use audit::audit;
pub(crate) use desk::Desks;
pub(crate) use fetch::{Access, Cluster, access, cluster};

use crate::cluster::{scoped, undecodable};
use crate::conditions::Outcome;
use crate::context::{ClusterKey, Context};
use crate::error::ReconcileError;
use crate::health::ReconcileLabels;
use crate::topic::batch::{Settled, Wanted};

/// Even if nothing seems to change.
const AUDIT: Duration = Duration::from_hours(1);
/// A cluster that does not answer is tried again after this; when it does, its topics are woken.
const UNREACHABLE: Duration = Duration::from_secs(10);

type Guarded = DeserializeGuard<Topic>;

/// Runs the controller.
pub(crate) async fn run(context: Arc<Context>, scope: Option<String>, woken: broadcast::Receiver<ClusterKey>) {
    let topics: Api<Guarded> = scoped(&context, scope.as_ref());
    let clusters: Api<DeserializeGuard<KafkaCluster>> = scoped(&context, scope.as_ref());
    let controller = Controller::new(topics, watcher::Config::default());
    let (store, woken_store) = (controller.store(), controller.store());
    controller
        .watches(clusters, watcher::Config::default(), move |cluster| {
            of_cluster(&store, &(cluster.namespace().unwrap_or_default(), cluster.name_any()))
        })
        .reconcile_on(wakes(woken, woken_store))
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|_| async {})
        .await;
}

/// Topics of a cluster that has news.
fn wakes(
    woken: broadcast::Receiver<ClusterKey>,
    store: Store<Guarded>,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    futures::stream::unfold(woken, |mut woken| async move {
        loop {
            match woken.recv().await {
                Ok(key) => return Some((key, woken)),
                // what was missed is looked at with the next news
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
    .flat_map(move |key| futures::stream::iter(of_cluster(&store, &key)))
}

fn of_cluster(store: &Store<Guarded>, (namespace, cluster): &ClusterKey) -> Vec<ObjectRef<Guarded>> {
    let belongs = |topic: &Arc<Guarded>| {
        topic.namespace().as_ref() == Some(namespace)
            && topic.0.as_ref().is_ok_and(|topic| topic.spec.cluster_ref.name == *cluster)
    };
    store.state().into_iter().filter(belongs).map(|topic| ObjectRef::from_obj(topic.as_ref())).collect()
}

/// Has a cluster's owners audited when one of its Topics goes.
pub(crate) async fn watch_deletions(context: Arc<Context>, scope: Option<String>) {
    let topics: Api<Guarded> = scoped(&context, scope.as_ref());
    let events = watcher(topics, watcher::Config::default());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Delete(gone)) => {
                if let Ok(topic) = &gone.0 {
                    context.audit(&(topic.namespace().unwrap_or_default(), topic.spec.cluster_ref.name.clone()));
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the watch of deleted topics is tried again");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    }
}

async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let topic = match &object.0 {
        Ok(topic) => topic,
        Err(invalid) => {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            undecodable::<Topic>(&context, &namespace, &name, &invalid.error).await?;
            return Ok(Action::await_change());
        }
    };
    if topic.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let reverted = Arc::default();
    let settled = pass(topic, &context, &reverted).await;
    if let Some(text) = reverted.get() {
        // nobody would find out otherwise who undid their change
        let note = format!("somebody changed the topic, and spec.drift is Revert: {text}");
        context.event(topic, false, "Reverted", &note).await;
    }
    let (outcome, report, again) = match settled {
        Ok((outcome, report)) => (outcome, report, AUDIT),
        Err(error) => {
            let ready = status::was_ready(topic);
            let outcome = Outcome::reconciling(ready, error.reason(), error.to_string());
            let again = if error.is_conflict() { Duration::from_millis(200) } else { UNREACHABLE };
            (outcome, None, again)
        }
    };
    status::write(topic, &context, &outcome, report).await?;
    let labels = ReconcileLabels { kind: "Topic", reason: outcome.reason };
    context.metrics.reconciles.get_or_create(&labels).inc();
    Ok(Action::requeue(again))
}

async fn pass(topic: &Topic, context: &Arc<Context>, reverted: &Arc<OnceLock<String>>) -> Settled {
    let (namespace, name) = (topic.namespace().unwrap_or_default(), topic.name_any());
    let was_ready = status::was_ready(topic);
    let valid = match validate(&name, &topic.spec) {
        Ok(valid) => valid,
        Err(problems) => return Ok((Outcome::stalled(was_ready, "InvalidSpec", problems.to_string()), None)),
    };
    let key = (namespace.clone(), topic.spec.cluster_ref.name.clone());
    let me = TopicOwner { namespace, name, uid: topic.uid().unwrap_or_default() };
    let generation = topic.metadata.generation.unwrap_or(0);
    let wanted = Wanted { topic: valid, me, generation, reverted: Arc::clone(reverted) };
    desk::ask(context, &key, wanted, was_ready).await
}

fn retry(object: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let labels = ReconcileLabels { kind: "Topic", reason: error.reason().to_owned() };
    context.metrics.reconciles.get_or_create(&labels).inc();
    tracing::warn!(topic = %object.name_any(), %error, "a pass failed and is tried again");
    Action::requeue(Duration::from_secs(5))
}
