"""A row in which the process is killed while topics are deleted and made again, and while the beginnings of other logs go.

Each topic has a thread of its own, which knows what the topic has to hold, because nobody else touches it and an answer that a kill took away
is asked for again.
"""

import base64
import os
import random
import threading
import time
import uuid

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection, TopicPartition

from broker import Broker, until
from load import Load, admin, create, delete, patient, read_all, value_of
from volume import Loop

ROUNDS = min(30, int(os.environ.get("ROUNDS", "30")))
# with fewer kills, what is left to chance may not happen
ROUNDS_TOLD = 10
# the row is one of many
SECONDS_MAX = 25
NAMES, PARTITIONS, SIZE = 6, 4, 2000
# several of them in a life, so that deletions meet logs with one file and with many
SEGMENT_BYTES = 32 << 10
RETAINED_BYTES = 128 << 10
FIRST_RECORDS = 2 * RETAINED_BYTES // SIZE
# some in a row, of a part of what a step writes
CUTS, CUT_RECORDS_MAX = 4, 15
# a start takes less than a second, and an answer much less than that
ANSWER_SECONDS = 20
# a kill between two steps is as good as one within a step
PAUSE_SECONDS = 0.1
# a request that removes something is answered after some milliseconds: half of the kills come within them
REQUEST_SECONDS = 0.006
# as long as the library itself tries
RECORD_SECONDS = 60
# the client's own. The last two are told when a kill took its question for the leader; what really is not there is not there later either
LOST = {
    KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError.REQUEST_TIMED_OUT, KafkaError._DESTROY_BROKER,
    KafkaError._NOENT, KafkaError._UNKNOWN_PARTITION,
}  # fmt: skip
# retention or DeleteRecords was faster than the reader
MOVED = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class Task:
    """Takes steps in a thread until it is told to end, or until one goes wrong."""

    # set when any of them sends a request that removes something
    asks = threading.Event()

    def __init__(self, broker, topic, seed):
        self.broker, self.topic, self.chance = broker, topic, random.Random(seed)
        self.client, self.is_over, self.trouble = admin(broker), threading.Event(), None
        # requests that a kill left without an answer, and those of them that had been done by then
        self.lost = self.halfway = 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.is_over.is_set():
                self.step()
        except Exception as error:  # noqa: BLE001 - told by the row's own thread
            self.trouble = error

    def remove(self, ask, already=None):
        """The answer to a request that removes something."""
        self.asks.set()
        return self.answer(ask, already)

    def answer(self, ask, already=None):
        """Asks until there is an answer. `already` is the error that tells that an earlier request did it, whose answer was lost."""
        end, asked = time.monotonic() + ANSWER_SECONDS, 0
        while True:
            try:
                return ask()
            except KafkaException as error:
                code = error.args[0].code()
                if asked and code == already:
                    self.halfway += 1
                    return None
                if code not in LOST and code not in MOVED:
                    raise AssertionError(f"{self.topic}: {error}") from error
                assert time.monotonic() < end, f"{self.topic}: no answer in {ANSWER_SECONDS} s: {error}"
                self.lost += code in LOST
            asked += 1
            time.sleep(0.02)

    def read(self, partitions):
        return self.answer(lambda: read_all(self.broker, self.topic, partitions))

    def rest(self):
        self.is_over.wait(self.chance.uniform(0, PAUSE_SECONDS))


