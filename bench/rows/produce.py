"""Bulk produce: 1 KiB records, six partitions, batches of three sizes from librdkafka; Kafka's own producer at its defaults."""

from harness.row import BUSY, CPU_PER_GIB, MIB_PER_SECOND, RSS, WRITTEN, Row

PARTITIONS = 6
RECORDS_PER_GIB = 1 << 20
FIGURES = [CPU_PER_GIB, MIB_PER_SECOND, WRITTEN, RSS, BUSY]


def row(label, batch, full_mib, quick_mib):
    topic = f"bulk-{batch}"

    def prepare(_, broker, config):
        broker.create({topic: PARTITIONS}, config)

    def cell(bench, broker, _):
        return bench.client("produce.py", broker.bootstrap, topic, PARTITIONS, bench.size(full_mib, quick_mib) << 10, batch)

    def finish(_, broker):
        broker.delete([topic])

    return Row(f"produce, {label} batches", "librdkafka, acks=all, 1 KiB records", cell, FIGURES, prepare, finish)


def java():
    topic = "bulk-java"

    def prepare(_, broker, config):
        broker.create({topic: PARTITIONS}, config)

    def cell(bench, broker, _):
        records = bench.size(512, 96) << 10
        bench.java("ProducerPerformance", "--topic", topic, "--num-records", records, "--record-size", 1024, "--throughput", -1,
                   "--bootstrap-server", broker.bootstrap)
        return {"acked_bytes": records * 1024}

    def finish(_, broker):
        broker.delete([topic])

    return Row("produce, Kafka's own tool", "ProducerPerformance at the Java client's defaults (idempotent, acks=all, 16 KiB batches)", cell,
               [CPU_PER_GIB, WRITTEN, RSS], prepare, finish)


ROWS = [row("1 MB", 1_000_000, 1024, 256), row("256 KiB", 262_144, 1024, 256), row("16 KiB", 16_384, 512, 96), java()]
