"""Who writes records to a topic, and who reads their scores, for the Kafka report and the driver.

librdkafka's clients, so that what they cost is little and is not our own client's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

TICK_S = 0.005
QUEUE = 500_000
FIRST_MS = 1_700_000_000_000

Line = tuple[int, bytes, bytes]
"""Partition, key and value of a record."""

Scores = list[tuple[int, float]]
"""Of each score, when its record was due and when it was read, in ms since 1970."""


def _producer(address: str) -> Producer:
    options = {"linger.ms": 1, "enable.idempotence": True, "queue.buffering.max.messages": QUEUE}
    return Producer({"bootstrap.servers": address, **options})


def fill(address: str, topic: str, lines: Iterable[Line], done: Callable[[int], None]) -> int:
    """Write records as fast as it goes; return how many."""
    producer, written = _producer(address), 0
    for partition, key, value in lines:
        producer.produce(topic, value, key, partition, timestamp=FIRST_MS + written)
        written += 1
        if written % 10_000 == 0:
            producer.flush()
            done(written)
    producer.flush()
    return written


class Drip:
    """Writes records at a steady pace, each with the time at which it is due as its own time.

    Args:
        address: host:port of the broker.
        topic: where to.
        per_s: records a second.

    Attributes:
        began_s: seconds since 1970 at which the first record is due.
        sent: records written.
    """

    def __init__(self, address: str, topic: str, per_s: float) -> None:
        self._producer = _producer(address)
        self._producer.list_topics(topic, timeout=10)  # connected before the first record is due
        self._topic = topic
        self._per_s = per_s
        self.began_s = time.time()
        self.sent = 0

    def run(self, lines: Iterable[Line], count: int, done: Callable[[int], None]) -> None:
        """Write the first `count` records; those whose time has passed at once."""
        each = iter(lines)
        while self.sent < count:
            due = min(int((time.time() - self.began_s) * self._per_s) + 1, count)
            while self.sent < due:
                partition, key, value = next(each)
                due_ms = int(1000 * (self.began_s + self.sent / self._per_s))
                self._producer.produce(self._topic, value, key, partition, timestamp=due_ms)
                self.sent += 1
            done(self.sent)
            self._producer.poll(0)
            time.sleep(TICK_S)
        self._producer.flush()


class Reader(threading.Thread):
    """Reads committed scores from the end of a topic on.

    Args:
        address: host:port of the broker.
        topic: where from.
        partitions: of the topic.
        heard: told of the scores of each read, in a thread of its own.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        partitions: int,
        heard: Callable[[Scores], None],
    ) -> None:
        super().__init__(daemon=True)
        self._heard = heard
        self._left = threading.Event()
        self.failure: str | None = None
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
            rows: Scores = []
            for message in found:
                error = message.error()
                if error is None:
                    rows.append((message.timestamp()[1], now_ms))
                elif error.code() != KafkaError._PARTITION_EOF:
                    self.failure = str(error)
                    break
            if rows:
                self._heard(rows)
        self._consumer.close()

    def leave(self) -> None:
        """Stop reading.

        Raises:
            RuntimeError: reading failed on the way.
        """
        self._left.set()
        self.join()
        if self.failure is not None:
            raise RuntimeError(self.failure)
