"""The last committed results of each partition, for readers that wait for them.

Readers hold a position and read at their own pace: near the end from here, else from the log.
So a slow reader costs no memory. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import chain, count
from operator import attrgetter
from typing import NamedTuple

from service.engine.carried import size_of_header
from service.engine.records import Result, ResultFilter, ResultSlice, size_of

KEPT_BYTES = 64 * 2**20
"""Bytes of results kept for the partitions of one stream."""

MOST_KEPT_BYTES = 16 * 2**20
"""The same for one partition at most, however few there are."""

LEAST_KEPT_BYTES = 2**20
"""The same at least, however many: a reader near the end does without the log."""

FEW_WAITING = 64
"""Waiting readers that need no tidying."""


class _Chunk(NamedTuple):
    """Results that were committed together, which settle all offsets below `end`."""

    end: int
    size: int
    results: Sequence[Result]


def kept_bytes_of_each(partitions: int) -> int:
    """Return how many bytes of results are kept for each of a stream's partitions."""
    return min(max(KEPT_BYTES // partitions, LEAST_KEPT_BYTES), MOST_KEPT_BYTES)


class PartitionTail:
    """One partition's committed offset and newest results.

    Attributes:
        committed: the next offset to settle; 0 until it is known.
        started: whether it is known.
        live: set once it is known, or why it will not be.
        error: why no further results will come; None where some may.
    """

    def __init__(self, kept_bytes: int = MOST_KEPT_BYTES) -> None:
        self.committed = 0
        self.started = False
        self.error: Exception | None = None
        self.live = asyncio.Event()
        self._begin = 0
        self._kept_bytes = kept_bytes
        self._size = 0
        self._chunks: list[_Chunk] = []
        self._dropped = 0  # chunks at the front of the list that are not kept any longer
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tidy_at = FEW_WAITING
        self._ticket = count()

    def start(self, committed: int) -> None:
        """Begin at a committed offset, or jump there when results were committed unseen."""
        if committed != self.committed or not self.started:
            self._chunks.clear()
            self._size = self._dropped = 0
            self._begin = self.committed = committed
        self.started, self.error = True, None
        self.live.set()
        self._wake()

    def publish(self, end: int, results: Sequence[Result]) -> None:
        """Add the results of a committed transaction that settles all offsets below `end`."""
        headers = chain.from_iterable(map(attrgetter("headers"), results))
        size = size_of(results) + sum(map(size_of_header, headers))
        self._chunks.append(_Chunk(end, size, results))
        self._size += size
        self.committed = end
        while self._size > self._kept_bytes and len(self._chunks) > self._dropped + 1:
            self._drop_oldest()
        self._wake()

    def _drop_oldest(self) -> None:
        oldest = self._chunks[self._dropped]
        self._begin = oldest.end
        self._size -= oldest.size
        self._chunks[self._dropped] = _Chunk(oldest.end, 0, ())
        self._dropped += 1
        # Seldom, because all others move.
        if 2 * self._dropped > len(self._chunks):
            del self._chunks[: self._dropped]
            self._dropped = 0

    def fail(self, error: Exception) -> None:
        """Let readers know that no further results will come."""
        self.error = error
        self.live.set()
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_exception(error)

    def read(self, offset: int, limit: int, where: ResultFilter) -> ResultSlice | None:
        """Read from memory what the log's `read_results` would; None when it is not here."""
        if offset < self._begin or not self.started:
            return None
        found: list[Result] = []
        nearest = bisect_right(self._chunks, offset, key=attrgetter("end"))
        for place in range(nearest, len(self._chunks)):
            results = self._chunks[place].results
            first = bisect_left(results, offset, key=attrgetter("offset"))
            for index in range(first, len(results)):
                if where.accepts(results[index]):
                    found.append(results[index])
                    if len(found) == limit:
                        return ResultSlice(found, results[index].offset + 1)
        return ResultSlice(found, max(offset, self.committed))

    def beyond(self, offset: int) -> asyncio.Future[None]:
        """Return a future that is done once `offset` is settled."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            future.set_exception(self.error)
        elif self.committed > offset:
            future.set_result(None)
        else:
            if len(self._waiting) >= self._tidy_at:
                self._tidy()
            heapq.heappush(self._waiting, (offset, next(self._ticket), future))
        return future

    def _tidy(self) -> None:
        """Forget readers that gave up, so that a quiet partition does not gather them."""
        self._waiting = [entry for entry in self._waiting if not entry[2].done()]
        heapq.heapify(self._waiting)
        self._tidy_at = max(FEW_WAITING, 2 * len(self._waiting))

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] < self.committed:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
