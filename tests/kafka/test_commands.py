"""The commands that look into topics, against a real broker: what is wrong is found and said."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from service.adapters.kafka import KafkaLog
from service.adapters.kafka.results import ResultsTopic
from service.adapters.kafka.view import KafkaView
from service.engine.config import StreamConfig
from service.engine.records import (
    DeadLetter,
    Result,
    ResultFilter,
    StreamPartition,
    Transaction,
)
from tests.cli.lived import Lived
from tests.kafka.fixtures import connection
from tests.kafka.probe import committed_records

TIME_MS = 1_700_000_000_000
BAD = b"\xff{not json"
ODD_KEY = b"\xfe\x00key"
ANOMALIES = (4, 9)  # offsets


@pytest.fixture
def lived(kafka, tmp_path: Path) -> Lived:
    """A stream of one partition that nobody works on."""
    return Lived(kafka, tmp_path, f"s-{kafka.application}")


def prepare(lived: Lived, records: int = 6, **config) -> None:
    """Make the stream, and give its records results; the second one is a dead letter."""

    async def main() -> None:
        log = KafkaLog(lived.connection)
        await log.open()
        await log.create_stream(StreamConfig(name=lived.stream, **config))
        headers = [("trace", b"\x00\x01"), ("trace", b"again")]
        producer = Producer({"bootstrap.servers": lived.connection.bootstrap})
        for n in range(records):
            value, key = (BAD, ODD_KEY) if n == 1 else (b"%d" % n, b"k")
            producer.produce(lived.stream, value, key, 0, timestamp=TIME_MS + n, headers=headers)
        assert producer.flush(10) == 0
        await settle(log, StreamPartition(lived.stream, 0), records)
        await log.close()

    asyncio.run(main())


async def settle(log: KafkaLog, place: StreamPartition, end: int) -> None:
    """Give a partition's records results, from where it stands."""
    assignment = await log.assign(place)
    begin = assignment.committed
    batch = await log.poll(place, begin, end - begin, 10**6)
    while batch.next_offset < end:
        batch = await log.poll(place, begin, end - begin, 10**6)
    results = [_result(place.stream, r.offset) for r in batch.records]
    dead = [
        DeadLetter(r.offset, r.timestamp_ms, r.key, r.value, "", "not JSON")
        for r in batch.records
        if r.value == BAD
    ]
    await log.commit(Transaction(place, assignment.epoch, begin, end, results, dead))


def _result(stream: str, offset: int) -> Result:
    anomaly = offset in ANOMALIES
    value = {
        "stream": stream, "key": "k" if offset % 2 else "other", "partition": 0, "offset": offset,
        "timestamp": "2023-11-14T22:13:20.000Z", "values": [1.0], "status": "scored",
        "score": 1.5, "threshold": 1.0, "grade": 0.5 if anomaly else 0.0, "anomaly": anomaly,
    }  # fmt: skip
    return Result(offset, TIME_MS, value["key"], anomaly, json.dumps(value).encode())


def admin(lived: Lived) -> AdminClient:
    return AdminClient({"bootstrap.servers": lived.connection.bootstrap})


def done(lived: Lived, call: Callable[[AdminClient], dict[Any, Any]]) -> None:
    """Wait until a change is made; the client must live as long."""
    client = admin(lived)
    for future in call(client).values():
        future.result(10)


def trim(lived: Lived, below: int) -> None:
    """Delete the first records of the input."""
    place = TopicPartition(lived.stream, 0, below)
    done(lived, lambda client: client.delete_records([place]))


