"""Records of Kafka <-> facts of the engine.

Results are flat JSON as HTTP gives them, keyed by series, with the headers of a CloudEvent in
binary mode: `ce_id` is topic/partition/offset of the input record, so it names the event however
often a reader meets it. Dead letters are the original bytes under the original key and beside the
original headers, with further headers named after Kafka Connect's.

Whoever writes the input may put anything beside it, so nothing read there may fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from service.adapters.kafka.producer import Header, Message
from service.engine.errors import TornLog
from service.engine.outcome import incident_events
from service.engine.records import (
    DeadLetter,
    Headers,
    NewRecord,
    Record,
    Result,
    StreamPartition,
)
from service.messages.headers import (
    ANOMALY,
    CE_ID,
    CE_SOURCE,
    CE_SPECVERSION,
    CE_TYPE,
    CONTENT_TYPE,
    CONTROL,
    ERROR_CLASS,
    ERROR_FIELD,
    ERROR_MESSAGE,
    ERROR_OFFSET,
    ERROR_PARTITION,
    ERROR_TOPIC,
    INCIDENT,
    INCIDENT_TYPE,
    JSON,
    KEY,
    OF_DEAD_LETTERS,
    OF_INPUT,
    OF_RESULTS,
    RESULT_TYPE,
    SPECVERSION,
    TIMESTAMP,
    carried_name,
    original_name,
)
from service.messages.pointer import StoredPointer

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
    headers: Headers = ()
    if record.headers:
        known = dict(record.headers)
        control = known.get(CONTROL) == b"%d" % incarnation
        time_ms = _time(record, known)
        headers = _without(record.headers, OF_INPUT)
    key, headers = _key(record, headers)
    return Record(record.offset, time_ms, key, record.value or b"", control, headers)


def encode_results(
    results: Sequence[Result], partition: StreamPartition, common: tuple[Header, ...]
) -> list[Message]:
    """Write results; `common` are the headers that all of a partition share."""
    prefix = f"{partition.stream}/{partition.partition}/".encode()
    messages = []
    for result in results:
        headers = [(CE_ID, b"%b%d" % (prefix, result.offset)), *common]
        time_ms = result.timestamp_ms
        if time_ms < 0:
            headers += _early(time_ms)
            time_ms = 0
        if result.anomaly:
            headers.append((ANOMALY, b"true"))
        if result.incident:
            headers.append((INCIDENT, b"true"))
        if result.headers:
            headers += [(carried_name(name), value) for name, value in result.headers]
        messages.append(Message(result.key.encode(), result.value, time_ms, headers))
    return messages


def telling(
    results: Sequence[Result], encoded: Sequence[Message], partition: StreamPartition
) -> list[Message]:
    """Return what the anomalies' topic gets of results: anomalies as they are, and incidents.

    `encoded` are the results as `encode_results` wrote them.
    """
    common = common_headers(partition, INCIDENT_TYPE)
    messages: list[Message] = []
    for result, message in zip(results, encoded, strict=True):
        if result.anomaly:
            messages.append(message)
        if result.incident:
            for number, event in enumerate(incident_events(result.value), 1):
                name = f"{partition.stream}/{partition.partition}/{result.offset}#{number}"
                time_ms = result.timestamp_ms
                headers = [(CE_ID, name.encode()), *common, *_early(time_ms)]
                messages.append(Message(message.key, event, max(time_ms, 0), headers))
    return messages


def common_headers(partition: StreamPartition, kind: str = RESULT_TYPE) -> tuple[Header, ...]:
    """Return the headers that all results, or other events, of a partition share."""
    return (
        (CE_SPECVERSION, SPECVERSION.encode()),
        (CE_TYPE, kind.encode()),
        (CE_SOURCE, f"/streams/{partition.stream}".encode()),
        (CONTENT_TYPE, JSON.encode()),
    )


def decode_result(record: Any) -> Result:
    """Read a result, or what stands among anomalies instead.

    Raises:
        TornLog: it is neither: somebody else writes into the topic.
    """
    known = dict(record.headers)
    try:
        offset = int(known[CE_ID].rpartition(b"/")[2].partition(b"#")[0])
    except (KeyError, ValueError):
        reason = f"no result: its header {CE_ID} names no record; who else writes there?"
        raise TornLog(record.topic, record.partition, record.offset, reason) from None
    time_ms = _time(record, known)
    carried = _without(record.headers, OF_RESULTS)
    headers = tuple((original_name(name), value) for name, value in carried)
    key = record.key.decode()
    told = ANOMALY in known, INCIDENT in known
    return Result(offset, time_ms, key, told[0], record.value, headers, told[1])


def encode_dead_letter(dead: DeadLetter, partition: StreamPartition) -> Message:
    """Write a dead letter; headers of an earlier failure make way for those of this one."""
    key, value = encode_key(dead.key), dead.value or None
    for name, original in dead.headers:
        if name == KEY and original is not None:
            key = bytes.fromhex(original.decode())
    headers = [
        *_without(dead.headers, OF_DEAD_LETTERS | {KEY}),
        (ERROR_TOPIC, partition.stream.encode()),
        (ERROR_PARTITION, b"%d" % partition.partition),
        (ERROR_OFFSET, b"%d" % dead.offset),
        (ERROR_CLASS, b"InvalidRecord"),
        (ERROR_MESSAGE, dead.reason.encode("utf-8", "backslashreplace")),
        (ERROR_FIELD, dead.field.encode("utf-8", "backslashreplace")),
        *_early(dead.timestamp_ms),
    ]
    return Message(key, value, max(dead.timestamp_ms, 0), headers)


def decode_dead_letter(record: Any) -> DeadLetter:
    """Read a dead letter."""
    known = dict(record.headers)
    key, headers = _key(record, _without(record.headers, OF_DEAD_LETTERS))
    return DeadLetter(
        int(known[ERROR_OFFSET]),
        _time(record, known),
        key,
        record.value or b"",
        known[ERROR_FIELD].decode(),
        known[ERROR_MESSAGE].decode(),
        headers,
    )


def is_added_to_dead(header: str) -> bool:
    """Tell whether a dead letter's header says why it is one, and did not come with the record."""
    return header in OF_DEAD_LETTERS or header == KEY


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


def _key(record: Any, headers: Headers) -> tuple[str | None, Headers]:
    """Read a key of any bytes.

    What is no UTF-8 shows as escapes, for JSON takes text only; its bytes then travel as a header.
    """
    key = record.key
    if key is None:
        return None, headers
    try:
        return key.decode(), headers
    except UnicodeDecodeError:
        return key.decode("utf-8", "backslashreplace"), (*headers, (KEY, key.hex().encode()))


def _without(headers: Iterable[Header], names: frozenset[str]) -> Headers:
    return tuple((name, value) for name, value in headers if name not in names)


def _early(time_ms: int) -> list[Header]:
    return [(TIMESTAMP, b"%d" % time_ms)] if time_ms < 0 else []


def _time(record: Any, headers: Mapping[str, bytes | None]) -> int:
    """Return a record's time; a header that says none, or one after 1970, is not ours."""
    early = headers.get(TIMESTAMP)
    time_ms: int = record.timestamp
    if early is not None and early[:1] == b"-" and early[1:].isdigit() and len(early) < 16:
        time_ms = -int(early[1:])
    return time_ms
