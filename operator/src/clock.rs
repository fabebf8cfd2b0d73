//! The one home of the wall clock.

use k8s_openapi::jiff::Timestamp;

/// The time now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The time now, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    now().as_millisecond()
}
