//! The load's one home of the clock, and the only place where its threads sleep.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kennet_protocol::TimestampMs;

/// A clock that never goes back.
#[expect(clippy::disallowed_methods, reason = "the clock's home")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for the records' timestamps.
#[expect(clippy::disallowed_methods, reason = "the clock's home")]
pub(crate) fn timestamp() -> TimestampMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Sleeps until then, or not at all when it has passed.
#[expect(
    clippy::disallowed_methods,
    reason = "a sender's schedule is what is measured against; there is no event to wait for"
)]
pub(crate) fn sleep_until(then: Instant) {
    let rest = then.saturating_duration_since(now());
    if !rest.is_zero() {
        std::thread::sleep(rest);
    }
}

/// Lets this process's threads wake within a microsecond of their time, where the kernel allows it (50 us is usual).
/// Called before threads are made: they inherit it.
pub(crate) fn wake_on_time() {
    // a kernel without the file only makes every latency a little longer
    drop(std::fs::write("/proc/self/timerslack_ns", "1000"));
}

/// In whole microseconds; a latency above an hour is an hour.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
