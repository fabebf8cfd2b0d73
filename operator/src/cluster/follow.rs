//! One task per serving cluster: it waits for news on the management endpoint instead of polling, wakes the cluster and its topics and
//! audits their owners. It ends with the cluster.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kennet_api::KafkaCluster;
use kennet_model::cluster::ClusterName;
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::context::{ClusterKey, Context};
use crate::error::ReconcileError;
use crate::topic;

/// Between attempts at a cluster that does not answer.
const PAUSE: Duration = Duration::from_secs(5);
/// Between audits that fail again and again.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Even if nothing seems to change.
const AUDIT: Duration = Duration::from_hours(1);

struct Followed {
    key: ClusterKey,
    name: ClusterName,
    uid: String,
}

/// Follows a cluster, unless that is being done.
pub(super) fn start(cluster: &KafkaCluster, name: ClusterName, context: &Arc<Context>) {
    let key = (cluster.namespace().unwrap_or_default(), name.to_string());
    let audit = Arc::new(Notify::new());
    {
        let mut followed = context.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.contains_key(&key) {
            return;
        }
        followed.insert(key.clone(), Arc::clone(&audit));
    }
    let followed = Followed { key, name, uid: cluster.uid().unwrap_or_default() };
    let context = Arc::clone(context);
    tokio::spawn(async move {
        follow(&followed, &context, &audit).await;
        context.unfollow(&followed.key);
    });
}

/// When a cluster's owners are audited. An audit stays owed until one succeeds, since the news that asked for it are not told twice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schedule {
    due: Instant,
    failures: u32,
}

impl Schedule {
    fn new(now: Instant) -> Self {
        Self { due: now, failures: 0 }
    }

    /// There are news. They do not cut a pause after a failure short, or a busy cluster would be asked without any.
    fn news(&mut self, now: Instant) {
        if self.failures == 0 {
            self.due = self.due.min(now);
        }
    }

    fn audited(&mut self, succeeded: bool, now: Instant) {
        self.failures = if succeeded { 0 } else { self.failures.saturating_add(1) };
        let pause = match self.failures {
            0 => AUDIT,
            failures => PAUSE.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(PAUSE_MAX),
        };
        self.due = now + pause;
    }
}

async fn follow(followed: &Followed, context: &Arc<Context>, audit: &Notify) {
    let mut after = -1;
    let mut schedule = Schedule::new(Instant::now());
    loop {
        match exists(followed, context).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(cluster = %followed.name, %error, "a cluster could not be read"),
        }
        match wait(followed, context, audit, after, schedule.due).await {
            Ok(News::Metadata(offset)) => {
                after = offset;
                // a full channel means that everything is about to be looked at anyway
                let _ = context.wake.try_send(followed.key.clone());
                // what holds a restart, or the budget, may be gone with a topic
                context.look_at(&followed.key);
                schedule.news(Instant::now());
            }
            Ok(News::Deleted) => schedule.news(Instant::now()),
            Ok(News::None) => {}
            Err(error) => {
                tracing::debug!(cluster = %followed.name, %error, "a cluster does not answer");
                sleep(PAUSE).await;
                continue;
            }
        }
        if schedule.due <= Instant::now() {
            let audited = topic::audit(context, &followed.key, &followed.name).await;
            if let Err(error) = &audited {
                tracing::warn!(cluster = %followed.name, %error, "the owners of topics could not be audited");
            }
            schedule.audited(audited.is_ok(), Instant::now());
        }
    }
}

async fn exists(followed: &Followed, context: &Context) -> Result<bool, ReconcileError> {
    let api = context.api::<kube::core::DeserializeGuard<KafkaCluster>>(&followed.key.0);
    let found = api.get_opt(&followed.key.1).await.map_err(ReconcileError::api("read a KafkaCluster"))?;
    Ok(found.is_some_and(|live| {
        live.uid().as_deref() == Some(followed.uid.as_str()) && live.meta().deletion_timestamp.is_none()
    }))
}

/// Why it was waited no longer.
enum News {
    /// The metadata has come this far.
    Metadata(i64),
    /// A Topic was deleted.
    Deleted,
    /// Nothing happened, or an audit is due.
    None,
}

