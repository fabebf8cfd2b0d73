"""Rows in which the power fails: ext4's shutdown, then a kill, then what a mount finds."""

import random
import time

from broker import Broker
from load import Load, Reader, admin, create
from volume import Loop

ROUNDS = 4
NOTHING, JOURNAL = 2, 1


def nothing_flushed(place):
    """Row 3: what was only in memory is gone, names as well as contents."""
    return cut(place, NOTHING)


def journal_flushed(place):
    """Row 4: names and lengths are there, and what they name may be empty."""
    return cut(place, JOURNAL)


def cut(place, flags):
    chance, made = random.Random(flags), []
    with Loop(place.ram, 256) as volume, Broker(place.folder, volume.data(), offsets_topic_num_partitions=2) as broker:
        # new segments all the time: they are what a file system forgets
        create(broker, "t", 3, segment_bytes=256 << 10)
        with Load(broker, size=3000) as load, Reader(load) as reader:
            for _ in range(ROUNDS):
                load.goes_on(1500)
                time.sleep(chance.uniform(0, 0.3))
                # a topic that is made just before the power fails
                made.append(f"new-{len(made)}")
                create(broker, made[-1])
                volume.shutdown(flags)
                load.stalls(0.3)
                broker.kill()
                volume.remount()
                broker.again()
                load.goes_on()
                load.check()
                missing = set(made) - set(admin(broker).list_topics(timeout=10).topics)
                assert not missing, f"topics that were made are not there: {missing}"
            load.finish()
            time.sleep(0.3)
        records = load.check()
        reader.check()
        assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
    return f"{ROUNDS} cuts, {records} records"
