//! A KafkaCluster that can't be wrong, its names, and the config of its brokers.

mod labels;
mod names;
mod render;
mod validate;

pub use names::{ClusterName, ClusterNameError};
pub use render::{Placement, render};
pub use validate::{ValidListener, ValidatedCluster, validate};
