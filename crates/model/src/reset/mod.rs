//! Moving a consumer group's committed offsets: plan, look at it, apply it once.
//!
//! The command line and the operator share this. A plan holds the offsets as they were, so that it can be checked before it is applied and
//! rolled back afterwards. Nothing here commits anything.

pub mod apply;
pub mod csv;
mod plan;

pub use plan::{Move, Plan, PlanError, Request, Scope, Target, TopicScope, plan, rollback_of};
