"""Rows in which the process suffers: SIGKILL, a slow disk, too little memory, too few file descriptors."""

import os
import random
import re
import resource
import time

from broker import Broker, Cgroup, until
from load import Load, Reader, connected, create, fetch_request, produced, read_all
from volume import Loop, Skip

ROUNDS = int(os.environ.get("ROUNDS", "100"))
# with this little to read, a start is much faster; the bound is for machines that do other things as well
REOPEN_SECONDS_MAX = 5.0


def sigkill(place):
    """Row 1. A small volume has a small journal, so that slots are used again many times."""
    chance, reopened = random.Random(1), []
    with Loop(place.ram, 512) as volume, Broker(place.folder, volume.data(), offsets_topic_num_partitions=2) as broker:
        create(broker, "t", 3, segment_bytes=1 << 20)
        with Load(broker, size=1000) as load, Reader(load) as reader:
            for round_number in range(ROUNDS):
                load.goes_on()
                time.sleep(chance.uniform(0, 0.25))
                broker.kill()
                reopened.append(broker.again())
                if round_number == ROUNDS // 2:
                    load.check()
            load.goes_on()
            load.finish()
            until(20, lambda: len(reader.seen) >= len(load.acked), "the reader is at the end")
        records = load.check()
        reader.check()
        assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
        assert max(reopened) < REOPEN_SECONDS_MAX, f"a start took {max(reopened):.1f} s"
        broker.stop()
        broker.again()
        assert load.check() == records, "a clean stop changed the log"
    return f"{ROUNDS} kills, {records} records, ready again within {max(reopened):.2f} s"


def slow_disk(place):
    """Row 19: what waits is bounded, nobody is told that it is written before it is, and all of it is in the end."""
    rate, memory = 2 << 20, 64 << 20
    with Cgroup(place.work, "blkio", "io") as group, Loop(place.ram, 256) as volume:
        number = os.stat(volume.device()).st_rdev
        device = f"{os.major(number)}:{os.minor(number)}"

        def limit(bytes_a_second):
            if group.is_new:
                group.set("io.max", f"{device} wbps={bytes_a_second or 'max'}")
            else:
                group.set("blkio.throttle.write_bps_device", f"{device} {bytes_a_second}")

        with Broker(place.folder, volume.data(), memory, before=group.join) as broker:
            create(broker, "t", 3)
            # batches that the slow disk takes in a moment, and always some of them
            settings = {"queue.buffering.max.messages": 200, "batch.size": 100_000}
            with Load(broker, size=8000, batch=50, pause=0.001, **settings) as load:
                load.goes_on(500)
                limit(rate)
                time.sleep(1)
                before, started = len(load.acked), time.monotonic()
                time.sleep(4)
                found = (len(load.acked) - before) * load.size / (time.monotonic() - started)
                assert found < 3 * rate, f"{found / 1e6:.1f} MB/s are acknowledged on a disk of {rate / 1e6:.1f} MB/s"
                assert found > 0, "nothing is acknowledged"
                assert not broker.has_failed(), "a slow disk is no broken one"
                limit(0)
                load.goes_on(1000)
                load.finish()
            records = load.check()
            assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
            peak = broker.memory_max()
            assert peak < 2 * memory, f"{peak >> 20} MiB were used, of {memory >> 20}"
    return f"{found / 1e6:.2f} MB/s at {rate / 1e6:.2f}, {records} records, at most {peak >> 20} MiB"


def slow_consumers(place):
    """Row 22: a thousand consumers ask for everything and take nothing; the broker stays within its cgroup and serves the others."""
    consumers, memory = 1000, 192 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < consumers + 200:
        raise Skip(f"{hard} open files are allowed, and {consumers} connections are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, consumers + 200), hard))
    with Cgroup(place.work, "memory", "memory") as group:
        group.set("memory.max" if group.is_new else "memory.limit_in_bytes", str(memory))
        # on the disk: what lies in a tmpfs is memory of the group
        with Broker(place.folder, f"{place.folder}/data", None, before=group.join) as broker:
            pid = broker.pid
            create(broker, "big")
            create(broker, "t", 3)
            values = [os.urandom(900_000) for _ in range(20)]
            produced(broker, "big", values)
            slow = []
            try:
                with Load(broker) as load:
                    for _ in range(consumers):
                        connection = connected(broker)
                        connection.sendall(fetch_request("big", 0, 2 << 20) * 3)
                        slow.append(connection)
                    time.sleep(1)
                    worst = load.goes_on(200)
                    load.finish()
                assert broker.is_alive() and broker.pid == pid, "the broker was killed"
                peak = broker.memory_max()
            finally:
                for connection in slow:
                    connection.close()
            # once they have gone, whoever takes what he asks for gets it
            records = load.check()
            found = [value for _, value in read_all(broker, "big", [0])[0]]
            assert found == values, "the large records are not those that were sent"
    assert peak < memory, f"{peak >> 20} MiB were used"
    return f"{consumers} slow consumers, at most {peak >> 20} of {memory >> 20} MiB, {records} records, 200 of them in {worst:.1f} s"


def few_descriptors(place):
    """Row 27: new connections wait first; the broker's own files are not given up for them."""
    limit = 256
    data = f"{place.ram}/data"
    with Broker(place.folder, data, before=f"ulimit -n {limit}", offsets_topic_num_partitions=2) as broker:
        # many files: a small journal is filled often, and each log has segments
        create(broker, "t", 12, segment_bytes=1 << 20)
        crowd = []
        try:
            with Load(broker, partitions=12, size=4000, batch=20, pause=0.002) as load:
                load.goes_on(100)
                for _ in range(limit + 50):
                    connection = connected(broker)
                    # one that is not accepted is connected all the same, by the kernel
                    crowd.append(connection)
                until(10, lambda: re.search("could not be accepted|connection was refused", broker.logged()), "a connection is refused")
                # enough for several laps of the journal, so that segments are opened and made
                load.goes_on(8000, seconds=60)
                assert "data directory failed" not in broker.logged(), broker.logged()[-600:]
                for connection in crowd:
                    connection.close()
                crowd.clear()
                load.finish()
            until(10, lambda: not broker.has_failed(), "the broker answers again, and its directory is sound")
            records = load.check()
            assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
        finally:
            for connection in crowd:
                connection.close()
        broker.kill()
        broker.again()
        load.check()
    return f"{limit} descriptors, {limit + 50} connections too many, {records} records"
