//! The settings of a topic that its logs follow; names and meaning are Kafka's.

use std::time::Duration;

/// A log's settings. They may change while it is open.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it grows above this.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is closed when its first record is this old.
    pub segment_age: Duration,
    /// `index.interval.bytes`: one index entry for so many bytes.
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`: a segment is closed when its offset index would grow above this.
    pub index_bytes_max: u64,
    /// `retention.bytes`: old segments go when the log is larger; `None` is unlimited.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`: old segments go when their newest record is older; `None` is unlimited.
    pub retention_age: Option<Duration>,
    /// `cleanup.policy` has `delete`, so that retention applies.
    pub retention_enabled: bool,
    /// `cleanup.policy` has `compact`.
    pub compaction_enabled: bool,
    /// `min.compaction.lag.ms`: records stay as they are for so long.
    pub compaction_lag_min: Duration,
    /// `max.compaction.lag.ms`: records are compacted after so long, however little there is; `None` is unlimited.
    pub compaction_lag_max: Option<Duration>,
    /// `min.cleanable.dirty.ratio`: a log is compacted when more than this share of it was not.
    pub dirty_ratio_min: f64,
    /// `delete.retention.ms`: tombstones stay for so long after compaction has met them.
    pub tombstone_retention: Duration,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `producer.id.expiration.ms`: an idempotent producer that is silent this long is forgotten.
    pub producer_id_expiration: Duration,
    /// The broker writes this log itself, a little at a time: it may use room that is kept from clients' records, so that a disk that is
    /// behind makes producers wait and not groups.
    pub uses_reserve: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            segment_bytes: 1 << 30,
            segment_age: 7 * DAY,
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            retention_bytes: None,
            retention_age: Some(7 * DAY),
            retention_enabled: true,
            compaction_enabled: false,
            compaction_lag_min: Duration::ZERO,
            compaction_lag_max: None,
            dirty_ratio_min: 0.5,
            tombstone_retention: DAY,
            log_append_time: false,
            producer_id_expiration: DAY,
            uses_reserve: false,
        }
    }
}
