"""What a plain client reads from topics: confluent-kafka, so that not our own client judges us."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

WAIT_S = 20.0
VISIBLE_S = 1.0


def committed_records(address: str, topic: str, partition: int) -> list[Any]:
    """Return all committed records of a partition, in order."""
    consumer, place = _reader(address, "read_committed"), TopicPartition(topic, partition, 0)
    found, limit_s = [], time.monotonic() + WAIT_S
    try:
        _until_visible(address, consumer, place)
        consumer.assign([place])
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


def _until_visible(address: str, consumer: Consumer, place: TopicPartition) -> None:
    """Wait until a transaction that was committed a moment ago is seen to be.

    For a while only: one may have been left open.
    """
    everything, limit_s = _reader(address, "read_uncommitted"), time.monotonic() + VISIBLE_S
    try:
        end = _end(everything, place)
        while _end(consumer, place) < end:
            if time.monotonic() > limit_s:
                return
            time.sleep(0.01)
    finally:
        everything.close()


def _end(consumer: Consumer, place: TopicPartition) -> int:
    """Where a partition ends. A broker that came back may lead nothing for a moment."""
    limit_s = time.monotonic() + WAIT_S
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, WAIT_S)[1])
        except KafkaException:
            if time.monotonic() > limit_s:
                raise
            time.sleep(0.1)


def _reader(address: str, isolation: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "probe",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,  # a broker tells of the end when nothing came for so long
        }
    )


def group_offsets(
    address: str, group: str, topic: str, count: int, *, stable: bool = True
) -> list[int]:
    """Return a group's committed offsets of a topic, as lag tools read them.

    Args:
        address, group, topic: where.
        count: partitions of the topic.
        stable: whether to wait for the end of transactions that commit others.
    """
    isolation = "read_committed" if stable else "read_uncommitted"
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": group, "isolation.level": isolation}
    )
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
