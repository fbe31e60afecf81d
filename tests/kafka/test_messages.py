"""Real messages, read from a real broker by clients that users have, are as published."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat

from service.adapters.clock import SystemClock
from service.adapters.codec import decoder_for
from service.adapters.kafka import Connection, KafkaLog
from service.adapters.snapshots import MemorySnapshotStore
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.outcome import incident_events
from service.engine.policy import SnapshotPolicy
from service.engine.ports import Ports
from service.engine.records import StreamPartition
from service.messages.headers import INCIDENT_TYPE
from service.messages.topics import control_topic, topics_of
from tests.engine.fakes import FakeDetector, FakeFactory, NoMetrics
from tests.kafka.fixtures import connection
from tests.kafka.probe import produce
from tests.kafka.readers import Read, by_confluent, by_kafka_python, by_kcat, by_kcat_as_json
from tests.left_out import left_out, need_kcat
from tests.messages.schemas import validate

TIME_MS = 1_700_000_000_000
OPTIONS = EngineOptions(tick_s=0.02, snapshot=SnapshotPolicy(interval_s=0.2, share=1.0))

FLAT = b'{"values":[1,2],"host":"h-1","note":"\xc3\xa9","n":1.50}'
TRACE = [("traceparent", b"00-1-2-01"), ("bin", b"\xff\x00"), ("null", None), ("bin", b"2")]
EVENT = [("ce_id", b"theirs"), ("content-type", b"text/x"), ("rcf-anomaly", b"true")]
LARGE = [("large", bytes(5000)), ("small", b"1")]
FAILED = [("__connect.errors.topic", b"elsewhere"), ("__connect.errors.stage", b"X"), ("own", b"1")]

GOOD = [
    (b"a", FLAT, TRACE),
    (b"a", b"[1,2]", EVENT),
    (None, b'{"key":"named","values":{"y":2,"x":1}}', LARGE),
    (b"\xff\x00key", b"[1,2]", [("rcf-key", b"not theirs to say")]),
    (b"a", b'{"values":[1,2],"timestamp":-1.5}', [("rcf-timestamp", b"soon")]),
    (b"a", b'{"values":[1,2],"timestamp":"2999-01-01"}', None),
]
BAD = [
    (b"a", None, TRACE),
    (b"a", b"", None),
    (b"a", b"\x00\x00\x00\x00\x07avro", FAILED),
    (b"\xfe", b"<xml/>", LARGE),
    (b"a", b'{"values":[1,"2"]}', [("rcf-control", b"-1"), ("rcf-timestamp", b"-x")]),
    (b"a", b"x" * 700_000, None),
]
MANY = [(b"k%d" % (n % 3), b"[%d,%d]" % (n, n), None) for n in range(60)]
AFTER = [(b"a", b"1,2", TRACE), (b"a", b"[1,2]", None)]
"""After the stream's decoder was changed to csv."""


SEED = 0
"""Of every series, whatever its name: `AFTER`'s first record, with its binary header, is odd."""


class SeededFactory(FakeFactory):
    """Makes detectors that judge the same records alike in every run."""

    def create(self, config: StreamConfig, seed: int) -> FakeDetector:
        return super().create(config, SEED)


@dataclass
class Told:
    """What the topics of a stream hold that was through everything."""

    kafka: Connection
    name: str
    reads: dict[str, list[Read]]

    def texts(self, topic: str) -> list[dict]:
        return [json.loads(each.value or b"null") for each in self.reads[topic]]

    def topics(self) -> dict[str, str]:
        topics = topics_of(self.name)
        return {
            "input": topics.input,
            "scores": topics.scores,
            "anomalies": topics.anomalies,
            "dlq": topics.dead_letters,
            "checkpoints": topics.checkpoints,
            "streams": control_topic(self.kafka.application),
        }


@pytest.fixture(scope="module")
def told(kafka_address) -> Told:
    if kafka_address is None:
        left_out.leave_out("Kafka", left_out.reasons["Kafka"])
    found = Told(connection(kafka_address), f"m-{connection('').application}", {})
    asyncio.run(asyncio.wait_for(through_everything(found.kafka, found.name), 60))
    for kind, topic in found.topics().items():
        found.reads[kind] = by_confluent(kafka_address, topic)
    return found


