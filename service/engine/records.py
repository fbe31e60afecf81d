"""The facts that travel through the engine: frozen, without behaviour.

Facts of which there is one per record are msgspec structs: made in about 0.1 µs (a frozen
dataclass takes 1 µs), outside the garbage collector's rounds, and written to disk as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import msgspec

from service.engine.config import StreamConfig

Headers = tuple[tuple[str, bytes | None], ...]
"""What stands beside a record's value, in order; a name may come twice."""


class StreamPartition(NamedTuple):
    """One ordered part of a stream: the unit of ownership."""

    stream: str
    partition: int

    def __str__(self) -> str:
        return f"{self.stream}/{self.partition}"


class Position(NamedTuple):
    """Where a record stands in its stream."""

    partition: int
    offset: int


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record on its way into the log.

    Attributes:
        value: the bytes to keep, as the stream's decoder reads them.
        key: names the series; it also picks the partition. None is the series "".
        timestamp_ms: milliseconds since 1970 UTC; None takes the time of arrival.
    """

    value: bytes
    key: str | None = None
    timestamp_ms: int | None = None


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A record as it stands in the log.

    Attributes:
        offset: its place; grows along the partition, not always by one.
        timestamp_ms: milliseconds since 1970 UTC.
        key: the series, or None.
        value: the bytes as they came.
        control: whether the value is a control record of the engine.
        headers: what came beside the value, where the log has such a place.
    """

    offset: int
    timestamp_ms: int
    key: str | None
    value: bytes
    control: bool = False
    headers: Headers = ()


_value_of = attrgetter("value")


