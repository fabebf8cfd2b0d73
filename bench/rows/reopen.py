"""Many partitions, and what a start after SIGKILL takes: with empty partitions, and with data that was acknowledged just before."""

import shutil
import time

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from harness.brokers import Failed, Skipped
from harness.process import cpu_seconds, status_mib
from harness.row import NONE, RSS, Figure, Row

TOPICS = 10
SETTLE_SECONDS = 5
RECORDS_PER_BATCH = 64


def partitions(bench):
    """A multiple of ten: they are spread over ten topics."""
    return bench.size(10_000, 1000, 10) // TOPICS * TOPICS


def many(bench, broker, _):
    own = bench.broker(broker, "partitions").up()
    count = partitions(bench)
    time.sleep(SETTLE_SECONDS)
    before, began = status_mib(own.pid)["rss_mib"], time.monotonic()
    # one after the other: Kafka refuses a request that would become more than 10 000 metadata records
    for number in range(TOPICS):
        own.create({f"many-{number}": count // TOPICS})
    created = time.monotonic() - began
    time.sleep(SETTLE_SECONDS)
    after, cpu, began = status_mib(own.pid)["rss_mib"], cpu_seconds(own.pid), time.monotonic()
    time.sleep(bench.size(30, 5))
    return {
        "partitions": count,
        "kib_per_partition": round((after - before) * 1024 / count, 2),
        "create_s": round(created, 2),
        "rss_mib": round(after, 1),
        "idle_cores": round((cpu_seconds(own.pid) - cpu) / (time.monotonic() - began), 5),
    }


def reopen_many(bench, broker, _):
    own = bench.kept.get(("partitions", broker))
    if own is None:
        raise Skipped("the row before it, which makes its partitions, did not run")
    own.kill()
    figures = reopened(own)
    found = sum(len(topic.partitions) for name, topic in own.admin().list_topics(timeout=60).topics.items() if name.startswith("many-"))
    if found != partitions(bench):
        raise Failed(f"{found} partitions, expected {partitions(bench)}")
    time.sleep(2)
    return {**figures, "partitions": found, "rss_mib": round(status_mib(own.pid)["rss_mib"], 1)}


def finish_many(bench, broker):
    own = bench.kept.get(("partitions", broker))
    if own:
        own.down()
        shutil.rmtree(own.folder, ignore_errors=True)


def reopened(own):
    began = time.monotonic()
    seconds = own.again()
    return {"ready_ms": round(seconds * 1000, 1), "start_cpu_s": cpu_seconds(own.pid), "asked_s": round(time.monotonic() - began, 2)}


def records(own, count):
    """What all partitions have. A broker that has just started may not know its own leader epochs for a while: Kafka answers so."""
    # kept until the answers are there
    admin, end = own.admin(), time.monotonic() + 60
    while True:
        wanted = {TopicPartition("data", number): OffsetSpec.latest() for number in range(count)}
        try:
            return sum(future.result(60).offset for future in admin.list_offsets(wanted, request_timeout=60).values())
        except KafkaException as error:
            if time.monotonic() > end:
                raise Failed(f"the ends of the partitions are not told: {error}") from error
            time.sleep(0.5)


def reopen_data(bench, broker, _):
    own = bench.broker(broker, "data").up()
    try:
        count = bench.size(1000, 200)
        requests = (bench.size(4096, 512) << 20) // (RECORDS_PER_BATCH << 10)
        own.create({"data": count})
        told = bench.load("most", own, "data", partitions=count, connections=2, in_flight=4, records=RECORDS_PER_BATCH, requests=requests,
                          seconds=280)
        own.kill()
        figures = reopened(own)
        found = records(own, count)
        return {**figures, "partitions": count, "gib": told["requests"] * RECORDS_PER_BATCH / (1 << 20),
                "missing": told["requests"] * RECORDS_PER_BATCH - found}
    finally:
        own.down()
        shutil.rmtree(own.folder, ignore_errors=True)


READY = [Figure("ready_ms", "ms"), Figure("start_cpu_s", "CPU s")]
ROWS = [
    Row("idle partitions", "10 000 partitions (1 000 in a quick run) in ten topics, nothing in them", many,
        [Figure("kib_per_partition", "KiB RSS per partition"), Figure("create_s", "s to create all"), Figure("idle_cores", "cores idle"), RSS],
        shared=False, rounds_max=1),
    Row("reopen, empty partitions", "SIGKILL, then start to first Metadata answer, the partitions of the row above", reopen_many, [*READY, RSS],
        None, finish_many, shared=False),
    Row("reopen, data", "4 GiB in 1 000 partitions (quick: 512 MiB in 200), SIGKILL right after the last ack, start to first Metadata answer", reopen_data,
        [*READY, Figure("missing", "acknowledged records missing", NONE)], shared=False),
]
