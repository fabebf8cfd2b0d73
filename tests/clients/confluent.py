"""confluent-kafka (librdkafka): admin, every codec, awkward records, groups with both assignors. Argument: bootstrap address."""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

from steps import AWKWARD, equal, step

bootstrap = sys.argv[1]
name = f"ck-{time.time_ns()}"
admin = AdminClient({"bootstrap.servers": bootstrap})


def done(futures):
    return [future.result(20) for future in futures.values()]


def producer(**settings):
    return Producer({"bootstrap.servers": bootstrap, "acks": "all", **settings})


def consumer(group, **settings):
    base = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    return Consumer({**base, **settings})


def read(reader, count, seconds=30):
    found, deadline = [], time.time() + seconds
    while len(found) < count and time.time() < deadline:
        message = reader.poll(0.2)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
    return found


def create():
    done(admin.create_topics([NewTopic(name, 3, config={"retention.ms": "-1"})]))
    equal(len(admin.list_topics(name).topics[name].partitions), 3, "partitions")


def awkward(codec):
    def run():
        topic = f"{name}-{codec}"
        done(admin.create_topics([NewTopic(topic, 1)]))
        sender = producer(**{"compression.type": codec, "enable.idempotence": True})
        for key, value, headers in AWKWARD:
            sender.produce(topic, key=key, value=value, headers=headers, timestamp=1_700_000_000_000)
        equal(sender.flush(20), 0, "unsent")
        reader = consumer("unused")
        reader.assign([TopicPartition(topic, 0, 0)])
        found = [(m.key(), m.value(), m.headers() or []) for m in read(reader, len(AWKWARD))]
        equal(found, AWKWARD, "records")
        reader.close()
    return run


def fill():
    sender = producer(**{"enable.idempotence": True, "linger.ms": 5})
    for number in range(1000):
        sender.produce(name, key=b"%d" % number, value=b"%d" % number, timestamp=1_000_000 + number)
    equal(sender.flush(20), 0, "unsent")


def group(strategy):
    def run():
        group_id = f"{name}-{strategy}"
        first = consumer(group_id, **{"partition.assignment.strategy": strategy, "session.timeout.ms": 10000})
        first.subscribe([name])
        found = read(first, 1000)
        equal(sorted(int(m.value()) for m in found), list(range(1000)), "values")
        first.commit(asynchronous=False)
        second = consumer(group_id, **{"partition.assignment.strategy": strategy, "session.timeout.ms": 10000})
        second.subscribe([name])
        deadline = time.time() + 30
        while time.time() < deadline and not (first.assignment() and second.assignment()
                                              and len(first.assignment()) + len(second.assignment()) == 3):
            first.poll(0.1)
            second.poll(0.1)
        equal(sorted([len(first.assignment()), len(second.assignment())]), [1, 2], "partitions of each member")
        first.close()
        deadline = time.time() + 30
        while time.time() < deadline and len(second.assignment()) != 3:
            equal(second.poll(0.1), None, "records after the commit")
        equal(len(second.assignment()), 3, "partitions after the other left")
        second.close()
    return run


def static_member():
    settings = {"group.instance.id": "one", "session.timeout.ms": 10000}
    first = consumer(f"{name}-static", **settings)
    first.subscribe([name])
    equal(len(read(first, 1000)), 1000, "records")
    first.commit(asynchronous=False)
    first.close()
    again = consumer(f"{name}-static", **settings)
    again.subscribe([name])
    deadline = time.time() + 20
    while time.time() < deadline and len(again.assignment()) != 3:
        again.poll(0.1)
    equal(len(again.assignment()), 3, "partitions after the restart")
    again.close()


def groups():
    listed = [group.group_id for group in admin.list_consumer_groups().result(20).valid]
    assert f"{name}-range" in listed, listed
    described = admin.describe_consumer_groups([f"{name}-range"])[f"{name}-range"].result(20)
    equal(described.state.name, "EMPTY", "state")
    done(admin.delete_consumer_groups([f"{name}-range"]))
    listed = [group.group_id for group in admin.list_consumer_groups().result(20).valid]
    assert f"{name}-range" not in listed, listed


def offsets():
    found = admin.list_offsets({TopicPartition(name, 0): OffsetSpec.latest(), TopicPartition(name, 1): OffsetSpec.earliest(),
                                TopicPartition(name, 2): OffsetSpec.max_timestamp()})
    places = {partition.partition: future.result(20) for partition, future in found.items()}
    assert places[0].offset > 0 and places[1].offset == 0 and places[2].timestamp >= 1_000_000, places


def configs():
    resource = ConfigResource(ResourceType.TOPIC, name)
    change = ConfigEntry("max.message.bytes", "2000000", incremental_operation=AlterConfigOpType.SET)
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=[change])]))
    equal(done(admin.describe_configs([resource]))[0]["max.message.bytes"].value, "2000000", "value")


def too_large():
    errors = []
    sender = producer(**{"message.max.bytes": 5_000_000})
    sender.produce(f"{name}-none", b"x" * 1_500_000, on_delivery=lambda error, _: errors.append(error.name() if error else None))
    sender.flush(20)
    equal(errors, ["MSG_SIZE_TOO_LARGE"], "error")


def delete_records():
    done(admin.delete_records([TopicPartition(name, 0, 5)]))
    reader = consumer("unused")
    equal(reader.get_watermark_offsets(TopicPartition(name, 0))[0], 5, "log start")
    reader.close()


def grow_and_delete():
    done(admin.create_partitions([NewPartitions(name, 4)]))
    equal(len(admin.list_topics(name).topics[name].partitions), 4, "partitions")
    done(admin.delete_topics([name]))


step("create a topic", create)
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    step(f"awkward records, {codec}", awkward(codec))
step("1000 records, idempotent", fill)
for strategy in ("range", "cooperative-sticky"):
    step(f"a group with {strategy}: two members, one leaves", group(strategy))
step("a static member comes back", static_member)
step("groups are listed, described, deleted", groups)
step("offsets: latest, earliest, largest timestamp", offsets)
step("configs, key by key", configs)
step("a record above the limit is refused", too_large)
step("delete records", delete_records)
step("more partitions, then delete", grow_and_delete)