def configure(lived: Lived, topic: str, **values: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in values.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    done(lived, lambda client: client.incremental_alter_configs([resource]))


def checks(lived: Lived, code: int = 0) -> dict[str, dict]:
    said = lived.run("doctor", "--json", code=code)
    return {check["name"]: check for check in map(json.loads, said.splitlines())}


# -- tail ---------------------------------------------------------------------------------


def test_tail_shows_committed_results_alone(lived):
    prepare(lived)
    # What is open, or was aborted, is not shown.
    options = {
        "bootstrap.servers": lived.connection.bootstrap,
        "transactional.id": uuid.uuid4().hex,
    }
    producer = Producer(options)
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(f"{lived.stream}.scores", b"{}", b"k", 0)
    producer.flush(10)
    producer.abort_transaction(10)
    shown = lived.rows("tail", lived.stream, "--from-beginning", "--limit", "6")
    scores = committed_records(lived.connection.bootstrap, f"{lived.stream}.scores", 0)
    assert shown == [json.loads(record.value()) for record in scores]
    (odd,) = lived.rows("tail", lived.stream, "--from-beginning", "--anomalies", "--limit", "1")
    assert odd["offset"] == 4
    of_one = lived.rows("tail", lived.stream, "--from-beginning", "--series", "k", "--limit", "3")
    assert [each["offset"] for each in of_one] == [1, 3, 5]
    assert lived.rows("tail", lived.stream, "--last", "2", "--limit", "2") == shown[-2:]
    of_one = lived.rows("tail", lived.stream, "--last", "2", "--series", "k", "--limit", "2")
    assert [each["offset"] for each in of_one] == [3, 5]
    (odd,) = lived.rows("tail", lived.stream, "--last", "1", "--anomalies", "--limit", "1")
    assert odd["offset"] == 4
    assert "0:4" in lived.run("tail", lived.stream, "--from-beginning", "--limit", "6")
    assert lived.stream in lived.run("tail", "absent", code=2)


@pytest.mark.parametrize("anomalies", [False, True])
def test_what_follows_the_newest_is_neither_left_out_nor_shown_twice(lived, anomalies):
    prepare(lived)

    async def main() -> None:
        log, view = KafkaLog(lived.connection), KafkaView(lived.connection)
        await log.open()
        await view.open()
        found = await view.newest(lived.stream, 2, ResultFilter(anomalies=anomalies))
        shown = [json.loads(value)["offset"] for value in found.results]
        assert shown == ([4] if anomalies else [4, 5]) and found.complete
        producer = Producer({"bootstrap.servers": lived.connection.bootstrap})
        for n in range(ANOMALIES[-1] + 1 - 6):
            producer.produce(lived.stream, b"1", b"k", 0, timestamp=TIME_MS + n)
        assert producer.flush(10) == 0
        await settle(log, StreamPartition(lived.stream, 0), ANOMALIES[-1] + 1)
        results = view.follow(lived.stream, anomalies=anomalies, after=found.next)
        async with aclosing(results) as follows:
            first = json.loads(await asyncio.wait_for(anext(follows), 20))
        assert first["offset"] == (ANOMALIES[-1] if anomalies else 6)
        await view.close()
        await log.close()

    asyncio.run(main())


def test_what_a_topic_shows_later_than_another_one_is_not_shown_again(lived, monkeypatch):
    """The newest are read from one topic, what follows from another: as if that one lagged."""
    prepare(lived)

    async def first_place(self, cursor, offset):
        return 0

    monkeypatch.setattr(ResultsTopic, "place_of", first_place)

    async def main() -> None:
        view = KafkaView(lived.connection)
        await view.open()
        async with aclosing(view.follow(lived.stream, anomalies=False, after="3")) as follows:
            found = [json.loads(await asyncio.wait_for(anext(follows), 20)) for _ in range(3)]
        assert [each["offset"] for each in found] == [3, 4, 5]
        await view.close()

    asyncio.run(main())


# -- dead letters -------------------------------------------------------------------------


@pytest.mark.parametrize("trimmed", [False, True])
def test_a_requeued_record_has_the_bytes_and_the_key_that_came(lived, trimmed):
    prepare(lived)
    if trimmed:  # then the dead letter alone is left
        trim(lived, 3)
    (letter,) = lived.rows("dlq", "list", lived.stream)
    assert letter["offset"] == 1 and letter["reason"] == "not JSON"
    (row,) = lived.rows("dlq", "requeue", lived.stream, "0:1", "--yes")
    records = committed_records(lived.connection.bootstrap, lived.stream, 0)
    (new,) = (each for each in records if each.offset() == row["new_offset"])
    assert (new.value(), new.timestamp()[1]) == (BAD, TIME_MS + 1)
    if trimmed:
        assert not any("errors" in name for name, _ in new.headers() or ())
    else:
        assert new.key() == ODD_KEY
        assert new.headers() == [("trace", b"\x00\x01"), ("trace", b"again")]


# -- replay -------------------------------------------------------------------------------


def test_what_is_trimmed_cannot_be_replayed(lived):
    prepare(lived)
    trim(lived, 3)
    assert "3 to 5, which the log holds" in lived.run("replay", lived.stream, "--at", "0:1", code=2)
    said = lived.run("replay", lived.stream, "--at", "0:4", code=2)
    assert "no snapshot is early enough" in said and "begins at 3" in said
    check = checks(lived, 1)[f"restore {lived.stream}/0"]
    assert check["level"] == "error" and "begins at 3" in check["said"]


# -- doctor -------------------------------------------------------------------------------


def test_the_doctor_tells_what_each_topic_lacks(lived):
    prepare(lived)
    sound = checks(lived)
    assert {check["level"] for check in sound.values()} <= {"ok", "warning"}
    assert sound["group"]["level"] == "warning" and "rcf serve" in sound["group"]["advice"]
    assert sound["rights"]["level"] == "ok" and "write 6 topics" in sound["rights"]["said"]
    assert sound["version"]["level"] == "ok" and "4.0 or newer" in sound["version"]["said"]

    stream = lived.stream
    configure(lived, stream, cleanup_policy="compact,delete", retention_ms="60000")
    configure(lived, f"{stream}.scores", message_timestamp_type="LogAppendTime")
    configure(lived, f"{stream}.checkpoints", cleanup_policy="delete")
    configure(lived, f"{stream}.dlq", retention_ms="604800000")
    done(lived, lambda client: client.create_partitions([NewPartitions(f"{stream}.dlq", 2)]))
    done(lived, lambda client: client.delete_topics([f"{stream}.anomalies"]))
    found = checks(lived, 1)
    told = {
        f"settings {stream}": ("error", "compact,delete", "every record"),
        f"settings {stream}.scores": ("error", "LogAppendTime", "CreateTime"),
        f"settings {stream}.checkpoints": ("error", "cleanup.policy = delete", "compact"),
        f"settings {stream}.dlq": ("warning", "7 days", "-1"),
        f"topic {stream}.dlq": ("error", "has 2 partitions", "new stream"),
        f"topic {stream}.anomalies": ("error", "not there", "Describe"),
    }
    for name, (level, said, advice) in told.items():
        check = found[name]
        assert check["level"] == level, check
        assert said in check["said"] and advice in check["advice"], check
    assert "retention.ms = 60000" in found[f"settings {stream}"]["said"]
    words = lived.run("doctor", code=1)
    assert f"error    topic {stream}.anomalies" in words, words
    counted = int(words.splitlines()[-1].removeprefix("errors: ").partition(",")[0])
    assert words.count("error  ") == counted >= 5, words


def test_the_doctor_writes_nothing(lived):
    prepare(lived)
    address = lived.connection.bootstrap
    topics = [lived.stream, *(f"{lived.stream}.{kind}" for kind in ("scores", "anomalies", "dlq"))]

    def ends() -> list[tuple[int, int]]:
        consumer = Consumer({"bootstrap.servers": address, "group.id": uuid.uuid4().hex})
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
                for topic in topics
            ]
        finally:
            consumer.close()

    lived.run("doctor")  # by its end the markers of `prepare` are written
    before = ends()
    lived.run("doctor")
    assert ends() == before


