"""The streams, as records of a compacted control topic that every worker reads.

Law: the catalogue is what the control topic says up to an offset; nobody's memory counts. It
changes under one transactional id: who takes the id fences whoever had it, reads to the end,
checks, and writes. So two workers never change it at once, and none acts on an old reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from service.adapters.kafka import names
from service.adapters.kafka.connection import CALL_S, Connection
from service.adapters.kafka.producer import Discards, Message, TransactionalProducer, Writes
from service.adapters.kafka.reader import Cursor
from service.adapters.kafka.topics import COMPACTED, Topics
from service.engine.errors import EngineError, Fenced, InvalidParameter, TransientError
from service.messages.stream import Stored

logger = logging.getLogger(__name__)
TRIES = 5
WAIT_S = 1.0

_decoder = msgspec.json.Decoder(Stored)
Changed = Callable[[Stored | None, Stored | None], None]
"""Told what a stream was and what it is; None where there was none, or is none any more."""


class Change:
    """The right to change the catalogue, for as long as nobody else takes it."""

    def __init__(self, producer: TransactionalProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self.end = 0

    async def write(self, name: str, stored: Stored | None, others: Sequence[Writes] = ()) -> None:
        """Write a stream's line, or its end, and other records, all at once.

        Raises:
            Fenced: another worker took the right; nothing was written.
            TransientError: it is unknown whether it was written.
        """
        value = None if stored is None else msgspec.json.encode(stored)
        line = Writes(self._topic, 0, [Message(name.encode(), value, 0)])
        first = await self._producer.commit([line, *others])
        self.end = first[self._topic, 0] + 1


class Catalogue:
    """Follows the control topic, and changes it.

    Attributes:
        streams: by name, as the topic says.
        unfinished: the same of those whose topics somebody began to make or to delete.
        unreadable: why this worker cannot read what the topic says of a stream, by name; a worker
            of another version may have written it. Nobody here may act as if it were not there.
    """

    def __init__(
        self, connection: Connection, topics: Topics, discards: Discards, changed: Changed
    ) -> None:
        self._connection = connection
        self._topic = names.control_topic(connection)
        self._topics = topics
        self._discards = discards
        self._changed = changed
        self._cursor = Cursor(connection, follows=True)
        self._ends = Cursor(connection)
        self._position = 0
        self._read = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._asking = asyncio.Lock()
        self.streams: dict[str, Stored] = {}
        self.unfinished: dict[str, Stored] = {}
        self.unreadable: dict[str, str] = {}

    @property
    def names(self) -> set[str]:
        """Every stream's, whatever is known of it."""
        return {*self.streams, *self.unfinished, *self.unreadable}

    async def open(self) -> None:
        """Read all of it, then follow.

        Raises:
            TransientError: the brokers do not answer.
        """
        await self._topics.make(self._topic, 1, COMPACTED)
        await self.read()
        self._following = asyncio.create_task(self._follow())

    async def read(self) -> None:
        """Read all of it once; the topic must be there.

        Raises:
            TransientError: the brokers do not answer.
        """
        ends = await self._ends.ends(self._topic, 0)
        async for record in self._cursor.scan(self._topic, 0, ends.begin, ends.end):
            self._apply(record)
        self._position = ends.end

    async def close(self) -> None:
        """Let go."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        await self._cursor.close()
        await self._ends.close()

    async def refresh(self) -> None:
        """Wait until everything written so far is read.

        Raises:
            TransientError: the brokers do not answer in time.
        """
        async with self._asking:
            ends = await self._ends.ends(self._topic, 0)
        await self._until(ends.end)

    async def _until(self, end: int) -> None:
        try:
            async with self._read:
                await asyncio.wait_for(
                    self._read.wait_for(lambda: self._position >= end), 2 * CALL_S
                )
        except TimeoutError:
            raise TransientError("Kafka: the catalogue could not be read to its end") from None

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        """Take the right to change the catalogue, with the catalogue read to its end.

        Raises:
            TransientError: others kept taking it, or the brokers do not answer.
        """
        async with self._changing:
            producer = await self._take()
            change = Change(producer, self._topic)
            try:
                yield change
            except Fenced as error:
                raise TransientError("another worker changes the streams; try again") from error
            finally:
                producer.close()
            await self._until(change.end)

    async def _take(self) -> TransactionalProducer:
        identity = names.control_id(self._connection)
        for turn in range(TRIES):
            producer = TransactionalProducer(self._connection, identity, self._discards)
            try:
                await producer.start()
                await self.refresh()
            except Fenced:
                producer.close()
                await asyncio.sleep(random.uniform(0, WAIT_S) * (turn + 1))
            except BaseException:
                producer.close()
                raise
            else:
                return producer
        raise TransientError("other workers keep changing the streams; try again")

    async def _follow(self) -> None:
        while True:
            try:
                records = await self._cursor.read(self._topic, 0, self._position, 500, WAIT_S)
            except EngineError as error:
                logger.warning("the catalogue is not followed for the moment: %s", error)
                await asyncio.sleep(WAIT_S)
                continue
            for record in records:
                self._apply(record)
            if self._cursor.position > self._position:
                async with self._read:
                    self._position = self._cursor.position
                    self._read.notify_all()

    def _apply(self, record: Any) -> None:
        name = record.key.decode()
        value = record.value
        self.unreadable.pop(name, None)
        if value is None:
            self.unfinished.pop(name, None)
            self._end(name)
            return
        try:
            stored = _decoder.decode(value)
        except (msgspec.MsgspecError, InvalidParameter) as error:
            logger.error("stream %s of the catalogue cannot be read: %s", name, error)
            self.unreadable[name] = str(error)
            return
        if stored.incarnation is None:
            number = record.offset
            stored = msgspec.structs.replace(stored, incarnation=number)
        if stored.state != "there":
            self.unfinished[name] = stored
            self._end(name)
            return
        self.unfinished.pop(name, None)
        former, self.streams[name] = self.streams.get(name), stored
        self._changed(former, stored)

    def _end(self, name: str) -> None:
        former = self.streams.pop(name, None)
        if former is not None:
            self._changed(former, None)
