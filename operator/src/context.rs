//! What every reconcile has at hand: the API client, settings, events, counters, and how to reach a cluster.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Secret};
use kennet_api::names::RESTART_INPUTS_ANNOTATION;
use kennet_contract::{ClusterId, PeerIdentity, ports};
use kennet_model::cluster::ClusterName;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Config, Resource, ResourceExt};
use tokio::sync::{Notify, broadcast, mpsc};

use crate::arguments::Arguments;
use crate::clock;
use crate::cluster::{clients_port, too_old};
use crate::error::{ReconcileError, said};
use crate::health::Metrics;
use crate::management::{Management, ManagementError};
use crate::pki::{self, Pair};
use crate::{objects, topic};

/// Clusters that wait to be looked at; whoever falls further behind looks at all.
const LOOKS_MAX: usize = 256;

/// A cluster's namespace and name.
pub(crate) type ClusterKey = (String, String);

/// What every reconcile has at hand.
pub(crate) struct Context {
    pub(crate) client: Client,
    /// For evictions: it does not try again by itself.
    pub(crate) evictions: Client,
    pub(crate) arguments: Arguments,
    pub(crate) metrics: Metrics,
    /// Clusters whose topics should be looked at again.
    pub(crate) wake: mpsc::Sender<ClusterKey>,
    /// Clusters that are followed, and how to make one audit its owners now.
    pub(crate) followed: Mutex<HashMap<ClusterKey, Arc<Notify>>>,
    /// Clusters that should be looked at although none of their objects changed.
    looks: broadcast::Sender<ClusterKey>,
    /// Whether the last audit of a cluster's topics found deletions that are held; absent before the first.
    deletions_held: Mutex<HashMap<ClusterKey, bool>>,
    /// Clusters whose spec had gone back when they were looked at last.
    went_back: Mutex<HashSet<ClusterKey>>,
    /// Where Topics are settled.
    pub(crate) desks: topic::Desks,
    events: Recorder,
}

/// The client for everything, and the one for evictions. A budget that allows none answers 429, which the first would try again for minutes,
/// longer and longer apart; the pass would hang and nothing else of the cluster be looked at.
pub(crate) fn clients(config: Config) -> Result<(Client, Client), kube::Error> {
    let mut once = config.clone();
    once.default_retry = false;
    Ok((Client::try_from(config)?, Client::try_from(once)?))
}

/// A cluster that can be talked to.
pub(crate) struct Link {
    pub(crate) management: Management,
    /// Where Kafka's protocol is spoken, as `host:port`.
    pub(crate) bootstrap: String,
    /// What the pod that runs was made of.
    inputs: Option<String>,
}

impl Link {
    /// Refuses a cluster that a newer operator looks after: whoever wants to change anything of it asks this first.
    pub(crate) async fn check_age(&self) -> Result<(), ReconcileError> {
        let contract = self.management.status().await?.contract;
        match too_old(self.inputs.as_deref(), Some(contract)) {
            Some(message) => Err(ReconcileError::OperatorTooOld { message }),
            None => Ok(()),
        }
    }
}

impl Context {
    pub(crate) fn new(client: Client, evictions: Client, arguments: Arguments, wake: mpsc::Sender<ClusterKey>) -> Self {
        let reporter =
            Reporter { controller: "kennet-operator".to_owned(), instance: Some(arguments.pod_name.clone()) };
        let events = Recorder::new(client.clone(), reporter);
        Self {
            client,
            evictions,
            arguments,
            metrics: Metrics::new(),
            wake,
            followed: Mutex::default(),
            looks: broadcast::Sender::new(LOOKS_MAX),
            deletions_held: Mutex::default(),
            went_back: Mutex::default(),
            desks: topic::Desks::default(),
            events,
        }
    }

    /// Has a cluster looked at, as if one of its objects had changed.
    pub(crate) fn look_at(&self, key: &ClusterKey) {
        // without a controller there is nobody to look, and one that starts looks at all
        let _ = self.looks.send(key.clone());
    }

    /// The clusters that are to be looked at from now on.
    pub(crate) fn looks(&self) -> broadcast::Receiver<ClusterKey> {
        self.looks.subscribe()
    }

