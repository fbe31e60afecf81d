"""What is written is read again as it was, and nothing in a foreign record stops the reader."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from service.adapters.kafka.formats import (
    common_headers,
    decode_dead_letter,
    decode_records,
    decode_result,
    encode_control,
    encode_dead_letter,
    encode_new,
    encode_results,
)
from service.adapters.kafka.producer import Message
from service.engine.errors import TornLog
from service.engine.records import DeadLetter, NewRecord, Record, Result, StreamPartition
from service.messages.topics import control_topic, topics_of

HERE = StreamPartition("s", 3)
HEADERS = (
    ("trace", b"1"),
    ("trace", b"\xff"),
    ("none", None),
    ("ce_id", b"theirs"),
    ("rcf-anomaly", b"true"),
    ("content-type", b"x"),
    ("input.ce_id", b"of theirs"),
    ("input.", b""),
)


def as_read(message: Message, offset: int = 7) -> SimpleNamespace:
    """A record as the client library gives it."""
    assert type(message.headers) is list, "the library writes nothing else"
    return SimpleNamespace(
        offset=offset,
        key=message.key,
        value=message.value,
        timestamp=message.timestamp_ms,
        headers=tuple(message.headers),
    )


def decode_record(record: SimpleNamespace, incarnation: int) -> Record:
    (found,) = decode_records([record], incarnation)
    return found


@pytest.mark.parametrize("time_ms", [-62_135_596_800_000, -1, 0, 1_700_000_000_000])
@pytest.mark.parametrize("anomaly", [True, False])
@pytest.mark.parametrize("headers", [(), HEADERS])
def test_a_result_is_read_as_written(time_ms, anomaly, headers):
    """To the last header: a restart compares what it repeats with what stands in the topic."""
    plain = Result(41, 5, "k", False, b"{}")
    result = Result(42, time_ms, "k", anomaly, b"{}", headers)
    written = encode_results([plain, result, plain], HERE, common_headers(HERE))
    assert [decode_result(as_read(message)) for message in written] == [plain, result, plain]


@pytest.mark.parametrize("headers", [[], [("ce_id", b"s/0/x")]])
def test_what_others_write_among_results_is_named(headers):
    record = SimpleNamespace(topic="s.scores", partition=0, offset=7, headers=headers)
    with pytest.raises(TornLog, match=r"s\.scores/0 at offset 7: no result: .* ce_id"):
        decode_result(record)


@pytest.mark.parametrize("time_ms", [-1, 1_700_000_000_000])
@pytest.mark.parametrize("key", [None, "", "k", "é"])
def test_a_dead_letter_is_read_as_written(time_ms, key):
    dead = DeadLetter(42, time_ms, key, b"\x00\xff", "values.x", "no “number”", HEADERS)
    assert decode_dead_letter(as_read(encode_dead_letter(dead, HERE))) == dead


def test_headers_of_an_earlier_failure_make_way():
    earlier = (("__connect.errors.offset", b"1"), ("own", b"2"))
    message = encode_dead_letter(DeadLetter(42, 0, "k", b"x", "", "why", earlier), HERE)
    names = [name for name, _ in message.headers]
    assert names.count("__connect.errors.offset") == 1 and names[0] == "own"
    assert dict(message.headers)["__connect.errors.offset"] == b"42"


@pytest.mark.parametrize("time_ms", [-5, 0, 5])
def test_an_appended_record_bears_nothing_of_ours(time_ms):
    record = decode_record(as_read(encode_new(NewRecord(b"1", "k", time_ms))), 1)
    assert record == Record(7, time_ms, "k", b"1")


def test_a_change_counts_for_its_incarnation_alone():
    message = encode_control(b"{}", 5, -3)
    assert decode_record(as_read(message), 5) == Record(7, -3, None, b"{}", True)
    assert decode_record(as_read(message), 6) == Record(7, -3, None, b"{}", False)


@pytest.mark.parametrize(
    "time", [b"", b"-", b"soon", b"1e3", b"99", b"-" + b"9" * 99, b"\xff", None]
)
def test_a_time_that_is_not_ours_is_no_time(time):
    message = Message(b"k", b"1", 1000, [("rcf-timestamp", time)])
    assert decode_record(as_read(message), 1) == Record(7, 1000, "k", b"1")


def test_a_key_of_any_bytes_comes_back_in_its_dead_letter():
    record = decode_record(as_read(Message(b"\xff\x00k", None, 1, [("rcf-key", b"theirs")])), 1)
    assert (record.key, record.value) == ("\\xff\x00k", b"")
    assert record.headers == (("rcf-key", b"ff006b"),)
    dead = DeadLetter(7, 1, record.key, record.value, "", "why", record.headers)
    message = encode_dead_letter(dead, HERE)
    assert (message.key, message.value) == (b"\xff\x00k", None)
    assert decode_dead_letter(as_read(message)) == dead


def test_topics_are_called_as_readers_know_them():
    topics = topics_of("cpu")
    assert (topics.input, *topics.outputs) == (
        *("cpu", "cpu.scores", "cpu.anomalies", "cpu.dlq", "cpu.checkpoints"),
    )
    assert control_topic("rcf") == "rcf.streams"
