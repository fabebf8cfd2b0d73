//! Why a reconcile failed. Each error has a reason in CamelCase: the condition's reason and the metric's label.

use crate::management::ManagementError;
use crate::pki::PkiError;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server.
    #[error("the Kubernetes API refused to {action}: {}{}", said(source), remedy(source))]
    Api {
        /// What was tried.
        action: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// An object of that name belongs to somebody else.
    #[error("{object} exists and is not this object's: delete or rename it, it will not be touched")]
    NameCollision {
        /// Kind and name.
        object: String,
    },
    /// A volume whose storage class can't make it larger.
    #[error(
        "claim {claim} can't grow to {size}: {said}; set spec.storage.size to {has}, or let its storage class expand volumes"
    )]
    GrowthRefused {
        /// The claim.
        claim: String,
        /// What it has.
        has: String,
        /// What the spec asks for.
        size: String,
        /// What the API server said.
        said: String,
    },
    /// A newer operator looks after this cluster.
    #[error("{message}")]
    OperatorTooOld {
        /// Which version is there, which is known, and what to do.
        message: String,
    },
    /// A Secret or ConfigMap of ours is not what we wrote.
    #[error("{object} can't be read: {what}; restore it from a backup or delete it")]
    Damaged {
        /// Kind and name.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The management endpoint.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// The cluster's Kafka API.
    #[error("the cluster did not {action}: {source}")]
    Kafka {
        /// What was tried.
        action: String,
        /// What it said.
        source: Box<kennet_client::ClientError>,
    },
    /// An answer about many topics says nothing of one.
    #[error("the cluster's answer does not name the topic; it is asked again")]
    Lost,
    /// Our own object is no JSON.
    #[error("an object could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Our own config is no TOML.
    #[error("the broker's config could not be written: {0}")]
    Toml(#[from] toml::ser::Error),
}

impl ReconcileError {
    /// A failure of the Kubernetes API.
    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source: Box::new(source) }
    }

    /// A failure of the cluster's Kafka API.
    pub(crate) fn kafka(action: impl Into<String>) -> impl FnOnce(kennet_client::ClientError) -> Self {
        let action = action.into();
        move |source| Self::Kafka { action, source: Box::new(source) }
    }

    /// The reason in a word.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Api { source, .. } if has_code(source, 422) => "Invalid",
            Self::Api { source, .. } if has_code(source, 403) => "Forbidden",
            Self::Api { .. } => "KubernetesApi",
            Self::GrowthRefused { .. } => "GrowthRefused",
            Self::NameCollision { .. } => "NameCollision",
            Self::Damaged { .. } => "Damaged",
            Self::OperatorTooOld { .. } => "OperatorTooOld",
            Self::Pki(_) => "Certificates",
            Self::Management(ManagementError::Refused { .. }) => "ClusterRefused",
            Self::Management(ManagementError::Certificates { .. }) => "Certificates",
            Self::Management(ManagementError::Unreachable { .. }) => "ClusterUnreachable",
            Self::Kafka { .. } | Self::Lost => "ClusterRefused",
            Self::Json(_) | Self::Toml(_) => "Internal",
        }
    }

    /// Whether waiting can't help and a person has to act.
    pub(crate) fn stalls(&self) -> bool {
        match self {
            Self::NameCollision { .. } | Self::Damaged { .. } | Self::GrowthRefused { .. } => true,
            Self::Api { source, .. } => has_code(source, 422) || has_code(source, 403),
            _ => false,
        }
    }

    /// Whether somebody else was faster, which the next reconcile settles.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if has_code(source, 409))
    }
}

/// What the API server said, without the Rust types that its client shows it in.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("{} (HTTP status {})", status.reason, status.code),
        error => error.to_string(),
    }
}

/// What a person can do about a refusal that time does not mend; the API server's own sentence names field and value.
fn remedy(error: &kube::Error) -> &'static str {
    if has_code(error, 422) {
        "; correct the field of the spec that this value comes from"
    } else if has_code(error, 403) {
        "; give the operator that right, or change the policy or quota that forbids it"
    } else {
        ""
    }
}

/// Whether the API server answered with this HTTP status.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    match error {
        kube::Error::Api(status) => status.code == code,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kennet_contract::management::Problem;

    use super::ReconcileError;
    use crate::management::ManagementError;

    fn refused(code: u16) -> ReconcileError {
        let status =
            kube::core::Status { message: "spec.a: Invalid value: 'b'".to_owned(), code, ..Default::default() };
        ReconcileError::api("apply StatefulSet orders-main")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_time_does_not_mend_waits_for_a_person_and_says_what_to_do() {
        let of = |code| (refused(code).reason(), refused(code).stalls());
        assert_eq!(of(422), ("Invalid", true));
        assert_eq!(of(403), ("Forbidden", true));
        assert_eq!(of(500), ("KubernetesApi", false));
        assert_eq!(of(409), ("KubernetesApi", false));
        assert_eq!(
            refused(422).to_string(),
            "the Kubernetes API refused to apply StatefulSet orders-main: spec.a: Invalid value: 'b'; correct the field of the spec that this \
             value comes from"
        );
    }

    #[test]
    fn a_broker_that_says_no_is_reachable() {
        let problem: Problem = serde_json::from_str(r#"{"reason": "A", "message": "b"}"#).unwrap();
        let refused = ReconcileError::from(ManagementError::Refused { host: "h".to_owned(), problem });
        assert_eq!(refused.reason(), "ClusterRefused");
        let silent = ManagementError::Unreachable { host: "h".to_owned(), what: "w".to_owned() };
        assert_eq!(ReconcileError::from(silent).reason(), "ClusterUnreachable");
    }
}
