"""One record scored again, from the snapshot before it: why did it come out so?

Law: nothing is written, committed or owned. The pipeline is the one that serves; it meets the
same records from the same state, so it makes the same bits, or something is wrong.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial

import msgspec

from service.engine.detectors import SeriesDetectors
from service.engine.errors import CannotReplay, CorruptSnapshot, InvalidParameter
from service.engine.pipeline import Pipeline
from service.engine.ports import (
    DecoderFactory,
    DetectorFactory,
    LogView,
    SnapshotStore,
    no_failpoint,
)
from service.engine.records import (
    EVERYTHING,
    Batch,
    Overview,
    Pointer,
    Record,
    Result,
    StreamPartition,
)
from service.engine.snapshot import read_manifest, restore

BATCH = 2000
NEIGHBOURS = 5
"""Results of the same series that are shown before the one asked for."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found.

    Attributes:
        record: the record asked for, as it stands in the log.
        pointer: the snapshot that the replay began with; None at the stream's beginning.
        begin: the first offset that was repeated.
        repeated: how many records were.
        result: what the record came to this time, JSON as readers get it.
        published: what was committed for it; None when nothing is, or is kept no longer.
        settled: whether its result was committed at all.
        before: results of the same series right before it, oldest first.
        fingerprint: names the numerics of the snapshot's maker.
        passed_over: snapshots that could not be read, and why.
    """

    partition: StreamPartition
    record: Record
    pointer: Pointer | None
    begin: int
    repeated: int
    result: bytes
    published: bytes | None
    settled: bool
    before: tuple[bytes, ...]
    fingerprint: str
    passed_over: tuple[str, ...] = ()

    @property
    def identical(self) -> bool | None:
        """Whether this result is the published one, to the bit; None when there is none."""
        return None if self.published is None else self.published == self.result


@dataclass(frozen=True, slots=True)
class Replayer:
    """Scores records again.

    Attributes:
        fingerprint: names the numerics of this process.
    """

    view: LogView
    snapshots: SnapshotStore
    decoder_for: DecoderFactory
    detectors: DetectorFactory
    fingerprint: str = ""

    async def replay(self, partition: StreamPartition, offset: int) -> Replayed:
        """Score the record at an offset again.

        Raises:
            UnknownStream: there is no stream of this name.
            InvalidParameter: it has no such partition or offset, or the log holds it no longer.
            CannotReplay: no snapshot is early enough and the stream's beginning is trimmed.
        """
        overview = await self.view.overview(partition)
        if not overview.begin <= offset < overview.end:
            raise InvalidParameter("offset", offset, _kept(overview))
        passed_over: list[str] = []
        pointer, pipeline, fingerprint = self._start(overview, offset, passed_over)
        begin, repeated = pipeline.position, 0
        series: dict[str, deque[Result]] = {}
        record: Record | None = None
        result: Result | None = None
        while pipeline.position <= offset:
            batch = await self._read(pipeline.position, partition, offset)
            pipeline.resume()  # a halt was passed, or the record would not stand behind it
            for result in pipeline.process(batch).results:
                repeated += 1
                series.setdefault(result.key, deque(maxlen=NEIGHBOURS + 1)).append(result)
            record = next(iter(batch.records[-1:]), record)
        if record is None or result is None or result.offset != offset:
            raise InvalidParameter("offset", offset, f"one that holds a record; {_kept(overview)}")
        published = await self._published(partition, offset)
        return Replayed(
            partition,
            record,
            pointer,
            begin,
            repeated,
            result.value,
            published,
            overview.committed is not None and overview.committed > offset,
            tuple(each.value for each in list(series[result.key])[:-1]),
            fingerprint,
            tuple(passed_over),
        )

    def _start(
        self, overview: Overview, offset: int, passed_over: list[str]
    ) -> tuple[Pointer | None, Pipeline, str]:
        """Make the state of the newest usable snapshot that is not ahead of the offset."""
        for pointer in overview.pointers:
            if overview.begin <= pointer.offset <= offset:
                try:
                    return self._load(pointer)
                except CorruptSnapshot as error:
                    passed_over.append(str(error))
        if overview.begin > overview.origin:
            raise CannotReplay(*overview.partition, offset, _why_not(overview, passed_over))
        make = partial(Pipeline, overview.partition, overview.entry.birth)
        detectors = SeriesDetectors(self.detectors)
        return None, make(detectors, self.decoder_for, overview.origin), self.fingerprint

    def _load(self, pointer: Pointer) -> tuple[Pointer, Pipeline, str]:
        manifest = read_manifest(self.snapshots, pointer)
        detectors = SeriesDetectors(self.detectors)
        pipeline = restore(self.snapshots, manifest, detectors, self.decoder_for, no_failpoint)
        return pointer, pipeline, manifest.fingerprint

    async def _read(self, position: int, partition: StreamPartition, offset: int) -> Batch:
        limit = min(BATCH, offset + 1 - position)
        batch = await self.view.read_records(partition, position, limit)
        records = [record for record in batch.records if record.offset <= offset]
        end = batch.next_offset if records and len(records) == len(batch.records) else offset + 1
        return Batch(partition, records, end)

    async def _published(self, partition: StreamPartition, offset: int) -> bytes | None:
        found = await self.view.read_results(partition, offset, 1, EVERYTHING)
        for result in found.results:
            if result.offset == offset:
                return result.value
        return None


def differences(first: bytes, second: bytes) -> dict[str, tuple[object, object]]:
    """Name the members in which two results differ: name -> (first, second)."""
    one, other = msgspec.json.decode(first), msgspec.json.decode(second)
    names = (*one, *(name for name in other if name not in one))
    return {
        name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)
    }


def _kept(overview: Overview) -> str:
    name = f"{overview.partition}"
    if overview.begin == overview.end:
        return f"none: the log holds no record of {name}"
    return f"{overview.begin} to {overview.end - 1}, which the log holds of {name}"


def _why_not(overview: Overview, passed_over: list[str]) -> str:
    usable = [each.offset for each in overview.pointers if each.offset >= overview.begin]
    snapshots = f"the oldest usable snapshot is at {min(usable)}" if usable else "none is usable"
    unreadable = f" ({'; '.join(passed_over)})" if passed_over else ""
    return (
        f"no snapshot is early enough ({snapshots}){unreadable}, and the log begins at "
        f"{overview.begin}, behind the stream's beginning at {overview.origin}"
    )
