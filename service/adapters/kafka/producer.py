"""The guard: the only caller of AIOKafkaProducer, and the rules that make it safe.

What a broker (Apache Kafka 4.2, one node on loopback) showed of aiokafka 0.14:

- Transactions work: it speaks the first version of the protocol, which 4.x still serves. A
  producer that starts with the id of another fences it: the former owner's next transactional
  request raises ProducerFenced, and what it had open is invisible to read_committed.
- A transaction takes 10 to 25 ms when the broker's JVM is warm. Records become visible 2 to 3 ms
  after the commit returned.
- A produce request that meets another request of its own transaction at the coordinator is
  answered NOT_ENOUGH_REPLICAS and repeated after `retry_backoff_ms` (100 by default, which made
  p90 137 ms). So offsets go only after every batch is acknowledged, and the backoff is 10 ms.
- `seek_to_beginning` races with the reset that `assign` begins, and may leave the position at the
  end: see `reader`.

Rules:

1. Every batch's future is awaited before offsets and commit; `async with transaction()` of the
   library commits even when a batch was refused.
2. Every wait is bounded.
3. After any error, time-out or cancellation the outcome is unknown and the producer is discarded.
   The next one with the same id settles the old transaction before it is ready; only after that
   is the committed offset read.
4. A commit that took nearly as long as a request may counts as unknown too: the library may have
   repeated the request, and a late repetition must not end a later transaction.
5. Fenced means another owner: no repetition.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition, errors
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.connection import (
    CALL_S,
    CLOSE_S,
    REQUEST_S,
    Connection,
    bounded,
    look_at,
)
from service.adapters.kafka.topics import LARGEST_BYTES
from service.engine.errors import Fenced, InvalidRecord, TransientError

logger = logging.getLogger(__name__)

BATCH_BYTES = 900_000
"""Size of one batch, below the 1,048,588 bytes that a broker takes by default."""

BACKOFF_MS = 10
SLOW_COMMIT_S = 0.9 * REQUEST_S
FEW = 64
"""Up to so many records of an append join the records of other appends in one batch."""

Header = tuple[str, bytes | None]
Sent = tuple["asyncio.Future[Any]", int]
"""The acknowledgement to come of a batch, and its records; or of one record of a shared batch."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One record to write; `timestamp_ms` is at least 0.

    Headers are a list because the library takes nothing else, and a copy for each record costs
    as much as the rest of it.
    """

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: list[Header] = []


@dataclass(frozen=True, slots=True)
class Writes:
    """Records for one partition of a topic, in order."""

    topic: str
    partition: int
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class GroupOffsets:
    """The offset that a transaction commits for a group."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str


class Discards:
    """Closes clients in the background: in good order if that is quick, else by cutting them off.

    The library's own `stop` waits without bound while no broker answers.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, producer: AIOKafkaProducer) -> None:
        """Begin to close a producer."""
        task = asyncio.create_task(_close(producer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def done(self) -> None:
        """Wait for all of them, within a bound."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=3 * CLOSE_S)


async def _close(producer: AIOKafkaProducer) -> None:
    stopping = asyncio.create_task(producer.stop())
    await asyncio.wait({stopping}, timeout=CLOSE_S)
    if not stopping.done():
        sender = producer._sender.sender_task
        tasks = [task for task in (stopping, sender) if task is not None]
        for _ in range(2):  # the sender's first answer to a cancellation is to wait for its tasks
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CLOSE_S / 2)
        with contextlib.suppress(Exception):
            await bounded(producer.client.close(), "closing a producer", CLOSE_S)
    # What broke the producer stands in these, and is known already.
    for future in (stopping, *_futures(producer)):
        if future is not None:
            future.add_done_callback(look_at)


def _futures(producer: AIOKafkaProducer) -> Iterator[asyncio.Future[Any] | None]:
    """What the library sets errors in, and may leave without anybody who looks."""
    yield producer._sender.sender_task
    if producer._txn_manager is not None:
        yield producer._txn_manager._transaction_waiter
        yield producer._txn_manager._task_waiter
    accumulator = producer._message_accumulator
    for batch in chain(*accumulator._batches.values(), accumulator._pending_batches):
        yield batch.future
        yield batch._drain_waiter


