//! Conditions of a status: `Ready` always, `Reconciling` and `Stalled` only when True (kstatus' rules).

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Conditions, one of each type.
pub type Conditions = Vec<Condition>;
