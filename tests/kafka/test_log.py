"""What a log in Kafka promises beyond the contract of every log."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from service.adapters.kafka import Connection, KafkaLog, names, partition
from service.adapters.kafka.catalogue import Change
from service.adapters.kafka.formats import decode_result
from service.adapters.kafka.partition import OwnedPartition
from service.adapters.kafka.producer import AppendProducer, Discards, Message
from service.adapters.kafka.reader import Cursor
from service.adapters.kafka.results import ResultsTopic
from service.adapters.kafka.standing import Committed, committed_offset
from service.adapters.kafka.topics import KEPT, Topics
from service.engine.config import StreamConfig
from service.engine.errors import (
    Fenced,
    InvalidParameter,
    InvalidRecord,
    StateLost,
    StreamExists,
    TransientError,
    UnknownStream,
)
from service.engine.records import (
    EVERYTHING,
    DeadLetter,
    NewRecord,
    OwnershipChange,
    Result,
    ResultFilter,
    StreamPartition,
    Transaction,
)
from service.messages.stream import Stored
from tests.kafka.fixtures import connection
from tests.kafka.probe import committed_records, group_offsets, produce
from tests.kafka.proxy import Api, Kind

TIME_MS = 1_700_000_000_000


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body(), 60)

    asyncio.run(bounded())


def stream(connection: Connection, partitions: int = 1) -> StreamConfig:
    """A stream of a name of its own, on a broker that other tests use too."""
    return StreamConfig(name=f"s-{connection.application}", partitions=partitions)


async def log_with(connection: Connection, config: StreamConfig) -> KafkaLog:
    """A log that is open, and has the stream."""
    log = KafkaLog(connection)
    await log.open()
    await log.create_stream(config)
    return log


async def post_at_once(connection: Connection, config: StreamConfig) -> list[tuple]:
    """Three records in a transaction, whose end takes an offset too; return what was sent."""
    rows = [(0, b"k", b"%d" % turn, TIME_MS) for turn in range(3)]
    options = {"transactional.id": f"p-{config.name}"}
    await asyncio.to_thread(produce, connection.bootstrap, config.name, rows, **options)
    return rows


def new(*values: int, partition: int = 0) -> list[tuple[int, NewRecord]]:
    return [(partition, NewRecord(b"%d" % value, "k", TIME_MS + value)) for value in values]


def results(*offsets: int, anomalies: tuple[int, ...] = ()) -> list[Result]:
    return [Result(n, TIME_MS + n, "k", n in anomalies, b'{"n":%d}' % n) for n in offsets]


async def change_of(log: KafkaLog, wanted: Callable[[OwnershipChange], object]) -> OwnershipChange:
    while not wanted(change := await log.changes()):
        pass
    return change


def test_another_process_fences_the_former_owner(kafka):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        former, newer = KafkaLog(kafka), KafkaLog(kafka)
        await former.open()
        await former.create_stream(config)
        await former.append(config.name, new(1, 2))
        old = await former.assign(part)
        await newer.open()
        assignment = await newer.assign(part)
        assert assignment.epoch > old.epoch
        with pytest.raises(Fenced):
            await former.commit(Transaction(part, old.epoch, 0, 2, results(0, 1)))
        assert (await newer.read_results(part, 0, 10, EVERYTHING)).results == []
        await newer.commit(Transaction(part, assignment.epoch, 0, 2, results(0, 1)))
        read = await former.await_results(part, 0, 10)
        assert (list(read.results), read.next_offset) == (results(0, 1), 2)
        await former.close()
        await newer.close()

    run(body)


def test_a_takeover_that_meets_another_one_may_be_tried_again(kafka, proxy):
    there = connection(proxy.address)
    config = stream(there)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        log = await log_with(there, config)
        fenced = proxy.fault(Api.INIT_PRODUCER_ID, Kind.REFUSE, 47)  # INVALID_PRODUCER_EPOCH
        with fenced, pytest.raises(TransientError, match="another worker takes it over too"):
            await log.assign(part)
        assert (await log.assign(part)).committed == 0
        await log.close()

    run(body)


def test_partitions_are_taken_over_side_by_side(kafka, proxy):
    there = connection(proxy.address)
    config = stream(there, 2)
    first, second = (StreamPartition(config.name, number) for number in range(2))

    async def body() -> None:
        log = await log_with(there, config)
        identity = names.transactional_id(there, first)

        def of_first(request) -> bool:
            return request.transactional_id == identity

        with proxy.fault(Api.INIT_PRODUCER_ID, Kind.HOLD, fits=of_first) as held:
            waiting = asyncio.create_task(log.assign(first))
            await asyncio.to_thread(held.met.wait, 10)
            assert (await asyncio.wait_for(log.assign(second), 5)).committed == 0
            assert not waiting.done()
            held.go.set()
            assert (await waiting).committed == 0
        await log.close()

    run(body)


def test_partitions_that_a_topic_has_beyond_its_stream_s_are_left_alone(caplog):
    config = StreamConfig(name="s", partitions=2)
    stored = Stored(config, config, 0, True, [0, 0], [0, 0], [0, 0])

    async def body() -> None:
        log = KafkaLog(Connection("127.0.0.1:1"))
        log._catalogue.streams["s"] = stored
        log._tell_assigned(frozenset(_place("s", number) for number in (1, 2, 3)))
        change = await log.changes()
        assert change.assigned == (StreamPartition("s", 1),)
        assert change.foreign == (StreamPartition("s", 0),)

    run(body)
    (said,) = caplog.messages
    assert "topic s has partitions 2, 3, but its stream has 2" in said and "`rcf doctor`" in said


def test_a_refused_batch_commits_nothing(kafka):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        topics = Topics(kafka)
        await topics.make(f"{config.name}.anomalies", 1, KEPT | {"max.message.bytes": "300"})
        log = await log_with(kafka, config)
        await log.append(config.name, new(1, 2))
        epoch = (await log.assign(part)).epoch
        large = Result(1, 1, "k", True, bytes(1000))
        with pytest.raises(TransientError, match="MessageSizeTooLarge"):
            await log.commit(Transaction(part, epoch, 0, 2, [*results(0), large]))
        with pytest.raises(TransientError, match="unknown"):
            await log.commit(Transaction(part, epoch, 0, 2, results(0, 1)))
        again = await log.assign(part)
        assert (again.committed, again.results_end) == (0, None)
        await log.commit(Transaction(part, again.epoch, 0, 2, results(0, 1)))
        assert (await log.assign(part)).committed == 2
        await log.close()
        await topics.close()

    run(body)
    assert group_offsets(kafka.bootstrap, kafka.application, config.name, 1) == [2]


def test_what_plain_readers_see(kafka):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.append(config.name, new(1, 2))
        epoch = (await log.assign(part)).epoch
        dead = DeadLetter(1, TIME_MS, "k", b"2", "values", "no number")
        done = results(0, 1, anomalies=(0,))
        await log.commit(Transaction(part, epoch, 0, 2, done, [dead]))
        await log.close()

    run(body)
    scores, anomalies, letters = (
        committed_records(kafka.bootstrap, f"{config.name}.{kind}", 0)
        for kind in ("scores", "anomalies", "dlq")
    )
    assert [each.value() for each in scores] == [b'{"n":0}', b'{"n":1}']
    assert [each.value() for each in anomalies] == [b'{"n":0}']
    assert scores[0].key() == b"k" and scores[0].timestamp()[1] == TIME_MS
    headers = dict(scores[1].headers())
    assert headers["ce_id"] == f"{config.name}/0/1".encode()
    assert headers["ce_specversion"] == b"1.0" and headers["ce_type"] and headers["ce_source"]
    assert letters[0].value() == b"2"
    headers = dict(letters[0].headers())
    assert headers["__connect.errors.topic"] == config.name.encode()
    assert headers["__connect.errors.offset"] == b"1"
    assert headers["__connect.errors.exception.message"] == b"no number"


def test_results_before_a_time_are_not_read(kafka, monkeypatch):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)
    count, step = 3000, 1000
    times = [10 * n + (-100 if n % 7 == 0 else 0) for n in range(count)]  # not in their order
    begin_ms = int(1000 * time.time())  # the broker's own records bear the time of day
    read: list[int] = []

    def counted(record):
        read.append(record.offset)
        return decode_result(record)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.append(config.name, new(*range(count)))
        epoch = (await log.assign(part)).epoch
        for start in range(0, count, step):
            made = [
                Result(n, begin_ms + times[n], "k", False, b"{}")
                for n in range(start, start + step)
            ]
            await log.commit(Transaction(part, epoch, start, start + step, made))
        monkeypatch.setattr("service.adapters.kafka.results.decode_result", counted)
        for late_ms in (29_500, 29_895, 29_990, 99_999):
            read.clear()
            where = ResultFilter(from_ms=begin_ms + late_ms)
            found = await log.read_results(part, 0, count, where)
            wanted = [n for n in range(count) if times[n] >= late_ms]
            assert [result.offset for result in found.results] == wanted
            assert len(read) < 200
            assert found.next_offset == count
        await log.close()

    run(body)


def test_a_long_read_keeps_no_commit_and_no_takeover_waiting(kafka, monkeypatch):
    config = stream(kafka, 2)
    first, second = (StreamPartition(config.name, number) for number in range(2))
    reading, go = asyncio.Event(), asyncio.Event()
    read = ResultsTopic.read

    async def slow(*arguments):
        reading.set()
        await go.wait()
        return await read(*arguments)

    monkeypatch.setattr(ResultsTopic, "read", slow)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.append(config.name, new(*range(4)))
        epoch = (await log.assign(first)).epoch
        await log.commit(Transaction(first, epoch, 0, 2, results(0, 1)))
        waiting = asyncio.create_task(log.read_results(first, 0, 10, EVERYTHING))
        await reading.wait()
        trims = {"trim_input_to": 1, "trim_results_to": 1}
        settled = Transaction(first, epoch, 2, 4, results(2, 3), **trims)
        await asyncio.wait_for(asyncio.gather(log.commit(settled), log.assign(second)), 5)
        assert not waiting.done()
        go.set()
        assert [result.offset for result in (await waiting).results][-1] == 3
        await log.close()

    run(body)


def test_results_that_go_while_they_are_read_are_left_out(kafka, monkeypatch):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)
    locate = ResultsTopic._locate

    async def body() -> None:
        topics, log = Topics(kafka), KafkaLog(kafka)

        async def late(self, *arguments) -> int:
            place = await locate(self, *arguments)
            await topics.trim({_place(self.topic, 0): 3})
            return place

        monkeypatch.setattr(ResultsTopic, "_locate", late)
        await log.open()
        await log.create_stream(config)
        await log.append(config.name, new(*range(4)))
        epoch = (await log.assign(part)).epoch
        for start in (0, 2):  # at the places 0 and 1, then, after a marker, 3 and 4
            done = results(start, start + 1)
            await log.commit(Transaction(part, epoch, start, start + 2, done))
        read = await log.read_results(part, 0, 10, EVERYTHING)
        assert ([result.offset for result in read.results], read.next_offset) == ([2, 3], 4)
        await log.close()
        await topics.close()

    run(body)


def test_a_stream_made_again_with_more_partitions_takes_records_in_all_of_them(kafka):
    config = stream(kafka)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.append(config.name, new(1))
        await log.delete_stream(config.name)
        await log.create_stream(replace(config, partitions=3))
        places = await log.append(config.name, [*new(1), *new(2, partition=2)])
        assert places == [(0, 0), (2, 0)]
        await log.close()

    run(body)


def test_a_record_of_nothing_is_appended_as_any_other(kafka):
    """Others write such records, and dead letters of them are appended once more."""
    topic = f"s-{kafka.application}"
    nothing = Message(None, None, TIME_MS)

    async def body() -> None:
        topics, discards = Topics(kafka), Discards()
        await topics.make(topic, 1, KEPT)
        appends = AppendProducer(kafka, discards)
        for turn in range(2):
            found = await appends.append(topic, {0: [nothing, Message(b"k", b"1", TIME_MS)]})
            assert found == {0: [2 * turn, 2 * turn + 1]}
        appends.close()
        await discards.done()
        await topics.close()

    run(body)


def test_a_record_is_as_large_as_its_topic_takes(kafka):
    config = stream(kafka)

    async def body() -> None:
        topics, log = Topics(kafka), KafkaLog(kafka)
        limit = 2 * 2**20
        await topics.make(config.name, 1, KEPT | {"max.message.bytes": str(limit)})
        await log.open()
        await log.create_stream(config)
        large, larger = (
            (0, NewRecord(bytes(size), "k", TIME_MS)) for size in (3 * limit // 4, limit)
        )
        assert await log.append(config.name, [large]) == [(0, 0)]
        with pytest.raises(InvalidRecord, match=f"its {limit} bytes are more than the topic"):
            await log.append(config.name, [larger])
        assert await log.append(config.name, new(1)) == [(0, 1)]
        await log.close()
        await topics.close()

    run(body)


def test_a_look_does_not_ask_for_all_topics_of_the_cluster(kafka, proxy):
    there = connection(proxy.address)
    config = stream(there)
    part = StreamPartition(config.name, 0)

    def of_all(request) -> bool:
        return request.topics is None

    async def body() -> None:
        log = await log_with(there, config)
        await log.append(config.name, new(1))
        epoch = (await log.assign(part)).epoch
        await log.commit(Transaction(part, epoch, 0, 1, results(0)))
        with proxy.fault(Api.METADATA, Kind.HOLD, fits=of_all) as asked:
            assert len((await log.read_results(part, 0, 10, EVERYTHING)).results) == 1
            assert not await asyncio.to_thread(asked.met.wait, 0.5)
        await log.close()

    run(body)


def test_offsets_that_hold_no_record_are_stepped_over(kafka):
    """Transactions of other producers leave markers in the input."""
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        log = await log_with(kafka, config)
        for turn in range(3):
            rows = [(0, b"k", b"%d" % turn, TIME_MS)] * 2
            options = {"transactional.id": f"p-{config.name}"}
            await asyncio.to_thread(produce, kafka.bootstrap, config.name, rows, **options)
        epoch = (await log.assign(part)).epoch
        offsets: list[int] = []
        while len(offsets) < 6:
            batch = await log.poll(part, offsets[-1] + 1 if offsets else 0, 3, 10**6)
            offsets += [record.offset for record in batch.records]
        assert offsets == [0, 1, 3, 4, 6, 7]
        await log.commit(Transaction(part, epoch, 0, 8, results(*offsets)))
        after = await log.assign(part)
        assert (after.committed, after.results_end) == (8, 8)
        await log.close()

    run(body)


def test_a_poll_holds_what_came_until_then_and_not_only_what_came_first(kafka, monkeypatch):
    for wait in ("AT_HAND_S", "FRESH_S"):  # of a busy machine
        monkeypatch.setattr(f"service.adapters.kafka.partition.{wait}", 1.0)
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.assign(part)
        await log.append(config.name, new(0))
        assert (await log.poll(part, 0, 100, 10**6)).next_offset == 1
        for value in range(1, 6):
            await log.append(config.name, new(value))
            await asyncio.sleep(0.1)  # the first one is fetched ahead by now
        assert (await log.poll(part, 1, 100, 10**6)).next_offset == 6
        await log.append(config.name, new(*range(6, 20)))
        assert (await log.poll(part, 6, 3, 10**6)).next_offset == 9, "no more than were asked for"
        await log.close()

    run(body)


def test_what_came_since_is_waited_for_longer_where_the_first_was_there_already(kafka, monkeypatch):
    at_hand_s, fresh_s = 0.5, 1.5
    monkeypatch.setattr("service.adapters.kafka.partition.AT_HAND_S", at_hand_s)
    monkeypatch.setattr("service.adapters.kafka.partition.FRESH_S", fresh_s)
    config = stream(kafka)
    part = StreamPartition(config.name, 0)
    read, waits = Cursor.read, list[float]()

    async def noted(self, topic: str, partition: int, offset: int, most: int, wait_s: float):
        if topic == config.name:
            waits.append(wait_s)
        return await read(self, topic, partition, offset, most, wait_s)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.assign(part)
        monkeypatch.setattr(Cursor, "read", noted)
        await log.append(config.name, new(0))
        await log.poll(part, 0, 100, 10**6)
        polling = asyncio.create_task(log.poll(part, 1, 100, 10**6))
        await asyncio.sleep(0.7)
        await log.append(config.name, new(1))
        await polling
        assert waits[-1] == at_hand_s
        await log.append(config.name, new(2))
        await asyncio.sleep(0.5)  # it is fetched ahead by now
        await log.poll(part, 2, 100, 10**6)
        assert waits[-1] == fresh_s
        await log.close()

    run(body)


def test_records_of_other_producers_count_as_waiting(kafka):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        log = await log_with(kafka, config)
        rows = [(0, b"k", b"1", TIME_MS)] * 500
        await asyncio.to_thread(produce, kafka.bootstrap, config.name, rows)
        await log.assign(part)
        first = await log.poll(part, 0, 100, 50)
        assert (first.next_offset, first.behind) == (50, 450)
        second = await log.poll(part, 50, 100, 10**6)
        assert second.next_offset + second.behind == 500
        await log.close()

    run(body)


def test_a_topic_that_is_there_is_scored_from_its_beginning_and_outlives_the_stream(kafka):
    config = stream(kafka, 2)

    async def body() -> None:
        topics = Topics(kafka)
        assert await topics.make(config.name, 2, KEPT)
        produce(kafka.bootstrap, config.name, [(0, None, b"%d" % n, TIME_MS) for n in range(9)])
        await topics.trim({_place(config.name, 0): 4})
        log = KafkaLog(kafka)
        await log.open()
        with pytest.raises(InvalidParameter, match=r"partitions: 3 .* 2, as the topic"):
            await log.create_stream(StreamConfig(name=config.name, partitions=3))
        await log.create_stream(config)
        assignment = await log.assign(StreamPartition(config.name, 0))
        assert (assignment.origin, assignment.begin, assignment.committed) == (4, 4, 4)
        await log.read_results(StreamPartition(config.name, 0), 0, 1, EVERYTHING)
        await log.delete_stream(config.name)
        assert log._results == {}
        assert await topics.counts([config.name, f"{config.name}.scores"]) == {config.name: 2}
        await log.close()
        await topics.close()

    run(body)


def test_input_that_is_gone_is_said_so(kafka):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        topics, log = Topics(kafka), KafkaLog(kafka)
        await log.open()
        await log.create_stream(config)
        await log.append(config.name, new(*range(9)))
        await log.assign(part)
        await topics.trim({_place(config.name, 0): 4})
        with pytest.raises(StateLost, match=r"the log holds \[4, 9\) only"):
            await log.poll(part, 0, 10, 10**6)
        await log.close()
        await topics.close()

    run(body)


def test_a_committed_offset_of_a_moment_ago_is_asked_for_again(kafka, monkeypatch):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)
    read, early = partition.committed_offset, [Committed(0, 0)] * 2

    async def late(*arguments) -> Committed | None:
        return early.pop() if early else await read(*arguments)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.append(config.name, new(1, 2, 3))
        epoch = (await log.assign(part)).epoch
        await log.commit(Transaction(part, epoch, 0, 2, results(0, 1)))
        monkeypatch.setattr(partition, "committed_offset", late)
        assert (await log.assign(part)).committed == 2
        early[:] = [Committed(0, 0)] * 9
        assert (await log.assign(part)).committed == 0, "it is the runner's to judge"
        await log.close()

    run(body)


def test_markers_that_went_by_age_are_no_lost_records(kafka):
    """A topic of somebody else's deletes what is old, with the marker behind the last record."""
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def settle(log: KafkaLog) -> int:
        await log.open()
        assignment = await log.assign(part)
        batch = await log.poll(part, assignment.committed, 100, 10**6)
        done = results(*(record.offset for record in batch.records))
        start, end = assignment.committed, batch.next_offset
        await log.commit(Transaction(part, assignment.epoch, start, end, done))
        await log.close()
        return end

    async def body() -> None:
        topics = Topics(kafka)
        await topics.make(config.name, 1, KEPT)
        log = await log_with(kafka, config)
        rows = await post_at_once(kafka, config)
        await log.close()
        assert await settle(KafkaLog(kafka)) == 3
        await topics.trim({_place(config.name, 0): 4})
        await asyncio.to_thread(produce, kafka.bootstrap, config.name, rows)
        assert await settle(KafkaLog(kafka)) == 7
        log = KafkaLog(kafka)
        await log.open()
        after = await log.assign(part)
        assert (after.committed, after.results_end) == (7, 7)
        await topics.trim({_place(config.name, 0): 7})
        await asyncio.to_thread(produce, kafka.bootstrap, config.name, rows)
        await topics.trim({_place(config.name, 0): 8})
        with pytest.raises(StateLost):
            await log.poll(part, 7, 10, 10**6)
        await log.close()
        await topics.close()

    run(body)


