"""What the Kafka adapter promises, piece by piece; and bugs put in on purpose, each caught by one.

`make test` tries a few of the bugs, `make chaos ARGS="kafka faults"` every one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import aiokafka.client
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.metadata import MetadataRequest

from service.adapters.kafka import (
    Connection,
    KafkaLog,
    connection,
    formats,
    names,
    producer,
    reader,
)
from service.adapters.kafka import partition as partition_module
from service.adapters.kafka.partition import OwnedPartition
from service.adapters.kafka.producer import GroupOffsets, TransactionalProducer
from service.adapters.kafka.results import ResultsTopic
from service.adapters.kafka.standing import Committed
from service.adapters.kafka.topics import KEPT
from service.engine.config import StreamConfig
from service.engine.errors import EngineError, Fenced, TransientError
from service.engine.records import EVERYTHING, Pointer, StreamPartition, Transaction
from tests.kafka.fixtures import connection as new_connection
from tests.kafka.owner import Owner, check_outputs
from tests.kafka.probe import produce
from tests.kafka.proxy import Api, Kind, Proxy
from tests.kafka.test_log import TIME_MS, new, results, stream

Patch = pytest.MonkeyPatch
PIECE_S = 20.0
CALL_S = 2.0
"""The bound of a call while a broker is silent, in place of the service's own."""


@dataclass
class World:
    """A stream behind a proxy, and two workers of it."""

    kafka: Connection
    there: Connection
    proxy: Proxy
    config: StreamConfig
    one: KafkaLog
    two: KafkaLog
    number: int = 0

    @property
    def part(self) -> StreamPartition:
        return StreamPartition(self.config.name, self.number)

    async def owner(self, log: KafkaLog | None = None) -> Owner:
        found = Owner(log or self.one, self.part)
        await found.take_over()
        return found

    async def check(self, end: int) -> None:
        await asyncio.to_thread(check_outputs, self.kafka, self.there, self.part, end)


def run(
    kafka: Connection,
    proxy: Proxy,
    *promises: Callable[[World], Awaitable[None]],
    spoil: Callable[[], None] = lambda: None,
) -> None:
    """Look whether promises are kept, each on a partition of its own; `spoil` puts a bug in."""
    there = new_connection(proxy.address)
    config = stream(there, len(promises))

    async def body() -> None:
        one, two = KafkaLog(there), KafkaLog(there)
        for log in (one, two):
            await log._catalogue.open()  # without joining the group
        await one.create_stream(config)
        await two._catalogue.refresh()
        spoil()
        try:
            for number, promise in enumerate(promises):
                world = World(kafka, there, proxy, config, one, two, number)
                await one.append(config.name, new(*range(8), partition=number))
                sys.stdout.write(
                    f"{time.strftime('%X')} {promise.__name__}\n"
                )  # shown when it is not kept
                await asyncio.wait_for(promise(world), PIECE_S)
        finally:
            for log in (one, two):
                await log.close()

    asyncio.run(asyncio.wait_for(body(), 60 + PIECE_S))


@contextlib.contextmanager
def impatience() -> Iterator[None]:
    """Scale the bounds of the service's waits down."""
    found = connection.bounded.__defaults__
    connection.bounded.__defaults__ = (CALL_S,)
    try:
        yield
    finally:
        connection.bounded.__defaults__ = found


# -- the promises -------------------------------------------------------------------------


async def a_refused_batch_takes_the_whole_transaction_with_it(world: World) -> None:
    owner = await world.owner()
    await owner.commit()

    def of_anomalies(request) -> bool:
        return any(topic.endswith(".anomalies") for topic, _ in request.topics)

    refused = world.proxy.fault(Api.PRODUCE, Kind.REFUSE, 10, fits=of_anomalies)
    with refused, pytest.raises(TransientError):
        await owner.commit()
    await owner.recover()
    await world.check(2)


async def an_answer_that_lies_changes_nothing(world: World) -> None:
    owner = await world.owner()
    for kind in (Kind.REFUSE, Kind.DENY):
        with world.proxy.fault(Api.END_TRANSACTION, kind, 48), pytest.raises(EngineError):
            await owner.commit()
        await owner.recover()
    await world.check(owner.at)


async def a_former_owner_is_fenced(world: World) -> None:
    former = await world.owner()
    await former.commit()
    newer = await world.owner(world.two)
    with pytest.raises(Fenced):
        await former.commit()
    await newer.commit()
    await world.check(2)