class Lives(Task):
    """A topic that is made, gets records and is deleted, again and again under one name. No life may see anything of another."""

    def __init__(self, broker, topic, seed):
        super().__init__(broker, topic, seed)
        self.life, self.ids, self.expected, self.errors = 0, [], None, []
        # one for each life, made ahead: its id takes half a second, and a sequence must not go on in another topic
        self.producer = Producer(patient(broker))

    def step(self):
        self.begin()
        self.fill()
        self.rest()
        self.check()
        if self.is_over.is_set():
            return
        self.end()
        self.rest()
        self.check()

    def begin(self):
        self.life += 1
        self.answer(lambda: create(self.broker, self.topic, PARTITIONS, self.client, segment_bytes=SEGMENT_BYTES), KafkaError.TOPIC_ALREADY_EXISTS)
        self.expected = {partition: [] for partition in range(PARTITIONS)}
        [topic_id] = self.answer(lambda: folders(self.client, [self.topic]))
        assert topic_id not in self.ids, f"{self.topic}: life {self.life} has the id of an earlier one"
        self.ids.append(topic_id)

    def fill(self):
        """Some lives have a few records, which only the journal has, others fill segments."""
        producer, self.producer = self.producer, Producer(patient(self.broker))
        for number in range(self.chance.choice((1, 10, 100))):
            value = value_of(f"{self.topic}.{self.life}", number, SIZE)
            producer.produce(self.topic, value, partition=number % PARTITIONS, on_delivery=self.note)
            producer.poll(0)
        assert producer.flush(RECORD_SECONDS) == 0, f"{self.topic}: records wait for more than {RECORD_SECONDS} s"
        assert not self.errors, f"{self.topic}: {self.errors[:3]}"

    def note(self, error, message):
        if error:
            self.errors.append(error.str())
        else:
            self.expected[message.partition()].append((message.offset(), message.value()))

    def end(self):
        self.remove(lambda: delete(self.broker, self.topic, self.client), KafkaError.UNKNOWN_TOPIC_OR_PART)
        self.expected = None

    def leave(self, is_there):
        if is_there and not self.expected:
            self.begin()
            self.fill()
        elif self.expected and not is_there:
            self.end()

    def check(self):
        """It is there with what its life was acknowledged, or it is not there."""
        names = self.answer(lambda: set(self.client.list_topics(timeout=10).topics))
        told = "made" if self.expected else "deleted"
        assert (self.topic in names) == bool(self.expected), f"{self.topic}: life {self.life} was {told}, and the topics are {names}"
        if self.expected:
            found = self.read(range(PARTITIONS))
            for partition, expected in self.expected.items():
                what = f"{self.topic}-{partition}: life {self.life} has {len(found[partition])} records, not the {len(expected)} acknowledged"
                assert found[partition] == expected, f"{what}; {found[partition][:1]}"
        return len(self.ids)


class Front(Task):
    """A log whose beginning goes. A start that a client was told never goes back, and nothing behind it is missing."""

    def __init__(self, broker, topic, seed):
        super().__init__(broker, topic, seed)
        self.values, self.errors, self.start, self.cuts = [], [], 0, 0
        self.producer = Producer(patient(broker))

    def step(self):
        # first so many that something has to go
        for _ in range(self.chance.choice((1, 20, 60)) if self.values else FIRST_RECORDS):
            value = value_of(self.topic, len(self.values) + len(self.producer), SIZE)
            self.producer.produce(self.topic, value, partition=0, on_delivery=self.note)
        assert self.producer.flush(RECORD_SECONDS) == 0, f"{self.topic}: records wait for more than {RECORD_SECONDS} s"
        assert not self.errors, f"{self.topic}: {self.errors[:3]}"
        for _ in range(CUTS):
            self.cut()
        self.rest()
        self.check()

    def note(self, error, message):
        if error or message.offset() != len(self.values):
            self.errors.append(error.str() if error else f"offset {message.offset()} follows {len(self.values)} records")
        else:
            self.values.append(message.value())

    def cut(self):
        """Tells the broker what it may remove; nothing when it knows by itself."""

    def check(self):
        [found] = self.read([0]).values()
        start = found[0][0] if found else len(self.values)
        assert start >= self.start, f"{self.topic}: the log starts at {start}, and {self.start} was told"
        self.cuts += start > self.start
        self.start = start
        expected = list(enumerate(self.values))[start:]
        assert found == expected, f"{self.topic}: {len(found)} records from {start} on, not the {len(expected)} acknowledged"
        self.check_limit()
        return start


class Trimmed(Front):
    """By DeleteRecords."""

    asked = 0

    def cut(self):
        # a part, so that something is left for the next
        offset = min(self.start + self.chance.randint(0, CUT_RECORDS_MAX), len(self.values))
        self.asked = max(self.asked, offset)
        told = self.remove(lambda: self.delete_below(offset))
        assert told == offset, f"{self.topic}: records below {offset} were to go, and the log starts at {told}"
        self.cuts += offset > self.start
        self.start = told

    def delete_below(self, offset):
        [done] = self.client.delete_records([TopicPartition(self.topic, 0, offset)]).values()
        return done.result(ANSWER_SECONDS).low_watermark

    def check_limit(self):
        assert self.start <= self.asked, f"{self.topic}: the log starts at {self.start}, and {self.asked} was asked for"