    /// Ends what is known and shown of a cluster that is gone. One of the same name is followed only after that, so nothing of its own is lost.
    pub(crate) fn unfollow(&self, key: &ClusterKey) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.forget(key);
        self.set_deletions_held(key, None);
        followed.remove(key);
    }

    /// Whether deletions of a cluster's topics are held; none before the first audit.
    pub(crate) fn deletions_held(&self, key: &ClusterKey) -> Option<bool> {
        self.deletions_held.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// What an audit found; none when the cluster is gone. The cluster is looked at when that is new.
    pub(crate) fn set_deletions_held(&self, key: &ClusterKey, held: Option<bool>) {
        let before = {
            let mut all = self.deletions_held.lock().unwrap_or_else(PoisonError::into_inner);
            match held {
                Some(held) => all.insert(key.clone(), held),
                None => all.remove(key),
            }
        };
        if before != held {
            self.look_at(key);
        }
    }

    /// Notes whether a cluster's spec has gone back; its owners are audited while it has and once more when it has no longer, because
    /// deletions are called off and scheduled again then.
    pub(crate) fn set_went_back(&self, key: &ClusterKey, now: bool) {
        let before = {
            let mut all = self.went_back.lock().unwrap_or_else(PoisonError::into_inner);
            if now { !all.insert(key.clone()) } else { all.remove(key) }
        };
        if before || now {
            self.audit(key);
        }
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Tells people what happened; an event that can't be written is only logged.
    pub(crate) async fn event<K: Resource<DynamicType = ()>>(&self, object: &K, warn: bool, reason: &str, note: &str) {
        self.event_about(object, None, warn, reason, note).await;
    }

    /// An event that is about a second object too. Within a few minutes, events of one reason about the same objects become one, which
    /// keeps the first note.
    pub(crate) async fn event_about<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        secondary: Option<ObjectReference>,
        warn: bool,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_: if warn { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: reason.to_owned(),
            secondary,
        };
        if let Err(error) = self.events.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(error = said(&error), reason, "an event could not be written");
        }
    }

    /// Makes the task that follows a cluster audit its topics' owners.
    pub(crate) fn audit(&self, key: &ClusterKey) {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = followed.get(key) {
            notify.notify_one();
        }
    }

    /// The way to a cluster's first broker.
    pub(crate) async fn link(&self, namespace: &str, cluster: &ClusterName) -> Result<Link, ReconcileError> {
        let host = cluster.host(namespace, "0");
        let unreachable = |what: &str| ManagementError::Unreachable { host: host.clone(), what: what.to_owned() };
        let pod = objects::get::<Pod>(&self.api(namespace), &cluster.pod(0)).await?;
        let inputs = pod.as_ref().and_then(|pod| pod.annotations().get(RESTART_INPUTS_ANNOTATION).cloned());
        // not the spec's, which a restart may have to wait for
        let port = pod.as_ref().and_then(clients_port).unwrap_or(ports::CLIENTS);
        let address = pod.and_then(|pod| pod.status?.pod_ip).ok_or_else(|| unreachable("its pod does not run"))?;
        let secret = objects::get::<Secret>(&self.api(namespace), &cluster.ca_secret()).await?;
        let secret = secret.ok_or_else(|| unreachable("its CA does not exist yet"))?;
        let (cluster_id, ca) = read_ca(&secret)?;
        let management = operator_client(&address, &host, cluster_id, &ca)?;
        let bootstrap = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        Ok(Link { management, bootstrap, inputs })
    }
}

/// A client of a broker's management endpoint with a fresh certificate.
pub(crate) fn operator_client(
    address: &str,
    host: &str,
    cluster_id: ClusterId,
    ca: &Pair,
) -> Result<Management, ReconcileError> {
    let own = pki::new_leaf(ca, PeerIdentity::Operator { cluster: cluster_id }, &[], clock::now())?;
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
        + &format!(":{}", ports::MANAGEMENT);
    Ok(Management::new(address, host.to_owned(), &ca.certificate, &own)?)
}

/// Cluster id and CA from their Secret.
pub(crate) fn read_ca(secret: &Secret) -> Result<(ClusterId, Pair), ReconcileError> {
    let text = |key: &str| secret_text(secret, key);
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let damaged = |what: String| ReconcileError::Damaged { object: format!("Secret {name}"), what };
    let cluster_id = text("clusterId").ok_or_else(|| damaged("it has no clusterId".to_owned()))?;
    let cluster_id = cluster_id.parse().map_err(|error| damaged(format!("{error}")))?;
    match (text("ca.crt"), text("ca.key")) {
        (Some(certificate), Some(key)) => Ok((cluster_id, Pair { certificate, key })),
        _ => Err(damaged("it has no ca.crt or no ca.key".to_owned())),
    }
}

/// One text of a Secret.
pub(crate) fn secret_text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use tokio::sync::Notify;

    use crate::cluster::fixture;

    #[tokio::test]
    async fn a_cluster_is_looked_at_when_its_deletions_become_held_or_free_and_not_otherwise() {
        let context = fixture::answering(|_, _| (404, serde_json::json!({})));
        let key = ("n".to_owned(), "c".to_owned());
        let mut looks = context.looks();
        assert_eq!(context.deletions_held(&key), None);
        for (held, looked) in [(false, true), (false, false), (true, true), (true, false), (false, true)] {
            context.set_deletions_held(&key, Some(held));
            assert_eq!((context.deletions_held(&key), looks.try_recv().is_ok()), (Some(held), looked));
        }
    }

    /// What was called off is scheduled again by the audit after the end, of which no other news come.
    #[tokio::test]
    async fn owners_are_audited_while_a_spec_has_gone_back_and_once_behind_it() {
        let context = fixture::answering(|_, _| (404, serde_json::json!({})));
        let key = ("n".to_owned(), "c".to_owned());
        let audit = Arc::new(Notify::new());
        context.followed.lock().unwrap().insert(key.clone(), Arc::clone(&audit));
        for (back, audited) in [(false, false), (true, true), (true, true), (false, true), (false, false)] {
            context.set_went_back(&key, back);
            assert_eq!(audit.notified().now_or_never().is_some(), audited);
        }
    }
}