def test_the_doctor_finds_a_transaction_that_nobody_ends(lived):
    prepare(lived)
    options = {
        "bootstrap.servers": lived.connection.bootstrap,
        "transactional.id": uuid.uuid4().hex,
    }
    producer = Producer(options)
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(lived.stream, b"1", b"k", 0)
    producer.flush(10)
    try:
        said = lived.run("doctor")
        assert f"one is open at offset 6 of {lived.stream}/0" in said
        assert "find-hanging" in said
    finally:
        producer.abort_transaction(10)


def test_the_doctor_says_why_no_broker_answers(tmp_path):
    nowhere = Lived(connection("127.0.0.1:9"), tmp_path, "s")
    found = checks(nowhere, 1)
    assert list(found) == ["brokers"]
    assert "127.0.0.1:9" in found["brokers"]["said"] and "host:port" in found["brokers"]["advice"]
    assert "127.0.0.1:9" in nowhere.run("dlq", "list", "s", code=1)
    assert "127.0.0.1:9" in nowhere.run("tail", "s", code=1)


def test_an_application_that_never_ran_is_said(lived):
    assert "no worker of the application" in lived.run("dlq", "list", "s", code=1)
    found = checks(lived)
    assert (
        found["catalogue"]["level"] == "warning" and "application" in found["catalogue"]["advice"]
    )
    topics = admin(lived).list_topics(timeout=10).topics
    assert f"{lived.connection.application}.streams" not in topics, "looking makes no topic"
