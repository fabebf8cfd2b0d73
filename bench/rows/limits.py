"""A broker within a memory limit: the smallest that costs no latency, and those of small pods."""

import shutil
import statistics

from harness.brokers import Failed
from harness.group import Memory
from harness.process import status_mib
from harness.row import NONE, Figure, Row

TOPIC = "limited"
RATE = 2000
CONNECTIONS = 4
WITHIN = 1.2
# from the largest; Kafka's heap is 1 GiB by default
STEPS = {"kennet": (512, 256, 128, 96, 64, 48, 32, 24), "kafka": (2048, 1536, 1280, 1152, 1024, 896, 768, 640)}
STEPS_QUICK = {"kennet": (128, 64, 32), "kafka": (1536, 1152, 896)}
# in one process after the other, so that one bad moment of the disk does not decide
PARTS = 3


def latency(bench, own):
    """p99 at 2 000 requests/s of a broker that has just started: the median of parts, after the same warm-up each time."""
    bench.load("most", own, TOPIC, connections=CONNECTIONS, records=16, requests=bench.size(10_000, 4000), seconds=60)
    bench.load("most", own, TOPIC, connections=CONNECTIONS, requests=bench.size(40_000, 10_000), seconds=60)
    rate = {"connections": CONNECTIONS, "rate": RATE, "seconds": bench.size(5, 2), "warm_up_seconds": 0}
    parts = [bench.load("rate", own, TOPIC, **rate) for _ in range(PARTS)]
    return statistics.median(part["p99_us"] for part in parts)


def within(bench, own, mebibytes):
    """p99 within a limit; none when the broker does not start, is killed or does not answer."""
    group = Memory(bench, mebibytes)
    try:
        own.again(group.processes)
        p99 = latency(bench, own)
        return None if group.kills() else p99
    except Failed:
        return None
    finally:
        own.down()
        group.remove()


def smallest(bench, broker, _):
    own = bench.broker(broker, "limited").up()
    try:
        own.create({TOPIC: 1})
        own.down()
        own.again()
        free = latency(bench, own)
        own.down()
        found, missed = {}, 0
        for step in (STEPS_QUICK if bench.quick else STEPS)[broker]:
            found[step] = within(bench, own, step)
            missed = 0 if found[step] and found[step] <= WITHIN * free else missed + 1
            # one may be a bad moment, two are a limit; and no smaller one lets a broker live that a larger one has killed
            if found[step] is None or missed == 2:
                break
        held = [step for step, p99 in found.items() if p99 and p99 <= WITHIN * free]
        if not held:
            raise Failed(f"no limit keeps the p99 of {free} us: {found}")
        return {"limit_mib": min(held), "free_p99_us": free, "limited_p99_us": found[min(held)], "p99_us_by_mib": found}
    finally:
        own.down()
        shutil.rmtree(own.folder, ignore_errors=True)


def pod(bench, broker, mebibytes, partitions, load):
    """A load within a limit, and what it took. One failed request or a kill fails the cell."""
    own = bench.broker(broker, "pod").up()
    try:
        own.down()
        group = Memory(bench, mebibytes)
        try:
            own.again(group.processes)
            own.create({TOPIC: partitions})
            figures = load(bench, own, partitions)
            figures |= {"limit_mib": mebibytes, "group_peak_mib": group.peak_mib(), "kills": group.kills(), **status_mib(own.pid)}
        except (Failed, OSError) as error:
            raise Failed(f"{error}; peak {group.peak_mib()} of {mebibytes} MiB, {group.kills()} killed") from error
        finally:
            own.down()
            group.remove()
        return {name: round(value, 1) for name, value in figures.items()}
    finally:
        own.down()
        shutil.rmtree(own.folder, ignore_errors=True)


def quickstart_load(bench, own, partitions):
    """Single requests at a rate, bulk in small and large batches, and all of it read back."""
    told = bench.load("rate", own, TOPIC, partitions=partitions, connections=CONNECTIONS, rate=RATE, seconds=bench.size(20, 3))
    records = bench.size(512, 96) << 10
    for batch in (16_384, 1_000_000):
        bench.client("produce.py", own.bootstrap, TOPIC, partitions, records, batch)
    bench.client("consume.py", own.bootstrap, TOPIC, partitions, told["requests"] + 2 * records)
    return {"p99_us": told["p99_us"], "records": told["requests"] + 2 * records}


def quickstart(bench, broker, _):
    return pod(bench, broker, 128, 6, quickstart_load)


def light_load(bench, own, partitions):
    """A thousand records a second over all partitions, read back."""
    told = bench.load("rate", own, TOPIC, partitions=partitions, connections=CONNECTIONS, rate=1000, seconds=bench.size(20, 4))
    bench.client("consume.py", own.bootstrap, TOPIC, partitions, told["requests"])
    return {"p99_us": told["p99_us"], "records": told["requests"]}


def many(bench, broker, _):
    return pod(bench, broker, 128 if bench.quick else 256, bench.size(10_000, 1000), light_load)


POD = [Figure("limit_mib", "limit MiB", NONE), Figure("group_peak_mib", "peak of the group, with file pages, MiB"), Figure("rss_max_mib", "largest RSS MiB"),
       Figure("p99_us", "p99 us"), Figure("kills", "killed by the kernel", NONE)]
KENNET = [("kennet", "kennet", {})]
ROWS = [
    Row("smallest memory limit", "the least of some limits within which p99 at 2 000 requests/s is at most 1.2 times that without one; once. Kafka keeps its "
        "default heap of 1 GiB", smallest,
        [Figure("limit_mib", "MiB"), Figure("free_p99_us", "p99 us, no limit"), Figure("limited_p99_us", "p99 us, that limit")], shared=False, rounds_max=1),
    Row("pod of 128 MiB, quickstart", "6 partitions: 2 000 requests/s, then bulk in 16 KiB and 1 MB batches, then all is read. Target: no failure",
        quickstart, POD, variants=KENNET, shared=False, rounds_max=1),
    Row("pod of 256 MiB, 10 000 partitions", "1 000 records/s over all of them, then all is read (quick: 1 000 in 128 MiB). Target: no failure",
        many, POD, variants=KENNET, shared=False, rounds_max=1),
]
