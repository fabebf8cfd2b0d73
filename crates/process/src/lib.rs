//! How Kennet's programs run as processes: the ports that they open.
//!
//! Broker and operator do these the same way and share nothing else here; what they serve and why they end is their own.

mod listen;

pub use listen::listen;
