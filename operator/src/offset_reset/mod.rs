//! OffsetReset: a consumer group's offsets, set once by a Job after a plan was approved.
//!
//! What was done stands in the plan's ConfigMap, which belongs to the object by uid: a re-created object repeats nothing, because its
//! plans have other hashes.

mod admin;
mod apply;
mod build;
mod decide;
mod fetch;
mod status;
mod target;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use kennet_api::OffsetReset;
use kennet_api::names::CLUSTER_LABEL;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::clock;
use crate::cluster::{scoped, undecodable};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::health::ReconcileLabels;
use crate::offset_reset::decide::{Decision, State};

/// A group's members and offsets come and go without news on the management endpoint.
const OPEN: Duration = Duration::from_secs(10);
const BUSY: Duration = Duration::from_secs(2);
/// A target that names what is not there.
const INVALID: Duration = Duration::from_secs(30);
const INVALID_TARGET: &str = "InvalidTarget";

type Guarded = DeserializeGuard<OffsetReset>;

/// Runs the controller.
pub(crate) async fn run(context: Arc<Context>, scope: Option<String>) {
    let resets: Api<Guarded> = scoped(&context, scope.as_ref());
    let jobs: Api<Job> = scoped(&context, scope.as_ref());
    Controller::new(resets, watcher::Config::default())
        .owns(jobs, watcher::Config::default().labels(CLUSTER_LABEL))
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|_| async {})
        .await;
}

async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let reset = match &object.0 {
        Ok(reset) => reset,
        Err(invalid) => {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            undecodable::<OffsetReset>(&context, &namespace, &name, &invalid.error).await?;
            return Ok(Action::await_change());
        }
    };
    if reset.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let decision = match pass(reset, &context).await {
        Ok(decision) => decision,
        Err(error) if error.stalls() => {
            Decision::only(State::Stalled { reason: error.reason(), message: error.to_string() })
        }
        Err(error) => Decision::only(State::Waiting { reason: error.reason().to_owned(), message: error.to_string() }),
    };
    status::write(reset, &context, &decision).await?;
    let labels = ReconcileLabels { kind: "OffsetReset", reason: decision.state.reason().to_owned() };
    context.metrics.reconciles.get_or_create(&labels).inc();
    Ok(pause(&decision.state).map_or_else(Action::await_change, Action::requeue))
}

/// When an object is looked at again without news; none when it is over.
fn pause(state: &State) -> Option<Duration> {
    match state {
        // what the target names may appear later, such as a topic of the same sync
        State::Stalled { reason: INVALID_TARGET | "NameCollision" | "Damaged", .. } => Some(INVALID),
        State::Applied { .. } | State::Expired | State::Stalled { .. } => None,
        State::Applying { .. } => Some(BUSY),
        _ => Some(OPEN),
    }
}

async fn pass(reset: &OffsetReset, context: &Context) -> Result<Decision, ReconcileError> {
    let records = fetch::records(reset, context).await?;
    if let Some(decision) = decide::settled(reset, &records, clock::now()) {
        return Ok(decision);
    }
    let (namespace, cluster) = (reset.namespace().unwrap_or_default(), &reset.spec.cluster_ref.name);
    let (name, port) = match crate::topic::cluster(context, &namespace, cluster).await? {
        crate::topic::Cluster::Serving { name, port } => (name, port),
        crate::topic::Cluster::Not { reason, message, .. } => {
            return Ok(Decision::only(State::Waiting { reason: reason.to_owned(), message }));
        }
    };
    let access = crate::topic::access(context, &namespace, &name).await?;
    let request = match target::request(reset, context).await? {
        Ok(request) => request,
        Err(message) => return Ok(Decision::only(State::Stalled { reason: INVALID_TARGET, message })),
    };
    let group = match fetch::group(reset, &request, &records, &access).await? {
        Ok(group) => group,
        Err(message) => return Ok(Decision::only(State::Stalled { reason: INVALID_TARGET, message })),
    };
    let decision = decide::decide(reset, &records, &group, clock::now());
    apply::apply(&decision, reset, &name, port, context).await?;
    Ok(decision)
}

fn retry(object: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let labels = ReconcileLabels { kind: "OffsetReset", reason: error.reason().to_owned() };
    context.metrics.reconciles.get_or_create(&labels).inc();
    tracing::warn!(offset_reset = %object.name_any(), %error, "a pass failed and is tried again");
    Action::requeue(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::{INVALID, INVALID_TARGET, State, pause};

    #[test]
    fn a_target_that_is_not_there_is_looked_for_again_and_what_is_over_is_not() {
        let stalled = |reason| State::Stalled { reason, message: String::new() };
        assert_eq!(pause(&stalled(INVALID_TARGET)), Some(INVALID));
        assert_eq!(pause(&stalled("OffsetsMoved")), None);
        assert_eq!(pause(&State::Expired), None);
    }
}
