"""Without load: start, CPU and memory. And the memory after all the load of this run."""

import time

from harness.process import cpu_seconds, status_mib
from harness.row import RSS, Figure, Row

SETTLE_SECONDS = 5


def start_prepare(bench, broker, _):
    bench.broker(broker, "start").up().down()


def start(bench, broker, _):
    own = bench.kept["start", broker]
    seconds = own.again()
    figures = {"ready_ms": round(seconds * 1000, 1), "start_cpu_s": cpu_seconds(own.pid)}
    own.down()
    return figures


def idle_prepare(_, _broker, _config):
    time.sleep(SETTLE_SECONDS)


def idle(bench, broker, _):
    seconds = bench.size(20, 4)
    before, began = cpu_seconds(broker.pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_seconds(broker.pid) - before) / (time.monotonic() - began)
    return {"idle_cores": round(share, 5), **{name: round(value, 1) for name, value in status_mib(broker.pid).items()}}


def memory(_, broker, _config):
    return {name: round(value, 1) for name, value in status_mib(broker.pid).items()}


START = [Row("start, no topics", "from the process's start to the first Metadata answer that lists a broker", start,
             [Figure("ready_ms", "ms"), Figure("start_cpu_s", "CPU s")], start_prepare, shared=False)]
IDLE = [Row("idle, no topics", "CPU counted to 10 ms: a broker that shows 0 used less in the time watched", idle,
            [Figure("idle_cores", "cores"), RSS], idle_prepare)]
MEMORY = [Row("memory after the load", "after every row above; the most there was is VmHWM", memory,
              [RSS, Figure("rss_max_mib", "largest RSS MiB")], rounds_max=1)]
