"""One partition as its owner sees it: taking it over, and its transactions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka import TopicPartition

from service.adapters.kafka import names
from service.adapters.kafka.connection import Connection
from service.adapters.kafka.formats import (
    common_headers,
    decode_records,
    encode_dead_letter,
    encode_pointer,
    encode_results,
    telling,
)
from service.adapters.kafka.producer import (
    Discards,
    GroupOffsets,
    TransactionalProducer,
    Writes,
)
from service.adapters.kafka.reader import Cursor, OutOfRangeError
from service.adapters.kafka.results import ResultsTopic
from service.adapters.kafka.standing import Committed, committed_offset, metadata_of, read_pointers
from service.adapters.kafka.topics import Topics
from service.engine.errors import EngineError, StateLost
from service.engine.records import (
    Assignment,
    Batch,
    Record,
    StreamPartition,
    Transaction,
)
from service.engine.transactions import check_transaction, within
from service.messages.pointer import StoredPointer
from service.messages.stream import Stored

logger = logging.getLogger(__name__)
WAIT_S = 1.0
ASK_AGAIN_S = (0.05, 0.2, 1.0)

AT_HAND_S = 0.005
"""Records that a read gives sooner were there before it was asked for them."""

FRESH_S = 0.025
"""How long what came after those is waited for; a broker that is not busy answers in a fifth."""


class OwnedPartition:
    """What this worker holds of a partition between taking it over and letting it go.

    Attributes:
        committed: the next offset to settle.
        settled: one past the last offset whose result was committed here; 0 before the first.
        results: where the partition's results are read.
        anomalies: the same of those that are anomalies, and of incidents.
    """

    def __init__(
        self,
        partition: StreamPartition,
        stored: Stored,
        connection: Connection,
        topics: Topics,
        discards: Discards,
    ) -> None:
        self.partition = partition
        self.stored = stored
        self.committed = self.settled = 0
        self._connection = connection
        self._topics = topics
        self._names = names.topics_of(partition.stream)
        self._headers = common_headers(partition)
        self._producer = TransactionalProducer(
            connection, names.transactional_id(connection, partition), discards
        )
        self._input = Cursor(connection, follows=True)
        self._buffer: list[Record] = []
        self._gaps: dict[int, int] = {}
        self._buffer_end = 0
        self._bare = self._read = Committed(-1, -1)  # where we began, and what was polled ends
        self._pointers = 0
        self._input_begin = 0
        number = partition.partition
        self.results = ResultsTopic(self._names.scores, number, stored.scores_from[number])
        self.anomalies = ResultsTopic(self._names.anomalies, number, 0)

    # -- taking over ----------------------------------------------------------------------

    async def fence(self) -> None:
        """Fence the former owner, and settle what it left open.

        The broker answers when an open transaction is ended and its markers are written; from then
        on everything is at rest.
        """
        await self._producer.start()

    async def stand(self, cursor: Cursor) -> Assignment:
        """Read where the partition is; to be called once the former owner is fenced."""
        topic, number = self._names.input, self.partition.partition
        ends = await cursor.ends(topic, number)
        results_end = await self.results.end_in(cursor)
        stored = await read_pointers(cursor, self.stored, number)
        found = await self._committed(results_end)
        # A group that was idle for long loses its offsets; the results tell them all the same.
        origin = self.stored.origins[number]
        if found is None:
            committed = origin if results_end is None else results_end
        else:
            committed, self._bare, self._read = found.offset, found, found
        self.committed, self._input_begin = committed, ends.begin
        self._pointers = stored[0].number + 1 if stored else 0
        return Assignment(
            self.partition,
            self.stored.entry,
            self._producer.epoch,
            committed,
            ends.begin,
            ends.end,
            results_end,
            tuple(each.pointer for each in stored),
            origin,
        )

    async def _committed(self, results_end: int | None) -> Committed | None:
        """Return the group's offset; ask again while it is of before the newest results.

        Brokers before 4.0 may answer what was so before the transaction that was just settled.
        """
        pauses_s = iter(ASK_AGAIN_S)
        while True:
            number = self.partition.partition
            found = await committed_offset(self._topics, self._connection, self.stored, number)
            if found is None or results_end is None or found.offset >= results_end:
                return found
            pause_s = next(pauses_s, None)
            if pause_s is None:
                return found
            await asyncio.sleep(pause_s)

    # -- input ----------------------------------------------------------------------------

    async def poll(self, offset: int, most: int, most_bytes: int) -> Batch:
        """Wait for records; note which offsets hold none."""
        buffer = self._buffer
        if not buffer or buffer[0].offset != offset:
            buffer = self._buffer = await self._fetch(offset, most)
            self._buffer_end = self._input.position  # of this fetch: others may be cut short
        records = within(buffer[:most], most_bytes)
        self._buffer = buffer[len(records) :]
        self._note_gaps(offset, records)
        end = records[-1].offset + 1
        self._read = Committed(end, end if self._buffer else max(end, self._buffer_end))
        behind = len(self._buffer) + self._input.behind
        return Batch(self.partition, records, end, behind)

    async def _fetch(self, offset: int, most: int) -> list[Record]:
        topic, number = self._names.input, self.partition.partition
        # Markers alone may have gone, by age, where nothing came after them.
        place = self._bare.bare_to if offset == self._bare.offset else offset
        while True:
            asked_s = time.monotonic()
            try:
                found = await self._input.read(topic, number, place, most, WAIT_S)
            except OutOfRangeError as error:
                ends = await self._input.ends(topic, number)
                reason = f"the log holds [{ends.begin}, {ends.end}) only"
                raise StateLost(*self.partition, offset, reason) from error
            place = self._input.position  # markers of transactions are stepped over
            if found:
                was_there = time.monotonic() - asked_s < AT_HAND_S
                wait_s = FRESH_S if was_there else AT_HAND_S
                found += await self._fresh(place, most - len(found), wait_s)
                return decode_records(found, self.stored.number)

    async def _fresh(self, offset: int, most: int, wait_s: float) -> list[Any]:
        """Read what came since: the client asks ahead, and holds what there was long ago.

        Between two commits that is the first few records of the pause; without this, all others
        would wait for another pause, and be the latest of all. After a rest it is the first few of
        a burst, and little time is lost where they are all.
        """
        topic, number = self._names.input, self.partition.partition
        if most > 0:
            with contextlib.suppress(OutOfRangeError):  # the next poll says so
                return await self._input.read(topic, number, offset, most, wait_s)
        return []

    def _note_gaps(self, offset: int, records: Sequence[Record]) -> None:
        expected = offset
        if records[-1].offset - offset + 1 == len(records):
            return
        for record in records:
            if record.offset != expected:
                self._gaps[expected] = record.offset
            expected = record.offset + 1

    # -- transactions ---------------------------------------------------------------------

    async def commit(self, transaction: Transaction) -> None:
        """Write a transaction; see `LogBackend.commit`."""
        # 1. Nothing is written for a former owner, or over what is settled already.
        check_transaction(transaction, self._producer.epoch, self.committed, self._gaps)
        # 2. Results, anomalies, dead letters, a pointer and the offset appear together.
        end = transaction.end
        bare_to = self._read.bare_to if end == self._read.offset else end
        offsets = GroupOffsets(
            self._connection.application,
            self._names.input,
            self.partition.partition,
            end,
            metadata_of(self.stored, bare_to),
        )
        first = await self._producer.commit(self._batches(transaction), offsets)
        # 3. From here on it is so, whatever happens to us.
        self.committed = transaction.end
        self._gaps = {gap: end for gap, end in self._gaps.items() if gap >= transaction.end}
        if transaction.pointer is not None:
            self._pointers += 1
        if transaction.results:
            self.settled = transaction.end
        for topic in (self.results, self.anomalies):
            place = first.get((topic.topic, topic.partition))
            if place is not None:
                topic.places.learn(transaction.results[0].offset, place)

    def _batches(self, transaction: Transaction) -> Iterator[Writes]:
        number, topics = self.partition.partition, self._names
        encoded = encode_results(transaction.results, self.partition, self._headers)
        yield Writes(topics.scores, number, encoded)
        told = telling(transaction.results, encoded, self.partition)
        yield Writes(topics.anomalies, number, told)
        dead = [encode_dead_letter(each, self.partition) for each in transaction.dead_letters]
        yield Writes(topics.dead_letters, number, dead)
        if transaction.pointer is not None:
            pointer = transaction.pointer
            stored = StoredPointer(
                self.stored.number,
                self._pointers,
                pointer.offset,
                pointer.manifest,
                pointer.sha256,
            )
            message = encode_pointer(stored, number, transaction.keep_pointers)
            yield Writes(topics.checkpoints, number, [message])

    async def trim(self, cursor: Cursor, transaction: Transaction) -> None:
        """Delete what may go; what could not be deleted goes another time.

        Dead letters stay until somebody who saw them deletes them, and so does an input that was
        there before the stream.
        """
        below: dict[TopicPartition, int] = {}
        number = self.partition.partition
        if self.stored.made_input and transaction.trim_input_to > self._input_begin:
            below[TopicPartition(self._names.input, number)] = transaction.trim_input_to
        try:
            if transaction.trim_results_to > 0:
                for topic in (self.results, self.anomalies):
                    place = await topic.place_below(cursor, transaction.trim_results_to)
                    topic.places.forget(transaction.trim_results_to)
                    below[TopicPartition(topic.topic, number)] = place
            if below:
                await self._topics.trim(below)
                self._input_begin = max(self._input_begin, transaction.trim_input_to)
        except EngineError as error:
            logger.warning("%s: old records were not deleted: %s", self.partition, error)

    # -- leaving --------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go; what is open is aborted by the next owner."""
        self._producer.close()
        await self._input.close()
