"""Runs the rows of the fault matrix, and those of bad input that take a crowd. Arguments: the kennet-broker program and a folder. A line per row: `ok`, `not` with the reason, or `skip`."""

import os
import shutil
import sys
import time
import traceback

import compaction
import crowds
import damage
import deletions
import disk
import kills
import power
from broker import Broker
from volume import Ram, Skip

ROWS = [
    ("1", "SIGKILL under load", kills.sigkill),
    ("1", "SIGKILL while topics come and go", deletions.topics_come_and_go),
    ("1", "SIGKILL during a compaction", compaction.kills),
    ("3", "power loss, nothing flushed", power.nothing_flushed),
    ("4", "power loss, the file system's journal flushed", power.journal_flushed),
    ("6", "a sync fails once and would succeed then", disk.sync_fails_once),
    ("7", "EIO from a chosen call", disk.chosen_calls_fail),
    ("8", "a full ext4", disk.full_ext4),
    ("8", "a full tmpfs", disk.full_tmpfs),
    ("9", "a read error in an old segment", disk.read_error),
    ("10", "the file system turns read-only", disk.read_only),
    ("11", "a torn write at the journal's end", damage.torn_journal),
    ("11", "a torn write at a segment's end", damage.torn_segment),
    ("12", "a bit flips", damage.bit_flips),
    ("13", "indexes and checkpoints are deleted", damage.deleted_files),
    ("14", "old blocks in a recycled journal", damage.recycled_journal),
    ("19", "a slow disk", kills.slow_disk),
    ("22", "a memory limit and slow consumers", kills.slow_consumers),
    ("27", "too few file descriptors", kills.few_descriptors),
    ("input", "ten thousand connections", crowds.connections),
    ("input", "a storm of connections", crowds.storm),
    ("input", "more connections than a small pod has room for", crowds.idle_in_a_small_pod),
]


class Place:
    """Where a row works: a folder on the disk, and one in memory for images and small data directories."""

    def __init__(self, work, ram, number):
        self.work = work
        self.folder, self.ram = f"{work}/row-{number}", f"{ram}/row-{number}"
        os.makedirs(self.ram)


def run(name, row, place):
    started = time.monotonic()
    try:
        said = row(place)
        print(f"ok {name}: {said} ({time.monotonic() - started:.1f} s)")
    except Skip as reason:
        print(f"skip {name}: {str(reason)[:300]}".replace("\n", " "))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's failure
        traceback.print_exc(file=sys.stderr)
        print(f"not {name}: {type(error).__name__}: {str(error)[:500]}".replace("\n", " "))
    finally:
        shutil.rmtree(place.ram, ignore_errors=True)


def main():
    Broker.program, work = sys.argv[1:]
    wanted = os.environ.get("ROWS", "").split()
    try:
        ram = Ram(f"{work}/ram", 2000)
    except Skip as reason:
        print(f"skip all rows: {reason}")
        return
    with ram:
        for number, (row, name, run_row) in enumerate(ROWS):
            if not wanted or row in wanted:
                run(f"{row}: {name}", run_row, Place(work, ram.path, number))


main()
