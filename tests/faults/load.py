"""Producers and a reader that run through a fault, and the checker that reads everything back after it.

A value names its producer and sequence, and its other bytes follow from these. A record is acknowledged when the client's library said so.
One that failed there may be in the log or not; all others must be, once, where the acknowledgement said, in their producer's order.
"""

import os
import socket
import struct
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker import until

# librdkafka logs every lost connection, and here they are lost on purpose
QUIET = {"log_level": 0, "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100, "broker.address.family": "v4"}


def admin(broker):
    return AdminClient({**QUIET, "bootstrap.servers": broker.bootstrap})


def create(broker, topic, partitions=1, client=None, **configs):
    configs = {key.replace("_", "."): str(value) for key, value in configs.items()}
    # whatever it was asked for ends with the client
    client = client or admin(broker)
    [done] = client.create_topics([NewTopic(topic, partitions, 1, config=configs)]).values()
    done.result(20)


def delete(broker, topic, client=None):
    client = client or admin(broker)
    [done] = client.delete_topics([topic]).values()
    done.result(20)


def value_of(producer, sequence, size):
    head = b"%s:%d:" % (producer.encode(), sequence)
    return (head * (size // len(head) + 1))[:size]


def name_of(value):
    """Producer and sequence, or None when no load ever sent such a value."""
    parts = value.split(b":", 2)
    if len(parts) < 3 or not parts[1].isdigit():
        return None
    producer, sequence = parts[0].decode("utf-8", "replace"), int(parts[1])
    return (producer, sequence) if value_of(producer, sequence, len(value)) == value else None


def patient(broker):
    """Settings of a producer that sends each record once, through kills of its broker."""
    return {
        **QUIET, "bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "linger.ms": 1, "retry.backoff.ms": 20,
        "retry.backoff.max.ms": 100, "message.timeout.ms": 60_000, "topic.metadata.refresh.interval.ms": 1000,
    }  # fmt: skip


class Senders:
    """Threads that send until `is_over`. `with` starts and at the end stops them."""

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.finish()

    def finish(self):
        """No more is sent; what was sent is acknowledged or has failed."""
        self.is_over.set()
        for thread in self.threads:
            thread.join(90)


class Load(Senders):
    """Idempotent producers, each in a thread, over all partitions of one topic. `with` starts and at the end stops them."""

    def __init__(self, broker, topic="t", partitions=3, producers=2, size=400, batch=10, pause=0.004, timeout=60, **settings):
        self.broker, self.topic, self.partitions = broker, topic, partitions
        self.size, self.batch, self.pause = size, batch, pause
        self.settings = {
            **patient(broker), "message.timeout.ms": timeout * 1000, "queue.buffering.max.messages": 2000,
            "error_cb": self.note_error, **settings,
        }  # fmt: skip
        self.names = [uuid.uuid4().hex[:8] for _ in range(producers)]
        self.sent = dict.fromkeys(self.names, 0)
        self.acked, self.failed, self.errors, self.fatal = {}, set(), set(), []
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(name,), daemon=True) for name in self.names]
        # what the last check found, by partition: it may only grow
        self.known = {}

    def note_error(self, error):
        if error.fatal():
            self.fatal.append(str(error))

    def note(self, error, message):
        name = name_of(message.value())
        if error:
            self.failed.add(name)
            self.errors.add(error.name())
        else:
            self.acked[name] = (message.partition(), message.offset())

    def run(self, name):
        producer, sequence = Producer(self.settings), 0
        while not self.is_over.is_set():
            for _ in range(self.batch):
                value = value_of(name, sequence, self.size)
                try:
                    producer.produce(self.topic, value, partition=sequence % self.partitions, on_delivery=self.note)
                except BufferError:
                    producer.poll(0.01)
                    break
                except KafkaException as error:
                    self.fatal.append(str(error))
                    return
                sequence += 1
                self.sent[name] = sequence
            producer.poll(0)
            if self.pause:
                time.sleep(self.pause)
        producer.flush(60)
        if len(producer) > 0:
            producer.purge()
            producer.flush(5)

    def goes_on(self, count=20, seconds=20):
        """Waits until so many more are acknowledged; returns the seconds that it took."""
        target, started = len(self.acked) + count, time.monotonic()
        until(seconds, lambda: len(self.acked) >= target or self.fatal, f"{count} more records are acknowledged")
        assert not self.fatal, self.fatal
        return time.monotonic() - started

    def stalls(self, seconds=1.0):
        """Nothing is acknowledged any more: once all answers have come, which takes its time on a machine that does other things as well, none follows."""

        def is_quiet():
            before = len(self.acked)
            time.sleep(seconds)
            return len(self.acked) == before

        until(10, is_quiet, "nothing is acknowledged after the fault")

    def check(self):
        """Reads everything back and compares; returns how many records there are."""
        acked, sent = dict(self.acked), dict(self.sent)
        found = read_all(self.broker, self.topic, range(self.partitions))
        places, last = {}, {}
        for partition, records in found.items():
            for offset, value in records:
                name = name_of(value)
                at = f"partition {partition}, offset {offset}"
                assert name and name[0] in sent, f"{at}: a value that was never sent: {value[:60]}"
                # what was sent since the count was taken is no surprise
                assert name[1] < max(sent[name[0]], self.sent[name[0]]), f"{at}: {name} was never sent"
                assert name not in places, f"{at}: {name} is there again, first at {places[name]}"
                assert last.get((partition, name[0]), -1) < name[1], f"{at}: {name} is behind {last[partition, name[0]]}"
                places[name], last[partition, name[0]] = (partition, offset), name[1]
        lost = [(name, place) for name, place in acked.items() if places.get(name) != place]
        assert not lost, f"{len(lost)} of {len(acked)} acknowledged records are not where they were: {sorted(lost, key=lambda l: l[1])[:3]}"
        for partition, records in self.known.items():
            now = found[partition][: len(records)]
            assert now == records, f"partition {partition}: what was read before has changed"
        self.known = found
        assert not self.fatal, self.fatal
        return len(places)


def consumer(broker, **settings):
    return Consumer(
        {**QUIET, "bootstrap.servers": broker.bootstrap, "group.id": uuid.uuid4().hex, "enable.auto.commit": False, "check.crcs": True,
         "auto.offset.reset": "error", "enable.partition.eof": True, "fetch.wait.max.ms": 50, **settings}
    )  # fmt: skip


def read_all(broker, topic, partitions, start=None, seconds=30):
    """Offsets and values of partitions from the log start to the high watermark. Offsets follow one another without a gap."""
    found, ends = messages(broker, topic, partitions, start, seconds)
    for partition, (first, end) in ends.items():
        offsets = [message.offset() for message in found[partition]]
        assert offsets == list(range(first, first + len(offsets))), f"{topic}-{partition}: offsets have gaps"
        assert first + len(offsets) >= end, f"{topic}-{partition}: read to {first + len(offsets)} of {end}"
    return {partition: [(message.offset(), message.value()) for message in read] for partition, read in found.items()}


def messages(broker, topic, partitions, start=None, seconds=30):
    """What partitions have from the log start to the high watermark, and these two offsets of each."""
    reader = consumer(broker)
    try:
        places = [TopicPartition(topic, partition) for partition in partitions]
        marks = {place.partition: reader.get_watermark_offsets(place, timeout=15) for place in places}
        for place in places:
            place.offset = marks[place.partition][0] if start is None else start
        found = {place.partition: [] for place in places}
        reader.assign(places)
        open_ones, end = {place.partition for place in places}, time.monotonic() + seconds
        while open_ones:
            assert time.monotonic() < end, f"partitions {open_ones} are not read to their end in {seconds} s"
            for message in reader.consume(2000, 0.1):
                error = message.error()
                if error and error.code() == KafkaError._PARTITION_EOF:
                    open_ones.discard(message.partition())
                elif error:
                    raise KafkaException(error)
                else:
                    found[message.partition()].append(message)
        return found, {place.partition: (place.offset, marks[place.partition][1]) for place in places}
    finally:
        reader.close()


class Reader:
    """Reads along while the load runs, and commits. Nothing that it saw or committed may change later."""

    def __init__(self, load):
        self.load, self.group = load, uuid.uuid4().hex
        self.seen, self.committed, self.trouble = {}, {}, []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        settings = {"group.id": self.group, "auto.offset.reset": "earliest", "enable.partition.eof": False, "on_commit": self.note_commit}
        reader = consumer(self.load.broker, **settings)
        reader.assign([TopicPartition(self.load.topic, partition, 0) for partition in range(self.load.partitions)])
        following, commit_at = {}, time.monotonic()
        while not self.is_over.is_set():
            for message in reader.consume(500, 0.05):
                if message.error():
                    continue
                place = (message.partition(), message.offset())
                if following.get(place[0], 0) != place[1]:
                    self.trouble.append(f"read {place}, expected offset {following.get(place[0], 0)}")
                following[place[0]] = place[1] + 1
                self.seen[place] = message.value()
            if following and time.monotonic() > commit_at:
                commit_at = time.monotonic() + 0.05
                # what is not acknowledged may be there or not, and nobody waits for it
                reader.commit(offsets=[TopicPartition(self.load.topic, *place) for place in following.items()], asynchronous=True)
        reader.close()

    def note_commit(self, error, places):
        for place in places:
            if not error and not place.error:
                self.committed[place.partition] = max(place.offset, self.committed.get(place.partition, 0))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join(30)

    def check(self):
        """After the load's own check."""
        assert not self.trouble, self.trouble[:3]
        for (partition, offset), value in self.seen.items():
            assert self.load.known[partition][offset][1] == value, f"partition {partition}, offset {offset} was read with another value"
        reader = consumer(self.load.broker, **{"group.id": self.group})
        try:
            places = [TopicPartition(self.load.topic, partition) for partition in self.committed]
            for place in reader.committed(places, timeout=15):
                told = self.committed[place.partition]
                assert place.offset >= told, f"partition {place.partition}: committed {place.offset}, and {told} was acknowledged"
        finally:
            reader.close()
        return len(self.seen)


def produced(broker, topic, values, partition=0, times=None):
    """Sends values one after the other, each acknowledged before the next; returns their offsets."""
    offsets, errors = [], []

    def note(error, message):
        if error:
            errors.append(error.name())
        else:
            offsets.append(message.offset())

    producer = Producer({**QUIET, "bootstrap.servers": broker.bootstrap, "linger.ms": 0, "message.timeout.ms": 15_000})
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=partition, on_delivery=note, timestamp=times[number] if times else 0)
        producer.flush(20)
    assert not errors, f"records are refused: {errors[:3]}"
    return offsets


