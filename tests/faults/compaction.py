"""A row in which the process is killed while a log is compacted.

Keys have many values and tombstones, and all of a key come from one thread. Whatever is compacted, a reader from the beginning ends up with each
key's newest acknowledged value, and no offset ever has another record.
"""

import glob
import os
import random
import subprocess
import threading
import time

from confluent_kafka import Producer

from broker import Broker, until
from load import Senders, create, messages, patient, value_of
from volume import Loop

ROUNDS = min(30, int(os.environ.get("ROUNDS", "30")))
# with fewer kills, what is left to chance may not happen
ROUNDS_TOLD = 20
# the row is one of many
SECONDS_MAX = 30
PRODUCERS, SLOTS, SIZE, BATCH = 2, 20, 400, 10
# one in so many records is a tombstone; behind every other of them its key never comes again
TOMBSTONES = 8
# small, so that a round replaces many and often
SEGMENT_BYTES = 64 << 10
# passed more than once in the row; a reader that takes longer may miss a tombstone whose older values it has met, as in Kafka
TOMBSTONE_SECONDS = 10
# the next compaction is seldom further away
MEET_SECONDS = 0.3
# how often the offline check looks at what a kill left
VERIFY_EVERY = 5


class Keys(Senders):
    """Producers of keyed records in threads, and the checker of their log."""

    def __init__(self, broker):
        self.broker = broker
        self.acked, self.failed, self.seen = {}, [], {}
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(PRODUCERS)]

    def run(self, number):
        producer, chance = Producer(patient(self.broker)), random.Random(number)
        generations, sequence = [0] * SLOTS, 0
        while not self.is_over.is_set():
            for _ in range(BATCH):
                slot = chance.randrange(SLOTS)
                key = f"{number}-{slot}-{generations[slot]}".encode()
                is_tombstone = chance.randrange(TOMBSTONES) == 0
                value = None if is_tombstone else value_of(f"keys-{number}", sequence, SIZE)
                producer.produce("t", value, key, partition=0, on_delivery=self.note)
                generations[slot] += is_tombstone and chance.randrange(2)
                sequence += 1
            # a log that a kill holds up is no reason to gather more and more
            while len(producer) > 50 * BATCH and not self.is_over.is_set():
                producer.poll(0.01)
            producer.poll(0.004)
        producer.flush(60)

    def note(self, error, message):
        if error:
            self.failed.append(error.str())
        else:
            self.acked[message.offset()] = (message.key(), message.value())

    def goes_on(self, count=100):
        target = len(self.acked) + count
        until(20, lambda: len(self.acked) >= target or self.failed, f"{count} more records are acknowledged")
        assert not self.failed, self.failed[:3]

    def read(self):
        """What was acknowledged before, and offsets with keys and values, in a time in which no tombstone can go that hides what was met."""
        for _ in range(3):
            acked, started = dict(self.acked), time.monotonic()
            [found] = messages(self.broker, "t", [0])[0].values()
            if time.monotonic() - started < TOMBSTONE_SECONDS:
                return acked, [(message.offset(), message.key(), message.value()) for message in found]
        raise AssertionError(f"no read of the log took less than {TOMBSTONE_SECONDS} s")

    def check(self):
        """Compares what a reader ends up with; returns how many records there are, and how many keys have gone with their tombstones."""
        acked, found = self.read()
        offsets = [offset for offset, _, _ in found]
        assert all(before < after for before, after in zip(offsets, offsets[1:])), "offsets do not grow"
        for offset, *record in found:
            known = self.seen.setdefault(offset, tuple(record))
            assert known == tuple(record) == self.acked.get(offset, known), f"offset {offset} has another record than before"
        newest = {acked[offset][0]: offset for offset in sorted(acked)}
        last = {key: offset for offset, key, _ in found}
        for key, offset in newest.items():
            # a later one is another record that was sent; whether it was acknowledged shows when all are
            assert last.get(key, -1) >= offset or self.is_gone(key, offset, last), f"{key}: {last.get(key)} is the last offset, not {offset}"
        return len(found), len(newest.keys() - last.keys())

    def is_gone(self, key, offset, last):
        return key not in last and self.acked[offset][1] is None

    def check_all(self):
        """After the end: nothing is there that was not acknowledged."""
        assert not self.failed, self.failed[:3]
        checked = self.check()
        strange = self.seen.keys() - self.acked.keys()
        assert not strange, f"{len(strange)} records were never acknowledged, though none failed: offsets {sorted(strange)[:3]}"
        return checked


def kills(place):
    """Row 1: a kill finds compaction before, between and behind its renames."""
    chance, left = random.Random(3), []
    configs = {"log_cleaner_backoff_ms": 20, "offsets_topic_num_partitions": 2}
    topic = {
        "cleanup_policy": "compact", "segment_bytes": SEGMENT_BYTES, "min_cleanable_dirty_ratio": 0.1,
        "delete_retention_ms": TOMBSTONE_SECONDS * 1000,
    }  # fmt: skip
    with Loop(place.ram, 512) as volume, Broker(place.folder, volume.data(), **configs) as broker:
        create(broker, "t", **topic)
        with Keys(broker) as keys:
            end, compacted = time.monotonic() + SECONDS_MAX, []
            while len(compacted) < ROUNDS and time.monotonic() < end:
                keys.goes_on()
                time.sleep(chance.uniform(0, 0.5))
                compacted.append(broker.metric("kennet_broker_compaction_rounds"))
                assert broker.metric("kennet_broker_compaction_failures") == 0, "a compaction failed"
                # nothing, the first name of a compaction, and the one that is there for the shortest time
                ending = (None, ".cleaned", ".swap")[len(compacted) % 3]
                if ending:
                    meet(broker, ending)
                broker.kill()
                left += unfinished(broker, ".cleaned") + unfinished(broker, ".swap")
                if len(compacted) % VERIFY_EVERY == 0:
                    verify(broker)
                broker.again()
                keys.check()
            keys.finish()
        records, gone = keys.check_all()
        broker.stop()
        verify(broker)
        broker.again()
        keys.check_all()
    rounds, swaps = sum(map(bool, compacted)), sum(name.endswith(".swap") for name in left)
    assert 2 * rounds >= len(compacted), f"only in {rounds} of {len(compacted)} rounds anything was compacted"
    assert len(compacted) < ROUNDS_TOLD or (left and gone), f"{len(left)} files were left by kills, and {gone} tombstones have gone"
    return (
        f"{len(compacted)} kills, which left {len(left) - swaps} cleaned files and {swaps} swaps, {sum(compacted):.0f} compactions; "
        f"{records} of {len(keys.acked)} records are left, {gone} keys have gone"
    )


def unfinished(broker, ending):
    """Names that only a compaction in progress has."""
    return glob.glob(f"{broker.data}/topics/*/0000/*{ending}")


def meet(broker, ending):
    """Waits for such a name; or not, when nothing is due."""
    end = time.monotonic() + MEET_SECONDS
    while time.monotonic() < end and not unfinished(broker, ending):
        pass


def verify(broker):
    # a thread that was in the kernel when its process was killed has the directory for a moment more
    done = until(10, lambda: verified(broker), "the directory is free")
    assert done.returncode == 0, f"verify: exit {done.returncode}: {(done.stdout + done.stderr)[-400:]}"


def verified(broker):
    """What the offline check came to; None while the directory is in use."""
    done = subprocess.run([broker.program, "verify", broker.data], capture_output=True, text=True, timeout=60)
    return None if "in use by another process" in done.stderr else done
