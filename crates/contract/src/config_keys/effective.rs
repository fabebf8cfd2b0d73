//! Which value of a key counts: the topic's own, the broker's, or the default.

use std::collections::BTreeMap;

use crate::config_keys::{CompactionLags, ConfigKey, Scope, find};

/// Where a value comes from (DescribeConfigs `config_source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set for this broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicCluster,
    /// In the broker's config file.
    File,
    /// Nobody set it.
    Default,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The key that gave it: the topic's own or a broker's.
    pub name: &'static str,
    /// The value, in that key's unit.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
}

/// All layers of configs that a broker knows, for one topic or none.
#[derive(Debug, Clone, Copy)]
pub struct Configs<'a> {
    /// The topic's own.
    pub topic: &'a BTreeMap<String, String>,
    /// This broker's, set while it runs.
    pub dynamic_broker: &'a BTreeMap<String, String>,
    /// All brokers', set while they run.
    pub dynamic_cluster: &'a BTreeMap<String, String>,
    /// The config file's.
    pub file: &'a BTreeMap<String, String>,
}

impl Configs<'_> {
    /// All values that a topic's key has, the one that counts first; the last is the default.
    #[must_use]
    pub fn topic_values(&self, key: &'static ConfigKey) -> Vec<Value> {
        let mut found = Vec::new();
        if let Some(text) = self.topic.get(key.name) {
            found.push(Value { name: key.name, text: text.clone(), source: Source::Topic });
        }
        for (broker_key, _) in key.broker_keys {
            found.extend(self.broker_layers(broker_key));
        }
        match key
            .broker_keys
            .iter()
            .find_map(|(name, _)| find(Scope::Broker, name).filter(|key| !key.default.is_empty()))
        {
            Some(broker_key) => found.push(default_of(broker_key)),
            None => found.push(default_of(key)),
        }
        found
    }

    /// All values that a broker's key has, the one that counts first; the last is the default.
    #[must_use]
    pub fn broker_values(&self, key: &'static ConfigKey) -> Vec<Value> {
        let mut found = self.broker_layers(key.name);
        found.push(default_of(key));
        found
    }

    fn broker_layers(&self, name: &str) -> Vec<Value> {
        let Some(key) = find(Scope::Broker, name) else { return Vec::new() };
        let layers = [
            (self.dynamic_broker, Source::DynamicBroker),
            (self.dynamic_cluster, Source::DynamicCluster),
            (self.file, Source::File),
        ];
        layers
            .into_iter()
            .filter_map(|(layer, source)| {
                layer.get(name).map(|text| Value { name: key.name, text: text.clone(), source })
            })
            .collect()
    }

    /// The value of a topic's key that counts, in the key's own unit.
    #[must_use]
    pub fn topic_text(&self, name: &str) -> String {
        let Some(key) = find(Scope::Topic, name) else { return String::new() };
        let Some(value) = self.topic_values(key).into_iter().next() else { return key.default.to_owned() };
        in_topic_unit(key, &value)
    }

    /// A topic's number; its default when the text is none, which checks prevent.
    #[must_use]
    pub fn topic_number(&self, name: &str) -> i64 {
        let text = self.topic_text(name);
        let default = || find(Scope::Topic, name).and_then(|key| key.default.parse().ok()).unwrap_or_default();
        text.trim().parse().unwrap_or_else(|_| default())
    }

    /// A topic's lags of compaction.
    #[must_use]
    pub fn compaction_lags(&self) -> CompactionLags {
        CompactionLags {
            min_ms: self.topic_number("min.compaction.lag.ms"),
            max_ms: self.topic_number("max.compaction.lag.ms"),
        }
    }

    /// A broker's value that counts.
    #[must_use]
    pub fn broker_text(&self, name: &str) -> String {
        let Some(key) = find(Scope::Broker, name) else { return String::new() };
        self.broker_values(key).swap_remove(0).text
    }

    /// A broker's number.
    #[must_use]
    pub fn broker_number(&self, name: &str) -> i64 {
        let default = || find(Scope::Broker, name).and_then(|key| key.default.parse().ok()).unwrap_or_default();
        self.broker_text(name).trim().parse().unwrap_or_else(|_| default())
    }

    /// A broker's switch.
    #[must_use]
    pub fn broker_switch(&self, name: &str) -> bool {
        self.broker_text(name).trim().eq_ignore_ascii_case("true")
    }
}

/// A broker's hours or minutes as the topic's milliseconds; below zero means "for ever" in any unit.
#[must_use]
pub(crate) fn in_topic_unit(key: &ConfigKey, value: &Value) -> String {
    let unit = key.broker_keys.iter().find(|(name, _)| *name == value.name).map_or(1, |(_, unit)| *unit);
    match value.text.trim().parse::<i64>() {
        Ok(number) if unit > 1 && number >= 0 => number.saturating_mul(unit).to_string(),
        _ => value.text.clone(),
    }
}

fn default_of(key: &'static ConfigKey) -> Value {
    Value { name: key.name, text: key.default.to_owned(), source: Source::Default }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Configs, Source};
    use crate::config_keys::{Scope, find};

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_topics_own_value_counts_before_the_brokers() {
        let (topic, none, file) = (map(&[("retention.ms", "5")]), map(&[]), map(&[("log.retention.minutes", "2")]));
        let configs = |topic| Configs { topic, dynamic_broker: &none, dynamic_cluster: &none, file: &file };
        assert_eq!(configs(&topic).topic_number("retention.ms"), 5);
        assert_eq!(configs(&none).topic_number("retention.ms"), 120_000);
        let key = find(Scope::Topic, "retention.ms").unwrap();
        let sources: Vec<_> = configs(&topic).topic_values(key).iter().map(|value| value.source).collect();
        assert_eq!(sources, [Source::Topic, Source::File, Source::Default]);
    }

    #[test]
    fn a_default_in_hours_is_told_in_milliseconds() {
        let none = map(&[]);
        let configs = Configs { topic: &none, dynamic_broker: &none, dynamic_cluster: &none, file: &none };
        assert_eq!(configs.topic_number("retention.ms"), 604_800_000);
        assert_eq!(configs.topic_number("segment.ms"), 604_800_000);
        assert_eq!(configs.broker_number("num.partitions"), 1);
    }
}
