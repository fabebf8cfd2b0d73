//! A duration as Kubernetes' gateway API writes them (GEP-2257): `1h`, `10s500ms`; up to four parts.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(String);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationError {
    text: String,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a duration: expected up to four parts such as 1h, 30m or 10s500ms", self.text)
    }
}

impl std::error::Error for DurationError {}

impl Duration {
    /// A duration from a text, unchecked; [`Duration::to_std`] checks.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The duration.
    ///
    /// # Errors
    /// When the text is none.
    pub fn to_std(&self) -> Result<std::time::Duration, DurationError> {
        let wrong = || DurationError { text: self.0.clone() };
        let mut rest = self.0.as_str();
        let mut total_ms = 0_u64;
        for _ in 0..4 {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, after) = rest.split_at(end);
            if digits.is_empty() || digits.len() > 5 {
                return Err(wrong());
            }
            let count: u64 = digits.parse().map_err(|_| wrong())?;
            let (unit_ms, after) = if let Some(after) = after.strip_prefix("ms") {
                (1, after)
            } else if let Some(after) = after.strip_prefix('h') {
                (3_600_000, after)
            } else if let Some(after) = after.strip_prefix('m') {
                (60_000, after)
            } else {
                (1000, after.strip_prefix('s').ok_or_else(wrong)?)
            };
            total_ms += count * unit_ms;
            rest = after;
            if rest.is_empty() {
                return Ok(std::time::Duration::from_millis(total_ms));
            }
        }
        Err(wrong())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn durations_have_their_length() {
        for (text, ms) in [("0s", 0), ("1h", 3_600_000), ("10s500ms", 10_500), ("1h2m3s4ms", 3_723_004)] {
            assert_eq!(Duration::new(text).to_std().unwrap().as_millis(), ms, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "1", "h", "1.5h", "-1h", "1d", "1h1h1h1h1h", "100000s"] {
            assert!(Duration::new(text).to_std().is_err(), "{text}");
        }
    }
}
