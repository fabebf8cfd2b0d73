//! Whether a value may be given to a key.

use std::collections::BTreeMap;

use crate::config_keys::{ConfigKey, Effect, Kind, Scope, find, keys};
use crate::nearest::nearest;

/// Why a key or its value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such key.
    #[error("there is no config '{name}': expected a key that docs/configuration.md lists{}", perhaps(*.near))]
    Unknown {
        /// The name.
        name: String,
        /// A key that looks like it.
        near: Option<&'static str>,
    },
    /// The value does not fit the key.
    #[error("config '{name}' is '{value}': expected {expected}")]
    Value {
        /// The key.
        name: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The key can't be changed.
    #[error("config '{name}' can only be '{default}': {reason}")]
    Fixed {
        /// The key.
        name: &'static str,
        /// Its default.
        default: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Compaction would have to touch a record and to leave it alone. In the words of Kafka, for whoever looks for them.
    #[error(
        "conflict topic config setting min.compaction.lag.ms ({min_ms}) > max.compaction.lag.ms ({max_ms}): lower the first or raise the second"
    )]
    CompactionLags {
        /// Compact no record earlier.
        min_ms: i64,
        /// Compact it at the latest.
        max_ms: i64,
    },
    /// APPEND or SUBTRACT on a key that is no list.
    #[error("config '{name}' is not a list, so nothing can be appended or subtracted")]
    NoList {
        /// The key.
        name: &'static str,
    },
}

/// Between which ages of a record compaction meets it: `min.compaction.lag.ms` and `max.compaction.lag.ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionLags {
    /// Not earlier.
    pub min_ms: i64,
    /// At the latest.
    pub max_ms: i64,
}

impl CompactionLags {
    /// Kafka's defaults.
    pub const DEFAULT: Self = Self { min_ms: 0, max_ms: i64::MAX };

    /// Whether a topic with these configs, and the lags of `self` where it has none of its own, can be compacted at all. A topic that sets
    /// neither is not to blame for its defaults.
    ///
    /// # Errors
    /// The two that conflict.
    pub fn check<V: AsRef<str>>(self, own: &BTreeMap<String, V>) -> Result<(), KeyError> {
        let number = |key: &str| own.get(key).and_then(|text| text.as_ref().trim().parse::<i64>().ok());
        let (own_min, own_max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
        let (min_ms, max_ms) = (own_min.unwrap_or(self.min_ms), own_max.unwrap_or(self.max_ms));
        if own_min.or(own_max).is_some() && min_ms > max_ms {
            return Err(KeyError::CompactionLags { min_ms, max_ms });
        }
        Ok(())
    }
}

/// Values are small; a longer one is a mistake.
const VALUE_BYTES_MAX: usize = 32 * 1024;

/// Checks a key and a value.
///
/// # Errors
/// What is wrong with it.
pub fn check(scope: Scope, name: &str, value: &str) -> Result<(), KeyError> {
    let key = known(scope, name)?;
    let wrong = |expected: String| {
        let value = value.chars().take(100).collect();
        Err(KeyError::Value { name: key.name, value, expected })
    };
    if value.len() > VALUE_BYTES_MAX {
        return wrong(format!("at most {VALUE_BYTES_MAX} bytes"));
    }
    if !fits(key.kind, value) {
        return wrong(expected(key.kind));
    }
    match key.effect {
        Effect::Fixed(reason) if !same(key.kind, value, key.default) => {
            Err(KeyError::Fixed { name: key.name, default: key.default, reason })
        }
        _ => Ok(()),
    }
}

/// The list with more words, each once (IncrementalAlterConfigs APPEND).
///
/// # Errors
/// When the key is no list.
pub fn append(scope: Scope, name: &str, present: &str, more: &str) -> Result<String, KeyError> {
    let mut all = list(scope, name, present)?;
    for word in words(more) {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    Ok(all.join(","))
}

/// The list with fewer words (IncrementalAlterConfigs SUBTRACT).
///
/// # Errors
/// When the key is no list.
pub fn subtract(scope: Scope, name: &str, present: &str, less: &str) -> Result<String, KeyError> {
    let mut all = list(scope, name, present)?;
    all.retain(|word| !words(less).any(|gone| gone == *word));
    Ok(all.join(","))
}

fn list<'a>(scope: Scope, name: &str, present: &'a str) -> Result<Vec<&'a str>, KeyError> {
    let key = known(scope, name)?;
    match key.kind {
        Kind::List(_) => Ok(words(present).collect()),
        _ => Err(KeyError::NoList { name: key.name }),
    }
}

/// The key of that name.
///
/// # Errors
/// When there is none.
pub fn known(scope: Scope, name: &str) -> Result<&'static ConfigKey, KeyError> {
    find(scope, name).ok_or_else(|| {
        // Kafka's names have at most 255 bytes or so
        let name: String = name.chars().take(255).collect();
        let near = nearest(&name, keys(scope).iter().map(|key| key.name));
        KeyError::Unknown { name, near }
    })
}

