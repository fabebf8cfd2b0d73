//! Ports that are the same in every pod. Client listeners choose theirs outside of 9190 to 9199.

/// Brokers and controller among themselves, mutual TLS.
pub const CONTROL: u16 = 9190;
/// The management endpoint, mutual TLS.
pub const MANAGEMENT: u16 = 9191;
/// `/livez` and `/readyz`, plain HTTP.
pub const PROBES: u16 = 9192;
/// `/metrics`, plain HTTP.
pub const METRICS: u16 = 9193;
/// Reserved for Kennet itself; no client listener may use one.
pub const RESERVED: std::ops::RangeInclusive<u16> = 9190..=9199;
/// The default client listener.
pub const CLIENTS: u16 = 9092;