class TransactionalProducer:
    """Writes transactions under one id, until the first one whose outcome is not certain."""

    def __init__(self, connection: Connection, identity: str, discards: Discards) -> None:
        self._connection = connection
        self._identity = identity
        self._discards = discards
        self._producer: AIOKafkaProducer | None = None
        self.epoch = -1

    async def start(self) -> None:
        """Fence whoever has this id, and settle what they had open.

        Raises:
            TransientError: the brokers do not answer.
        """
        producer = AIOKafkaProducer(
            **self._connection.options(),
            transactional_id=self._identity,
            transaction_timeout_ms=int(self._connection.transaction_s * 1000),
            max_batch_size=BATCH_BYTES,
            linger_ms=0,
            retry_backoff_ms=BACKOFF_MS,
        )
        try:
            await bounded(producer.start(), f"taking over {self._identity}", 2 * CALL_S)
        except BaseException:
            self._discards.add(producer)
            raise
        self._producer = producer
        # An id counts its epochs up to 2**15, then another one follows. Ids that one broker gives
        # rise; those of several brokers need not, but none is given twice.
        manager = producer._txn_manager
        self.epoch = (manager.producer_id << 16) + manager.producer_epoch

    @property
    def usable(self) -> bool:
        """Whether no outcome is unknown so far."""
        return self._producer is not None

    async def commit(
        self, batches: Iterable[Writes], offsets: GroupOffsets | None = None
    ) -> Mapping[tuple[str, int], int]:
        """Write everything in one transaction; return the first offset in each partition.

        Raises:
            Fenced: another producer has this id.
            TransientError: the outcome is unknown, and this object cannot be used any more.
        """
        producer = self._producer
        if producer is None:
            raise TransientError(f"{self._identity}: the last transaction's outcome is unknown")
        began_s = time.monotonic()
        try:
            first = await bounded(
                _transact(producer, batches, offsets), f"a transaction of {self._identity}"
            )
            if time.monotonic() - began_s > SLOW_COMMIT_S:
                raise TransientError(f"a transaction of {self._identity} took too long to trust")
        except BaseException:
            self.close()
            raise
        return first

    def close(self) -> None:
        """Let go; what is open is aborted by the next owner of the id."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            self._discards.add(producer)


async def _transact(
    producer: AIOKafkaProducer, batches: Iterable[Writes], offsets: GroupOffsets | None
) -> dict[tuple[str, int], int]:
    await producer.begin_transaction()
    producer._txn_manager._transaction_waiter.add_done_callback(look_at)
    # 1. All batches, and the acknowledgement of each.
    first = await _write(producer, [batch for batch in batches if batch.messages])
    # 2. The offset of the input, in the same transaction.
    if offsets is not None:
        place = TopicPartition(offsets.topic, offsets.partition)
        settled = {place: OffsetAndMetadata(offsets.offset, offsets.metadata)}
        await producer.send_offsets_to_transaction(settled, offsets.group)
    # 3. Now all of it appears.
    await producer.commit_transaction()
    return first


async def _write(
    producer: AIOKafkaProducer, batches: Sequence[Writes]
) -> dict[tuple[str, int], int]:
    """Write batches and wait for every acknowledgement; return each partition's first offset."""
    sent = [(batch, await _send(producer, batch)) for batch in batches]
    await _all(future for _, futures in sent for future, _ in futures)
    first: dict[tuple[str, int], int] = {}
    for batch, futures in sent:
        first.setdefault((batch.topic, batch.partition), futures[0][0].result().offset)
    return first


async def _send(producer: AIOKafkaProducer, batch: Writes) -> list[Sent]:
    """Hand records over in as few batches as they fit in."""
    sent = []
    for builder in _build(producer.create_batch, batch.messages):
        future = await producer.send_batch(builder, batch.topic, partition=batch.partition)
        future.add_done_callback(look_at)  # it may fail before another one is handed over
        _look_at_drain(producer, TopicPartition(batch.topic, batch.partition))
        sent.append((future, builder.record_count()))
    return sent


def _look_at_drain(producer: AIOKafkaProducer, place: TopicPartition) -> None:
    """See to the second future of the batch just handed over, in which an error is set too."""
    batch = producer._message_accumulator._batches[place][-1]
    batch.future.add_done_callback(lambda _: batch._drain_waiter.add_done_callback(look_at))