def size_of(items: Iterable[NewRecord | Record | Result]) -> int:
    """Return the bytes of all values together; about 0.05 µs each."""
    return sum(map(len, map(_value_of, items)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition.

    Attributes:
        next_offset: the offset to read after them.
        behind: records known to wait after them, whoever appended them; a log that learns of
            appends of this process alone says 0.
    """

    partition: StreamPartition
    records: Sequence[Record]
    next_offset: int
    behind: int = 0


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """What a record's value says.

    Attributes:
        key, timestamp_ms: None when the value does not name them.
        values: one number per feature, in the stream's order; may hold anything float64 can.
        others: the fields that mean nothing here, as JSON without line breaks; None for none.
    """

    key: str | None
    timestamp_ms: int | None
    values: list[float]
    others: dict[str, msgspec.Raw] | None = None


class Result(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The one outcome of an input offset.

    Attributes:
        offset, timestamp_ms, key: those of the record; the key is "" for records without one.
        anomaly: whether the record is told of as an anomaly.
        value: the outcome as readers get it, JSON on one line.
        headers: those of the record that are carried along.
        incident: whether the outcome tells of incidents.
    """

    offset: int
    timestamp_ms: int
    key: str
    anomaly: bool
    value: bytes
    headers: Headers = ()
    incident: bool = False


class DeadLetter(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A record that could not be scored, with its original bytes and headers, and the reason."""

    offset: int
    timestamp_ms: int
    key: str | None
    value: bytes
    field: str
    reason: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Pointer:
    """A finished snapshot, as the log remembers it.

    Attributes:
        offset: the state is that before this offset.
        manifest: name of the manifest in the snapshot store.
        sha256: hex digest of the manifest's bytes.
    """

    offset: int
    manifest: str
    sha256: str


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A stream as the log's catalogue holds it.

    Attributes:
        config: the newest configuration.
        birth: the configuration that holds before the first control record.
        incarnation: tells apart streams that bore the same name one after another.
    """

    config: StreamConfig
    birth: StreamConfig
    incarnation: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an owner learns when it takes a partition over; the former owner is fenced.

    Attributes:
        entry: the stream.
        epoch: the ownership's number; every transaction names it.
        committed: the next offset to process.
        begin: the oldest offset still in the log.
        end: the offset that the next appended record will get.
        results_end: one past the offset of the newest result; None where no result is left.
        pointers: the kept snapshots, newest first.
        origin: where the stream begins in the log; nothing is learnt before it.
    """

    partition: StreamPartition
    entry: StreamEntry
    epoch: int
    committed: int
    begin: int
    end: int
    results_end: int | None
    pointers: tuple[Pointer, ...]
    origin: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """How a partition stands in the log, for one who does not own it; see `Assignment`.

    Attributes:
        committed: the next offset to settle; None before the first is settled.
    """

    partition: StreamPartition
    entry: StreamEntry
    committed: int | None
    begin: int
    end: int
    pointers: tuple[Pointer, ...]
    origin: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """What appears together or not at all.

    Attributes:
        epoch: the ownership under which it was made.
        start, end: the input offsets [start, end) that it settles.
        results: one per input offset that holds a record.
        pointer: a finished snapshot at an offset <= start, when one is due.
        keep_pointers: how many pointers to keep.
        trim_input_to, trim_results_to: everything below may go.
    """

    partition: StreamPartition
    epoch: int
    start: int
    end: int
    results: Sequence[Result] = ()
    dead_letters: Sequence[DeadLetter] = ()
    pointer: Pointer | None = None
    keep_pointers: int = 3
    trim_input_to: int = 0
    trim_results_to: int = 0


@dataclass(frozen=True, slots=True)
class OwnershipChange:
    """What this process shall do from here on.

    Attributes:
        streams: made or changed, by whichever process; before anything else.
        deleted: streams that are no more.
        revoked: partitions to let go; they may come back, with nothing done to them meanwhile.
        assigned: partitions to take over; nothing is done to those that this process runs already.
        foreign: partitions that another process runs; their results are followed.
    """

    assigned: tuple[StreamPartition, ...] = ()
    revoked: tuple[StreamPartition, ...] = ()
    foreign: tuple[StreamPartition, ...] = ()
    streams: tuple[StreamEntry, ...] = ()
    deleted: tuple[StreamEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results a reader wants; times in milliseconds since 1970 UTC, `to_ms` excluded.

    Attributes:
        anomalies, incidents: those that tell of an anomaly, or of incidents; all where neither.
    """

    key: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    anomalies: bool = False
    incidents: bool = False

    @property
    def sparse(self) -> bool:
        """Whether only results that tell something are wanted."""
        return self.anomalies or self.incidents

    def accepts(self, result: Result) -> bool:
        """Tell whether a result is wanted."""
        return (
            self._tells(result)
            and (self.key is None or result.key == self.key)
            and (self.from_ms is None or result.timestamp_ms >= self.from_ms)
            and (self.to_ms is None or result.timestamp_ms < self.to_ms)
        )

    def _tells(self, result: Result) -> bool:
        if not self.sparse:
            return True
        return (self.anomalies and result.anomaly) or (self.incidents and result.incident)


EVERYTHING = ResultFilter()


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """How one partition stands, as this process sees it.

    Attributes:
        state: "live", "halted", "restoring", "retrying", "failed", "fenced", "stopped", or
            "elsewhere" when another process runs it.
        committed: the next offset to settle.
        waiting: records known to wait; those of another process' partitions are not known.
        reason: why it is not live, if anything is known.
    """

    partition: int
    state: str
    committed: int
    waiting: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class ResultSlice:
    """Results of one partition in order.

    Attributes:
        next_offset: where to go on reading; everything below was looked at.
    """

    results: Sequence[Result]
    next_offset: int


class Event(NamedTuple):
    """What a reader who follows a stream gets.

    Attributes:
        cursor: where to go on after it; None where more of the same record follows.
        kind: "result", or "incident" for what the result's record did to one.
        data: JSON on one line.
    """

    cursor: str | None
    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ResultsPage:
    """One page of results.

    Attributes:
        results: outcomes as JSON, in the order of each partition, merged by timestamp.
        next: cursor of the page after, or None when the log holds no more at the moment.
    """

    results: list[bytes] = field(default_factory=list)
    next: str | None = None
