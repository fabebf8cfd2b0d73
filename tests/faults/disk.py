"""Rows in which the disk refuses something: syncs, chosen calls, room, reads, all writes."""

import os

from confluent_kafka import Producer

from broker import Broker, Injection, until
from load import QUIET, Load, admin, create, delete, fetch_error, produced, read_all, refusal, value_of
from volume import Loop, Ram, drop_cache, extents, files

# now and then an index file lies there; five times in a row it hardly will
PLACEMENTS = 5
REFUSED = "KAFKA_STORAGE_ERROR"
# system call, and which one of a thread: journal blocks, segments, their syncs, names, indexes
CALLS = [("pwrite64", 40), ("pwritev", 3), ("fdatasync", 2), ("fsync", 2), ("syncfs", 1), ("rename", 1), ("ftruncate", 2)]


def failed_for_good(broker, load):
    """The first error is final: nothing is acknowledged any more, and the process lives and says so."""
    until(40, broker.has_failed, "the data directory fails")
    load.stalls(0.5)
    assert refusal(broker), "a record is acknowledged"
    assert broker.is_alive(), "the process ended"


def sync_fails_once(place):
    """Row 6: an image that promises more than its tmpfs has. Writes succeed, the write-back does not, and the next sync would succeed."""
    with Ram(f"{place.ram}/thin", 40) as thin, Loop(thin.path, 256) as volume, Broker(place.folder, volume.data()) as broker:
        create(broker, "t", 3, segment_bytes=4 << 20)
        with Load(broker, size=4000, batch=50, pause=0.003) as load:
            load.goes_on(500)
            failed_for_good(broker, load)
            told = len(load.acked)
            broker.kill()
            thin.grow(800)
            volume.remount(check=True)
            broker.again()
            load.goes_on()
            load.check()
            load.finish()
        records = load.check()
        assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
    return f"failed after {told} records, {records} in the end"


def chosen_calls_fail(place):
    """Row 7."""
    records = 0
    for call, when in CALLS:
        folder = f"{place.ram}/{call}"
        os.makedirs(folder)
        with Loop(folder, 128) as volume, Broker(f"{place.folder}-{call}", volume.data()) as broker:
            # as many logs as make the filler sync the whole file system
            partitions = 12 if call == "syncfs" else 3
            create(broker, "t", partitions, segment_bytes=1 << 20)
            with Injection(place.work, broker, call, when) as injection:
                with Load(broker, partitions=partitions, size=4000, batch=20, pause=0.004) as load:
                    until(30, injection.happened, f"{call} fails")
                    failed_for_good(broker, load)
                    broker.kill()
                    broker.again()
                    load.goes_on()
                    load.finish()
            try:
                records += load.check()
            except AssertionError as error:
                raise AssertionError(f"after {call}: {error}") from error
            assert not load.failed, f"after {call}: {len(load.failed)} records failed: {load.errors}"
    return f"{', '.join(call for call, _ in CALLS)}: {records} records"


class Ballast:
    """A topic with small segments that takes all the room there is."""

    def __init__(self, broker):
        self.broker, self.sent = broker, []
        create(broker, "ballast", segment_bytes=1 << 20)

    def fill(self):
        """Appends until the broker refuses it; returns the error."""
        told = []
        settings = {"linger.ms": 0, "retries": 0, "message.timeout.ms": 40_000, "enable.idempotence": False}
        producer = Producer({**QUIET, "bootstrap.servers": self.broker.bootstrap, **settings})
        for _ in range(400):
            value = os.urandom(150_000)
            producer.produce("ballast", value, on_delivery=lambda error, _: told.append(error and error.name()))
            producer.flush(45)
            if told[-1]:
                return told[-1]
            self.sent.append(value)
        raise AssertionError("the volume is never full")

    def check(self):
        found = [value for _, value in read_all(self.broker, "ballast", [0])[0]]
        assert found == self.sent, f"{len(found)} records of the full volume are read, and {len(self.sent)} were acknowledged"


