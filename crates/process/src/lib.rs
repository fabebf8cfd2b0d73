//! How Kennet's programs run as processes: the ports that they open, the logs that they write.
//!
//! Broker and operator do these the same way and share nothing else here; what they serve and why they end is their own.

mod listen;
mod telemetry;

pub use listen::listen;
pub use telemetry::{Fields, start_logs};