class Retained(Front):
    """By retention, in segments."""

    def check_limit(self):
        left = (len(self.values) - self.start) * SIZE
        # a kill takes records from the end that were counted and not yet acknowledged
        assert self.start == 0 or left > RETAINED_BYTES // 2, f"{self.topic}: {left} bytes are left, of {RETAINED_BYTES} to keep"


def topics_come_and_go(place):
    """Row 1."""
    configs = {"offsets_topic_num_partitions": 2, "log_retention_check_interval_ms": 100, "auto_create_topics_enable": "false"}
    with Loop(place.ram, 512) as volume, Broker(place.folder, volume.data(), **configs) as broker:
        create(broker, "t", 3)
        create(broker, "trimmed", segment_bytes=SEGMENT_BYTES)
        create(broker, "retained", segment_bytes=SEGMENT_BYTES, retention_bytes=RETAINED_BYTES)
        lives = [Lives(broker, f"lives-{number}", number) for number in range(NAMES)]
        fronts = [Trimmed(broker, "trimmed", NAMES), Retained(broker, "retained", NAMES + 1)]
        with Load(broker, size=1000) as load:
            try:
                rounds = killed(broker, load, lives + fronts, random.Random(2))
            finally:
                end(lives + fronts)
            load.finish()
        for front in fronts:
            until(ANSWER_SECONDS, front.check, f"{front.topic}: the beginning has gone")
        # some are there in the end, and some are not
        for number, life in enumerate(lives):
            life.leave(is_there=number % 2 == 0)
        broker.kill()
        broker.again()
        records = check_all(load, lives + fronts)
        broker.stop()
        broker.again()
        assert check_all(load, lives + fronts) == records, "a clean stop changed the log"
        # `check` has seen that none of them is a topic that was deleted
        client = admin(broker)
        there = folders(client, list(client.list_topics(timeout=10).topics))
        until(5, lambda: set(os.listdir(f"{broker.data}/topics")) <= there, "nothing is left of topics that were deleted")
        assert broker.metric("kennet_broker_topics_unknown") == 0, "there are topics that metadata does not name"
        # the next start may have healed what a client asked for again
        assert "partition is offline" not in broker.logged(), "a partition was offline"
    lost, halfway = (sum(getattr(task, name) for task in lives + fronts) for name in ("lost", "halfway"))
    assert lost > 0 or rounds < ROUNDS_TOLD, "no kill met a request"
    made, cuts = sum(len(life.ids) for life in lives), sum(front.cuts for front in fronts)
    return f"{rounds} kills in {lost} requests, {halfway} of them done; {made} topics were made, {cuts} beginnings cut, {records} records beside them"


def killed(broker, load, tasks, chance):
    """Kills the broker at random times while all go on; returns how often."""
    rounds, over = 0, time.monotonic() + SECONDS_MAX
    for task in tasks:
        task.thread.start()
    while rounds < ROUNDS and time.monotonic() < over:
        load.goes_on()
        Task.asks.clear()
        if rounds % 2:
            time.sleep(chance.uniform(0, 0.4))
        else:
            Task.asks.wait(1)
            time.sleep(chance.uniform(0, REQUEST_SECONDS))
        broker.kill()
        broker.again()
        tell(tasks)
        rounds += 1
    return rounds


def end(tasks):
    for task in tasks:
        task.is_over.set()
    for task in tasks:
        # what it waits for has a limit of its own
        task.thread.join(RECORD_SECONDS + 2 * ANSWER_SECONDS)
    tell(tasks)
    assert not any(task.thread.is_alive() for task in tasks), "a step does not end"


def tell(tasks):
    for task in tasks:
        if task.trouble:
            raise task.trouble


def check_all(load, tasks):
    for task in tasks:
        task.check()
    records = load.check()
    assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
    return records


def folders(client, names):
    """The ids of topics, written as the data directory writes them."""
    found = client.describe_topics(TopicCollection(names)).values()
    texts = [str(topic.result(ANSWER_SECONDS).topic_id) for topic in found]
    return {str(uuid.UUID(bytes=base64.b64decode(f"{text}=="))) for text in texts}