def test_what_is_being_polled_is_not_taken_for_markers(kafka, monkeypatch):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)
    fresh, read, go = OwnedPartition._fresh, asyncio.Event(), asyncio.Event()

    async def slow(self, offset: int, most: int, wait_s: float):
        if offset > 4:
            read.set()
            await go.wait()
        return await fresh(self, offset, most, wait_s)

    monkeypatch.setattr(OwnedPartition, "_fresh", slow)

    async def body() -> None:
        log = await log_with(kafka, config)
        rows = await post_at_once(kafka, config)
        epoch = (await log.assign(part)).epoch
        assert (await log.poll(part, 0, 100, 10**6)).next_offset == 3
        polling = asyncio.create_task(log.poll(part, 3, 100, 10**6))
        await asyncio.to_thread(produce, kafka.bootstrap, config.name, rows)
        await read.wait()
        await log.commit(Transaction(part, epoch, 0, 3, results(0, 1, 2)))
        stored = log._stored(config.name)
        for _ in range(100):  # the group learns of a transaction a moment after its end
            if (found := await committed_offset(log._topics, kafka, stored, 0)) is not None:
                break
            await asyncio.sleep(0.05)
        assert found == (3, 4)
        go.set()
        assert [record.offset for record in (await polling).records] == [4, 5, 6]
        await log.close()

    run(body)


