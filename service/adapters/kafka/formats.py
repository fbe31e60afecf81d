"""Records of Kafka <-> facts of the engine.

Results are flat JSON as HTTP gives them, keyed by series, with the headers of a CloudEvent in
binary mode: `ce_id` is topic/partition/offset of the input record, so it names the event however
often a reader meets it. Dead letters are the original bytes under the original key, with headers
named after Kafka Connect's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from service.adapters.kafka.producer import Header, Message
from service.engine.records import (
    DeadLetter,
    NewRecord,
    Pointer,
    Record,
    Result,
    StreamPartition,
)

CONTROL = "rcf-control"
"""Header of a record that changes a stream's configuration; names the stream's incarnation."""

TIMESTAMP = "rcf-timestamp"
"""Header of a time before 1970, which Kafka's own field cannot hold."""

ANOMALY = "rcf-anomaly"
SCORED = "io.github.rcf-stream.result"
ERRORS = "__connect.errors."
FIELD = "rcf.errors.field"


class StoredPointer(msgspec.Struct, frozen=True):
    """What the checkpoints topic says of one snapshot.

    Attributes:
        incarnation: of the stream; pointers of an earlier one do not count.
        number: grows by one with each pointer of a partition.
    """

    incarnation: int
    number: int
    offset: int
    manifest: str
    sha256: str

    @property
    def pointer(self) -> Pointer:
        """The engine's view."""
        return Pointer(self.offset, self.manifest, self.sha256)


_pointers = msgspec.json.Decoder(StoredPointer)


def encode_new(record: NewRecord) -> Message:
    """Write an input record."""
    time_ms = record.timestamp_ms or 0
    return Message(encode_key(record.key), record.value, max(time_ms, 0), _early(time_ms))


def encode_control(value: bytes, incarnation: int, timestamp_ms: int) -> Message:
    """Write a change of configuration as an input record."""
    headers = [(CONTROL, b"%d" % incarnation), *_early(timestamp_ms)]
    return Message(None, value, max(timestamp_ms, 0), headers)


def decode_records(records: Iterable[Any], incarnation: int) -> list[Record]:
    """Read input records; a tombstone is a record without bytes.

    A change of configuration of another incarnation is data like any other.
    """
    return [_decode_record(record, incarnation) for record in records]


def _decode_record(record: Any, incarnation: int) -> Record:
    control = False
    time_ms = record.timestamp
    if record.headers:
        headers = dict(record.headers)
        control = headers.get(CONTROL) == b"%d" % incarnation
        time_ms = _time(record, headers)
    key = None if record.key is None else decode_key(record.key)
    return Record(record.offset, time_ms, key, record.value or b"", control)


def encode_results(
    results: Sequence[Result], partition: StreamPartition, common: tuple[Header, ...]
) -> list[Message]:
    """Write results; `common` are the headers that all of a partition share."""
    prefix = f"{partition.stream}/{partition.partition}/".encode()
    messages = []
    for result in results:
        headers = [("ce_id", b"%b%d" % (prefix, result.offset)), *common]
        time_ms = result.timestamp_ms
        if time_ms < 0:
            headers += _early(time_ms)
            time_ms = 0
        if result.anomaly:
            headers.append((ANOMALY, b"true"))
        messages.append(Message(result.key.encode(), result.value, time_ms, headers))
    return messages


def common_headers(partition: StreamPartition) -> tuple[Header, ...]:
    """Return the headers that all results of a partition share."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", SCORED.encode()),
        ("ce_source", f"/streams/{partition.stream}".encode()),
        ("content-type", b"application/json"),
    )


def decode_result(record: Any) -> Result:
    """Read a result."""
    headers = dict(record.headers)
    offset = int(headers["ce_id"].rpartition(b"/")[2])
    time_ms = _time(record, headers)
    return Result(offset, time_ms, record.key.decode(), ANOMALY in headers, record.value)


def encode_dead_letter(dead: DeadLetter, partition: StreamPartition) -> Message:
    """Write a dead letter."""
    headers = [
        (f"{ERRORS}topic", partition.stream.encode()),
        (f"{ERRORS}partition", b"%d" % partition.partition),
        (f"{ERRORS}offset", b"%d" % dead.offset),
        (f"{ERRORS}exception.message", dead.reason.encode("utf-8", "backslashreplace")),
        (FIELD, dead.field.encode("utf-8", "backslashreplace")),
        *_early(dead.timestamp_ms),
    ]
    return Message(encode_key(dead.key), dead.value, max(dead.timestamp_ms, 0), headers)


def decode_dead_letter(record: Any) -> DeadLetter:
    """Read a dead letter."""
    headers = dict(record.headers)
    return DeadLetter(
        int(headers[f"{ERRORS}offset"]),
        _time(record, headers),
        None if record.key is None else decode_key(record.key),
        record.value or b"",
        headers[FIELD].decode(),
        headers[f"{ERRORS}exception.message"].decode(),
    )


def encode_pointer(stored: StoredPointer, partition: int, slots: int) -> Message:
    """Write a pointer into its slot; of each slot the topic keeps the newest."""
    key = f"{partition}/{stored.number % slots}".encode()
    return Message(key, msgspec.json.encode(stored), 0)


def decode_pointer(value: bytes) -> StoredPointer:
    """Read a pointer.

    Raises:
        msgspec.MsgspecError: the bytes hold none.
    """
    return _pointers.decode(value)


def encode_key(key: str | None) -> bytes | None:
    """Write a key."""
    return None if key is None else key.encode("utf-8", "backslashreplace")


def decode_key(key: bytes) -> str:
    """Read a key of any bytes; what is no UTF-8 shows as escapes, for JSON takes text only."""
    return key.decode("utf-8", "backslashreplace")


def _early(time_ms: int) -> list[Header]:
    return [(TIMESTAMP, b"%d" % time_ms)] if time_ms < 0 else []


def _time(record: Any, headers: Mapping[str, bytes]) -> int:
    early = headers.get(TIMESTAMP)
    time_ms: int = record.timestamp if early is None else int(early)
    return time_ms