async def through_everything(kafka: Connection, name: str) -> None:
    """Two lives: records of every kind, a changed stream, a death, and what is repeated after."""
    config, store = StreamConfig(name=name, features=("x", "y")), MemorySnapshotStore()
    life = Life(kafka, store, config)
    await life.begin()
    await life.engine.create_stream(config)
    await life.take([*GOOD, *BAD])
    await until(lambda: life.owned._pointers > 0)
    await life.take(MANY)
    await life.engine.update_stream(
        config.name, lambda now: replace(now, decoder="csv"), reset=False
    )
    for task in life.engine._owned.tasks.values():
        task.cancel()  # a death: no last snapshot
    await life.engine.stop()
    again = Life(kafka, store, config)
    await again.begin()
    await again.take(AFTER)
    await again.engine.stop()


class Life:
    """One worker's, in this process."""

    def __init__(self, kafka: Connection, store: MemorySnapshotStore, config: StreamConfig) -> None:
        self.kafka, self.config = kafka, config
        self.log = KafkaLog(kafka)
        ports = Ports(
            self.log,
            store,
            decoder_for,
            SeededFactory(),
            SystemClock(),
            NoMetrics(),
            foreign=self.log,
        )
        self.engine = Engine(ports, OPTIONS)

    async def begin(self) -> None:
        await self.engine.start()
        await until(lambda: self.engine.ready)

    @property
    def owned(self):
        return self.log._owned[StreamPartition(self.config.name, 0)]

    async def take(self, rows: list[tuple]) -> None:
        """Let records be written by somebody else, and wait until they are settled."""
        records = [(0, key, value, TIME_MS, headers) for key, value, headers in rows]
        await asyncio.to_thread(produce, self.kafka.bootstrap, self.config.name, records)
        async with self.log._work.turn() as cursor:
            end = (await cursor.ends(self.config.name, 0)).end
        part = StreamPartition(self.config.name, 0)
        await until(lambda: part in self.log._owned)
        await until(lambda: self.broken() or self.owned.committed >= end)
        assert self.broken() is None

    def broken(self) -> Exception | None:
        runner = self.engine._owned.runners.get(StreamPartition(self.config.name, 0))
        return runner.error if runner is not None and runner.state == "failed" else None


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  (there is no event for most of them)
        await asyncio.sleep(0.01)


def headers_of(read: Read) -> dict[str, str]:
    """The headers as text, for the schemas; the first of a name is not hidden by a later one."""
    found: dict[str, str] = {}
    for name, value in read.headers:
        found.setdefault(name, (value or b"").decode("utf-8", "backslashreplace"))
    return found


def test_every_record_has_its_one_result(told):
    scores = told.texts("scores")
    rows = [*GOOD, *BAD, *MANY, None, *AFTER]
    assert len(scores) == len(rows)
    status = {story["offset"]: story["status"] for story in scores}
    assert list(status) == sorted(status)
    errors = [story for story in scores if story["status"] == "error"]
    assert len(errors) == len(BAD) + 1 == len(told.reads["dlq"])
    assert [story["status"] for story in scores].count("control") == 1


def test_scores_and_anomalies_are_as_published(told):
    assert told.reads["anomalies"], "the detectors of the tests find some"
    for kind, names in (("scores", ["score"]), ("anomalies", ["anomaly", "incident"])):
        for read in told.reads[kind]:
            name = names[headers_of(read)["ce_type"] == INCIDENT_TYPE]
            validate(name, json.loads(read.value))
            validate(f"{name}-headers", headers_of(read))
    expected = []
    for read in told.reads["scores"]:
        if b'"anomaly":true' in read.value:
            expected.append((read.key, read.value, headers_of(read)["ce_id"]))
        events = enumerate(incident_events(read.value), 1)
        name = headers_of(read)["ce_id"]
        expected += [(read.key, event, f"{name}#{number}") for number, event in events]
    shown = [(read.key, read.value, headers_of(read)["ce_id"]) for read in told.reads["anomalies"]]
    assert shown == expected
    assert {json.loads(value).get("event") for _, value, _ in shown} >= {None, "open"}


def test_a_result_is_a_cloud_event(told):
    names = set()
    for read in told.reads["scores"]:
        given = {
            name: value
            for name, value in read.headers
            if value is not None and name != "bin"  # theirs; the SDK wants text everywhere
        }
        event = from_binary(KafkaMessage(given, read.key, read.value), JSONFormat())
        story = json.loads(read.value)
        assert event.get_id() == f"{told.name}/0/{story['offset']}"
        assert event.get_source() == f"/streams/{told.name}"
        assert event.get_data() == story
        names.add(event.get_id())
    assert len(names) == len(told.reads["scores"])


