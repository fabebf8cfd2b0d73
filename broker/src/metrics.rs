//! The broker's metrics: one table that makes `/metrics` and the page in docs.
//!
//! They are read when they are asked for, so that an idle broker counts nothing, and they name no topic and no group.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::broker::Broker;
use crate::management::under_min_isr;

const PREFIX: &str = "kennet_broker";

struct Metric {
    name: &'static str,
    help: &'static str,
    read: fn(&Broker) -> u64,
}

const METRICS: &[Metric] = &[
    Metric {
        name: "partitions",
        help: "Partitions of this broker",
        read: |broker| count(broker.partitions.all().len()),
    },
    Metric {
        name: "partitions_offline",
        help: "Partitions that can't be used",
        read: |broker| {
            count(broker.partitions.all().iter().filter(|partition| partition.log.unavailable().is_some()).count())
        },
    },
    Metric {
        name: "partitions_under_min_isr",
        help: "Partitions with fewer in-sync replicas than min.insync.replicas",
        read: |broker| count(under_min_isr(broker)),
    },
    Metric {
        name: "log_size_bytes",
        help: "Bytes of all logs",
        read: |broker| broker.partitions.all().iter().map(|partition| partition.log.summary().size_bytes).sum(),
    },
    Metric {
        name: "log_pending_bytes",
        help: "Bytes that wait for the disk",
        read: |broker| count(broker.partitions.directory().pending_bytes()),
    },
    Metric {
        name: "journal_bytes",
        help: "Bytes of the journal; it grows when it is needed",
        read: |broker| broker.partitions.directory().journal_use().bytes,
    },
    Metric {
        name: "journal_used_bytes",
        help: "Bytes of the journal's slots that a restart would read; producers are slowed when little is left",
        read: |broker| broker.partitions.directory().journal_use().used_bytes,
    },
    Metric {
        name: "journal_buffered",
        help: "1 when the file system refuses direct writes and the journal goes through the page cache, which is slower, else 0",
        read: |broker| u64::from(broker.partitions.directory().journal_use().is_buffered),
    },
    Metric {
        name: "compaction_rounds",
        help: "Times that a log was compacted since the start",
        read: |broker| broker.cleaned.rounds.load(Ordering::Relaxed),
    },
    Metric {
        name: "compaction_removed_bytes",
        help: "Bytes by which compaction made logs smaller since the start",
        read: |broker| broker.cleaned.removed_bytes.load(Ordering::Relaxed),
    },
    Metric {
        name: "compaction_failures",
        help: "Times that a log could not be compacted since the start; it is tried again",
        read: |broker| broker.cleaned.failures.load(Ordering::Relaxed),
    },
    Metric {
        name: "compaction_segments_set_aside",
        help: "Segments that compaction could not read and leaves alone until the next start",
        read: |broker| count(broker.partitions.all().iter().map(|partition| partition.log.summary().set_aside).sum()),
    },
    Metric {
        name: "topics_unknown",
        help: "Topics in the data directory that metadata did not name at the start; they are kept",
        read: |broker| count(broker.partitions.unknown_topics()),
    },
    Metric {
        name: "disk_failed",
        help: "1 when the data directory failed and the broker must be restarted, else 0",
        read: |broker| u64::from(broker.partitions.directory().failed().is_some()),
    },
    Metric {
        name: "disk_oldest_write_seconds",
        help: "Whole seconds that the oldest write or sync takes which the disk has not finished; more than 2 is a disk that hangs",
        read: |broker| broker.partitions.directory().oldest_write().as_secs(),
    },
    Metric {
        name: "disk_available_bytes",
        help: "Bytes that can still be written",
        read: |broker| broker.partitions.directory().space().map_or(0, |space| space.available),
    },
    Metric {
        name: "disk_total_bytes",
        help: "Bytes of the volume",
        read: |broker| broker.partitions.directory().space().map_or(0, |space| space.total),
    },
    Metric {
        name: "metadata_offset",
        help: "Offset of the newest committed metadata record",
        read: |broker| u64::try_from(*broker.controller.changes().borrow()).unwrap_or(0),
    },
];

/// All metrics with their present values.
pub(crate) fn registry(broker: &Broker) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    for Metric { name, help, read } in METRICS {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(read(broker)).unwrap_or(i64::MAX));
        registry.register(*name, *help, gauge);
    }
    registry
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::{METRICS, PREFIX};

    const OPERATOR: &str = "\n## Operator\n";

    fn page() -> String {
        let mut page = "# Metrics\n\n<!-- made from broker/src/metrics.rs: KENNET_WRITE_DOCS=1 cargo test -p kennet-broker metrics -->\n\n\
            ## Broker\n\n`GET /metrics` on the broker's metrics port (9193) answers these in OpenMetrics text, all of them gauges.\n\n\
            | metric | meaning |\n|---|---|\n"
            .to_owned();
        for metric in METRICS {
            writeln!(page, "| `{PREFIX}_{}` | {} |", metric.name, metric.help).unwrap();
        }
        page
    }

    #[test]
    fn the_page_in_docs_lists_the_metrics_that_are_served() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        // the rest is the operator's, and its crate's test looks after it
        let text = std::fs::read_to_string(&file).unwrap();
        let (present, operator) = text.split_at(text.find(OPERATOR).unwrap());
        if std::env::var_os("KENNET_WRITE_DOCS").is_some() {
            std::fs::write(&file, page() + operator).unwrap();
            return;
        }
        assert_eq!(present, page());
    }
}
