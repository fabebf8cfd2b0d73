"""librdkafka reads partitions from their start. Arguments: bootstrap, topic, partitions, records. Prints bytes of values and seconds."""

import json
import sys
import time

from confluent_kafka import Consumer, TopicPartition

bootstrap, topic = sys.argv[1:3]
partitions, records = (int(a) for a in sys.argv[3:5])
LIMIT_S = 120

consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": "bench",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "queued.max.messages.kbytes": 262_144,
    "fetch.message.max.bytes": 4 << 20,
})
consumer.list_topics(topic, timeout=20)
began = time.monotonic()
consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
found = size = 0
while found < records and time.monotonic() - began < LIMIT_S:
    for message in consumer.consume(10_000, 1.0):
        if message.error():
            sys.exit(str(message.error()))
        found += 1
        size += len(message)
seconds = time.monotonic() - began
consumer.close()
if found < records:
    sys.exit(f"{found} of {records} records in {LIMIT_S} s")
print(json.dumps({"acked_bytes": size, "seconds": round(seconds, 3)}))
