//! Times and durations as people write them, always in UTC.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use kennet_client::TimestampMs;

/// An instant: RFC 3339, or a date and time without a zone, which is UTC, or milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is not a time: expected for example 2026-11-01T12:00:00Z, or milliseconds since 1970");
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let ms = text.parse().map_err(|_| wrong())?;
            return Timestamp::from_millisecond(ms).map(Self).map_err(|_| wrong());
        }
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(Self(instant));
        }
        let local: DateTime = text.parse().map_err(|_| wrong())?;
        local.to_zoned(TimeZone::UTC).map(|zoned| Self(zoned.timestamp())).map_err(|_| wrong())
    }
}

impl Instant {
    /// For a look-up by time. Negative numbers mean something else to Kafka, and no record is older than 1970.
    pub(crate) fn look_up(self) -> TimestampMs {
        TimestampMs(self.0.as_millisecond().max(0))
    }
}

impl From<Instant> for TimestampMs {
    fn from(instant: Instant) -> Self {
        Self(instant.0.as_millisecond())
    }
}

/// A length of time: ISO 8601 as Kafka's tools take it (`P1D`, `PT30M`), or `30s`, `24h`, `7d`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length(Span);

impl Length {
    /// This long before an instant.
    pub(crate) fn before(&self, now: Timestamp) -> Result<Timestamp, String> {
        let zoned = now.to_zoned(TimeZone::UTC);
        zoned.checked_sub(self.0).map(|then| then.timestamp()).map_err(|error| error.to_string())
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("'{text}' is not a duration: expected for example PT30M, P1D or 24h"))
    }
}

/// A time limit: `500ms`, `30s`, `2m`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(Duration);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a time limit: expected for example 500ms, 30s or 2m");
        let length: SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(length).ok().filter(|limit| !limit.is_zero()).map(Self).ok_or_else(wrong)
    }
}

impl From<Limit> for Duration {
    fn from(limit: Limit) -> Self {
        limit.0
    }
}

/// A record's timestamp for people: UTC with milliseconds and Z.
pub(crate) fn show(timestamp: TimestampMs) -> Option<String> {
    let instant = Timestamp::from_millisecond(timestamp.0).ok().filter(|_| timestamp.0 >= 0)?;
    Some(format!("{instant:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let expected: Instant = "2026-11-01T12:00:00Z".parse().unwrap();
        for text in ["2026-11-01T12:00:00.000", "2026-11-01 12:00", "2026-11-01T13:00:00+01:00", "1793534400000"] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert!("yesterday".parse::<Instant>().is_err());
    }

    #[test]
    fn durations_are_those_of_kafkas_tools_and_of_people() {
        let now = "2026-11-02T12:00:00Z".parse().unwrap();
        let day_before: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
        for text in ["P1D", "PT24H", "24h", "1d"] {
            assert_eq!(text.parse::<Length>().unwrap().before(now), Ok(day_before), "{text}");
        }
    }

    #[test]
    fn a_look_up_before_1970_begins_with_1970() {
        assert_eq!("1960-01-01T00:00:00Z".parse::<Instant>().unwrap().look_up(), TimestampMs(0));
    }

    #[test]
    fn a_timestamp_is_shown_in_utc() {
        assert_eq!(show(TimestampMs(1_793_534_400_005)), Some("2026-11-01T12:00:00.005Z".to_owned()));
        assert_eq!(show(TimestampMs(-1)), None);
    }
}
