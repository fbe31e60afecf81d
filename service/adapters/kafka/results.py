"""Reads a partition's committed results by input offset.

Results stand in the order of their input offsets, but at offsets of their own: transactions leave
markers and aborted records between them. Where an input offset stands is searched by halves,
between places that earlier reads and commits have shown.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right, insort
from collections.abc import AsyncIterator

from service.adapters.kafka.connection import CALL_S
from service.adapters.kafka.formats import decode_result
from service.adapters.kafka.reader import Cursor, OutOfRangeError
from service.engine.errors import TransientError
from service.engine.records import Result, ResultFilter, ResultSlice

NEAR = 3000
"""Records that are rather read through than searched by halves."""

MOST_PLACES = 2000

Place = tuple[int, int]
"""An input offset, and the offset of its result in the scores topic."""


class Places:
    """Known places of one partition, in order; of many that are learnt, some at equal distances."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self._known: list[Place] = []
        self._apart = 1

    def learn(self, offset: int, place: int) -> None:
        """Note where the first result at or after an input offset stands."""
        index = bisect_right(self._known, (offset, place))
        beside = self._known[max(index - 1, 0) : index + 1]
        if any(abs(offset - near) < self._apart for near, _ in beside):
            return
        insort(self._known, (offset, place))
        if len(self._known) > MOST_PLACES:
            self._known = self._known[::2]
            self._apart *= 2

    def forget(self, offset: int) -> None:
        """Drop what is only of use below an input offset."""
        del self._known[: max(0, bisect_right(self._known, (offset, 2**63)) - 1)]

    def around(self, offset: int) -> tuple[int, int | None]:
        """Return the last known place at or before an input offset, and the first beyond it."""
        index = bisect_right(self._known, (offset, 2**63))
        lower = self._known[index - 1][1] if index else self.begin
        upper = self._known[index][1] if index < len(self._known) else None
        return lower, upper


class ResultsTopic:
    """One partition's scores.

    Args:
        topic, partition: where they are.
        begin: where the stream's results begin in the topic.
    """

    def __init__(self, topic: str, partition: int, begin: int) -> None:
        self.topic = topic
        self.partition = partition
        self.places = Places(begin)

    async def read(
        self, cursor: Cursor, offset: int, limit: int, where: ResultFilter, settled: int
    ) -> ResultSlice:
        """Read up to `limit` results from an input offset on that the filter accepts.

        Args:
            cursor: nobody else's for the moment.
            offset: the first input offset of interest.
            limit: most results.
            where: which results are wanted.
            settled: results below are known to be committed, and waited for: they become visible
                a moment after the commit.
        """
        found: list[Result] = []
        following = max(offset, settled)
        async for result in self._from(cursor, offset, settled, where.from_ms or 0):
            following = max(following, result.offset + 1)
            if where.accepts(result):
                found.append(result)
                if len(found) == limit:
                    return ResultSlice(found, result.offset + 1)
        return ResultSlice(found, following)

    async def _locate(self, cursor: Cursor, offset: int, begin: int, end: int) -> int:
        """Return a place in [begin, end] at or shortly before the result of an input offset."""
        lower, upper = self.places.around(offset)
        lower, upper = max(lower, begin), end if upper is None else min(upper, end)
        while upper - lower > NEAR:
            middle = (lower + upper) // 2
            record = await cursor.first(self.topic, self.partition, middle, upper)
            if record is None:
                upper = middle
                continue
            result = decode_result(record)
            self.places.learn(result.offset, record.offset)
            if result.offset < offset:  # of those there may be several, of which the first counts
                lower = record.offset
            else:
                upper = middle
        return lower

    async def place_of(self, cursor: Cursor, offset: int) -> int:
        """Return the place of the first result at or after an input offset, or the end."""
        ends = await cursor.ends(self.topic, self.partition)
        lower = await self._locate(cursor, offset, max(self.places.begin, ends.begin), ends.end)
        async for record in cursor.scan(self.topic, self.partition, lower, ends.end):
            if decode_result(record).offset >= offset:
                place: int = record.offset
                return place
        return ends.end

    async def place_below(self, cursor: Cursor, offset: int) -> int:
        """Return a place that no result at or after an input offset stands below, and few others.

        So what stands below it may go with the results before the offset.
        """
        ends = await cursor.ends(self.topic, self.partition)
        return await self._locate(cursor, offset, max(self.places.begin, ends.begin), ends.end)

    async def end_in(self, cursor: Cursor) -> int | None:
        """Return one past the input offset of the newest result; None when there is none."""
        record = await cursor.last(self.topic, self.partition, self.places.begin)
        if record is None:
            return None
        result = decode_result(record)
        self.places.learn(result.offset, record.offset)
        return result.offset + 1

    async def _from(
        self, cursor: Cursor, offset: int, settled: int, from_ms: int
    ) -> AsyncIterator[Result]:
        """Yield results from an input offset on; earlier ones than `from_ms` may be left out."""
        limit_s = time.monotonic() + CALL_S
        if from_ms > 0:  # what is left out does not tell what is visible
            while (await self.end_in(cursor) or 0) < settled:
                await self._wait_for(settled, limit_s)
            settled = 0
        ends = await cursor.ends(self.topic, self.partition)
        begin = max(self.places.begin, ends.begin)
        place = await self._locate(cursor, offset, begin, ends.end)
        if from_ms > 0:
            timely = await cursor.first_at(self.topic, self.partition, from_ms)
            place = ends.end if timely is None else max(place, timely)
        following = offset
        while True:
            try:
                async for record in cursor.scan(self.topic, self.partition, place, ends.end):
                    result = decode_result(record)
                    if result.offset >= following:
                        if following == offset:
                            self.places.learn(result.offset, record.offset)
                        following = result.offset + 1
                        yield result
            except OutOfRangeError:  # old results went meanwhile; on with those that stay
                ends = await cursor.ends(self.topic, self.partition)
                place = ends.begin
                continue
            if following >= settled:
                return
            await self._wait_for(settled, limit_s)
            place = ends.end
            ends = await cursor.ends(self.topic, self.partition)

    async def _wait_for(self, settled: int, limit_s: float) -> None:
        """Wait a moment for results below an offset to become visible."""
        if time.monotonic() > limit_s:
            reason = f"results up to {settled} are not visible"
            raise TransientError(f"Kafka: {self.topic}/{self.partition}: {reason}")
        await asyncio.sleep(0.002)
