"""Reads committed results of one stream: pages over all partitions, single results, a feed."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from operator import attrgetter

from service.engine.cursor import encode_cursor
from service.engine.errors import InvalidParameter, ResultTimeout
from service.engine.outcome import incident_events
from service.engine.ports import LogBackend
from service.engine.records import (
    EVERYTHING,
    Event,
    Position,
    Result,
    ResultFilter,
    ResultSlice,
    ResultsPage,
    StreamPartition,
)
from service.engine.tail import PartitionTail

FEED_CHUNK = 500
"""Results that a feed reads at once."""


class ResultReader:
    """Reads one stream's results: from memory near the end, else from the log."""

    def __init__(self, stream: str, log: LogBackend, tails: Sequence[PartitionTail]) -> None:
        self._stream = stream
        self._log = log
        self._tails = tails

    async def at(self, positions: Sequence[Position], timeout_s: float) -> list[bytes]:
        """Wait for the results at positions and return them in the order given.

        Raises:
            ResultTimeout: they did not appear in time.
            InvalidParameter: one of them is kept no longer.
        """
        last: dict[int, int] = {}
        for partition, offset in positions:
            last[partition] = max(offset, last.get(partition, offset))
        for_all = [self._tails[number].beyond(offset) for number, offset in last.items()]
        try:
            await asyncio.wait_for(asyncio.gather(*for_all), timeout_s)
        except TimeoutError:
            number, offset = next(iter(last.items()))
            raise ResultTimeout(self._stream, number, offset, timeout_s) from None
        found: dict[Position, bytes] = {}
        for number, newest in last.items():
            offsets = sorted(offset for partition, offset in positions if partition == number)
            found.update(await self._collect(number, offsets, newest))
        for partition, offset in positions:
            if (partition, offset) not in found:
                raise InvalidParameter("offset", offset, "an offset whose result is still kept")
        return [found[position] for position in positions]

    async def page(
        self, offsets: list[int], numbers: Sequence[int], limit: int, where: ResultFilter
    ) -> ResultsPage:
        """Read up to `limit` results of some partitions, merged by timestamp.

        Args:
            offsets: next offset of every partition; the page goes on from there.
            numbers: partitions to look into.
            limit: most results of the page.
            where: which results are wanted.
        """
        slices = {n: await self.read(n, offsets[n], limit, where) for n in numbers}
        runs = [[(result, n) for result in part.results] for n, part in slices.items()]
        results = merged(runs)[:limit]
        places = list(offsets)
        taken = dict.fromkeys(numbers, 0)
        for result, number in results:
            places[number] = result.offset + 1
            taken[number] += 1
        for number, part in slices.items():
            if taken[number] == len(part.results):
                places[number] = part.next_offset
        more = any(places[n] < self._tails[n].committed for n in numbers)
        return ResultsPage(
            [result.value for result, _ in results], encode_cursor(places) if more else None
        )

    async def follow(self, offsets: list[int], where: ResultFilter) -> AsyncIterator[Event]:
        """Yield results, and what they did to incidents, from `offsets` on, for ever."""
        places = list(offsets)
        while True:
            idle = True
            for number, tail in enumerate(self._tails):
                while places[number] < tail.committed:
                    idle = False
                    part = await self.read(number, places[number], FEED_CHUNK, where)
                    for result in part.results:
                        places[number] = result.offset + 1
                        for event in _events_of(result, encode_cursor(places), where):
                            yield event
                    places[number] = part.next_offset
            if idle:
                await self._news(places)

    async def _news(self, places: list[int]) -> None:
        futures = [tail.beyond(place) for tail, place in zip(self._tails, places, strict=True)]
        try:
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in futures:
                future.cancel()
        for future in done:
            if not future.cancelled():
                future.result()

    async def _collect(self, number: int, offsets: list[int], newest: int) -> dict[Position, bytes]:
        wanted, found = set(offsets), dict[Position, bytes]()
        offset = offsets[0]
        while offset <= newest:
            part = await self.read(number, offset, newest + 1 - offset, EVERYTHING)
            found.update(
                (Position(number, result.offset), result.value)
                for result in part.results
                if result.offset in wanted
            )
            offset = max(part.next_offset, offset + 1)
        return found

    def ends(self) -> list[int]:
        """Return the next offset to settle of every partition."""
        return [tail.committed for tail in self._tails]

    async def read(self, number: int, offset: int, limit: int, where: ResultFilter) -> ResultSlice:
        """Read up to `limit` results of a partition from `offset` on that the filter accepts."""
        near = self._tails[number].read(offset, limit, where)
        if near is not None:
            return near
        committed = self._tails[number].committed
        partition = StreamPartition(self._stream, number)
        part = await self._log.read_results(partition, offset, limit, where)
        if len(part.results) < limit and part.next_offset < committed:  # there is nothing up to it
            return ResultSlice(part.results, committed)
        return part


def merged(runs: Sequence[Sequence[tuple[Result, int]]]) -> list[tuple[Result, int]]:
    """Return the results of several partitions by timestamp, each partition's in their order."""
    return list(heapq.merge(*runs, key=_by_time))


def _events_of(result: Result, cursor: str, where: ResultFilter) -> list[Event]:
    """Return what is to be told of a result; the last event alone bears the cursor."""
    told = [("result", result.value)] if result.anomaly or not where.anomalies else []
    if result.incident:
        told += [("incident", event) for event in incident_events(result.value)]
    last = len(told) - 1
    return [
        Event(cursor if index == last else None, kind, data)
        for index, (kind, data) in enumerate(told)
    ]


_time_of = attrgetter("timestamp_ms")


def _by_time(item: tuple[Result, int]) -> int:
    time_ms: int = _time_of(item[0])
    return time_ms
