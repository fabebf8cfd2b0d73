//! One task per serving cluster: it waits for news on the management endpoint instead of polling, wakes the cluster's topics and audits
//! their owners. It ends with the cluster.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kennet_api::KafkaCluster;
use kennet_model::cluster::{ClusterName, ValidatedCluster};
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::cluster::first_port;
use crate::context::{ClusterKey, Context};
use crate::error::ReconcileError;
use crate::topic;

/// Between attempts at a cluster that does not answer.
const PAUSE: Duration = Duration::from_secs(5);
/// Even if nothing seems to change.
const AUDIT: Duration = Duration::from_hours(1);

struct Followed {
    key: ClusterKey,
    name: ClusterName,
    uid: String,
    port: u16,
}

/// Follows a cluster, unless that is being done.
pub(super) fn start(cluster: &KafkaCluster, valid: &ValidatedCluster, context: &Arc<Context>) {
    let key = (valid.namespace.clone(), valid.name.to_string());
    let audit = Arc::new(Notify::new());
    {
        let mut followed = context.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.contains_key(&key) {
            return;
        }
        followed.insert(key.clone(), Arc::clone(&audit));
    }
    let followed =
        Followed { key, name: valid.name.clone(), uid: cluster.uid().unwrap_or_default(), port: first_port(valid) };
    let context = Arc::clone(context);
    tokio::spawn(async move {
        follow(&followed, &context, &audit).await;
        context.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(&followed.key);
    });
}

async fn follow(followed: &Followed, context: &Arc<Context>, audit: &Notify) {
    let mut after = -1;
    loop {
        match exists(followed, context).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(cluster = %followed.name, %error, "a cluster could not be read"),
        }
        match wait(followed, context, audit, after).await {
            Ok(Some(offset)) => {
                after = offset;
                look(followed, context).await;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(cluster = %followed.name, %error, "a cluster does not answer");
                sleep(PAUSE).await;
            }
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

/// Waits for news: the offset up to which there are any, or none when there are not.
async fn wait(
    followed: &Followed,
    context: &Context,
    audit: &Notify,
    after: i64,
) -> Result<Option<i64>, ReconcileError> {
    let link = context.link(&followed.key.0, &followed.name, followed.port).await?;
    tokio::select! {
        changes = link.management.changes(after) => {
            let offset = changes?.metadata_offset;
            Ok((offset != after).then_some(offset))
        }
        () = audit.notified() => Ok(Some(after)),
        () = sleep(AUDIT) => Ok(Some(after)),
    }
}

async fn look(followed: &Followed, context: &Arc<Context>) {
    // a full channel means that everything is about to be looked at anyway
    let _ = context.wake.try_send(followed.key.clone());
    let audited = topic::audit(context, &followed.key, &followed.name, followed.port).await;
    if let Err(error) = audited {
        tracing::warn!(cluster = %followed.name, %error, "the owners of topics could not be audited");
        sleep(PAUSE).await;
    }
}
