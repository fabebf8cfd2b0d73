//! Names of a cluster's objects. They all follow from its own, which is short enough that none is too long for Kubernetes.

use std::fmt;

use kennet_api::names::MAIN_POOL;

/// So that `<cluster>-<pool>-<id>` and its controller-revision label stay within 63 characters.
const LENGTH_MAX: usize = 36;

/// The name of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName(String);

/// Why a text names no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' can't name a cluster: use at most 36 characters a-z, 0-9 and '-', a letter first and no '-' last")]
pub struct ClusterNameError {
    text: String,
}

impl ClusterName {
    /// A name from a text.
    ///
    /// # Errors
    /// When an object of the cluster could not be named after it.
    pub fn new(text: &str) -> Result<Self, ClusterNameError> {
        let letters = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let ends = text.starts_with(|first: char| first.is_ascii_lowercase()) && !text.ends_with('-');
        if letters && ends && text.len() <= LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClusterNameError { text: text.chars().take(100).collect() })
        }
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The StatefulSet of the pool `main`.
    #[must_use]
    pub fn stateful_set(&self) -> String {
        format!("{}-{MAIN_POOL}", self.0)
    }

    /// A broker's pod.
    #[must_use]
    pub fn pod(&self, id: i32) -> String {
        format!("{}-{id}", self.stateful_set())
    }

    /// A broker's volume claim.
    #[must_use]
    pub fn claim(&self, id: i32) -> String {
        format!("data-{}", self.pod(id))
    }

    /// The headless Service that gives brokers their hosts.
    #[must_use]
    pub fn headless_service(&self) -> String {
        format!("{}-brokers", self.0)
    }

    /// The Service that clients begin with.
    #[must_use]
    pub fn bootstrap_service(&self) -> String {
        format!("{}-bootstrap", self.0)
    }

    /// The Secret with the cluster's id and first voter.
    #[must_use]
    pub fn identity_secret(&self) -> String {
        format!("{}-identity", self.0)
    }

    /// The Secret with the CA of control and management connections.
    #[must_use]
    pub fn ca_secret(&self) -> String {
        format!("{}-cluster-ca", self.0)
    }

    /// The Secret with the brokers' certificates.
    #[must_use]
    pub fn tls_secret(&self) -> String {
        format!("{}-tls", self.stateful_set())
    }

    /// The PodDisruptionBudget.
    #[must_use]
    pub fn disruption_budget(&self) -> String {
        self.stateful_set()
    }

    /// The ConfigMap of brokers with this config hash.
    #[must_use]
    pub fn config_map(&self, hash: &str) -> String {
        format!("{}-config-{hash}", self.stateful_set())
    }

    /// A broker's host inside the Kubernetes cluster; `id` may be the placeholder `{id}`.
    #[must_use]
    pub fn host(&self, namespace: &str, id: &str) -> String {
        format!("{}-{id}.{}.{namespace}.svc", self.stateful_set(), self.headless_service())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ClusterName;

    #[test]
    fn the_longest_name_gives_legal_object_names() {
        let name = ClusterName::new(&"a".repeat(36)).unwrap();
        for object in [name.claim(999), name.config_map("0123456789"), name.tls_secret(), name.identity_secret()] {
            assert!(object.len() <= 63, "{object}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1a", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(37)] {
            assert!(ClusterName::new(text).is_err(), "{text}");
        }
    }
}
