"""Reads partitions at offsets of our choice: the only caller of AIOKafkaConsumer without a group.

The library's positions are set by `seek` alone, right after `assign` and before its tasks run:
its `seek_to_beginning` races with the reset that `assign` begins, and may end at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition, errors

from service.adapters.kafka.connection import CALL_S, CLOSE_S, Connection, bounded
from service.engine.errors import TransientError

FETCH_BYTES = 2**20
"""What one answer of a broker may hold for who follows; a larger batch comes alone."""

LOOK_BYTES = 2**17
"""The same for cursors that look here and there, and want a few records of each place."""

FOLLOW_MS = 500
"""How long a broker holds a fetch that finds nothing; it answers at once when something comes.

A broker answers one connection's requests in turn, so whatever is asked beside a fetch waits as
long."""

LOOK_MS = 5
"""The same for those that look here and there."""

STEP_S = 0.05
"""How often a scan looks whether only markers of transactions are left before its end."""


class OutOfRangeError(TransientError):
    """The offset asked for is not in the log: it was trimmed meanwhile, or is not there yet."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The first offset of a partition, and the end of what is committed."""

    begin: int
    end: int


class Cursor:
    """Reads one partition after another, committed records only. One caller at a time.

    Args:
        connection: where to.
        follows: whether it waits at one partition's end, rather than looking here and there.
    """

    def __init__(self, connection: Connection, *, follows: bool = False) -> None:
        self._connection = connection
        self._fetch = {
            "fetch_max_wait_ms": FOLLOW_MS if follows else LOOK_MS,
            "max_partition_fetch_bytes": FETCH_BYTES if follows else LOOK_BYTES,
        }
        self._consumer: Any = None
        self._place: TopicPartition | None = None
        self._next = -1
        self._end = 0

    async def ends(self, topic: str, partition: int) -> Ends:
        """Return where a partition begins and ends.

        Raises:
            TransientError: the brokers do not answer.
        """
        place = TopicPartition(topic, partition)
        async with self._usable() as consumer:
            begin = await bounded(consumer.beginning_offsets([place]), f"begin of {topic}")
            end = await bounded(consumer.end_offsets([place]), f"end of {topic}")
        return Ends(begin[place], end[place])

    async def first_at(self, topic: str, partition: int, time_ms: int) -> int | None:
        """Return the first offset of a record of this time or later; None when there is none.

        Markers of transactions count as records here, of the time at which they were written.

        Raises:
            TransientError: the brokers do not answer.
        """
        place = TopicPartition(topic, partition)
        async with self._usable() as consumer:
            found = await bounded(consumer.offsets_for_times({place: time_ms}), f"times of {topic}")
        return None if found[place] is None else int(found[place].offset)

    async def read(
        self, topic: str, partition: int, offset: int, most: int, wait_s: float
    ) -> list[Any]:
        """Return up to `most` records from `offset` on; none when none came within `wait_s`.

        Raises:
            OutOfRangeError: the offset is not in the log.
            TransientError: the brokers do not answer.
        """
        place = TopicPartition(topic, partition)
        async with self._usable() as consumer:
            if place != self._place:
                consumer.assign([place])
                self._place, self._next = place, -1
            if offset != self._next:
                consumer.seek(place, offset)
            try:
                found = await bounded(
                    consumer.getmany(place, timeout_ms=int(wait_s * 1000), max_records=most),
                    f"reading {topic}",
                    wait_s + CALL_S,
                )
            except TransientError as error:
                if isinstance(error.__cause__, errors.OffsetOutOfRangeError):
                    raise OutOfRangeError(f"{topic}/{partition}: {offset}") from error
                raise
            self._next = await consumer.position(place)
            self._end = consumer.highwater(place) or 0
            return list(found.get(place, ()))

    @property
    def position(self) -> int:
        """The offset at which the last read ended, markers of transactions stepped over."""
        return self._next

    @property
    def behind(self) -> int:
        """Offsets from there to the partition's end, as the last answer of a broker told it."""
        return max(0, self._end - self._next)

    async def scan(
        self, topic: str, partition: int, begin: int, end: int, most: int = 5000
    ) -> AsyncGenerator[Any]:
        """Yield the committed records in [begin, end); `end` must not be above the log's end.

        Raises:
            TransientError: the brokers do not answer.
        """
        limit_s, place = time.monotonic() + CALL_S, begin
        while place < end:
            records = await self.read(topic, partition, place, most, STEP_S)
            if self._next > place:
                limit_s = time.monotonic() + CALL_S
            place = self._next
            for record in records:
                if record.offset >= end:
                    return
                yield record
            if time.monotonic() > limit_s:
                raise TransientError(f"Kafka: reading {topic} from {place} did not go on")

    async def first(self, topic: str, partition: int, begin: int, end: int) -> Any:
        """Return the first committed record in [begin, end); None when there is none."""
        async with contextlib.aclosing(self.scan(topic, partition, begin, end, 1)) as records:
            async for record in records:
                return record
        return None

    async def last(self, topic: str, partition: int, begin: int = 0) -> Any:
        """Return the last committed record at or after `begin`; None when there is none."""
        ends = await self.ends(topic, partition)
        begin, width, upper = max(begin, ends.begin), 4, ends.end
        while upper > begin:
            lower = max(begin, upper - width)
            found = None
            async for record in self.scan(topic, partition, lower, upper):
                found = record
            if found is not None:
                return found
            upper, width = lower, 8 * width
        return None

    def rest(self) -> None:
        """Fetch nothing until the next read."""
        if self._consumer is not None and self._place is not None:
            # The consumer's own `unsubscribe` also asks for the metadata of all topics there are.
            self._consumer._subscription.unsubscribe()
            self._place = None

    async def close(self) -> None:
        """Let go."""
        consumer, self._consumer, self._place = self._consumer, None, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                await bounded(consumer.stop(), "closing a consumer", CLOSE_S)

    @contextlib.asynccontextmanager
    async def _usable(self) -> AsyncIterator[Any]:
        """Give the consumer out; after any failure the next caller gets another."""
        try:
            if self._consumer is None:
                self._consumer = AIOKafkaConsumer(
                    **self._connection.options(),
                    group_id=None,
                    enable_auto_commit=False,
                    auto_offset_reset="none",
                    isolation_level="read_committed",
                    **self._fetch,
                    retry_backoff_ms=50,
                )
                self._place = None
                await bounded(self._consumer.start(), "connecting a consumer")
            yield self._consumer
        except (OutOfRangeError, GeneratorExit):
            self._next = -1
            raise
        except BaseException:
            await self.close()
            raise


class SharedCursor:
    """A cursor that several take in turns, to look here and there."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = Cursor(connection)
        self._looking = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Cursor]:
        """Give the cursor out, to one at a time."""
        async with self._looking:
            try:
                yield self._cursor
            finally:
                self._cursor.rest()

    async def close(self) -> None:
        """Let go."""
        await self._cursor.close()
