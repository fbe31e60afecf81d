"""The log port over Kafka: joins catalogue, membership and partitions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from aiokafka import TopicPartition

from service.adapters.kafka import names, stream_topics
from service.adapters.kafka.catalogue import Catalogue
from service.adapters.kafka.connection import CLOSE_S, Connection
from service.adapters.kafka.followers import Followers
from service.adapters.kafka.formats import (
    decode_dead_letter,
    encode_control,
    encode_new,
)
from service.adapters.kafka.greeting import greet
from service.adapters.kafka.membership import Membership, Places
from service.adapters.kafka.partition import OwnedPartition
from service.adapters.kafka.producer import AppendProducer, Discards, Message, Writes
from service.adapters.kafka.reader import SharedCursor
from service.adapters.kafka.results import ResultsTopic
from service.adapters.kafka.topics import Topics
from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.errors import (
    Fenced,
    InvalidParameter,
    StreamExists,
    TransientError,
    UnknownStream,
)
from service.engine.ports import Change
from service.engine.records import (
    Assignment,
    Batch,
    DeadLetter,
    NewRecord,
    OwnershipChange,
    Position,
    ResultFilter,
    ResultSlice,
    StreamEntry,
    StreamPartition,
    Transaction,
)
from service.messages.stream import Stored

logger = logging.getLogger(__name__)


class KafkaLog:
    """A `LogBackend` in topics, and the `ForeignResults` of the workers that share them."""

    def __init__(self, connection: Connection) -> None:
        self.identity = ""
        self._connection = connection
        self._discards = Discards()
        self._topics = Topics(connection)
        self._catalogue = Catalogue(connection, self._topics, self._discards, self._changed)
        self._appends = AppendProducer(connection, self._discards)
        self._work = SharedCursor(connection)
        self._reads = SharedCursor(connection)  # however long one takes, the work goes on
        self._followers = Followers(connection)
        self._owned: dict[StreamPartition, OwnedPartition] = {}
        self._results: dict[tuple[StreamPartition, int], ResultsTopic] = {}
        self._membership: Membership | None = None
        self._told: tuple[StreamPartition, ...] = ()
        self._changes: asyncio.Queue[OwnershipChange] = asyncio.Queue()
        self._again: set[asyncio.Task[None]] = set()

    @property
    def unreadable(self) -> Collection[str]:
        """Streams that this worker cannot read; see `LogBackend`."""
        return self._catalogue.unreadable

    async def open(self) -> None:
        """Read the catalogue and join the group; see `LogBackend`."""
        await greet(self._connection)
        self.identity = f"{self._connection.application}-{await self._topics.cluster_id()}"
        await self._catalogue.open()
        self._membership = Membership(self._connection, self._inputs(), self._tell_assigned)
        self._membership.start()

    async def close(self) -> None:
        """Leave the group and let go; see `LogBackend`."""
        for task in self._again:
            task.cancel()
        if self._membership is not None:
            await self._membership.close()
        await self._catalogue.close()
        for owned in self._owned.values():
            await owned.close()
        self._owned.clear()
        self._appends.close()
        await self._followers.close()
        await self._work.close()
        await self._reads.close()
        await self._topics.close()
        await self._discards.done()

    # -- streams --------------------------------------------------------------------------

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""
        await self._catalogue.refresh()
        streams = self._catalogue.streams
        return [streams[name].entry for name in sorted(streams)]

    async def create_stream(self, config: StreamConfig) -> StreamEntry:
        """Make a stream's topics where they are absent, and announce it; see `LogBackend`."""
        async with self._catalogue.change() as change:
            self._check_readable(config.name)
            there = self._catalogue.streams.get(config.name)
            if there is not None:
                raise StreamExists(config.name, there.config.changed(config))
            control = names.control_topic(self._connection)
            stream_topics.check_free(config.name, control, self._catalogue.names - {config.name})
            ours = await self._ours(config)
            topic = names.topics_of(config.name).input
            absent = await self._topics.absent(topic, config.partitions)
            # 1. Whoever goes on after our death knows whether the input is the stream's.
            made_input = absent or ours
            intended = stream_topics.intended(config, made_input=made_input)
            await change.write(config.name, intended)
            # 2. The topics; then there is a stream.
            stored = await stream_topics.make(self._topics, self._work, config, ours=ours)
            await change.write(config.name, stored)
        return self._stored(config.name).entry

    async def _ours(self, config: StreamConfig) -> bool:
        """Finish a deletion that was begun; tell whether a creation that was made the input."""
        left = self._catalogue.unfinished.get(config.name)
        if left is not None and left.state == "going":
            await stream_topics.delete(self._topics, left)
            return False
        return left is not None and left.made_input

    def _check_readable(self, name: str) -> None:
        """Refuse to change what we cannot read: it would be lost."""
        reason = self._catalogue.unreadable.get(name)
        if reason is not None:
            allowed = f"a stream that this worker can read; of this one it cannot: {reason}"
            raise InvalidParameter("name", name, allowed)

    async def update_stream(self, stream: str, change: Change) -> StreamEntry:
        """Write the configuration and a record in every partition, at once; see `LogBackend`."""
        async with self._catalogue.change() as catalogue:
            self._check_readable(stream)
            former = self._stored(stream)
            config = change(former.config)
            if config is None:
                return former.entry
            topic, control = names.topics_of(stream).input, encode_config(config)
            writes = []
            for number in range(former.config.partitions):
                async with self._work.turn() as cursor:
                    last = await cursor.last(topic, number)
                time_ms = last.timestamp if last is not None else 0
                message = encode_control(control, former.number, time_ms)
                writes.append(Writes(topic, number, [message]))
            await catalogue.write(stream, former.with_config(config), writes)
        return self._stored(stream).entry

    async def delete_stream(self, stream: str) -> None:
        """Take a stream from the catalogue, then delete its topics; see `LogBackend`.

        The input stays when it was there before the stream. What was begun and not finished can be
        repeated, and so can what was begun to make the stream be undone.
        """
        async with self._catalogue.change() as change:
            self._check_readable(stream)
            stored = self._catalogue.unfinished.get(stream) or self._stored(stream)
            await change.write(stream, stored.with_state("going"))
        await stream_topics.delete(self._topics, stored)
        async with self._catalogue.change() as change:
            left = self._catalogue.unfinished.get(stream)
            if left is not None and (left.state, left.number) == ("going", stored.number):
                await change.write(stream, None)

    def _changed(self, former: Stored | None, stored: Stored | None) -> None:
        """Announce what the catalogue says; called by it, in its order."""
        if self._membership is not None:
            self._membership.subscribe(self._inputs())
        if former is not None and (stored is None or stored.number != former.number):
            gone = _partitions(former)
            for partition in gone:
                self._forget(partition)
                self._results.pop((partition, former.number), None)
            self._changes.put_nowait(OwnershipChange(deleted=(former.entry,), revoked=gone))
        if stored is not None:
            self._changes.put_nowait(OwnershipChange(streams=(stored.entry,)))

    def _inputs(self) -> list[str]:
        """Where there is no stream the control topic is one, so that the group lives without."""
        inputs = [names.topics_of(name).input for name in self._catalogue.streams]
        return inputs or [names.control_topic(self._connection)]

    def _stored(self, stream: str) -> Stored:
        try:
            return self._catalogue.streams[stream]
        except KeyError:
            raise UnknownStream(stream) from None

    # -- input ----------------------------------------------------------------------------

    async def append(self, stream: str, records: Sequence[tuple[int, NewRecord]]) -> list[Position]:
        """Append records; see `LogBackend`. They are appended even if the caller goes away."""
        self._stored(stream)
        parts: dict[int, list[Message]] = {}
        for number, record in records:
            parts.setdefault(number, []).append(encode_new(record))
        topic = names.topics_of(stream).input
        offsets = await asyncio.shield(asyncio.ensure_future(self._appends.append(topic, parts)))
        following = {number: iter(part) for number, part in offsets.items()}
        return [Position(number, next(following[number])) for number, _ in records]

    # -- ownership ------------------------------------------------------------------------

    async def changes(self) -> OwnershipChange:
        """Wait for the next change of ownership."""
        return await self._changes.get()

    async def assign(self, partition: StreamPartition) -> Assignment:
        """Take a partition over; see `LogBackend`."""
        stored = self._stored(partition.stream)
        former = self._owned.pop(partition, None)
        if former is not None:
            await former.close()
        owned = OwnedPartition(partition, stored, self._connection, self._topics, self._discards)
        try:
            await owned.fence()  # partitions side by side: it may wait for what others left open
            async with self._work.turn() as cursor:
                assignment = await owned.stand(cursor)
        except BaseException as error:
            await owned.close()
            if isinstance(error, Fenced):  # nothing is held yet; the group says whose it is
                raise TransientError(f"{partition}: another worker takes it over too") from error
            raise
        self._owned[partition] = owned
        self._results[partition, stored.number] = owned.results
        return assignment

    async def poll(
        self, partition: StreamPartition, offset: int, max_records: int, max_bytes: int
    ) -> Batch:
        """Wait for records; see `LogBackend`."""
        return await self._held(partition).poll(offset, max_records, max_bytes)

    async def commit(self, transaction: Transaction) -> None:
        """Write one transaction; see `LogBackend`."""
        owned = self._held(transaction.partition)
        try:
            await owned.commit(transaction)
        except Fenced:
            self._offer_again(owned)
            raise
        if transaction.trim_results_to or transaction.trim_input_to:
            async with self._work.turn() as cursor:
                await owned.trim(cursor, transaction)

    def _held(self, partition: StreamPartition) -> OwnedPartition:
        self._stored(partition.stream)
        try:
            return self._owned[partition]
        except KeyError:
            raise TransientError(f"{partition} is not taken over") from None

    def _tell_assigned(self, places: Places) -> None:
        """Say what is ours and what is others', after a rebalance."""
        mine = tuple(self._known(places))
        every = chain.from_iterable(map(_partitions, self._catalogue.streams.values()))
        foreign = tuple(partition for partition in every if partition not in mine)
        gone = tuple(partition for partition in self._told if partition not in mine)
        self._told = mine
        self._changes.put_nowait(OwnershipChange(assigned=mine, revoked=gone, foreign=foreign))

    def _known(self, places: Iterable[TopicPartition]) -> Iterable[StreamPartition]:
        """Leave out the control topic, and partitions that a topic has beyond its stream's."""
        beyond: dict[str, list[int]] = {}
        for topic, number in sorted(places):
            stored = self._catalogue.streams.get(topic)
            if stored is not None and number < stored.config.partitions:
                yield StreamPartition(topic, number)
            elif stored is not None:
                beyond.setdefault(topic, []).append(number)
        for topic, numbers in beyond.items():
            logger.error(
                "topic %s has partitions %s, but its stream has %d: records there are not read; "
                "see `rcf doctor`",
                topic,
                ", ".join(map(str, numbers)),
                self._catalogue.streams[topic].config.partitions,
            )

    def _offer_again(self, fenced: OwnedPartition) -> None:
        """Take a partition over once more if the group still says that it is ours.

        Two workers may fence each other while a rebalance is on its way to one of them. The one
        that is no member any more learns so with its next heartbeat; until then we wait.
        """

        async def offer() -> None:
            await asyncio.sleep(3 * self._connection.heartbeat_s)
            partition = fenced.partition
            owned = self._membership.owned if self._membership is not None else frozenset()
            is_ours = TopicPartition(partition.stream, partition.partition) in owned
            if is_ours and self._owned.get(partition) is fenced:
                again = (partition,)
                self._changes.put_nowait(OwnershipChange(revoked=again, assigned=again))

        task = asyncio.create_task(offer())
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    def _forget(self, partition: StreamPartition) -> None:
        owned = self._owned.pop(partition, None)
        if owned is not None:
            task = asyncio.create_task(asyncio.wait_for(owned.close(), 2 * CLOSE_S))
            self._again.add(task)
            task.add_done_callback(self._again.discard)

    # -- results --------------------------------------------------------------------------

    async def read_results(
        self, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
    ) -> ResultSlice:
        """Read committed results; see `LogBackend`."""
        results = self._results_of(partition)
        owned = self._owned.get(partition)
        settled = owned.settled if owned is not None else 0
        async with self._reads.turn() as cursor:
            return await results.read(cursor, offset, limit, where, settled)

    async def await_results(
        self, partition: StreamPartition, offset: int | None, limit: int
    ) -> ResultSlice:
        """Wait for results that another worker commits; see `ForeignResults`."""
        results = self._results_of(partition)
        if offset is None:
            async with self._reads.turn() as cursor:
                end = await results.end_in(cursor)
            origin = self._stored(partition.stream).origins[partition.partition]
            return ResultSlice([], origin if end is None else end)
        if not self._followers.stands_at(partition, offset):
            async with self._reads.turn() as cursor:
                place = await results.place_of(cursor, offset)
            self._followers.place(partition, offset, place)
        return await self._followers.read(partition, results, limit)

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read committed dead letters; see `LogBackend`."""
        stored, number = self._stored(partition.stream), partition.partition
        topic = names.topics_of(partition.stream).dead_letters
        found: list[DeadLetter] = []
        async with self._reads.turn() as cursor:
            ends = await cursor.ends(topic, number)
            begin = max(ends.begin, stored.dead_from[number])
            async for record in cursor.scan(topic, number, begin, ends.end):
                dead = decode_dead_letter(record)
                if dead.offset >= offset:
                    found.append(dead)
                    if len(found) == limit:
                        break
        return found

    def _results_of(self, partition: StreamPartition) -> ResultsTopic:
        stored = self._stored(partition.stream)
        known = self._results.get((partition, stored.number))
        if known is None:
            topic, number = names.topics_of(partition.stream).scores, partition.partition
            known = ResultsTopic(topic, number, stored.scores_from[number])
            self._results[partition, stored.number] = known
        return known


def _partitions(stored: Stored) -> tuple[StreamPartition, ...]:
    config = stored.config
    return tuple(StreamPartition(config.name, number) for number in range(config.partitions))
