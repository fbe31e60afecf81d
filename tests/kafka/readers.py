"""What the clients that users have read from topics: confluent-kafka, kafka-python, kcat."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass

from tests.kafka.probe import WAIT_S, committed_records


@dataclass(frozen=True)
class Read:
    """One record as a client shows it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def without_headers(self) -> Read:
        return Read(self.partition, self.offset, self.key, self.value, self.timestamp_ms)


def by_confluent(address: str, topic: str) -> list[Read]:
    return [
        Read(
            0,
            each.offset(),
            each.key(),
            each.value(),
            each.timestamp()[1],
            tuple(each.headers() or ()),
        )
        for each in committed_records(address, topic, 0)
    ]


def by_kafka_python(address: str, topic: str) -> list[Read]:
    import kafka  # warns at once, of an old way to read its own files

    consumer = kafka.KafkaConsumer(
        bootstrap_servers=address,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    place = kafka.TopicPartition(topic, 0)
    found: list[Read] = []
    try:
        consumer.assign([place])
        consumer.seek_to_beginning()
        end, limit_s = consumer.end_offsets([place])[place], time.monotonic() + WAIT_S
        while consumer.position(place) < end:
            assert time.monotonic() < limit_s, f"{topic} was not read to its end"
            for part in consumer.poll(200).values():
                found += [
                    Read(0, each.offset, each.key, each.value, each.timestamp, tuple(each.headers))
                    for each in part
                ]
    finally:
        consumer.close()
    return found


def by_kcat(address: str, topic: str) -> list[Read]:
    """Read with lengths before keys and values, so that any bytes are told apart."""
    out = kcat(address, topic, "-f", "%p %o %T %K %S\n%k%s\n")
    found = []
    while out:
        line, _, out = out.partition(b"\n")
        partition, offset, time_ms, key_size, size = map(int, line.split())
        key, out = take(out, key_size)
        value, out = take(out, size)
        assert out[:1] == b"\n"
        out = out[1:]
        found.append(Read(partition, offset, key, value, time_ms))
    return found


def by_kcat_as_json(address: str, topic: str) -> list[dict]:
    """What kcat prints into a pipe: one JSON object a line, headers by turns name and value.

    kcat passes a header's bytes through as they are, so that a line need not be UTF-8.
    """
    lines = kcat(address, topic, "-J").decode(errors="replace").split("\n")
    return [json.loads(line) for line in lines if line]


def take(out: bytes, size: int) -> tuple[bytes | None, bytes]:
    return (None, out) if size < 0 else (out[:size], out[size:])


def kcat(address: str, topic: str, *options: str) -> bytes:
    command = ["kcat", "-C", "-b", address, "-t", topic, "-e", "-q", "-o", "beginning"]
    command += ["-X", "isolation.level=read_committed", *options]
    return subprocess.run(command, capture_output=True, timeout=WAIT_S, check=True).stdout
