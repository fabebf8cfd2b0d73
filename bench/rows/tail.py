"""The tail's latency from producer to consumer: quiet, and while another consumer reads from the disk what nobody has read for long."""

import os

from harness.process import read_bytes
from harness.row import HIGHER, NONE, Figure, Row

TAIL, COLD = "tail", "cold"
TAIL_PARTITIONS, COLD_PARTITIONS = 4, 6
RATE = 2000
RECORDS_PER_BATCH = 256
# the reader that is beside it must be through by then
SECONDS_MAX = 150


def prepare(bench, broker, config):
    broker.create({TAIL: TAIL_PARTITIONS, COLD: COLD_PARTITIONS}, config)
    requests = (bench.size(8192, 1536) << 10) // RECORDS_PER_BATCH
    bench.load("most", broker, COLD, partitions=COLD_PARTITIONS, connections=COLD_PARTITIONS, records=RECORDS_PER_BATCH, requests=requests, seconds=280)


def cell(bench, broker, _):
    load = {"partitions": TAIL_PARTITIONS, "rate": RATE, "warm_up_seconds": bench.size(2, 1)}
    bench.page_cache.drop(os.path.join(broker.folder, "data"))
    quiet = bench.load("tail", broker, TAIL, seconds=bench.size(10, 4), **load)
    before = read_bytes(broker.pid)
    beside = bench.load("tail", broker, TAIL, seconds=SECONDS_MAX, beside=COLD, beside_partitions=COLD_PARTITIONS, **load)
    return {
        "quiet_p50_us": quiet["p50_us"],
        "quiet_p99_us": quiet["p99_us"],
        "beside_p50_us": beside["p50_us"],
        "beside_p99_us": beside["p99_us"],
        "beside_max_us": beside["max_us"],
        "times_quiet": round(beside["p99_us"] / quiet["p99_us"], 3),
        "read_gib": round(beside["read_bytes"] / (1 << 30), 2),
        "read_mib_per_s": round(beside["read_bytes"] / beside["read_seconds"] / (1 << 20), 1),
        "from_disk": round((read_bytes(broker.pid) - before) / beside["read_bytes"], 3),
    }


def finish(_, broker):
    broker.delete([TAIL, COLD])


ROWS = [
    Row("tail beside a cold reader", "producer to consumer at 2 000 records/s; another consumer reads 8 GiB (quick: 1.5 GiB) that are not in the page cache, "
        "as fast as it gets them. Target: p99 at most 1.3 times the broker's own quiet one", cell,
        [Figure("quiet_p99_us", "p99 us, quiet"), Figure("beside_p99_us", "p99 us, beside the cold reader"),
         Figure("times_quiet", "p99, times its own quiet one"), Figure("beside_p50_us", "p50 us, beside the cold reader"),
         Figure("read_mib_per_s", "cold reader's MiB/s", HIGHER), Figure("from_disk", "bytes from the disk per byte read", NONE)], prepare, finish),
]
