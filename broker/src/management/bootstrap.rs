//! Bootstrap: no broker ever decides by itself to form a cluster.
//!
//! Whoever made the cluster writes one record {cluster id, directory id of the first voter}; this broker initialises only if that is its own
//! directory, its identity has that cluster, and its metadata is empty.

use axum::Json;
use axum::http::StatusCode;
use kennet_contract::PeerIdentity;
use kennet_contract::management::{BootstrapRecord, Problem};

use crate::identity::Identity;
use crate::management::routes::{Refusal, only_operators};

/// Whether a record makes this directory the first voter.
pub(crate) fn check_bootstrap(record: &BootstrapRecord, identity: &Identity) -> Result<(), Problem> {
    let problem = |reason: &str, message: String| {
        Err(Problem { reason: reason.to_owned(), message, details: std::collections::BTreeMap::new() })
    };
    if record.cluster_id != identity.cluster_id {
        let message =
            format!("the record is for cluster {}, and this broker is of {}", record.cluster_id, identity.cluster_id);
        return problem("ForeignCluster", message);
    }
    match record.voters.as_slice() {
        [voter] if *voter == identity.directory_id => Ok(()),
        [voter] => {
            let message =
                format!("the record names directory {voter}, and this is directory {}", identity.directory_id);
            problem("ForeignDirectory", message)
        }
        voters => {
            problem("InvalidRecord", format!("the record names {} voters, and a cluster starts with one", voters.len()))
        }
    }
}

/// Takes a record from a peer that may send one. The same record again is fine, another one is refused.
pub(super) fn accept(record: &BootstrapRecord, peer: PeerIdentity, identity: &Identity) -> Result<StatusCode, Refusal> {
    only_operators(peer)?;
    check_bootstrap(record, identity).map_err(|problem| (StatusCode::CONFLICT, Json(problem)))?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use kennet_contract::ClusterId;
    use kennet_contract::management::BootstrapRecord;

    use super::check_bootstrap;
    use crate::identity::{FORMAT_VERSION, Identity};

    fn identity() -> Identity {
        let cluster_id = ClusterId::from_bytes([1; 16]);
        Identity { cluster_id, broker_id: 0, directory_id: "mine".to_owned(), format_version: FORMAT_VERSION }
    }

    fn reason(cluster: u8, voters: &[&str]) -> Result<(), String> {
        let voters = voters.iter().map(|voter| (*voter).to_owned()).collect();
        let record = BootstrapRecord { cluster_id: ClusterId::from_bytes([cluster; 16]), voters };
        check_bootstrap(&record, &identity()).map_err(|problem| problem.reason)
    }

    #[test]
    fn only_a_record_for_this_directory_of_this_cluster_counts() {
        assert_eq!(reason(1, &["mine"]), Ok(()));
        assert_eq!(reason(2, &["mine"]), Err("ForeignCluster".to_owned()));
        assert_eq!(reason(1, &["other"]), Err("ForeignDirectory".to_owned()));
        assert_eq!(reason(1, &[]), Err("InvalidRecord".to_owned()));
        assert_eq!(reason(1, &["mine", "other"]), Err("InvalidRecord".to_owned()));
    }
}
