"""kafka-python: admin, every codec, awkward records, groups, offsets by time. Argument: bootstrap address."""

import sys
import threading
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata

from steps import AWKWARD, equal, step

bootstrap = sys.argv[1]
name = f"kp-{time.time_ns()}"
admin = KafkaAdminClient(bootstrap_servers=bootstrap)


def consumer(*topics, **settings):
    base = {"bootstrap_servers": bootstrap, "auto_offset_reset": "earliest", "consumer_timeout_ms": 5000, "enable_auto_commit": False}
    return KafkaConsumer(*topics, **{**base, **settings})


def create():
    admin.create_topics([NewTopic(name, 3, 1, topic_configs={"retention.ms": "-1"})])
    # the controller answers before every broker has the topic in its metadata
    for _ in range(100):
        if name in admin.list_topics():
            return
        time.sleep(0.1)
    raise AssertionError("the topic is not listed after 10 s")


def awkward(codec):
    def run():
        topic = f"{name}-{codec}"
        admin.create_topics([NewTopic(topic, 1, 1)])
        producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type=None if codec == "none" else codec)
        for key, value, headers in AWKWARD:
            producer.send(topic, key=key, value=value, headers=headers, timestamp_ms=1_700_000_000_000).get(20)
        producer.close()
        with_assignment = consumer(consumer_timeout_ms=20_000)
        with_assignment.assign([TopicPartition(topic, 0)])
        with_assignment.seek_to_beginning()
        found = []
        for record in with_assignment:
            equal(record.timestamp, 1_700_000_000_000, "timestamp")
            found.append((record.key, record.value, list(record.headers)))
            if len(found) == len(AWKWARD):
                break
        equal(found, AWKWARD, "records")
        with_assignment.close()
    return run


def fill():
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    for number in range(600):
        producer.send(name, key=b"%d" % number, value=b"%d" % number, timestamp_ms=1_000_000 + number)
    producer.flush()
    producer.close()


def group():
    reader = consumer(name, group_id=f"{name}-g")
    found = sorted(int(record.value) for record in reader)
    equal(found, list(range(600)), "values")
    reader.commit()
    reader.close()
    again = consumer(name, group_id=f"{name}-g")
    equal([record.value for record in again], [], "records after the commit")
    again.close()


def two_members():
    found, lock, stop = [], threading.Lock(), threading.Event()
    assigned = [None, None]

    def work(index):
        member = consumer(name, group_id=f"{name}-two", consumer_timeout_ms=500, session_timeout_ms=10_000)
        while not stop.is_set():
            for record in member:
                with lock:
                    found.append(int(record.value))
            assigned[index] = len(member.assignment())
        member.close()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.time() + 40
    while time.time() < deadline and not (sorted(filter(None, assigned)) == [1, 2] and len(set(found)) == 600):
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    equal(sorted(set(found)), list(range(600)), "values")
    equal(sorted(assigned), [1, 2], "partitions of each member")


def groups_listed():
    listed = str(admin.list_groups())
    assert f"{name}-g" in listed, listed[:300]


def offsets_by_time():
    reader = consumer()
    wanted = {TopicPartition(name, partition): 1_000_300 for partition in range(3)}
    found = reader.offsets_for_times(wanted)
    for partition, place in found.items():
        reader.assign([partition])
        reader.seek(partition, place.offset)
        first = next(iter(reader))
        equal(first.timestamp, place.timestamp, "timestamp")
        assert first.timestamp >= 1_000_300, first.timestamp
    ends = reader.end_offsets(list(wanted))
    equal(sum(ends.values()), 600, "end offsets")
    reader.close()


def seek_commit():
    reader = consumer(group_id=f"{name}-seek")
    partition = TopicPartition(name, 0)
    reader.assign([partition])
    reader.commit({partition: OffsetAndMetadata(7, "a note", -1)})
    equal(reader.committed(partition), 7, "committed offset")
    reader.close()


def configs():
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs={"max.message.bytes": "2000000"})])
    text = str(admin.describe_configs([resource]))
    assert "2000000" in text, text[:300]


def grow():
    admin.create_partitions({name: NewPartitions(5)})
    reader = consumer()
    equal(len(reader.partitions_for_topic(name)), 5, "partitions")
    reader.close()


def delete():
    admin.delete_topics([name])
    assert name not in admin.list_topics()


step("create a topic", create)
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    step(f"awkward records, {codec}", awkward(codec))
step("600 records, idempotent", fill)
step("a consumer group, commit and go on", group)
step("two members share the partitions", two_members)
step("groups are listed", groups_listed)
step("offsets by time", offsets_by_time)
step("a commit with a note", seek_commit)
step("configs", configs)
step("more partitions", grow)
step("delete a topic", delete)