def test_a_group_that_was_deleted_goes_on_where_results_end(kafka):
    config = stream(kafka)
    part = StreamPartition(config.name, 0)

    async def body(turn: int) -> None:
        log = KafkaLog(kafka)
        await log.open()
        if turn == 0:
            await log.create_stream(config)
            await log.append(config.name, new(1, 2, 3))
        assignment = await log.assign(part)
        assert assignment.committed == 2 * turn
        if turn == 0:
            await log.commit(Transaction(part, assignment.epoch, 0, 2, results(0, 1)))
        await log.close()

    run(lambda: body(0))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_consumer_groups([kafka.application])[kafka.application].result(10)
    assert group_offsets(kafka.bootstrap, kafka.application, config.name, 1) == [-1001]
    run(lambda: body(1))


def test_a_creation_that_is_repeated_knows_that_the_input_is_its_own(kafka, monkeypatch):
    config = stream(kafka, 2)
    write, refused = Change.write, []

    async def at_last(self, name, stored, others=()):
        if stored is not None and stored.state == "there" and not refused:
            refused.append(name)
            raise Fenced("another worker")
        await write(self, name, stored, others)

    monkeypatch.setattr(Change, "write", at_last)

    async def body() -> None:
        log = KafkaLog(kafka)
        await log.open()
        with pytest.raises(TransientError, match="another worker changes the streams"):
            await log.create_stream(config)
        assert await log.streams() == []
        await log.create_stream(config)
        assert log._stored(config.name).made_input
        await log.delete_stream(config.name)
        refused.clear()
        with pytest.raises(TransientError):
            await log.create_stream(config)
        await log.delete_stream(config.name)
        assert await log._topics.counts([config.name, f"{config.name}.scores"]) == {}
        with pytest.raises(UnknownStream):
            await log.delete_stream(config.name)
        await log.close()

    run(body)