fn perhaps(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(", perhaps '{near}'"))
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn fits(kind: Kind, value: &str) -> bool {
    let value = value.trim();
    match kind {
        Kind::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
        Kind::Int(min, max) | Kind::Long(min, max) => value.parse().is_ok_and(|number| (min..=max).contains(&number)),
        Kind::OptionalLong(min, max) => value.is_empty() || fits(Kind::Long(min, max), value),
        Kind::Double(min, max) => value.parse().is_ok_and(|number: f64| number >= min && number <= max),
        Kind::Word(known) => known.contains(&value),
        Kind::List(known) => known.is_empty() || words(value).all(|word| known.contains(&word)),
        Kind::Text => true,
    }
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "true or false".to_owned(),
        Kind::Int(min, max) | Kind::Long(min, max) => format!("a whole number from {min} to {max}"),
        Kind::OptionalLong(min, max) => format!("nothing, or a whole number from {min} to {max}"),
        Kind::Double(min, max) => format!("a number from {min} to {max}"),
        Kind::Word(known) => format!("one of {}", known.join(", ")),
        Kind::List(known) => format!("words from {}, separated by commas", known.join(", ")),
        Kind::Text => "a text".to_owned(),
    }
}

fn same(kind: Kind, left: &str, right: &str) -> bool {
    match kind {
        Kind::Boolean => left.trim().eq_ignore_ascii_case(right),
        Kind::Int(..) | Kind::Long(..) | Kind::OptionalLong(..) => left.trim().parse::<i64>() == right.parse::<i64>(),
        Kind::Double(..) => left.trim().parse::<f64>() == right.parse::<f64>(),
        Kind::List(_) => words(left).eq(words(right)),
        Kind::Word(_) | Kind::Text => left.trim() == right,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{CompactionLags, KeyError, append, check, subtract};
    use crate::config_keys::Scope;

    #[test]
    fn values_must_fit_their_key() {
        let good = [
            ("retention.ms", "-1"),
            ("cleanup.policy", "compact,delete"),
            ("cleanup.policy", "compact"),
            ("min.insync.replicas", "2"),
        ];
        for (name, value) in good {
            assert_eq!(check(Scope::Topic, name, value), Ok(()), "{name}={value}");
        }
        let bad = [
            ("retention.ms", "-2"),
            ("retention.ms", "a week"),
            ("cleanup.policy", "shred"),
            ("segment.bytes", "13"),
            ("min.insync.replicas", "0"),
        ];
        for (name, value) in bad {
            assert!(matches!(check(Scope::Topic, name, value), Err(KeyError::Value { .. })), "{name}={value}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = check(Scope::Topic, "retention", "1").unwrap_err();
        let said =
            "there is no config 'retention': expected a key that docs/configuration.md lists, perhaps 'retention.ms'";
        assert_eq!(error.to_string(), said);
        let error = check(Scope::Broker, "retention.ms", "1").unwrap_err();
        assert!(error.to_string().ends_with("perhaps 'log.retention.ms'"), "{error}");
        let error = check(Scope::Topic, "surprise", "1").unwrap_err();
        assert!(error.to_string().ends_with("docs/configuration.md lists"), "{error}");
    }

    #[test]
    fn a_record_can_not_be_compacted_before_it_may_be() {
        let check = |lags: CompactionLags, own: &[(&str, &str)]| {
            lags.check(&own.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect::<BTreeMap<_, _>>())
        };
        let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        let error = check(CompactionLags::DEFAULT, &[(min, "10"), (max, "5")]).unwrap_err();
        let kafkas = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
        assert!(error.to_string().starts_with(kafkas), "{error}");
        for own in [&[(min, "5"), (max, "5")][..], &[(min, "10")], &[(max, "5")], &[]] {
            assert_eq!(check(CompactionLags::DEFAULT, own), Ok(()), "{own:?}");
        }
        let inherited = CompactionLags { min_ms: 7, max_ms: 9 };
        assert_eq!(check(inherited, &[(max, "5")]), Err(KeyError::CompactionLags { min_ms: 7, max_ms: 5 }));
        assert_eq!(check(inherited, &[(min, "10")]), Err(KeyError::CompactionLags { min_ms: 10, max_ms: 9 }));
        assert_eq!(check(CompactionLags { min_ms: 9, max_ms: 7 }, &[("retention.ms", "1")]), Ok(()));
    }

    #[test]
    fn words_are_appended_and_subtracted_once() {
        assert_eq!(append(Scope::Topic, "cleanup.policy", "delete", "compact,delete").unwrap(), "delete,compact");
        assert_eq!(subtract(Scope::Topic, "cleanup.policy", "delete,compact", "delete").unwrap(), "compact");
        assert!(matches!(append(Scope::Topic, "retention.ms", "1", "2"), Err(KeyError::NoList { .. })));
    }
}