async def a_new_owner_reads_after_it_fenced(world: World) -> None:
    former = await world.owner()
    with world.proxy.fault(Api.INIT_PRODUCER_ID, Kind.HOLD) as fault:
        taking = asyncio.create_task(world.owner(world.two))
        await asyncio.to_thread(fault.met.wait, 10)
        await former.commit()
        fault.go.set()
        newer = await taking
    assert newer.at == 1
    await newer.commit()
    await world.check(2)


async def what_a_former_owner_left_open_is_not_seen(world: World) -> None:
    former = await world.owner()
    with world.proxy.fault(Api.END_TRANSACTION, Kind.HOLD) as fault:
        committing = asyncio.create_task(former.commit())
        await asyncio.to_thread(fault.met.wait, 10)
        newer = await world.owner(world.two)
        fault.go.set()
        with pytest.raises(Fenced):
            await committing
    await newer.commit()
    await world.check(1)


async def after_an_unknown_outcome_nothing_is_written(world: World) -> None:
    owner = await world.owner()
    with world.proxy.fault(Api.COMMIT_OFFSETS, Kind.REFUSE, 45), pytest.raises(TransientError):
        await owner.commit()
    with pytest.raises(TransientError, match="unknown"):
        await owner.commit()
    await owner.recover()
    await world.check(1)


async def a_pointer_appears_with_its_transaction_only(world: World) -> None:
    owner = await world.owner()
    pointer = Pointer(0, "s.1/0/m", "ab")
    with world.proxy.fault(Api.ADD_OFFSETS, Kind.REFUSE, 48), pytest.raises(EngineError):
        await owner.commit(pointer)
    await asyncio.sleep(0.2)  # what is committed shows a moment later
    assert (await world.one.assign(world.part)).pointers == ()
    await owner.take_over()
    await owner.commit(pointer)
    assert (await world.one.assign(world.part)).pointers == (pointer,)


async def a_stream_made_again_begins_again(world: World) -> None:
    """Its input was there before it, so it outlives the stream, and so do the group's offsets."""
    config = dataclasses.replace(world.config, name=f"{world.config.name}-again", partitions=1)
    await world.one._topics.make(config.name, 1, KEPT)
    there = dataclasses.replace(world, config=config, number=0)
    for _ in range(2):
        await world.one.create_stream(config)
        await world.one.append(config.name, new(1, 2))
        owner = await there.owner()
        assert owner.at == 0
        await owner.commit()
        await there.check(1)
        await world.one.delete_stream(config.name)


async def offsets_without_a_record_are_stepped_over(world: World) -> None:
    options = {"transactional.id": f"p-{world.config.name}"}
    for _ in range(2):  # the second begins behind the first one's marker
        rows = [(world.number, b"k", b"1", TIME_MS)]
        await asyncio.to_thread(produce, world.kafka.bootstrap, world.config.name, rows, **options)
    owner = await world.owner()
    offsets: list[int] = []
    while len(offsets) < 10:
        batch = await world.one.poll(world.part, offsets[-1] + 1 if offsets else 0, 100, 10**6)
        offsets += [record.offset for record in batch.records]
    assert offsets == [*range(9), 10]
    done = results(*offsets)
    await world.one.commit(Transaction(world.part, owner.epoch, 0, 11, done))
    await owner.take_over()
    assert owner.at == 11


async def a_silent_broker_is_not_waited_for(world: World) -> None:
    owner = await world.owner()
    with impatience():
        world.proxy.stall()
        began_s = time.monotonic()
        try:
            with pytest.raises(TransientError):
                await asyncio.wait_for(owner.commit(), CALL_S + 2.5)
        finally:
            world.proxy.flow()
        assert time.monotonic() - began_s < CALL_S + 2.5
    await owner.recover()
    await world.check(owner.at)


async def what_is_trimmed_is_below_what_was_asked_for(world: World) -> None:
    owner = await world.owner()
    for _ in range(3):
        await owner.commit()
    transaction = Transaction(world.part, owner.epoch, 3, 4, results(3), trim_results_to=2)
    await world.one.commit(transaction)
    read = await world.one.read_results(world.part, 0, 10, EVERYTHING)
    assert [result.offset for result in read.results] == [2, 3]


