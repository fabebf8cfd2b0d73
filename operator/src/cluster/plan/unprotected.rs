//! Topics that a restart makes unavailable, and whether the spec lets that hold it.
//!
//! With one broker every partition has one replica. Kafka's own topics do not count: they serve the others, a cluster that ever had a consumer
//! would be held for good by offsets that nobody can delete, and without any other topic there is nobody to miss them.

use k8s_openapi::api::core::v1::Pod;
use kennet_api::UnprotectedPartitions;
use kennet_model::cluster::ValidatedCluster;

use crate::cluster::fetch::Observed;
use crate::cluster::health;

/// Topics that a message names.
const NAMED: usize = 3;

/// What holds a restart of this pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unprotected {
    /// These topics, in words.
    Topics(String),
    /// The broker can't say which there are.
    Unknown,
}

/// What holds a restart of this pod; none when nothing does.
pub(super) fn holding(valid: &ValidatedCluster, observed: &Observed, pod: &Pod) -> Option<Unprotected> {
    if !held(valid, observed) || !health::is_ready(pod) {
        // partitions of a broker that is not ready are unavailable already, and the restart may be what mends it
        return None;
    }
    Some(match &observed.topics {
        Some(topics) => Unprotected::Topics(words(topics)),
        None => Unprotected::Unknown,
    })
}

/// Whether the budget allows no eviction: the spec blocks, and there are such topics or nobody can say that there are none.
pub(crate) fn held(valid: &ValidatedCluster, observed: &Observed) -> bool {
    let none = observed.topics.as_ref().is_some_and(Vec::is_empty);
    valid.unprotected_partitions == UnprotectedPartitions::Block && !none
}

fn words(topics: &[String]) -> String {
    let named = topics.iter().take(NAMED).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    match topics.len().saturating_sub(NAMED) {
        0 if topics.len() == 1 => format!("topic {named}"),
        0 => format!("topics {named}"),
        more => format!("topics {named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_few_topics_are_named() {
        let topics = |count: usize| words(&["a", "b", "c", "d", "e"].map(str::to_owned)[..count]);
        assert_eq!([topics(1), topics(3)], ["topic 'a'", "topics 'a', 'b', 'c'"]);
        assert_eq!(topics(5), "topics 'a', 'b', 'c' and 2 more");
    }
}