def _build(create: Callable[[], Any], messages: Sequence[Message]) -> list[Any]:
    """Write messages into as few batches as they fit in; an empty one takes any message."""
    builder = create()
    builders = [builder]
    for message in messages:
        while None is builder.append(
            timestamp=message.timestamp_ms,
            key=message.key,
            value=message.value,
            headers=message.headers,
        ):
            builder = create()
            builders.append(builder)
    return builders


async def _all(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for all; raise the first error, and leave none unseen."""
    found = await asyncio.gather(*futures, return_exceptions=True)
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome


class AppendProducer:
    """Appends to inputs: acknowledged by all replicas, written once, in order, no transaction."""

    def __init__(self, connection: Connection, discards: Discards) -> None:
        self._connection = connection
        self._discards = discards
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def append(
        self, topic: str, parts: Mapping[int, Sequence[Message]]
    ) -> dict[int, list[int]]:
        """Append records to partitions of a topic; return their offsets.

        Raises:
            InvalidRecord: one is larger than the topic takes; others may have been appended.
            TransientError: it is unknown which of them were appended.
        """
        producer = await self._started()
        try:
            return await bounded(_append(producer, topic, parts), f"appending to {topic}")
        except (TransientError, Fenced) as error:
            if self._producer is producer:
                self.close()
            if isinstance(error.__cause__, errors.MessageSizeTooLargeError):
                _check_sizes(topic, chain(*parts.values()))
            raise

    def close(self) -> None:
        """Let go."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            self._discards.add(producer)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._connection.options(),
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=LARGEST_BYTES,
                    linger_ms=0,
                    retry_backoff_ms=BACKOFF_MS,
                )
                try:
                    await bounded(producer.start(), "connecting a producer")
                except BaseException:
                    self._discards.add(producer)
                    raise
                self._producer = producer
            return self._producer


def _check_sizes(topic: str, messages: Iterable[Message]) -> None:
    """Say whose fault it is that something was too large: a record's that filled a batch alone.

    A batch of several is smaller than what brokers take by default.

    Raises:
        InvalidRecord: there is such a record.
    """
    largest = max(len(message.value or b"") for message in messages)
    if largest > BATCH_BYTES:
        reason = f"its {largest} bytes are more than the topic {topic!r} takes"
        raise InvalidRecord("", None, reason)


async def _append(
    producer: AIOKafkaProducer, topic: str, parts: Mapping[int, Sequence[Message]]
) -> dict[int, list[int]]:
    await _find(producer, topic, parts)
    sent: dict[int, list[Sent]] = {}
    for number, messages in parts.items():
        joins = len(messages) <= FEW and all(_may_join(message) for message in messages)
        send = _join if joins else _send
        sent[number] = await send(producer, Writes(topic, number, messages))
    await _all(future for futures in sent.values() for future, _ in futures)
    if any(future.result().offset < 0 for futures in sent.values() for future, _ in futures):
        raise TransientError(f"Kafka: records of {topic} were appended, nobody knows where")
    return {
        number: [future.result().offset + i for future, count in futures for i in range(count)]
        for number, futures in sent.items()
    }


async def _find(producer: AIOKafkaProducer, topic: str, numbers: Iterable[int]) -> None:
    """See to it that all partitions are known before records are handed over to any.

    The library asks for them every few minutes, and meanwhile a stream may have been made again
    with more.
    """
    wanted = set(numbers)
    if not wanted <= await producer.partitions_for(topic):
        await producer.client.force_metadata_update()
        missing = wanted - await producer.partitions_for(topic)
        if missing:
            listed = ", ".join(map(str, sorted(missing)))
            raise TransientError(f"Kafka: no broker knows of partitions {listed} of {topic} yet")


def _may_join(message: Message) -> bool:
    """Tell whether the library takes a record that is no batch: not one of no key and no value."""
    return message.key is not None or message.value is not None


async def _join(producer: AIOKafkaProducer, batch: Writes) -> list[Sent]:
    """Hand records over to the batch that is being gathered."""
    sent = []
    for message in batch.messages:
        future = await producer.send(
            batch.topic,
            message.value,
            message.key,
            batch.partition,
            message.timestamp_ms,
            message.headers or None,
        )
        future.add_done_callback(look_at)
        sent.append((future, 1))
    return sent