def test_fields_and_headers_are_carried(told):
    scores = told.reads["scores"]
    assert b'"fields":{"host":"h-1","note":"\xc3\xa9","n":1.50}' in scores[0].value
    assert list(scores[0].headers[5:]) == TRACE
    carried = dict(scores[1].headers)
    assert carried["input.ce_id"] == b"theirs" and carried["ce_id"] != b"theirs"
    assert carried["input.content-type"] == b"text/x"
    assert carried["input.rcf-anomaly"] == b"true"
    third = json.loads(scores[2].value)
    assert third["headers_left_out"] == 1 and dict(scores[2].headers)["small"] == b"1"
    assert third["key"] == "named" and scores[2].key == b"named"
    assert scores[3].key == b"\\xff\x00key" and dict(scores[3].headers)["rcf-key"] == b"ff006b6579"
    assert json.loads(scores[4].value)["timestamp"] == "1969-12-31T23:59:58.500Z"
    assert dict(scores[4].headers)["rcf-timestamp"] == b"-1500"
    assert json.loads(scores[5].value)["timestamp"] == "2999-01-01T00:00:00.000Z"


def test_a_dead_letter_is_what_came_and_why_it_died(told):
    letters = told.reads["dlq"]
    for letter, (key, value, headers) in zip(letters, [*BAD, AFTER[1]], strict=True):
        validate("dead-letter-headers", headers_of(letter))
        assert (letter.key, letter.value or b"") == (key, value or b"")
        said = dict(letter.headers)
        assert said["__connect.errors.topic"] == told.name.encode()
        ours = [
            name for name, _ in headers or () if name.startswith(("rcf-", "__connect.errors.t"))
        ]
        kept = [header for header in headers or () if header[0] not in ours]
        assert list(letter.headers[: len(kept)]) == kept
    assert letters[0].value is None and letters[1].value is None
    assert len({read.headers[-1] for read in letters}) > 2, "reasons differ"
    reasons = [dict(letter.headers)["__connect.errors.exception.message"] for letter in letters]
    assert reasons[0].startswith(b"empty: a tombstone")
    assert b"which the stream's decoder reads" in reasons[-1] or b"finite" in reasons[-1]


def test_what_the_service_writes_for_itself_is_as_published(told):
    assert told.reads["checkpoints"] and told.reads["streams"]
    for read in told.reads["checkpoints"]:
        validate("checkpoint", json.loads(read.value))
    for read in told.reads["streams"]:
        validate("stream", json.loads(read.value))
    (change,) = [read for read in told.reads["input"] if b"decoder" in (read.value or b"")]
    validate("stream-change", json.loads(change.value))
    validate("stream-change-headers", headers_of(change))


def test_records_that_are_scored_are_as_published(told):
    for _, value, _ in [*GOOD, *MANY]:
        validate("record", json.loads(value))


@pytest.mark.filterwarnings(r"ignore:(read|open)_text is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["scores", "anomalies", "dlq"])
def test_kafka_python_reads_the_same(told, kind):
    read = by_kafka_python(told.kafka.bootstrap, told.topics()[kind])
    assert read == told.reads[kind]


@pytest.mark.parametrize("kind", ["scores", "anomalies", "dlq"])
def test_kcat_reads_the_same(told, kind):
    need_kcat()
    read = by_kcat(told.kafka.bootstrap, told.topics()[kind])
    assert read == [each.without_headers() for each in told.reads[kind]]


def test_kcat_prints_results_as_they_are(told):
    """`kcat -J | jq .payload` is how people look."""
    need_kcat()
    printed = by_kcat_as_json(told.kafka.bootstrap, told.topics()["anomalies"])
    assert [json.loads(line["payload"]) for line in printed] == told.texts("anomalies")
    assert any("bin" in line["headers"] for line in printed), (
        "bytes that are no text are among them"
    )
    for line in printed:
        headers = dict(zip(line["headers"][::2], line["headers"][1::2], strict=True))
        incident = headers["ce_type"] == INCIDENT_TYPE
        validate("incident-headers" if incident else "anomaly-headers", headers)
