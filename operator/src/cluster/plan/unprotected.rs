//! Partitions that a restart makes unavailable, and whether the spec lets that hold it.

use k8s_openapi::api::core::v1::Pod;
use kennet_api::UnprotectedPartitions;
use kennet_model::cluster::ValidatedCluster;

use crate::cluster::fetch::Observed;
use crate::cluster::health;

/// How many partitions hold a restart of this pod, in words; none when nothing does. With one broker every partition has one replica.
pub(super) fn count(valid: &ValidatedCluster, observed: &Observed, pod: &Pod) -> Option<String> {
    if !held(valid, observed) || !health::is_ready(pod) {
        // partitions of a broker that is not ready are unavailable already, and the restart may be what mends it
        return None;
    }
    match &observed.broker {
        Some(Ok(status)) => Some(format!("{} partitions with one replica", status.partitions)),
        _ => Some("an unknown number of partitions with one replica".to_owned()),
    }
}

/// Whether the budget allows no eviction: the spec blocks, and there are such partitions or nobody can say that there are none.
pub(crate) fn held(valid: &ValidatedCluster, observed: &Observed) -> bool {
    let none = matches!(&observed.broker, Some(Ok(status)) if status.partitions == 0);
    valid.unprotected_partitions == UnprotectedPartitions::Block && !none
}
