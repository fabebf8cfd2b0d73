"""What a row of the benchmark is: a cell that is measured for each broker in turn, round by round."""

from dataclasses import dataclass, field
from typing import Callable, Optional

LOWER, HIGHER, NONE = "lower", "higher", "none"


@dataclass(frozen=True)
class Figure:
    """One number of a cell. `better` says which way is ahead; without one there is no ratio to be proud of."""

    key: str
    unit: str
    better: str = LOWER


@dataclass
class Row:
    """`cell(bench, broker, config)` measures once and returns figures. `acked_bytes` and `requests` among them become CPU per GiB and per request."""

    name: str
    what: str
    cell: Callable
    figures: list
    prepare: Optional[Callable] = None
    finish: Optional[Callable] = None
    # `machine(bench)`: figures of the machine by itself, taken before each cell and outside of what its broker is charged for
    machine: Optional[Callable] = None
    # column, broker, configs of its topics
    variants: list = field(default_factory=lambda: [("kennet", "kennet", {}), ("kafka", "kafka", {})])
    # on the two brokers that run all the time and are warm; otherwise the cell has brokers of its own
    shared: bool = True
    rounds_max: int = 1000


CPU_PER_GIB = Figure("cpu_s_per_gib", "broker CPU s/GiB")
CPU_PER_REQUEST = Figure("cpu_us_per_request", "broker CPU us/request")
MIB_PER_SECOND = Figure("mib_per_s", "MiB/s", HIGHER)
WRITTEN = Figure("written_per_acked", "bytes written per byte acknowledged")
BUSY = Figure("machine_busy", "share of the machine busy", NONE)
RSS = Figure("rss_mib", "RSS MiB")
LATENCIES = [Figure("p50_us", "p50 us"), Figure("p99_us", "p99 us"), Figure("p999_us", "p99.9 us")]


def derive(figures):
    """Adds what follows from the amounts."""
    acked, requests, cpu = figures.get("acked_bytes"), figures.get("requests"), figures.get("broker_cpu_s")
    if acked and cpu is not None:
        figures["cpu_s_per_gib"] = round(cpu * (1 << 30) / acked, 3)
        figures["written_per_acked"] = round(figures["written_bytes"] / acked, 3)
    if acked and figures.get("seconds"):
        figures["mib_per_s"] = round(acked / figures["seconds"] / (1 << 20), 1)
    if requests and cpu is not None:
        figures["cpu_us_per_request"] = round(cpu * 1e6 / requests, 2)
    return figures
