//! The broker's one home of the clock. Everything that decides takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use kennet_protocol::TimestampMs;

/// The wall clock, in milliseconds since 1970; 0 if it stands before.
#[expect(clippy::disallowed_methods, reason = "the clock's home")]
pub(crate) fn now() -> TimestampMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds of a clock that never goes back, for deadlines.
pub(crate) fn monotonic_ms() -> i64 {
    static START: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(tokio::time::Instant::now).elapsed();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
