"""The clients of the Kafka report: who writes records, and who reads their scores.

librdkafka's, so that what they cost is little and is not our own client's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

TICK_S = 0.005
QUEUE = 500_000
FIRST_MS = 1_700_000_000_000

Line = tuple[int, bytes, bytes]
"""Partition, key and value of a record."""


def _producer(address: str) -> Producer:
    options = {"linger.ms": 1, "enable.idempotence": True, "queue.buffering.max.messages": QUEUE}
    return Producer({"bootstrap.servers": address, **options})


def fill(address: str, topic: str, lines: Sequence[Line], done: Callable[[int], None]) -> None:
    """Write records as fast as it goes."""
    producer = _producer(address)
    for number, (partition, key, value) in enumerate(lines):
        producer.produce(topic, value, key, partition, timestamp=FIRST_MS + number)
        if number % 10_000 == 0:
            producer.flush()
            done(number)
    producer.flush()


def drip(
    address: str, topic: str, lines: Sequence[Line], per_s: float, done: Callable[[int], None]
) -> None:
    """Write records at a steady pace, each with the time at which it is due as its own time."""
    producer, began_s, sent = _producer(address), time.time(), 0
    while sent < len(lines):
        due = min(int((time.time() - began_s) * per_s), len(lines))
        for number in range(sent, due):
            partition, key, value = lines[number]
            due_ms = int(1000 * (began_s + number / per_s))
            producer.produce(topic, value, key, partition, timestamp=due_ms)
        sent = due
        done(sent)
        producer.poll(0)
        time.sleep(TICK_S)
    producer.flush()


class Reader(threading.Thread):
    """Reads committed scores, and notes how old the record of each is: `ages_ms`."""

    def __init__(self, address: str, topic: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self.ages_ms: list[float] = []
        self._left = threading.Event()
        options = {"isolation.level": "read_committed", "fetch.wait.max.ms": 50}
        self._consumer = Consumer({"bootstrap.servers": address, "group.id": "load", **options})
        places = [TopicPartition(topic, number) for number in range(partitions)]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=10)[1]
        self._consumer.assign(places)

    def run(self) -> None:
        """See `threading.Thread`."""
        while not self._left.is_set():
            found = self._consumer.consume(5_000, 0.01)
            now_ms = 1000 * time.time()
            for message in found:
                error = message.error()
                if error is None:
                    self.ages_ms.append(now_ms - message.timestamp()[1])
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise RuntimeError(str(error))
        self._consumer.close()

    def leave(self) -> None:
        """Stop reading."""
        self._left.set()
        self.join()
