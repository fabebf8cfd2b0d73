//! The one place where the time of day is read.

use jiff::Timestamp;
use kennet_client::TimestampMs;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now, as records carry it.
pub(crate) fn now_ms() -> TimestampMs {
    TimestampMs(now().as_millisecond())
}
