"""How many single-record requests a second are acknowledged, over many connections. Kafka twice: as it is, and with a sync before every ack."""

from harness.row import BUSY, CPU_PER_REQUEST, HIGHER, WRITTEN, Figure, Row

PARTITIONS = 6
CONNECTIONS = 64


def topic(config):
    return "most-synced" if config else "most"


def prepare(_, broker, config):
    broker.create({topic(config): PARTITIONS}, config)


def cell(bench, broker, config):
    told = bench.load("most", broker, topic(config), partitions=PARTITIONS, connections=CONNECTIONS, seconds=bench.size(10, 2))
    return {**told, "acked_bytes": told["requests"] * 1024}


ROWS = [
    Row("requests/s, one record each", "closed loop, 1 KiB, 64 connections; Kennet is durable, Kafka also with flush.messages=1", cell,
        [Figure("rate", "requests/s", HIGHER), Figure("p99_us", "p99 us"), CPU_PER_REQUEST, WRITTEN, BUSY], prepare,
        variants=[("kennet", "kennet", {}), ("kafka", "kafka", {}), ("kafka, synced", "kafka", {"flush.messages": "1"})]),
]