async def a_control_record_of_another_stream_is_data(world: World) -> None:
    number = world.one._stored(world.config.name).number
    header = [(formats.CONTROL, b"%d" % (number + 1))]
    records = [_record(header), _record([(formats.CONTROL, b"%d" % number)])]
    assert [each.control for each in formats.decode_records(records, number)] == [False, True]


async def a_look_at_a_topic_does_not_make_it(world: World) -> None:
    """The broker of the tests makes topics that are asked for, as brokers do by default."""
    absent = f"{world.config.name}-absent"
    with impatience(), contextlib.suppress(EngineError):
        async with world.one._work.turn() as cursor:
            await cursor.read(absent, 0, 0, 1, 0.1)
            await cursor.ends(absent, 0)
    assert await world.one._topics.counts([absent]) == {}


def _record(headers: list[tuple[str, bytes]]) -> object:
    from types import SimpleNamespace

    return SimpleNamespace(offset=0, timestamp=0, key=None, value=b"", headers=headers)


PROMISES = [
    a_refused_batch_takes_the_whole_transaction_with_it,
    an_answer_that_lies_changes_nothing,
    a_former_owner_is_fenced,
    a_new_owner_reads_after_it_fenced,
    what_a_former_owner_left_open_is_not_seen,
    after_an_unknown_outcome_nothing_is_written,
    a_pointer_appears_with_its_transaction_only,
    offsets_without_a_record_are_stepped_over,
    a_silent_broker_is_not_waited_for,
    what_is_trimmed_is_below_what_was_asked_for,
    a_control_record_of_another_stream_is_data,
    a_look_at_a_topic_does_not_make_it,
    a_stream_made_again_begins_again,
]


# -- the bugs -----------------------------------------------------------------------------


def acknowledgements_are_not_awaited(patch: Patch) -> None:
    async def careless(client, batches):
        for batch in batches:
            await producer._send(client, batch)
        return {}

    patch.setattr(producer, "_write", careless)


def offsets_go_in_a_transaction_of_their_own(patch: Patch) -> None:
    original = producer._transact

    async def split(client, batches, offsets):
        await original(client, [], offsets)
        return await original(client, batches, None)

    patch.setattr(producer, "_transact", split)


def anomalies_go_in_a_transaction_of_their_own(patch: Patch) -> None:
    original = producer._transact

    async def split(client, batches, offsets):
        batches = list(batches)
        early = [each for each in batches if each.topic.endswith(".anomalies")]
        await original(client, early, None)
        return await original(client, [each for each in batches if each not in early], offsets)

    patch.setattr(producer, "_transact", split)


def the_committed_offset_is_one_too_high(patch: Patch) -> None:
    def shifted(group, topic, number, offset, metadata):
        return GroupOffsets(group, topic, number, offset + 1, metadata)

    patch.setattr(partition_module, "GroupOffsets", shifted)


def a_commit_that_is_never_sent(patch: Patch) -> None:
    async def lazy(client, batches, offsets):
        await client.begin_transaction()
        return await producer._write(client, [each for each in batches if each.messages])

    patch.setattr(producer, "_transact", lazy)


def the_offset_is_read_before_the_fence(patch: Patch) -> None:
    fence, read = OwnedPartition.fence, partition_module.committed_offset

    async def early(self):
        number = self.partition.partition
        committed = await read(self._topics, self._connection, self.stored, number)
        cursor = reader.Cursor(self._connection)
        end = await self.results.end_in(cursor)
        await cursor.close()

        async def stale(*_):
            return committed

        async def stale_end(*_):
            return end

        self.results.end_in = stale_end
        patch.setattr(partition_module, "committed_offset", stale)
        await fence(self)

    patch.setattr(OwnedPartition, "fence", early)


def every_worker_has_an_id_of_its_own(patch: Patch) -> None:
    patch.setattr(names, "transactional_id", lambda *_: uuid.uuid4().hex)


def readers_see_what_is_not_committed(patch: Patch) -> None:
    def careless(**options):
        return AIOKafkaConsumer(**options | {"isolation_level": "read_uncommitted"})

    patch.setattr(reader, "AIOKafkaConsumer", careless)


def a_broken_producer_is_used_again(patch: Patch) -> None:
    patch.setattr(TransactionalProducer, "close", lambda _: None)


def the_pointer_goes_ahead(patch: Patch) -> None:
    original = OwnedPartition.commit

    async def early(self, transaction):
        pointers = [
            each for each in self._batches(transaction) if each.topic.endswith(".checkpoints")
        ]
        if pointers:
            await self._producer.commit(pointers)
        await original(self, transaction)

    patch.setattr(OwnedPartition, "commit", early)


