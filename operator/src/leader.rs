//! Leader election on one Lease: 60 s long, renewed every 20 s, released on SIGTERM.
//!
//! A second operator waits; it takes the lease over when it has run out by its own clock since the last change that it saw, or at once
//! when the holder's pod is gone. Every write of the operator is safe under two leaders; the lease only saves work.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use crate::clock;
use crate::error::{has_code, said};

const NAME: &str = "kennet-operator";
const LEASE: Duration = Duration::from_mins(1);
const RENEW: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(2);
/// The client itself waits for ever on a connection whose other end is gone without a word.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The lease as one candidate sees it.
pub(crate) struct Leader {
    leases: Api<Lease>,
    pods: Api<Pod>,
    identity: String,
}

/// The last state of somebody else's lease and when it was first seen.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Leader {
    pub(crate) fn new(client: Client, namespace: &str, identity: &str) -> Self {
        let leases = Api::namespaced(client.clone(), namespace);
        Self { leases, pods: Api::namespaced(client, namespace), identity: identity.to_owned() }
    }

    /// Returns once the lease is held.
    pub(crate) async fn acquire(&self) {
        let mut seen: Option<Seen> = None;
        loop {
            match timeout(ATTEMPT, self.try_acquire(&mut seen)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(error = said(&error), "the lease could not be read or taken"),
                Err(_) => tracing::warn!("the lease could not be read or taken: no answer"),
            }
            sleep(LOOK).await;
        }
    }

    /// Renews the lease until it is lost.
    pub(crate) async fn hold(&self) {
        let mut renewed = Instant::now();
        let mut pause = RENEW;
        loop {
            sleep(pause).await;
            // the lease counts from what was sent, not from when its answer came
            let sent = Instant::now();
            let left = (renewed + LEASE - RENEW / 2).saturating_duration_since(sent);
            match timeout(ATTEMPT.min(left), self.renew()).await {
                Ok(Ok(true)) => {
                    renewed = sent;
                    pause = RENEW;
                    continue;
                }
                Ok(Ok(false)) => {
                    tracing::error!("another operator has taken the lease");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(error = said(&error), "the lease could not be renewed"),
                Err(_) => tracing::warn!("the lease could not be renewed: no answer"),
            }
            pause = LOOK;
            if renewed.elapsed() + LOOK > LEASE - RENEW / 2 {
                tracing::error!("the lease could not be renewed in time");
                return;
            }
        }
    }

    /// Gives the lease up, so that the next operator need not wait.
    pub(crate) async fn release(&self) {
        let result = async {
            let Some(mut lease) = self.leases.get_opt(NAME).await? else { return Ok(()) };
            if holder(&lease) == Some(self.identity.as_str()) {
                if let Some(spec) = &mut lease.spec {
                    spec.holder_identity = None;
                }
                self.leases.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(ATTEMPT, result).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = said(&error), "the lease could not be released"),
            Err(_) => tracing::warn!("the lease could not be released: no answer"),
        }
    }

    async fn try_acquire(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(NAME).await? else {
            let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(0)) };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let free = match holder(&lease) {
            None => true,
            Some(holder) if holder == self.identity => true,
            Some(holder) => self.pods.get_opt(holder).await?.is_none() || run_out(&lease, seen),
        };
        if !free {
            return Ok(false);
        }
        won(self.replace(lease, 1).await)
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        match self.leases.get_opt(NAME).await? {
            Some(lease) if holder(&lease) == Some(self.identity.as_str()) => won(self.replace(lease, 0).await),
            _ => Ok(false),
        }
    }

    /// The resource version of what was read makes this a compare-and-set.
    async fn replace(&self, mut lease: Lease, transitions: i32) -> Result<Lease, kube::Error> {
        let before = lease.spec.take().unwrap_or_default();
        let mut spec = self.spec(before.lease_transitions.unwrap_or(0) + transitions);
        if transitions == 0 {
            spec.acquire_time = before.acquire_time;
        }
        lease.spec = Some(spec);
        self.leases.replace(NAME, &PostParams::default(), &lease).await
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(clock::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Whether a lease has not changed for its whole length; the clocks of two machines are never compared.
fn run_out(lease: &Lease, seen: &mut Option<Seen>) -> bool {
    let version = lease.metadata.resource_version.clone();
    match seen {
        Some(seen) if seen.version == version => seen.since.elapsed() > LEASE,
        _ => {
            *seen = Some(Seen { version, since: Instant::now() });
            false
        }
    }
}

fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, 409) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::{Instant, timeout};

    use super::{LEASE, Leader, NAME};
    use crate::cluster::fixture;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_hangs_gives_the_lease_up_before_it_runs_out() {
        let service = tower::service_fn(|_: hyper::Request<kube::client::Body>| {
            std::future::pending::<Result<hyper::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        let leader = Leader::new(kube::Client::new(service, "ns"), "ns", "me");
        let start = Instant::now();
        timeout(Duration::from_hours(1), leader.hold()).await.unwrap();
        assert!(start.elapsed() < LEASE);
        timeout(Duration::from_mins(1), leader.release()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_renewed_is_held() {
        let context =
            fixture::answering(|_, _| (200, json!({"metadata": {"name": NAME}, "spec": {"holderIdentity": "me"}})));
        let leader = Leader::new(context.client, "ns", "me");
        assert!(timeout(Duration::from_hours(1), leader.hold()).await.is_err());
    }
}
