"""Bulk produce to a disk that takes 125 MiB/s: what a broker keeps up for hours. Every byte that Kennet writes twice is seen here.

The kernel would take gigabytes of Kafka's from memory before it lets Kafka wait, on a machine with so much; a run would have to be longer than
that. So it may have 128 MiB of this volume that are not written, as if the run had gone on for long. Kennet's own writes pass the page cache.
"""

import os
import shutil
import time

from harness.group import WriteCap
from harness.process import Usage
from harness.row import HIGHER, WRITTEN, Figure, Row
from harness.volume import Volume

PARTITIONS = 6
BATCH = 1_000_000
BYTES_PER_SECOND = 131_072_000
WARM_MIB = 128
DIRTY_MIB = 128
TOPIC = "capped"


def amount(bench):
    return bench.size(2048, 384)


def prepare(bench, _broker, _config):
    if not bench.volume:
        # the data, Kennet's journal, and room
        bench.volume = Volume(bench, amount(bench) * 5 // 4 + 1024)
        bench.volume.limit_dirty(DIRTY_MIB)


def produce(bench, own, mebibytes):
    return bench.client("produce.py", own.bootstrap, TOPIC, PARTITIONS, mebibytes << 10, BATCH)


def cell(bench, broker, _):
    """A new file system and a new broker each time, so that nothing is left of the cell before."""
    own = bench.broker(broker, "capped")
    bench.volume.mount(own.folder)
    try:
        own.up().down()
        cap = WriteCap(bench, bench.volume.number())
        try:
            own.again(cap.processes)
            own.create({TOPIC: PARTITIONS})
            produce(bench, own, WARM_MIB)
            bench.volume.sync()
            cap.set(BYTES_PER_SECOND)
            before, began = Usage(own.pid), time.monotonic()
            told = produce(bench, own, amount(bench))
            bench.volume.sync()
            seconds = time.monotonic() - began
            figures = {**told, **Usage(own.pid).since(before)}
        finally:
            own.down()
            cap.remove()
        return {**figures, "disk_mib_per_s": round(amount(bench) / seconds, 1)}
    finally:
        own.down()
        bench.volume.unmount()


def finish(bench, broker):
    if bench.volume:
        bench.volume.close()
        bench.volume = None
    shutil.rmtree(os.path.join(bench.folder, "capped", broker), ignore_errors=True)


ROWS = [
    Row("produce, disk of 125 MiB/s", "librdkafka, acks=all, 1 MB batches, 2 GiB (quick: 384 MiB) to a volume of its own that takes 125 MiB/s, of which the "
        "kernel keeps at most 128 MiB unwritten: a rate that lasts. Expected: 0.5 times Kafka's", cell,
        [Figure("disk_mib_per_s", "MiB/s, until all is on the disk", HIGHER), Figure("mib_per_s", "MiB/s, until the last ack", HIGHER), WRITTEN],
        prepare, finish, shared=False, rounds_max=3),
]