def full(place, data, make_room):
    with Broker(place.folder, data, offsets_topic_num_partitions=2) as broker:
        create(broker, "t", 3)
        ballast = Ballast(broker)
        with Load(broker) as load:

            def check():
                load.check()
                ballast.check()

            load.goes_on(500)
            found = ballast.fill()
            assert found == REFUSED, f"a record on a full volume is answered with {found}"
            assert broker.is_alive() and not broker.has_failed(), "a full volume is no broken one"
            # what is there is still served, and by a new process as well
            check()
            broker.kill()
            broker.again()
            check()
            found = ballast.fill()
            assert found == REFUSED, f"after a start, a record on a full volume is answered with {found}"
            check()
            broker.stop()
            broker.again()
            check()
            found = ballast.fill()
            assert found == REFUSED, f"after a clean stop, a record on a full volume is answered with {found}"
            make_room(broker)
            seconds = load.goes_on(500)
            load.finish()
        records = load.check()
        # what the volume could not take is written now, at its place
        if "ballast" in admin(broker).list_topics(timeout=10).topics:
            ballast.check()
        assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
        assert not broker.has_failed()
        broker.kill()
        broker.again()
        load.check()
    return f"{records} records, accepted again {seconds:.1f} s after there was room"


def full_ext4(place):
    """Row 8: clients fill the volume, and deleting a topic makes room."""
    with Loop(place.ram, 48) as volume:
        return full(place, volume.data(), lambda broker: delete(broker, "ballast"))


def full_tmpfs(place):
    """Row 8: somebody else's file fills the volume, and goes."""
    with Ram(f"{place.ram}/small", 32) as volume:
        foreign = f"{volume.path}/foreign"
        with open(foreign, "wb") as file:
            file.write(bytes(12 << 20))
        return full(place, f"{volume.path}/data", lambda _: os.remove(foreign))


def topic_of(segment):
    with open(f"{os.path.dirname(segment)}/../name", encoding="ascii") as file:
        return file.read()


def read_error(place):
    """Row 9: the image loses its end, where an old segment lies; which file lies there is the file system's choice, and mostly it is one."""
    for attempt in range(PLACEMENTS):
        folder = f"{place.ram}/{attempt}"
        os.makedirs(folder)
        if said := end_lost(folder, f"{place.folder}-{attempt}"):
            return said
    raise AssertionError(f"no segment lay at the end of any of {PLACEMENTS} volumes")


def end_lost(ram, folder):
    """None when something else lies at the end."""
    make = ("-q", "-F", "-m", "0", "-N", "2048", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=0")
    with Loop(ram, 96, options="noatime,errors=continue", make=make) as volume, Broker(folder, volume.data()) as broker:
        topics = {name: [value_of(name, number, 50_000) for number in range(60)] for name in ("one", "two")}
        for name, values in topics.items():
            create(broker, name, segment_bytes=1 << 20)
            produced(broker, name, values)
            # whatever was produced is in segments
            broker.stop()
            broker.again()
        broker.stop()
        highest = sorted((max((end for _, end in extents(path)), default=0), path) for path in files(volume.data()))
        (below, _), (_, victim) = highest[-2:]
        if not victim.endswith(".log"):
            return None
        cut = max(below, max(start for start, _ in extents(victim)))
        name = topic_of(victim)
        [other] = set(topics) - {name}
        broker.again()
        os.truncate(volume.image, cut)
        for path in files(volume.data()):
            drop_cache(path)
        found = {fetch_error(broker, name, offset) for offset in range(60)}
        assert found - {0}, "the segment can still be read"
        assert broker.metric("kennet_broker_partitions_offline") == 1, "the partition is not offline"
        assert [value for _, value in read_all(broker, other, [0])[0]] == topics[other], f"{other} is not whole"
        assert produced(broker, other, [b"more"]) == [60]
        assert broker.is_alive() and not broker.has_failed(), "more than a partition went"
    return f"errors {sorted(found - {0})} for the partition, the other one whole"


def read_only(place):
    """Row 10."""
    with Loop(place.ram, 128, options="noatime,errors=remount-ro") as volume, Broker(place.folder, volume.data()) as broker:
        create(broker, "t", 3)
        with Load(broker, size=2000) as load:
            load.goes_on(2000)
            device = os.path.basename(volume.device())
            with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w", encoding="ascii") as file:
                file.write("kennet")
            failed_for_good(broker, load)
            broker.kill()
            volume.remount(check=True)
            broker.again()
            load.goes_on()
            load.finish()
        records = load.check()
        assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
    return f"{records} records"
