"""Measures every row for each broker in turn and writes one JSON line a cell. Called by bench/run, which sets the environment.

The brokers take turns within a round, and each round begins with the other one (A B, B A, A B, ...). Dirty pages are written back between cells, so
nobody pays for what the other has left to the kernel. A cell during which the disk's canary was noisy is measured again, once, and counted.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from harness import report
from harness.bench import HERE, ROOT, Bench
from harness.brokers import Broker, Skipped
from harness.canary import NOISY_MS, Canary
from harness.page_cache import PageCache
from harness.process import Usage
from harness.row import derive
from rows import MEASURED, rest

NAMES = ("kennet", "kafka")
WARM_RECORDS = 3_000_000
REST_SECONDS = 0.3


class Run:
    def __init__(self, bench, rounds, until, out, only):
        self.bench, self.rounds, self.until, self.out, self.only = bench, rounds, until, out, only
        self.canary = Canary(bench.folder)

    def write(self, **line):
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    def all(self):
        for row in MEASURED:
            if not self.wanted(row):
                continue
            if time.monotonic() > self.until:
                self.write(kind="skipped", row=row.name, reason="the time of this run was over")
                continue
            print(f"{time.strftime('%H:%M:%S')} {row.name}", flush=True)
            if row.shared and not self.bench.brokers:
                self.up()
            if not row.shared and self.bench.brokers:
                self.down()
            self.row(row)

    def wanted(self, row):
        return any(part in row.name for part in self.only.split("|"))

    def up(self):
        for name in NAMES:
            self.bench.brokers[name] = Broker(name, ROOT, os.path.join(self.bench.folder, "shared", name))
            self.bench.brokers[name].up()
        # at rest both are measured before they are warm
        self.idle_first()
        for name in NAMES:
            self.warm(self.bench.brokers[name])

    def idle_first(self):
        for row in rest.IDLE:
            if self.wanted(row):
                self.row(row)

    def warm(self, broker):
        """3 million records: two thirds in batches of 256, one third in batches of 16."""
        broker.create({"warm": 6})
        third = WARM_RECORDS // 3
        self.bench.load("most", broker, "warm", partitions=6, connections=6, records=256, requests=2 * third // 256)
        self.bench.load("most", broker, "warm", partitions=6, connections=6, records=16, requests=third // 16)
        broker.delete(["warm"])
        os.sync()

    def down(self):
        self.bench.stop(self.bench.brokers.values())
        self.bench.brokers = {}
        # Kafka deletes files a minute late
        shutil.rmtree(os.path.join(self.bench.folder, "shared"), ignore_errors=True)

    def target(self, row, name):
        return self.bench.brokers[name] if row.shared else name

    def row(self, row):
        alive = []
        for column, name, config in row.variants:
            try:
                if row.prepare:
                    row.prepare(self.bench, self.target(row, name), config)
                alive.append((column, name, config))
            except Skipped as error:
                self.write(kind="skipped", row=row.name, broker=column, reason=str(error))
            except Exception as error:  # pylint: disable=broad-exception-caught
                self.failed(row, column, 0, error)
        for number in range(1, min(self.rounds, row.rounds_max) + 1):
            order = alive if number % 2 else list(reversed(alive))
            for column, name, config in order:
                self.cell(row, column, self.target(row, name), config, number)
        if row.finish:
            for name in dict.fromkeys(name for _, name, _ in row.variants):
                try:
                    row.finish(self.bench, self.target(row, name))
                except Exception as error:  # pylint: disable=broad-exception-caught
                    self.failed(row, name, 0, error)
        os.sync()

    def cell(self, row, column, target, config, number):
        for attempt in (1, 2):
            os.sync()
            time.sleep(REST_SECONDS)
            first, load = self.canary.sing(), os.getloadavg()[0]
            try:
                machine = row.machine(self.bench) if row.machine else {}
                before = Usage(target.pid) if row.shared else None
                figures = {**machine, **row.cell(self.bench, target, config)}
                if before:
                    figures.update(Usage(target.pid).since(before))
            except Skipped as error:
                self.write(kind="skipped", row=row.name, broker=column, round=number, reason=str(error))
                return
            except Exception as error:  # pylint: disable=broad-exception-caught
                self.failed(row, column, number, error)
                return
            second = self.canary.sing() if row.shared else first
            noisy = max(first["canary_max_ms"], second["canary_max_ms"]) > NOISY_MS
            repeat = noisy and attempt == 1
            self.write(kind="repeated" if repeat else "cell", row=row.name, broker=column, round=number, attempt=attempt, noisy=noisy,
                       load_before=round(load, 2), **first, canary_after_max_ms=second["canary_max_ms"], figures=derive(figures))
            if not repeat:
                return

    def failed(self, row, column, number, error):
        # the temporary folder's name says nothing to a later reader
        reason = f"{type(error).__name__}: {error}".replace(self.bench.folder, "FOLDER")[:300]
        print(f"  {column}: {reason}", file=sys.stderr, flush=True)
        self.write(kind="failed", row=row.name, broker=column, round=number, reason=reason)

    def end(self):
        self.bench.stop([*self.bench.brokers.values(), *self.bench.kept.values()])
        self.bench.undo.close()
        self.canary.close()


def told(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
        return (done.stdout or done.stderr).strip()
    except OSError:
        return ""


def header(options, filled):
    return {
        "kind": "run",
        "command": options.command,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": told(["git", "rev-parse", "--short", "HEAD"]),
        "kafka": os.environ["KAFKA_VERSION"],
        "java": (told(["java", "-version"]).splitlines() or [""])[0],
        "quick": options.quick,
        "scale": options.scale,
        "rounds": options.rounds,
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "page_cache_filled_mib": filled,
        "load_average": os.getloadavg()[0],
        "note": os.environ.get("BENCH_NOTE", ""),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--command", default="make bench")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    results = os.path.join(HERE, "results")
    os.makedirs(results, exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{told(['git', 'rev-parse', '--short', 'HEAD'])}{'-quick' if options.quick else ''}.jsonl"
    with tempfile.TemporaryDirectory(prefix="kennet-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        path = os.path.join(results, name)
        page_cache = PageCache(folder)
        filled = page_cache.fill()
        with open(path, "w", encoding="ascii") as out:
            run = Run(Bench(folder, options.quick, options.scale, page_cache), options.rounds, time.monotonic() + options.minutes * 60, out, options.only)
            run.write(**header(options, filled))
            began = time.monotonic()
            try:
                run.all()
            finally:
                run.end()
                run.write(kind="end", seconds=round(time.monotonic() - began), load_average=os.getloadavg()[0])
        page_cache.close()
    if not options.only:
        report.write(path, os.path.join(HERE, "RESULTS.md"))
    print(f"bench/results/{name}")


main()
