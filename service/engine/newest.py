"""The newest results of a stream, looked for backwards from where its partitions stand.

A log is read forwards only. So what lies before the end is read in slices, each four times as long
as the one before it and with that at its end: a third more is read than the last slice holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.engine.cursor import encode_cursor
from service.engine.reading import merged
from service.engine.records import Result, ResultFilter, ResultSlice

LOOKED_THROUGH = 100_000
"""Offsets of a partition, back from the next to settle, among which is looked for results."""

FIRST_SLICE = 1000
GROWTH = 4
AT_ONCE = 2000
"""Results read at once."""


class Readable(Protocol):
    """A stream's committed results; `ResultReader` is one."""

    def ends(self) -> list[int]:
        """Return the next offset to settle of every partition."""

    async def read(self, number: int, offset: int, limit: int, where: ResultFilter) -> ResultSlice:
        """Read up to `limit` results of a partition from `offset` on that the filter accepts."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest results.

    Attributes:
        results: outcomes as JSON, in the order of each partition, merged by timestamp.
        next: cursor of what comes after them.
        complete: false where a partition may hold more of them before what was looked through.
    """

    results: list[bytes]
    next: str
    complete: bool


async def newest(
    reader: Readable, numbers: Sequence[int], count: int, where: ResultFilter
) -> Newest:
    """Find the newest results of some partitions that the filter accepts.

    Args:
        reader: of the stream.
        numbers: partitions to look into.
        count: results at most.
        where: which results are wanted.
    """
    ends = reader.ends()
    runs, complete = [], True
    for number in numbers:
        found, whole = await _newest_of(reader, number, ends[number], count, where)
        runs.append([(result, number) for result in found])
        complete = complete and whole
    results = [result.value for result, _ in merged(runs)][-count:]
    return Newest(results, encode_cursor(ends), complete)


async def _newest_of(
    reader: Readable, number: int, end: int, count: int, where: ResultFilter
) -> tuple[list[Result], bool]:
    """Return a partition's newest results, and whether no more of them may be kept."""
    length = max(count, FIRST_SLICE)
    while True:
        begin = max(end - length, 0)
        found = await _between(reader, number, begin, end, where)
        if len(found) >= count or begin == 0:
            return found[-count:], True
        if length >= LOOKED_THROUGH:
            return found, False
        length = min(GROWTH * length, LOOKED_THROUGH)


async def _between(
    reader: Readable, number: int, begin: int, end: int, where: ResultFilter
) -> list[Result]:
    found: list[Result] = []
    place = begin
    while place < end:
        part = await reader.read(number, place, AT_ONCE, where)
        found += [result for result in part.results if result.offset < end]
        place = max(part.next_offset, place + 1)
    return found
