//! Why a reconcile failed. Each error has a reason in CamelCase: the condition's reason and the metric's label.

use crate::management::ManagementError;
use crate::pki::PkiError;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server.
    #[error("the Kubernetes API refused to {action}: {source}")]
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
            Self::Api { .. } => "KubernetesApi",
            Self::NameCollision { .. } => "NameCollision",
            Self::Damaged { .. } => "Damaged",
            Self::Pki(_) => "Certificates",
            Self::Management(_) => "ClusterUnreachable",
            Self::Kafka { .. } => "ClusterRefused",
            Self::Json(_) | Self::Toml(_) => "Internal",
        }
    }

    /// Whether waiting can't help and a person has to act.
    pub(crate) fn stalls(&self) -> bool {
        matches!(self, Self::NameCollision { .. } | Self::Damaged { .. })
    }

    /// Whether somebody else was faster, which the next reconcile settles.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if has_code(source, 409))
    }
}

/// Whether the API server answered with this HTTP status.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    match error {
        kube::Error::Api(status) => status.code == code,
        _ => false,
    }
}