def refusal(broker, topic="t", partition=0):
    """The error for one record, without a retry; None when it is acknowledged. Of a log that is offline, which has no leader, a time-out."""
    told = []
    producer = Producer({**QUIET, "bootstrap.servers": broker.bootstrap, "linger.ms": 0, "retries": 0, "message.timeout.ms": 3_000})
    producer.produce(topic, b"probe:" + os.urandom(4), partition=partition, on_delivery=lambda error, _: told.append(error and error.name()))
    producer.flush(10)
    return told[0] if told else "no answer"


def connected(broker):
    """A connection of our own, for what no client does."""
    host, port = broker.bootstrap.split(":")
    connection = socket.socket()
    # what nobody takes shall wait in the broker, not in the kernel
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((host, int(port)))
    return connection


def fetch_request(topic, offset, partition_bytes):
    """Fetch version 4 of partition 0, as a frame."""
    name = topic.encode()
    body = struct.pack(">iiiib", -1, 0, 0, 50 << 20, 0)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, offset, partition_bytes)
    frame = struct.pack(">hhih", 1, 4, 1, 6) + b"faults" + body
    return struct.pack(">i", len(frame)) + frame


def fetch_error(broker, topic, offset):
    """The code of a fetch; a client's library would go on asking."""
    with connected(broker) as connection:
        connection.sendall(fetch_request(topic, offset, 1))
        # correlation id, throttle time, one topic with its name, one partition: its index, then the code
        before = 4 + 4 + 4 + 4 + 2 + len(topic.encode()) + 4 + 4
        answer = b""
        while len(answer) < before + 2:
            more = connection.recv(4096)
            assert more, "the broker closed the connection"
            answer += more
        return struct.unpack(">h", answer[before : before + 2])[0]


def offsets_at(broker, topic, times):
    """The offsets of the first records at or behind these times."""
    reader = consumer(broker)
    try:
        return [reader.offsets_for_times([TopicPartition(topic, 0, time_)], timeout=10)[0].offset for time_ in times]
    finally:
        reader.close()
