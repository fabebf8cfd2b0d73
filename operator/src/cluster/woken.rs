//! Clusters that have to be looked at although none of their objects changed: their metadata did, or how many deletions of topics are held.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kennet_api::KafkaCluster;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::context::ClusterKey;

type Guarded = DeserializeGuard<KafkaCluster>;

/// The watched clusters among those that are named; all of them when names were lost, because none may be missed.
pub(super) fn woken(
    named: broadcast::Receiver<ClusterKey>,
    store: Store<Guarded>,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    futures::stream::unfold(named, |mut named| async move {
        match named.recv().await {
            Ok(key) => Some((Some(key), named)),
            Err(RecvError::Lagged(_)) => Some((None, named)),
            Err(RecvError::Closed) => None,
        }
    })
    .flat_map(move |key| {
        let named = |cluster: &Arc<Guarded>| {
            let meta = cluster.meta();
            key.as_ref().is_none_or(|(namespace, name)| {
                meta.namespace.as_ref() == Some(namespace) && meta.name.as_ref() == Some(name)
            })
        };
        let found = store.state().into_iter().filter(named).map(|cluster| ObjectRef::from_obj(cluster.as_ref()));
        futures::stream::iter(found.collect::<Vec<_>>())
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kube::core::DeserializeGuard;
    use kube::runtime::{reflector, watcher};
    use tokio::sync::broadcast;

    use super::{Guarded, woken};

    #[tokio::test]
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
        let (sender, named) = broadcast::channel(2);
        for name in ["b", "elsewhere"] {
            sender.send(key(name)).unwrap();
        }
        let mut found = std::pin::pin!(woken(named, store));
        assert_eq!(found.next().await.unwrap().name, "b");
        for name in ["a", "a", "elsewhere", "elsewhere"] {
            sender.send(key(name)).unwrap();
        }
        let mut lost = [found.next().await.unwrap().name, found.next().await.unwrap().name];
        lost.sort();
        assert_eq!(lost, ["a", "b"]);
    }
}