/// Waits for news until an audit is due.
async fn wait(
    followed: &Followed,
    context: &Context,
    audit: &Notify,
    after: i64,
    due: Instant,
) -> Result<News, ReconcileError> {
    let link = context.link(&followed.key.0, &followed.name).await?;
    tokio::select! {
        // a notification is not lost to news that come at the same time
        biased;
        () = audit.notified() => Ok(News::Deleted),
        changes = link.management.changes(after) => {
            let offset = changes?.metadata_offset;
            Ok(if offset == after { News::None } else { News::Metadata(offset) })
        }
        () = sleep_until(due) => Ok(News::None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::Instant;

    use super::{AUDIT, PAUSE, PAUSE_MAX, Schedule, start};
    use crate::cluster::{fixture, pass};
    use crate::health::ClusterLabels;

    /// An operator that starts while a spec is invalid has to look after the topics all the same.
    #[tokio::test]
    async fn a_cluster_that_serves_is_followed_although_its_spec_is_invalid_now() {
        let object = json!({
            "apiVersion": "kennet.dev/v1alpha1", "kind": "KafkaCluster", "metadata": {"name": "orders", "namespace": "ns", "uid": "1"},
            "spec": {"brokers": 1, "storage": {"size": "1Gi"}, "config": {"log.retention.hourz": "4"}},
        });
        let mut pod = serde_json::to_value(fixture::pod(&fixture::cluster(""), "ready")).unwrap();
        pod["spec"] = json!({"containers": [{"name": "broker", "ports": [{"containerPort": 9092}]}]});
        let cluster = serde_json::from_value(object.clone()).unwrap();
        for ready in [false, true] {
            let (object, pod) = (object.clone(), pod.clone());
            let missing =
                json!({"kind": "Status", "status": "Failure", "code": 404, "message": "", "reason": "NotFound"});
            let context = Arc::new(fixture::answering(move |_, path| match path.rsplit_once('/').unwrap().1 {
                "orders" => (200, object.clone()),
                "orders-main-0" if ready => (200, pod.clone()),
                _ => (404, missing.clone()),
            }));
            let (outcome, _, _) = pass(&cluster, &context).await.unwrap();
            assert_eq!(outcome.reason, "InvalidSpec");
            let key = ("ns".to_owned(), "orders".to_owned());
            assert_eq!(context.followed.lock().unwrap().contains_key(&key), ready);
        }
    }

    /// A gauge that stayed would raise alarms about a cluster that is gone.
    #[tokio::test]
    async fn of_a_cluster_that_is_gone_nothing_is_shown() {
        let context = Arc::new(fixture::answering(|_, _| {
            (404, json!({"kind": "Status", "status": "Failure", "code": 404, "message": "", "reason": "NotFound"}))
        }));
        let gauges = [&context.metrics.topics_retained, &context.metrics.topic_deletions_held];
        let keys = ["orders", "other"].map(|name| ("ns".to_owned(), name.to_owned()));
        for gauge in gauges {
            for key in &keys {
                gauge.get_or_create(&ClusterLabels::new(key)).set(3);
            }
        }
        context.set_deletions_held(&keys[0], Some(true));
        let cluster = serde_json::from_value(json!({
            "apiVersion": "kennet.dev/v1alpha1", "kind": "KafkaCluster", "metadata": {"name": "orders", "namespace": "ns", "uid": "1"},
            "spec": {"brokers": 1, "storage": {"size": "1Gi"}},
        }));
        start(&cluster.unwrap(), fixture::cluster("").name, &context);
        assert!(context.followed.lock().unwrap().contains_key(&keys[0]));
        let ended = async {
            while context.followed.lock().unwrap().contains_key(&keys[0]) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        for gauge in gauges {
            assert_eq!(keys.each_ref().map(|key| gauge.get(&ClusterLabels::new(key)).is_some()), [false, true]);
        }
        assert_eq!(context.deletions_held(&keys[0]), None);
    }

    #[test]
    fn polls_without_news_do_not_put_the_audit_off() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.audited(true, start);
        assert_eq!(schedule.due, start + AUDIT);
    }

    #[test]
    fn a_failed_audit_is_owed_until_one_succeeds() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.audited(false, start);
        assert_eq!(schedule.due, start + PAUSE);
        schedule.news(start);
        schedule.audited(false, start);
        assert_eq!(schedule.due, start + 2 * PAUSE);
        for _ in 0..100 {
            schedule.audited(false, start);
            assert!(schedule.due <= start + PAUSE_MAX);
        }
        schedule.audited(true, start);
        assert_eq!(schedule.due, start + AUDIT);
    }

    #[test]
    fn news_are_audited_at_once() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.audited(true, start);
        schedule.news(start + Duration::from_secs(1));
        assert_eq!(schedule.due, start + Duration::from_secs(1));
    }
}
