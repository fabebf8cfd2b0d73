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

/// A time as people and the API write it.
pub(crate) fn text(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
