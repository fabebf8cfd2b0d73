//! A topic's configs as its logs take them.

use std::collections::BTreeMap;
use std::time::Duration;

use kennet_contract::config_keys::Configs;
use kennet_log::LogConfig;
use kennet_metadata::is_internal;

/// The settings of a topic's logs, from all layers of configs.
pub(crate) fn log_config(topic: &str, configs: &Configs<'_>) -> LogConfig {
    let bytes = |name| u64::try_from(configs.topic_number(name)).unwrap_or(0);
    let limit = |name| u64::try_from(configs.topic_number(name)).ok();
    let has_policy = |policy| configs.topic_text("cleanup.policy").split(',').any(|word: &str| word.trim() == policy);
    let duration = |name| Duration::from_millis(bytes(name));
    LogConfig {
        segment_bytes: bytes("segment.bytes"),
        segment_age: Duration::from_millis(bytes("segment.ms")),
        index_interval_bytes: bytes("index.interval.bytes"),
        index_bytes_max: bytes("segment.index.bytes"),
        retention_bytes: limit("retention.bytes"),
        retention_age: limit("retention.ms").map(Duration::from_millis),
        retention_enabled: has_policy("delete"),
        compaction_enabled: has_policy("compact"),
        compaction_lag_min: duration("min.compaction.lag.ms"),
        // Kafka's largest number means never
        compaction_lag_max: Some(configs.topic_number("max.compaction.lag.ms"))
            .filter(|lag| *lag != i64::MAX)
            .map(|_| duration("max.compaction.lag.ms")),
        dirty_ratio_min: configs.topic_text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
        tombstone_retention: duration("delete.retention.ms"),
        log_append_time: configs.topic_text("message.timestamp.type") == "LogAppendTime",
        producer_id_expiration: Duration::from_millis(
            u64::try_from(configs.broker_number("producer.id.expiration.ms")).unwrap_or(0),
        ),
        uses_reserve: is_internal(topic),
    }
}

/// No configs, for a layer that has none.
pub(crate) static NO_CONFIGS: BTreeMap<String, String> = BTreeMap::new();

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kennet_contract::config_keys::Configs;
    use kennet_log::LogConfig;

    use super::{NO_CONFIGS, log_config};

    fn of(pairs: &[(&str, &str)]) -> LogConfig {
        let topic: BTreeMap<_, _> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let none = &NO_CONFIGS;
        log_config("t", &Configs { topic: &topic, dynamic_broker: none, dynamic_cluster: none, file: none })
    }

    #[test]
    fn without_configs_a_log_has_kafkas_defaults() {
        assert_eq!(of(&[]), LogConfig::default());
    }

    #[test]
    fn minus_one_is_unlimited_and_a_compacted_topic_is_not_cut() {
        let config = of(&[("retention.ms", "-1"), ("retention.bytes", "5"), ("cleanup.policy", "compact")]);
        assert_eq!((config.retention_age, config.retention_bytes, config.retention_enabled), (None, Some(5), false));
    }
}
