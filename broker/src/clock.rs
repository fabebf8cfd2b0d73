//! The broker's one home of the clock. Everything that decides takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use kennet_protocol::TimestampMs;

/// The wall clock, in milliseconds since 1970; 0 if it stands before.
#[expect(clippy::disallowed_methods, reason = "the clock's home")]
pub(crate) fn now() -> TimestampMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
