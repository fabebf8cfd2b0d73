//! Everything that an OffsetReset's pass reads: its plans, their Jobs, and the group.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kennet_api::OffsetReset;
use kennet_model::admin::{Admin, GroupState, Partition};
use kennet_model::reset::{Plan, PlanError, Request, plan};
use kube::ResourceExt;

use crate::cluster::why_not_running;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::objects;
use crate::offset_reset::admin::ClientAdmin;
use crate::offset_reset::build::{APPLIED_ANNOTATION, HASH_ANNOTATION, RESET_LABEL, STARTED_ANNOTATION, label_value};
use crate::topic::Access;

/// A plan that was written down.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) hash: String,
    pub(super) config_map: String,
    pub(super) plan: Plan,
    /// When its offsets were seen in place.
    pub(super) applied_at: Option<String>,
    /// When its Job was let go.
    pub(super) started_at: Option<String>,
    pub(super) job: Option<JobState>,
    /// Why the Job's pod does not run yet, if Kubernetes says so.
    pub(super) held_up: Option<String>,
}

impl Record {
    /// Whether its Job was let go, and may have changed offsets.
    pub(super) fn under_way(&self) -> bool {
        self.started_at.is_some() || self.job.is_some_and(|job| job != JobState::Suspended)
    }
}

/// How far a Job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobState {
    /// It was made and not let go yet.
    Suspended,
    Running,
    Complete,
    Failed,
}

/// The group, and what a plan made now would do.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) state: GroupState,
    pub(super) committed: BTreeMap<Partition, i64>,
    pub(super) fresh: Plan,
}

/// The plans of this object, the newest first.
pub(super) async fn records(reset: &OffsetReset, context: &Context) -> Result<Vec<Record>, ReconcileError> {
    records_of(reset, context).await
}

/// The plans of any object.
pub(super) async fn records_of(reset: &OffsetReset, context: &Context) -> Result<Vec<Record>, ReconcileError> {
    let namespace = reset.namespace().unwrap_or_default();
    let labels = format!("{RESET_LABEL}={}", label_value(&reset.name_any()));
    let uid = reset.uid().unwrap_or_default();
    let mut maps: Vec<ConfigMap> = objects::list(&context.api(&namespace), &labels).await?;
    let jobs: Vec<Job> = objects::list(&context.api(&namespace), &labels).await?;
    maps.retain(|map| objects::owned_by(&map.metadata, &uid));
    maps.sort_by_key(|map| std::cmp::Reverse(map.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    let mut records = Vec::new();
    for map in maps {
        let name = map.name_any();
        let damaged = |what: String| ReconcileError::Damaged { object: format!("ConfigMap {name}"), what };
        let text = map.data.as_ref().and_then(|data| data.get("plan.json"));
        let text = text.ok_or_else(|| damaged("it has no plan.json".to_owned()))?;
        let plan: Plan = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        let hash = map.annotations().get(HASH_ANNOTATION).cloned().unwrap_or_default();
        if hash != plan.hash(&uid) {
            return Err(damaged("its plan is not the one of its hash".to_owned()));
        }
        let job = jobs.iter().find(|job| {
            objects::owned_by(&job.metadata, &uid) && job.annotations().get(HASH_ANNOTATION) == Some(&hash)
        });
        let held_up = match job.filter(|job| job_state(job) == JobState::Running) {
            Some(job) => held_up(job, &namespace, context).await?,
            None => None,
        };
        records.push(Record {
            applied_at: map.annotations().get(APPLIED_ANNOTATION).cloned(),
            started_at: map.annotations().get(STARTED_ANNOTATION).cloned(),
            job: job.map(job_state),
            held_up,
            hash,
            plan,
            config_map: name,
        });
    }
    Ok(records)
}

/// Why the newest pod of a Job does not run yet, if Kubernetes says so.
async fn held_up(job: &Job, namespace: &str, context: &Context) -> Result<Option<String>, ReconcileError> {
    let labels = format!("batch.kubernetes.io/job-name={}", job.name_any());
    let pods: Vec<Pod> = objects::list(&context.api(namespace), &labels).await?;
    let newest = pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    Ok(newest.and_then(why_not_running))
}

fn job_state(job: &Job) -> JobState {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is = |kind: &str| conditions.into_iter().flatten().any(|one| one.type_ == kind && one.status == "True");
    if is("Complete") {
        JobState::Complete
    } else if is("Failed") {
        JobState::Failed
    } else if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        JobState::Suspended
    } else {
        JobState::Running
    }
}

/// The group as it is now. The inner error is for the person who wrote the spec.
pub(super) async fn group(
    reset: &OffsetReset,
    request: &Request,
    records: &[Record],
    access: &Access,
) -> Result<Result<Group, String>, ReconcileError> {
    let admin = ClientAdmin(&access.kafka);
    let action = || format!("describe group '{}'", reset.spec.group_id);
    let fresh = match plan(&admin, request).await {
        Ok(fresh) => fresh,
        Err(PlanError::Admin(error)) => return Err(ReconcileError::kafka("make a plan")(error)),
        // a plan that is being carried out is judged by what it says, not by what could be planned now
        Err(error) => match records.iter().find(|record| record.under_way()) {
            Some(record) => record.plan.clone(),
            None => return Ok(Err(format!("spec: {error}"))),
        },
    };
    let committed = admin.committed(&reset.spec.group_id).await.map_err(ReconcileError::kafka(action()))?;
    let state = admin.group_state(&reset.spec.group_id).await.map_err(ReconcileError::kafka(action()))?;
    Ok(Ok(Group { state, committed, fresh }))
}
