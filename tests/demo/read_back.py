"""Reads a topic from its beginning to its end with kafka-python: read_back.py BOOTSTRAP TOPIC; JSON lines as `kennet consume`'s."""

import datetime
import json
import sys

from kafka import KafkaConsumer, TopicPartition

from history import text_or_base64

bootstrap, topic = sys.argv[1:]
consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, consumer_timeout_ms=10_000)
partitions = [TopicPartition(topic, index) for index in consumer.partitions_for_topic(topic)]
consumer.assign(partitions)
consumer.seek_to_beginning()
ends = consumer.end_offsets(partitions)
left = sum(ends.values())
for one in consumer if left else ():
    time = datetime.datetime.fromtimestamp(one.timestamp / 1000, datetime.timezone.utc)
    line = {
        "partition": one.partition,
        "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **text_or_base64("key", one.key),
        **text_or_base64("value", one.value),
        "headers": [{"key": name, **text_or_base64("value", value)} for name, value in one.headers],
    }
    print(json.dumps(line))
    left -= 1
    if left == 0:
        break
consumer.close()