def an_earlier_stream_of_this_name_counts(patch: Patch) -> None:
    async def careless(topics, there, stored, number):
        found = await topics.committed(there.application, stored.config.name, number)
        return None if found is None else Committed(found[0], found[0])

    patch.setattr(partition_module, "committed_offset", careless)


def gaps_are_not_noted(patch: Patch) -> None:
    patch.setattr(OwnedPartition, "_note_gaps", lambda *_: None)


def a_wait_without_bound(patch: Patch) -> None:
    async def patient(call, what, seconds=0.0):
        return await call

    patch.setattr(producer, "bounded", patient)


def fenced_is_taken_for_a_passing_error(patch: Patch) -> None:
    patch.setattr(connection, "FENCED", ())


def trims_one_too_far(patch: Patch) -> None:
    original = ResultsTopic.place_below

    async def far(self, cursor, offset):
        return await original(self, cursor, offset + 1)

    patch.setattr(ResultsTopic, "place_below", far)


def control_records_of_any_stream_count(patch: Patch) -> None:
    patch.setattr(formats, "CONTROL", "offset")
    patch.setattr(
        formats,
        "_decode_record",
        lambda each, _: formats.Record(0, 0, None, b"", bool(each.headers)),
    )


def results_are_named_after_the_next_record(patch: Patch) -> None:
    original = formats.encode_results

    def shifted(found, part, common):
        names_of = [(name, value) for name, value in common]
        messages = original(found, part, tuple(names_of))
        for message in messages:
            name, value = message.headers[0]
            head, _, offset = value.rpartition(b"/")
            message.headers[0] = (name, head + b"/%d" % (int(offset) + 1))
        return messages

    patch.setattr(partition_module, "encode_results", shifted)


def asking_makes_topics(patch: Patch) -> None:
    patch.setattr(aiokafka.client, "MetadataRequest", MetadataRequest)


BUGS = {
    acknowledgements_are_not_awaited: a_refused_batch_takes_the_whole_transaction_with_it,
    offsets_go_in_a_transaction_of_their_own: a_refused_batch_takes_the_whole_transaction_with_it,
    anomalies_go_in_a_transaction_of_their_own: after_an_unknown_outcome_nothing_is_written,
    the_committed_offset_is_one_too_high: a_former_owner_is_fenced,
    a_commit_that_is_never_sent: a_former_owner_is_fenced,
    the_offset_is_read_before_the_fence: a_new_owner_reads_after_it_fenced,
    every_worker_has_an_id_of_its_own: a_former_owner_is_fenced,
    readers_see_what_is_not_committed: what_a_former_owner_left_open_is_not_seen,
    a_broken_producer_is_used_again: after_an_unknown_outcome_nothing_is_written,
    the_pointer_goes_ahead: a_pointer_appears_with_its_transaction_only,
    an_earlier_stream_of_this_name_counts: a_stream_made_again_begins_again,
    gaps_are_not_noted: offsets_without_a_record_are_stepped_over,
    a_wait_without_bound: a_silent_broker_is_not_waited_for,
    fenced_is_taken_for_a_passing_error: a_former_owner_is_fenced,
    trims_one_too_far: what_is_trimmed_is_below_what_was_asked_for,
    control_records_of_any_stream_count: a_control_record_of_another_stream_is_data,
    asking_makes_topics: a_look_at_a_topic_does_not_make_it,
    results_are_named_after_the_next_record: a_former_owner_is_fenced,
}
FEW = (acknowledgements_are_not_awaited, the_offset_is_read_before_the_fence, a_wait_without_bound)


@pytest.mark.slow
def test_the_promises_are_kept(kafka, proxy):
    run(kafka, proxy, *PROMISES)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "bug", BUGS if os.environ.get("RCF_LONG") else FEW, ids=lambda each: each.__name__
)
def test_the_bug_is_caught(kafka, proxy, bug, monkeypatch):
    """Whatever it leaves open is swept up here, and held against no other test."""
    with pytest.raises((AssertionError, pytest.fail.Exception, EngineError, TimeoutError)):
        run(kafka, proxy, BUGS[bug], spoil=lambda: bug(monkeypatch))
    monkeypatch.undo()
    gc.collect()
