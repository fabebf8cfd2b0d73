//! A cluster's model and the plans for it, without a client of anything: validation, rendering, topics, offset resets.
//!
//! Everything here is a function of its arguments. What a cluster has to be asked goes through [`admin::Admin`].

pub mod admin;
pub mod cluster;
pub mod problem;
pub mod reset;
pub mod topic;
