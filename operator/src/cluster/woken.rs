//! Clusters that have to be looked at although none of their objects changed: their metadata did, or how many deletions of topics are held.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kennet_api::KafkaCluster;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::context::ClusterKey;

type Guarded = DeserializeGuard<KafkaCluster>;

/// Names are gathered for so long, because a thousand topics that are made are a thousand changes of one cluster's metadata.
const LINGER: Duration = Duration::from_secs(1);

/// The watched clusters among those that are named; all of them when names were lost, because none may be missed.
pub(super) fn woken(
    named: broadcast::Receiver<ClusterKey>,
    store: Store<Guarded>,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    futures::stream::unfold(named, |mut named| async move {
        let keys = gathered(&mut named).await?;
        Some((keys, named))
    })
    .flat_map(move |keys| {
        let named = |cluster: &Arc<Guarded>| {
            let meta = cluster.meta();
            let key = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
            keys.as_ref().is_none_or(|keys| keys.contains(&key))
        };
        let found = store.state().into_iter().filter(named).map(|cluster| ObjectRef::from_obj(cluster.as_ref()));
        futures::stream::iter(found.collect::<Vec<_>>())
    })
}

/// What was named in a moment; none inside when names were lost, none at all when no more will come.
async fn gathered(named: &mut broadcast::Receiver<ClusterKey>) -> Option<Option<HashSet<ClusterKey>>> {
    let mut keys = match named.recv().await {
        Ok(key) => Some(HashSet::from([key])),
        Err(RecvError::Lagged(_)) => None,
        Err(RecvError::Closed) => return None,
    };
    tokio::time::sleep(LINGER).await;
    loop {
        match named.try_recv() {
            Ok(key) => keys.iter_mut().for_each(|keys| keys.extend([key.clone()])),
            Err(TryRecvError::Lagged(_)) => keys = None,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kube::core::DeserializeGuard;
    use kube::runtime::{reflector, watcher};
    use tokio::sync::broadcast;

    use super::{Guarded, woken};

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_named_is_looked_at_and_all_are_when_names_were_lost() {
        let (store, mut writer) = reflector::store::<Guarded>();
        for name in ["a", "b"] {
            let object = serde_json::json!({
                "apiVersion": "kennet.dev/v1alpha1", "kind": "KafkaCluster", "metadata": {"name": name, "namespace": "n"},
                "spec": {"brokers": 1, "storage": {"size": "1Gi"}},
            });
            let object: DeserializeGuard<_> = serde_json::from_value(object).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(object));
        }
        let key = |name: &str| ("n".to_owned(), name.to_owned());
        let (sender, named) = broadcast::channel(4);
        for name in ["b", "elsewhere", "b"] {
            sender.send(key(name)).unwrap();
        }
        let mut found = std::pin::pin!(woken(named, store));
        assert_eq!(found.next().await.unwrap().name, "b");
        for name in ["a", "a", "a", "elsewhere", "elsewhere"] {
            sender.send(key(name)).unwrap();
        }
        let mut lost = [found.next().await.unwrap().name, found.next().await.unwrap().name];
        lost.sort();
        assert_eq!(lost, ["a", "b"]);
    }
}