@pytest.mark.parametrize("repeated", ["deletion", "creation"])
def test_a_deletion_that_was_cut_short_is_finished(kafka, monkeypatch, repeated):
    config = stream(kafka, 2)
    delete, refused = Topics.delete, []

    async def at_last(self, topics):
        if not refused:
            refused.append(topics)
            raise TransientError("no broker answers")
        await delete(self, topics)

    monkeypatch.setattr(Topics, "delete", at_last)

    async def body() -> None:
        log = await log_with(kafka, config)
        await log.append(config.name, new(1, 2))
        with pytest.raises(TransientError):
            await log.delete_stream(config.name)
        assert await log.streams() == []
        with pytest.raises(UnknownStream):
            await log.append(config.name, new(3))
        if repeated == "deletion":
            await log.delete_stream(config.name)
            assert await log._topics.counts([config.name, f"{config.name}.scores"]) == {}
        await log.create_stream(config)
        assert (await log.append(config.name, new(4)))[0].offset == 0
        assert log._stored(config.name).made_input
        await log.close()

    run(body)


def test_streams_cannot_write_into_topics_of_others(kafka):
    config = stream(kafka, 2)
    names = [f"{config.name}.{end}" for end in ("scores", "anomalies", "dlq", "checkpoints")]

    async def body() -> None:
        log = KafkaLog(kafka)
        await log.open()
        await log.create_stream(replace(config, name=names[0]))
        with pytest.raises(InvalidParameter, match=re.escape(f"one of stream '{names[0]}'")):
            await log.create_stream(config)
        await log.delete_stream(names[0])
        await log.create_stream(config)
        for name in names:
            with pytest.raises(InvalidParameter, match=f"one of stream '{config.name}'"):
                await log.create_stream(replace(config, name=name))
        with pytest.raises(InvalidParameter, match="the catalogue"):
            await log.create_stream(replace(config, name=f"{kafka.application}.streams"))
        await log.delete_stream(config.name)
        await log.close()

    run(body)


