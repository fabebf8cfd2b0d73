//! A Kubernetes quantity, written as a number or a string (`1Gi`, `250m`, `2`).
//!
//! Serialised as it was written, so that a GitOps tool sees no difference. Source: apimachinery `resource.Quantity`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quantity(Written);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Text(String),
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityError {
    text: String,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a quantity: expected a number with a suffix such as 20Gi, 512Mi or 250m", self.text)
    }
}

impl std::error::Error for QuantityError {}

/// Suffixes with numerator and denominator of their factor; longer ones first, so that `Mi` is not read as `M`.
const SUFFIXES: &[(&str, i128, i128)] = &[
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("", 1, 1),
];

impl Quantity {
    /// A quantity from a text, unchecked; [`Quantity::milli`] checks.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Written::Text(text.to_owned()))
    }

    /// The quantity in thousandths, rounded up.
    ///
    /// # Errors
    /// When the text is no quantity, is negative or does not fit.
    pub fn milli(&self) -> Result<i128, QuantityError> {
        let wrong = || QuantityError { text: self.to_string() };
        let text = self.to_string();
        let (digits, numerator, denominator) = split(&text).ok_or_else(wrong)?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all: String = [whole, fraction].concat();
        if all.is_empty() || all.len() > 18 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let value: i128 = all.parse().map_err(|_| wrong())?;
        let above = value.checked_mul(numerator * 1000).ok_or_else(wrong)?;
        let below = 10_i128.pow(places) * denominator;
        Ok((above + below - 1) / below)
    }

    /// The quantity in whole units (bytes for a size), rounded up.
    ///
    /// # Errors
    /// As [`Quantity::milli`].
    pub fn units(&self) -> Result<i128, QuantityError> {
        Ok((self.milli()? + 999) / 1000)
    }
}

fn split(text: &str) -> Option<(&str, i128, i128)> {
    if let Some((digits, exponent)) = text.split_once(['e', 'E']).filter(|(_, exponent)| !exponent.is_empty()) {
        let exponent: u32 = exponent.parse().ok().filter(|power| *power <= 18)?;
        return Some((digits, 10_i128.pow(exponent), 1));
    }
    SUFFIXES
        .iter()
        .find_map(|(suffix, numerator, denominator)| Some((text.strip_suffix(suffix)?, *numerator, *denominator)))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Written::Number(number) => write!(f, "{number}"),
            Written::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 : (isQuantity(self) && !quantity(self).isLessThan(quantity('0')))",
                "message": "expected a quantity of at least 0, for example 20Gi, 512Mi or 250m"
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn quantities_have_kubernetes_values() {
        for (text, milli) in [
            ("1", 1000),
            ("250m", 250),
            ("0.5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1n", 1),
        ] {
            assert_eq!(Quantity::new(text).milli(), Ok(milli), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "Gi", "1 Gi", "-1", "1gi", "1.2.3", "1e99", "99999999999999999999"] {
            assert!(Quantity::new(text).milli().is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_stays_a_number() {
        let quantity: Quantity = serde_json::from_str("2").unwrap();
        assert_eq!(quantity.units(), Ok(2));
        assert_eq!(serde_json::to_string(&quantity).unwrap(), "2");
    }
}
