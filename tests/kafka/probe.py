"""What a plain client reads from topics: confluent-kafka, so that not our own client judges us."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

WAIT_S = 20.0


def committed_records(address: str, topic: str, partition: int) -> list[Any]:
    """Return all committed records of a partition, in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "probe",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    found, limit_s = [], time.monotonic() + WAIT_S
    try:
        while time.monotonic() < limit_s:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == -191:  # the end of the partition
                return found
            else:
                raise AssertionError(str(error))
    finally:
        consumer.close()
    raise AssertionError(f"{topic}/{partition} was not read to its end")


def group_offsets(address: str, group: str, topic: str, count: int) -> list[int]:
    """Return a group's committed offsets of a topic, as lag tools read them."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    places = [TopicPartition(topic, number) for number in range(count)]
    limit_s = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                return [place.offset for place in consumer.committed(places, timeout=10)]
            except KafkaException:  # a coordinator that has just come back
                if time.monotonic() > limit_s:
                    raise
                time.sleep(0.2)
    finally:
        consumer.close()


def produce(
    address: str,
    topic: str,
    records: Sequence[tuple[Any, ...]],
    **options: str,
) -> None:
    """Write (partition, key, value, time[, headers]); in one transaction if an id is given."""
    producer = Producer(
        {"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 1} | options
    )
    transactional = "transactional.id" in options
    if transactional:
        producer.init_transactions(10)
        producer.begin_transaction()
    for partition, key, value, time_ms, *more in records:
        headers = more[0] if more else None
        producer.produce(topic, value, key, partition, timestamp=time_ms, headers=headers)
        producer.poll(0)
    assert producer.flush(10) == 0
    if transactional:
        producer.commit_transaction(10)
