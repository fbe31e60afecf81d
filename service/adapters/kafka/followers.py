"""Follows the results of partitions that other workers run, each at the pace of its reader."""

from __future__ import annotations

from service.adapters.kafka.connection import Connection
from service.adapters.kafka.formats import decode_result
from service.adapters.kafka.reader import Cursor, OutOfRangeError
from service.adapters.kafka.results import ResultsTopic
from service.engine.errors import TransientError
from service.engine.records import Result, ResultSlice, StreamPartition

WAIT_S = 1.0


class Followers:
    """One cursor for each partition that is followed, standing where its reader left it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursors: dict[StreamPartition, Cursor] = {}

    async def read(
        self, partition: StreamPartition, results: ResultsTopic, offset: int, limit: int
    ) -> ResultSlice:
        """Wait for results from `offset` on; one caller for each partition.

        Raises:
            TransientError: the topic cannot be read for the moment.
        """
        cursor = self._cursors.setdefault(partition, Cursor(self._connection))
        topic, number = results.topic, results.partition
        try:
            ends = await cursor.ends(topic, number)
            begin = max(results.places.begin, ends.begin)
            place = await results.locate(cursor, offset, begin, ends.end)
            while True:
                records = await cursor.read(topic, number, place, limit, WAIT_S)
                place = cursor.position
                found: list[Result] = []
                for record in records:
                    result = decode_result(record)
                    if result.offset >= offset:
                        found.append(result)
                if found:
                    results.places.learn(found[-1].offset, records[-1].offset)
                    return ResultSlice(found, found[-1].offset + 1)
        except OutOfRangeError as error:
            raise TransientError(f"Kafka: {error}") from error

    async def close(self) -> None:
        """Let go."""
        for cursor in self._cursors.values():
            await cursor.close()
        self._cursors.clear()
