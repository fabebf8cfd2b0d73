"""Bulk fetch of records that were just written: from memory, or from pages that the kernel has."""

from harness.row import BUSY, CPU_PER_GIB, MIB_PER_SECOND, RSS, Row

PARTITIONS = 6
TOPIC = "fetched"


def records(bench):
    return bench.size(1024, 256) << 10


def prepare(bench, broker, config):
    broker.create({TOPIC: PARTITIONS}, config)
    bench.load("most", broker, TOPIC, partitions=PARTITIONS, connections=PARTITIONS, records=256, requests=records(bench) // 256)


def librdkafka(bench, broker, _):
    return bench.client("consume.py", broker.bootstrap, TOPIC, PARTITIONS, records(bench))


def java(bench, broker, _):
    bench.java("ConsumerPerformance", "--bootstrap-server", broker.bootstrap, "--topic", TOPIC, "--num-records", records(bench), "--timeout", 60000,
               "--hide-header")
    return {"acked_bytes": records(bench) * 1024}


def finish(_, broker):
    broker.delete([TOPIC])


ROWS = [
    Row("fetch, cached", "librdkafka reads what was just written", librdkafka, [CPU_PER_GIB, MIB_PER_SECOND, RSS, BUSY], prepare),
    Row("fetch, Kafka's own tool", "ConsumerPerformance, in a group, the same records", java, [CPU_PER_GIB, RSS], None, finish),
]
