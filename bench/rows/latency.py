"""One 1 KiB record a request at a fixed rate, latency from the scheduled time; and Kafka's own tool from producer to consumer."""

import re

from harness.brokers import Failed
from harness.row import BUSY, CPU_PER_REQUEST, LATENCIES, NONE, WRITTEN, Figure, Row

CONNECTIONS = 4
# without any broker, just before each cell
WAKES = [Figure("wake_p99_us", "p99 us of a thread that only wakes", NONE), Figure("wake_p999_us", "its p99.9 us", NONE)]


def row(name, what, partitions, rate):
    topic = f"rate-{partitions}-{rate}"

    def prepare(_, broker, config):
        broker.create({topic: partitions}, config)

    def cell(bench, broker, _):
        seconds = bench.size(20, 3)
        told = bench.load("rate", broker, topic, partitions=partitions, connections=CONNECTIONS, rate=rate, seconds=seconds,
                          warm_up_seconds=bench.size(2, 1))
        return {**told, "acked_bytes": told["requests"] * 1024}

    def finish(_, broker):
        broker.delete([topic])

    return Row(name, what, cell, [*LATENCIES, *WAKES, CPU_PER_REQUEST, WRITTEN, BUSY], prepare, finish,
               machine=lambda bench: bench.wake(rate, bench.size(5, 1)))


def end_to_end():
    topic = "end-to-end"

    def prepare(_, broker, config):
        broker.create({topic: 1}, config)

    def cell(bench, broker, _):
        told = bench.java("EndToEndLatency", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--num-records", bench.size(10_000, 1500),
                          "--producer-acks", "all", "--record-size", 1024)
        average = re.search(r"Avg latency: ([\d.]+) ms", told)
        percentiles = re.search(r"99th = (\d+)", told)
        if not average or not percentiles:
            raise Failed(f"EndToEndLatency says: {told[-200:]}")
        return {"mean_ms": float(average[1]), "p99_ms": int(percentiles[1])}

    def finish(_, broker):
        broker.delete([topic])

    return Row("producer to consumer, Kafka's own tool", "EndToEndLatency, one record at a time, acks=all; its p99 has whole milliseconds", cell,
               [Figure("mean_ms", "mean ms"), Figure("p99_ms", "p99 ms")], prepare, finish)


ROWS = [
    row("2 000 requests/s, one partition", "open loop, one 1 KiB record each, 4 connections", 1, 2000),
    row("10 000 requests/s, one partition", "open loop, one 1 KiB record each, 4 connections", 1, 10_000),
    row("10 000 requests/s, 1 000 partitions", "open loop, 10 records/s on each partition, 4 connections", 1000, 10_000),
    end_to_end(),
]
