"""Rows in which bytes change while no broker runs: torn writes, bit rot, deleted files, old blocks. Each starts again from one kept copy."""

import hashlib
import os
import random

from broker import Broker
from load import Load, create, fetch_error, offsets_at, produced, read_all, refusal, value_of
from volume import Ram, copy, files

BLOCK = 4096
TIME = 1_700_000_000_000


def blocks(data):
    """The journal's blocks, by sequence: file, position, bytes of header and content. The format is that of crates/log/src/journal/block.rs."""
    found = []
    for path in files(f"{data}/journal"):
        with open(path, "rb") as file:
            slot = file.read()
        for at in range(0, len(slot), BLOCK):
            if slot[at : at + 8] == b"kennetJ1":
                sequence = int.from_bytes(slot[at + 32 : at + 40], "big")
                found.append((sequence, path, at, 64 + int.from_bytes(slot[at + 48 : at + 52], "big")))
    return sorted(found)


def write(path, at, content):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


def read(path, at=0, length=-1):
    with open(path, "rb") as file:
        file.seek(at)
        return file.read(length)


def flip(path, at):
    write(path, at, bytes([read(path, at, 1)[0] ^ 0x10]))


def values(broker, topic):
    return [value for _, value in read_all(broker, topic, [0])[0]]


def torn_journal(place):
    """Row 11: the block that was in flight is there as a whole or not at all, and nothing before it is touched."""
    chance = random.Random(11)
    with Ram(f"{place.ram}/disk", 100) as disk, Broker(place.folder, f"{disk.path}/data") as broker:
        create(broker, "t")
        sent = [value_of("torn", number, 6000) for number in range(20)]
        produced(broker, "t", sent)
        broker.kill()
        kept = f"{place.ram}/kept"
        copy(broker.data, kept)
        *_, (_, _, before, _), (_, path, at, length) = blocks(broker.data)
        end = -(-length // BLOCK) * BLOCK
        older = read(path, before, end).ljust(end, b"\0")
        contents = [bytes(end), chance.randbytes(end), older]
        cuts = [0, 1, 40, 63, 64, 65, 512, BLOCK, length // 2, length - 1, length]
        for number, cut in enumerate(cuts):
            for content in contents if cut in (0, BLOCK) else [contents[number % 3]]:
                copy(kept, broker.data)
                write(path, at + cut, content[cut:end])
                broker.again()
                found = values(broker, "t")
                assert found in (sent, sent[:-1]), f"cut at byte {cut}: {len(found)} of {len(sent)} records are left"
                assert cut < length or found == sent, "the last block is whole, and its record is gone"
                assert produced(broker, "t", [b"after"]) == [len(found)], f"cut at byte {cut}: the next offset does not follow"
                broker.kill()
        # what was written behind the torn block counts
        broker.again()
        assert values(broker, "t") == [*found, b"after"]
    return f"{len(cuts)} cuts of a block of {length} bytes"


def segments(data, topic, kind="log"):
    """A topic's files of a kind, oldest first."""
    [folder] = [os.path.dirname(path) for path in files(f"{data}/topics") if path.endswith("/name") and read(path) == topic.encode()]
    return [path for path in files(folder) if path.endswith(f".{kind}")]


class Kept:
    """Two topics, in segments and with more in the journal, of a broker that was killed; and a copy to begin from again and again."""

    def __init__(self, place, disk):
        self.broker, self.copy = Broker(place.folder, f"{disk.path}/data"), f"{place.ram}/kept"
        self.sent = {name: [value_of(name, number, 9000) for number in range(40)] for name in ("a", "b")}
        self.times = [TIME + 1000 * number for number in range(40)]

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.broker.kill()
            raise
        return self

    def make(self):
        broker = self.broker
        broker.up()
        for name, sent in self.sent.items():
            create(broker, name, segment_bytes=100_000, retention_ms=-1)
            produced(broker, name, sent[:30], times=self.times)
        broker.stop()
        broker.again()
        for name, sent in self.sent.items():
            produced(broker, name, sent[30:], times=self.times[30:])
        self.found_by_time = {name: offsets_at(broker, name, self.times) for name in self.sent}
        broker.kill()
        copy(broker.data, self.copy)

    def __exit__(self, *_):
        self.broker.kill()

    def restore(self):
        self.broker.kill()
        copy(self.copy, self.broker.data)

    def state(self, topic):
        """`whole`, or `refused`; nothing else may be told of a topic."""
        sent = self.sent[topic]
        codes = {fetch_error(self.broker, topic, offset) for offset in range(len(sent))}
        if codes - {0}:
            return "refused"
        assert values(self.broker, topic) == sent, f"{topic} is told to be whole, and is not"
        found = offsets_at(self.broker, topic, self.times)
        assert found == self.found_by_time[topic], f"{topic}: other offsets by time: {found}"
        return "whole"

    def states(self):
        return tuple(self.state(name) for name in self.sent)

    def content(self):
        """What must not change in a directory that is refused."""
        folders = [f"{self.broker.data}/journal", f"{self.broker.data}/topics"]
        return {path: hashlib.sha256(read(path)).hexdigest() for folder in folders for path in files(folder)}

    def expect(self, what, change, *expected):
        """The states of both topics after a change, and that all is well when it is undone."""
        self.restore()
        change(self.broker.data)
        before = self.content()
        self.broker.again()
        found = self.states()
        assert found in expected, f"{what}: {found}, expected {' or '.join(map(str, expected))}"
        if found == ("refused", "refused"):
            assert refusal(self.broker, "a") and refusal(self.broker, "b"), f"{what}: records are taken"
            self.broker.kill()
            assert self.content() == before, f"{what}: files changed, though the directory is refused"
        else:
            # a start by that state changes nothing either
            self.broker.kill()
            self.broker.again()
            assert self.states() == found, f"{what}: another start tells something else"

    def start_fails(self, what, change):
        self.restore()
        change(self.broker.data)
        said = self.broker.refuses()
        assert said.startswith("error: "), f"{what}: {said}"
        # what the journal holds may have moved to segments meanwhile; whoever mends the file, here by the same change, has everything
        change(self.broker.data)
        self.broker.again()
        assert self.states() == WHOLE, f"{what}: it is not whole once the file is mended"


WHOLE, NONE, ONLY_B = ("whole", "whole"), ("refused", "refused"), ("refused", "whole")


def torn_segment(place):
    """Row 11: bytes that no checkpoint knows go, and come again from the journal; bytes that it knows are missed."""
    garbage = random.Random(12).randbytes(5000)

    def append(content):
        return lambda data: write(segments(data, "a")[-1], os.path.getsize(segments(data, "a")[-1]), content(data))

    def unknown(data):
        with open(f"{os.path.dirname(segments(data, 'a')[0])}/{35:020}.log", "wb") as file:
            file.write(garbage)

    def cut(data):
        os.truncate(segments(data, "a")[-1], os.path.getsize(segments(data, "a")[-1]) - 1)

    with Ram(f"{place.ram}/disk", 100) as disk, Kept(place, disk) as kept:
        kept.expect("garbage behind the last segment", append(lambda _: garbage), WHOLE)
        kept.expect("half a batch behind the last segment", append(lambda data: read(segments(data, "a")[-1], 0, 4000)), WHOLE)
        kept.expect("an unknown segment", unknown, WHOLE)
        kept.expect("a segment without its last byte", cut, ONLY_B)
        size = os.path.getsize(segments(kept.copy, "a")[-1])
        assert os.path.getsize(segments(kept.broker.data, "a")[-1]) == size - 1, "a damaged segment was changed"
        kept.restore()
        kept.broker.again()
        assert kept.states() == WHOLE
    return "what is unknown is cut, what is missing is told"


def newest_checkpoint(data):
    """A checkpoint begins with length, checksum and generation; see crates/log/src/checkpoint/file.rs."""
    return max((path for path in files(data) if "/checkpoint." in path), key=lambda path: read(path, 8, 8))


def checkpoints(data):
    return [path for path in files(data) if "/checkpoint." in path]


def bit_flips(place):
    """Row 12: what is damaged is told before it is served, the rest is served, and nothing is cut."""

    def middle(data, which, kind="log"):
        path = segments(data, "a", kind)[which]
        flip(path, os.path.getsize(path) // 2)

    def block(data):
        *_, (_, path, at, length), _, _ = blocks(data)
        flip(path, at + length // 2)

    def both(data):
        for path in checkpoints(data):
            flip(path, 30)

    def cluster(data):
        flip(f"{data}/identity.json", read(f"{data}/identity.json").index(b'"clusterId": "') + 16)

    with Ram(f"{place.ram}/disk", 100) as disk, Kept(place, disk) as kept:
        assert len(segments(kept.copy, "a")) > 2
        kept.expect("an old segment", lambda data: middle(data, 0), ONLY_B)
        kept.expect("the last segment", lambda data: middle(data, -1), ONLY_B)
        kept.expect("an offset index", lambda data: middle(data, 0, "index"), WHOLE)
        kept.expect("a time index", lambda data: middle(data, 0, "timeindex"), WHOLE)
        # the older one and the journal may still have all
        kept.expect("the newest checkpoint", lambda data: flip(newest_checkpoint(data), 30), WHOLE, NONE)
        kept.expect("both checkpoints", both, NONE)
        kept.expect("a block of the journal", block, NONE)
        kept.start_fails("the metadata log", lambda data: flip(f"{data}/quorum/metadata.log", 12))
        kept.start_fails("the identity", cluster)
        kept.restore()
        kept.broker.again()
        assert kept.states() == WHOLE
    return "segments, indexes, checkpoints, journal, metadata, identity"


def deleted_files(place):
    """Row 13: what can be made again is, and what can't be is missed; nothing that was acknowledged is forgotten."""

    def remove(which):
        def change(data):
            for path in which(data):
                os.remove(path)

        return change

    def indexes(data):
        return [path for path in files(f"{data}/topics") if path.endswith("index")]

    def names(data):
        return [path for path in files(f"{data}/topics") if path.endswith("/name")]

    with Ram(f"{place.ram}/disk", 100) as disk, Kept(place, disk) as kept:
        kept.expect("without indexes", remove(indexes), WHOLE)
        kept.expect("without topic names", remove(names), WHOLE)
        newest = newest_checkpoint(kept.copy)
        for path in checkpoints(kept.copy):
            name = os.path.basename(path)
            expected = (WHOLE, NONE) if path == newest else (WHOLE,)
            kept.expect(f"without {name}", remove(lambda data, name=name: [f"{data}/{name}"]), *expected)
        kept.expect("without checkpoints", remove(checkpoints), NONE)
        kept.expect("without the journal", remove(lambda data: files(f"{data}/journal")), NONE)
        kept.expect("without an old segment", remove(lambda data: segments(data, "a")[:1]), ONLY_B)
        kept.restore()
        kept.broker.again()
        assert kept.states() == WHOLE
    return "indexes and names are made again, the rest is missed"


def recycled_journal(place):
    """Row 14: slots are full of blocks of earlier laps, as they are after every lap; then even of those of a much earlier time."""
    old = f"{place.ram}/old"
    with Ram(f"{place.ram}/disk", 160) as disk, Broker(place.folder, f"{disk.path}/data") as broker:
        create(broker, "t", 3, segment_bytes=1 << 20)
        with Load(broker, size=4000, batch=20, pause=0.004) as load:
            load.goes_on(1200)
            copy(f"{broker.data}/journal", old)
            # several laps; a slot that was full to its end when the broker was killed shows nothing
            for _ in range(8):
                load.goes_on(4000, seconds=40)
                broker.kill()
                found = blocks(broker.data)
                newest, path, at, _ = found[-1]
                behind = [sequence for sequence, where, place_, _ in found if where == path and place_ > at]
                assert all(sequence < newest for sequence in behind), "there is something new behind the journal's end"
                broker.again()
                if behind:
                    break
            assert behind, "there is nothing old behind the journal's end"
            load.goes_on()
            load.finish()
        records = load.check()
        broker.stop()
        # all is in segments now, so that every slot is free but the last one
        _, path, at, length = blocks(broker.data)[-1]
        end = at + -(-length // BLOCK) * BLOCK
        for slot in files(f"{broker.data}/journal"):
            earlier = f"{old}/{os.path.basename(slot)}"
            # slots that were made later have blocks of later laps, which are old as well
            stale = read(earlier if os.path.exists(earlier) else slot)
            write(slot, *((end, stale[end:]) if slot == path else (0, stale)))
        for _ in range(2):
            broker.again()
            assert load.check() == records
            broker.kill()
    return f"{records} records, {len(behind)} old blocks behind the end"