def test_a_stream_that_this_worker_cannot_read_is_left_as_it_is(kafka):
    config = stream(kafka)
    topic = f"{kafka.application}.streams"
    odd = b'{"config": {"score": "of another version"}}'

    async def body() -> None:
        log = KafkaLog(kafka)
        await log.open()
        rows = [(0, config.name.encode(), odd, TIME_MS)]
        await asyncio.to_thread(produce, kafka.bootstrap, topic, rows)
        for change in (
            log.create_stream(config),
            log.update_stream(config.name, lambda now: now),
            log.delete_stream(config.name),
        ):
            with pytest.raises(InvalidParameter, match="a stream that this worker can read"):
                await change
        assert await log.streams() == []
        assert list(log.unreadable) == [config.name]
        with pytest.raises(InvalidParameter, match=f"one of stream '{config.name}'"):
            await log.create_stream(replace(config, name=f"{config.name}.scores"))
        assert [each.value() for each in committed_records(kafka.bootstrap, topic, 0)] == [odd]
        await asyncio.to_thread(produce, kafka.bootstrap, topic, [(0, rows[0][1], None, TIME_MS)])
        await log.create_stream(config)
        assert list(log.unreadable) == []
        await log.close()

    run(body)


def test_workers_agree_on_streams_and_share_partitions(kafka):
    config = stream(kafka, 8)
    every = {StreamPartition(config.name, number) for number in range(8)}

    async def body() -> None:
        one, two = KafkaLog(kafka), KafkaLog(kafka)
        await one.open()
        await two.open()
        await one.create_stream(config)
        assert (await change_of(two, lambda c: c.streams)).streams[0].config == config
        shares = [
            await change_of(log, lambda c: len(c.assigned) == len(c.foreign) == 4)
            for log in (one, two)
        ]
        assert set(shares[0].assigned) == set(shares[1].foreign)
        assert set(shares[0].assigned) | set(shares[1].assigned) == every
        with pytest.raises(StreamExists):
            await two.create_stream(config)
        other = StreamConfig(name=config.name, partitions=8, max_series=7)
        await two.update_stream(config.name, lambda _: other)
        assert (await change_of(one, lambda c: c.streams)).streams[0].config == other
        await two.close()
        assert set((await change_of(one, lambda c: c.assigned)).assigned) == every
        await one.delete_stream(config.name)
        assert (await change_of(one, lambda c: c.deleted)).deleted[0].config == other
        await one.close()

    run(body)


