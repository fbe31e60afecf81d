"""The topics as one looks at them from outside: no group is joined, no id is taken.

Dead letters that are appended once more take their bytes, key and headers from the input itself
where it still holds them, for those are exactly what came; otherwise from the dead letter, without
the headers that were added to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from service.adapters.kafka import names
from service.adapters.kafka.catalogue import Catalogue
from service.adapters.kafka.connection import Connection
from service.adapters.kafka.formats import (
    decode_dead_letter,
    decode_records,
    decode_result,
    is_added_to_dead,
)
from service.adapters.kafka.producer import AppendProducer, Discards, Message
from service.adapters.kafka.reader import Cursor
from service.adapters.kafka.results import ResultsTopic
from service.adapters.kafka.standing import committed_offset, read_pointers
from service.adapters.kafka.topics import Topics
from service.engine.cursor import decode_cursor
from service.engine.errors import EngineError, UnknownStream
from service.engine.newest import Newest, newest
from service.engine.records import (
    Batch,
    DeadLetter,
    Overview,
    Position,
    ResultFilter,
    ResultSlice,
    StreamEntry,
    StreamPartition,
)
from service.messages.stream import Stored

WAIT_S = 1.0
AT_ONCE = 500


class KafkaView:
    """A `LogView` over topics, and what `rcf tail` follows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._discards = Discards()
        self._topics = Topics(connection)
        self._catalogue = Catalogue(connection, self._topics, self._discards, lambda *_: None)
        self._cursor = Cursor(connection)
        self._input = Cursor(connection)

    async def open(self) -> None:
        """Read the catalogue; see `LogView`."""
        topic = names.control_topic(self._connection)
        if topic not in await self._topics.counts([topic]):
            where = f"at {self._connection.bootstrap} there is no topic {topic!r}"
            raise EngineError(
                f"{where}: no worker of the application {self._connection.application!r} has run "
                "there yet, or we may not see it"
            )
        await self._catalogue.read()

    async def close(self) -> None:
        """Let go."""
        await self._catalogue.close()
        await self._cursor.close()
        await self._input.close()
        await self._topics.close()
        await self._discards.done()

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""
        streams = self._catalogue.streams
        return [streams[name].entry for name in sorted(streams)]

    async def overview(self, partition: StreamPartition) -> Overview:
        """Tell how a partition stands; see `LogView`."""
        stored, number = self._stored(partition.stream), partition.partition
        ends = await self._cursor.ends(names.topics_of(partition.stream).input, number)
        pointers = await read_pointers(self._cursor, stored, number)
        committed = await committed_offset(self._topics, self._connection, stored, number)
        return Overview(
            partition,
            stored.entry,
            None if committed is None else committed.offset,
            ends.begin,
            ends.end,
            tuple(each.pointer for each in pointers),
            stored.origins[number],
        )

    async def read_records(self, partition: StreamPartition, offset: int, limit: int) -> Batch:
        """Read records; see `LogView`."""
        stored, there = self._stored(partition.stream), []
        async for record in self._scan_input(partition, offset, limit):
            there.append(record)
            if len(there) == limit:
                break
        found = decode_records(there, stored.number)
        return Batch(partition, found, found[-1].offset + 1 if found else offset)

    async def read_results(
        self, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
    ) -> ResultSlice:
        """Read committed results; see `LogView`."""
        scores = self._scores(partition.stream)[partition.partition]
        return await scores.read(self._cursor, offset, limit, where, 0)

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read committed dead letters; see `LogView`."""
        found: list[DeadLetter] = []
        async for record in self._scan_dead(partition):
            dead = decode_dead_letter(record)
            if dead.offset >= offset:
                found.append(dead)
                if len(found) == limit:
                    break
        return found

    async def requeue(
        self, partition: StreamPartition, letters: Sequence[DeadLetter]
    ) -> list[Position]:
        """Append dead letters to the input once more; see `LogView`."""
        wanted = {letter.offset: letter for letter in letters}
        messages = {}
        async for record in self._scan_dead(partition):
            dead = decode_dead_letter(record)
            if dead.offset in wanted:
                kept = [header for header in record.headers if not is_added_to_dead(header[0])]
                messages[dead.offset] = _as_it_came(record, kept)
        for offset in sorted(wanted):
            async for record in self._scan_input(partition, offset, 1):
                if record.offset == offset and (record.value or b"") == wanted[offset].value:
                    messages[offset] = _as_it_came(record, record.headers)
                break
        appends = AppendProducer(self._connection, self._discards)
        topic, number = names.topics_of(partition.stream).input, partition.partition
        try:
            parts = {number: [messages[letter.offset] for letter in letters]}
            offsets = await appends.append(topic, parts)
        finally:
            appends.close()
        return [Position(number, offset) for offset in offsets[number]]

    async def newest(self, stream: str, count: int, where: ResultFilter) -> Newest:
        """Find the newest committed results of all partitions; see `newest`.

        Raises:
            UnknownStream: there is none of this name.
            TransientError: the brokers do not answer.
        """
        topics = self._scores(stream)
        ends = [await topic.end_in(self._cursor) or 0 for topic in topics]
        reader = _Scores(self._cursor, topics, ends)
        return await newest(reader, range(len(topics)), count, where)

    async def follow(self, stream: str, *, anomalies: bool, after: str) -> AsyncGenerator[bytes]:
        """Yield committed results of all partitions as they appear, for ever.

        Args:
            stream: its name.
            anomalies: those that are anomalies, and incidents, instead of all.
            after: cursor from which on they are wanted; "" for from here.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: the cursor is none of this stream's.
            TransientError: the brokers do not answer.
        """
        topics = self._anomalies(stream) if anomalies else self._scores(stream)
        offsets = decode_cursor(after, len(topics)) if after else [0] * len(topics)
        queue: asyncio.Queue[bytes | Exception] = asyncio.Queue(2 * AT_ONCE)
        places = []
        for topic, offset in zip(topics, offsets, strict=True):
            if after:
                places.append(await topic.place_of(self._cursor, offset))
            else:
                places.append((await self._cursor.ends(topic.topic, topic.partition)).end)
        await self._cursor.close()
        tasks = [
            asyncio.create_task(self._feed(queue, topic, place, offset))
            for topic, place, offset in zip(topics, places, offsets, strict=True)
        ]
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _feed(
        self,
        queue: asyncio.Queue[bytes | Exception],
        topic: ResultsTopic,
        place: int,
        offset: int,
    ) -> None:
        """Put what stands in a partition from a place on, but for what is of an earlier record.

        Such a one may have become visible in this topic later than in another one.
        """
        cursor = Cursor(self._connection, follows=True)
        try:
            while True:
                for record in await cursor.read(
                    topic.topic, topic.partition, place, AT_ONCE, WAIT_S
                ):
                    if offset == 0 or decode_result(record).offset >= offset:
                        offset = 0
                        await queue.put(record.value)
                place = cursor.position
        except Exception as error:  # the reader shall hear of it, whatever it is
            await queue.put(error)
        finally:
            await cursor.close()

    async def _scan_input(
        self, partition: StreamPartition, offset: int, most: int
    ) -> AsyncGenerator[Any]:
        topic, number = names.topics_of(partition.stream).input, partition.partition
        ends = await self._cursor.ends(topic, number)
        begin = max(ends.begin, offset)
        async for record in self._input.scan(topic, number, begin, ends.end, most):
            yield record

    async def _scan_dead(self, partition: StreamPartition) -> AsyncGenerator[Any]:
        stored, number = self._stored(partition.stream), partition.partition
        topic = names.topics_of(partition.stream).dead_letters
        ends = await self._cursor.ends(topic, number)
        begin = max(ends.begin, stored.dead_from[number])
        async for record in self._cursor.scan(topic, number, begin, ends.end):
            yield record

    def _scores(self, stream: str) -> list[ResultsTopic]:
        topic, begins = names.topics_of(stream).scores, self._stored(stream).scores_from
        return [ResultsTopic(topic, number, begin) for number, begin in enumerate(begins)]

    def _anomalies(self, stream: str) -> list[ResultsTopic]:
        topic, count = names.topics_of(stream).anomalies, self._stored(stream).config.partitions
        return [ResultsTopic(topic, number, 0) for number in range(count)]

    def _stored(self, stream: str) -> Stored:
        try:
            return self._catalogue.streams[stream]
        except KeyError:
            raise UnknownStream(stream) from None


class _Scores:
    """A stream's results, with the ends that its partitions had at one moment."""

    def __init__(self, cursor: Cursor, topics: Sequence[ResultsTopic], ends: list[int]) -> None:
        self._cursor, self._topics, self._ends = cursor, topics, ends

    def ends(self) -> list[int]:
        """Return one past the newest result of each partition."""
        return self._ends

    async def read(self, number: int, offset: int, limit: int, where: ResultFilter) -> ResultSlice:
        """Read results; see `ResultsTopic`."""
        return await self._topics[number].read(self._cursor, offset, limit, where, 0)


def _as_it_came(record: Any, headers: Sequence[tuple[str, bytes]]) -> Message:
    return Message(record.key, record.value, max(record.timestamp, 0), list(headers))
