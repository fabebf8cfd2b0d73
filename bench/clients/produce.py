"""librdkafka as it is used for bulk: 1 KiB records in batches of a given size. Arguments: bootstrap, topic, partitions, records, batch bytes.

Whole batches go to one partition after the other, so that they are full. Prints what was acknowledged and how long that took.
"""

import json
import sys
import time

from confluent_kafka import Producer

bootstrap, topic = sys.argv[1:3]
partitions, records, batch = (int(a) for a in sys.argv[3:6])
VALUE = b"x" * 1024
ERRORS = []

producer = Producer({
    "bootstrap.servers": bootstrap,
    "acks": "all",
    "linger.ms": 50,
    "batch.size": batch,
    "batch.num.messages": 100_000,
    "queue.buffering.max.messages": 200_000,
    "delivery.report.only.error": True,
    "on_delivery": lambda error, _: ERRORS.append(str(error)),
})
producer.list_topics(topic, timeout=20)
began = time.monotonic()
group = max(1, batch // 1040)
for number in range(records):
    while True:
        try:
            producer.produce(topic, VALUE, partition=number // group % partitions)
            break
        except BufferError:
            producer.poll(0.01)
unsent = producer.flush(120)
seconds = time.monotonic() - began
if unsent or ERRORS:
    sys.exit(f"{unsent} records unsent, {len(ERRORS)} errors, the first: {ERRORS[:1]}")
print(json.dumps({"acked_bytes": records * 1024, "seconds": round(seconds, 3)}))
