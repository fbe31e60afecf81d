"""Follows the results of partitions that other workers run, each at the pace of its reader."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.kafka.connection import Connection
from service.adapters.kafka.formats import decode_result
from service.adapters.kafka.reader import Cursor, OutOfRangeError
from service.adapters.kafka.results import ResultsTopic
from service.engine.errors import TransientError
from service.engine.records import ResultSlice, StreamPartition

WAIT_S = 1.0


@dataclass(slots=True)
class _Follower:
    """Where one partition's reader stands: the input offset, and the place of its result."""

    cursor: Cursor
    offset: int = -1
    place: int = -1


class Followers:
    """One cursor for each partition that is followed, standing where its reader left it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._followers: dict[StreamPartition, _Follower] = {}

    def stands_at(self, partition: StreamPartition, offset: int) -> bool:
        """Tell whether the next read of an offset needs no search."""
        follower = self._followers.get(partition)
        return follower is not None and follower.offset == offset

    def place(self, partition: StreamPartition, offset: int, place: int) -> None:
        """Let the next read of an offset begin at a place."""
        follower = self._followers.get(partition)
        if follower is None:
            follower = _Follower(Cursor(self._connection, follows=True))
            self._followers[partition] = follower
        follower.offset, follower.place = offset, place

    async def read(
        self, partition: StreamPartition, results: ResultsTopic, limit: int
    ) -> ResultSlice:
        """Wait for results from where `place` or the last read stopped; one caller for each.

        Raises:
            TransientError: the topic cannot be read for the moment.
        """
        follower = self._followers[partition]
        cursor, topic, number = follower.cursor, results.topic, results.partition
        while True:
            try:
                records = await cursor.read(topic, number, follower.place, limit, WAIT_S)
            except OutOfRangeError as error:
                follower.offset = -1
                raise TransientError(f"Kafka: {error}") from error
            results_read = list(map(decode_result, records))
            follower.place = cursor.position  # only past what could be read
            found = [result for result in results_read if result.offset >= follower.offset]
            if found:
                follower.offset = found[-1].offset + 1
                results.places.learn(found[-1].offset, records[-1].offset)
                return ResultSlice(found, follower.offset)

    async def drop(self, partition: StreamPartition) -> None:
        """Follow a partition no further."""
        follower = self._followers.pop(partition, None)
        if follower is not None:
            await follower.cursor.close()

    async def close(self) -> None:
        """Let go."""
        for partition in list(self._followers):
            await self.drop(partition)
