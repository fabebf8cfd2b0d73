//! Topics: from a spec to one that can't be wrong, and from there and what the cluster has to ordered steps.

mod plan;
mod validate;

pub use plan::{ConfigDifference, Observed, Ownership, Stall, Step, TopicPlan, plan};
pub use validate::{ValidatedTopic, validate};