def test_a_worker_that_joins_stops_only_what_it_takes(kafka):
    config = stream(kafka, 4)

    async def body() -> None:
        one, two = KafkaLog(kafka), KafkaLog(kafka)
        await one.open()
        await one.create_stream(config)
        every = (await change_of(one, lambda c: len(c.assigned) == 4)).assigned
        epochs = {part: (await one.assign(part)).epoch for part in every}
        await one.append(config.name, [each for part in every for each in records_of(part)])
        done = dict.fromkeys(every, 0)

        async def work(part: StreamPartition) -> None:
            start = done[part]
            await one.commit(Transaction(part, epochs[part], start, start + 1, results(start)))
            done[part] += 1

        await two.open()
        told = asyncio.create_task(change_of(one, lambda c: c.foreign))
        while not told.done():  # before, while and after everything is revoked
            for part in every:
                await work(part)
            await asyncio.sleep(0.1)
        change = told.result()
        kept = set(change.assigned)
        assert len(kept) == 2 and kept == set(every) - set(change.revoked)
        for part in kept:
            await work(part)
        await one.close()
        await two.close()

    def records_of(part: StreamPartition) -> list[tuple[int, NewRecord]]:
        return new(*range(100), partition=part.partition)

    run(body)


def test_what_a_worker_leaves_goes_to_the_others_and_theirs_stays(kafka):
    config = stream(kafka, 12)

    async def body() -> None:
        logs = [KafkaLog(kafka) for _ in range(3)]
        for log in logs:
            await log.open()
        await logs[0].create_stream(config)
        before = [
            set((await change_of(log, lambda c: len(c.assigned) == 4)).assigned) for log in logs
        ]
        assert len(set.union(*before)) == 12
        await logs.pop(1).close()
        gone = before.pop(1)
        after = [
            set((await change_of(log, lambda c: len(c.assigned) == 6)).assigned) for log in logs
        ]
        for kept, all_of_it in zip(before, after, strict=True):
            assert kept < all_of_it and len(all_of_it & gone) == 2
        for log in logs:
            await log.close()

    run(body)


def test_two_creations_at_once_make_one_stream(kafka):
    config = stream(kafka, 2)

    async def body() -> None:
        logs = [KafkaLog(kafka), KafkaLog(kafka)]
        await asyncio.gather(*(log.open() for log in logs))
        made = await asyncio.gather(
            *(log.create_stream(config) for log in logs), return_exceptions=True
        )
        entries = [each for each in made if not isinstance(each, BaseException)]
        assert len(entries) == 1
        assert [await log.streams() for log in logs] == [entries, entries]
        for log in logs:
            await log.close()

    run(body)


def _place(topic: str, partition: int):
    from aiokafka import TopicPartition

    return TopicPartition(topic, partition)
