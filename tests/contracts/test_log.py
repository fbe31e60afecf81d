"""Every log keeps these promises: in memory, in SQLite, and any other that joins."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from service.adapters.kafka import KafkaLog
from service.adapters.memory import MemoryLog
from service.adapters.sqlite import SqliteLog
from service.engine.config import StreamConfig
from service.engine.errors import (
    DataDirectoryInUse,
    EngineError,
    Fenced,
    InvalidParameter,
    InvariantError,
    StreamExists,
    UnknownStream,
)
from service.engine.ports import LogBackend
from service.engine.records import (
    EVERYTHING,
    DeadLetter,
    NewRecord,
    Pointer,
    Position,
    Result,
    ResultFilter,
    StreamPartition,
    Transaction,
)

CONFIG = StreamConfig(name="s", partitions=2)
P0 = StreamPartition("s", 0)
P1 = StreamPartition("s", 1)
Body = Callable[[LogBackend], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite", "kafka"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Body], None]:
    """Run a test's body against an open log with one stream."""
    connection = request.getfixturevalue("kafka") if request.param == "kafka" else None

    def make() -> LogBackend:
        if connection is not None:
            return KafkaLog(connection)
        return MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log")

    def run_body(body: Body) -> None:
        async def main() -> None:
            log = make()
            await log.open()
            try:
                await log.create_stream(CONFIG)
                await asyncio.wait_for(body(log), 30)
            finally:
                with contextlib.suppress(UnknownStream):
                    await log.delete_stream("s")  # a broker outlives the test
                await log.close()

        asyncio.run(main())

    return run_body


def records(*values: int, partition: int = 0) -> list[tuple[int, NewRecord]]:
    return [(partition, NewRecord(b"%d" % value, f"k{value % 3}", value)) for value in values]


def results(start: int, end: int, anomalies: tuple[int, ...] = ()) -> list[Result]:
    return [
        Result(offset, offset * 10, f"k{offset % 3}", offset in anomalies, b"r%d" % offset)
        for offset in range(start, end)
    ]


async def settled(log: LogBackend, count: int, anomalies: tuple[int, ...] = ()) -> int:
    """Append and commit `count` records; return the epoch."""
    await log.append("s", records(*range(count)))
    epoch = (await log.assign(P0)).epoch
    await log.commit(Transaction(P0, epoch, 0, count, results(0, count, anomalies)))
    return epoch


def test_offsets_count_up_from_zero_in_each_partition(run):
    async def body(log: LogBackend) -> None:
        mixed = [*records(1, 2), *records(3, partition=1), *records(4)]
        assert await log.append("s", mixed) == [
            Position(0, 0),
            Position(0, 1),
            Position(1, 0),
            Position(0, 2),
        ]
        assert await log.append("s", records(5)) == [Position(0, 3)]
        await log.assign(P0)
        batch = await log.poll(P0, 0, 100, 10**6)
        assert [r.value for r in batch.records] == [b"1", b"2", b"4", b"5"]
        assert [r.offset for r in batch.records] == [0, 1, 2, 3]
        assert batch.next_offset == 4

    run(body)


def test_concurrent_appends_keep_every_record_once(run):
    async def body(log: LogBackend) -> None:
        calls = [log.append("s", records(*range(n * 10, n * 10 + 10))) for n in range(50)]
        positions = [p.offset for part in await asyncio.gather(*calls) for p in part]
        assert sorted(positions) == list(range(500))
        await log.assign(P0)
        batch = await log.poll(P0, 0, 1000, 10**6)
        values = [int(record.value) for record in batch.records]
        for n in range(50):
            first = values.index(n * 10)
            assert values[first : first + 10] == list(range(n * 10, n * 10 + 10))

    run(body)


def test_poll_keeps_its_bounds(run):
    async def body(log: LogBackend) -> None:
        await log.append("s", [(0, NewRecord(bytes(100), None, 0)) for _ in range(10)])
        await log.assign(P0)
        assert len((await log.poll(P0, 3, 4, 10**6)).records) == 4
        assert len((await log.poll(P0, 3, 100, 250)).records) == 2
        assert len((await log.poll(P0, 3, 100, 1)).records) == 1

    run(body)


def test_poll_waits_for_input(run):
    async def body(log: LogBackend) -> None:
        await log.assign(P0)
        waiting = asyncio.create_task(log.poll(P0, 0, 10, 10**6))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await log.append("s", records(1))
        assert len((await waiting).records) == 1

    run(body)


def test_an_append_whose_caller_went_away_is_polled_all_the_same(run):
    async def body(log: LogBackend) -> None:
        await log.assign(P0)
        caller = asyncio.create_task(log.append("s", records(1)))
        await asyncio.sleep(0)
        caller.cancel()
        batch = await asyncio.wait_for(log.poll(P0, 0, 10, 10**6), 2)
        assert batch.records[0].value == b"1"

    run(body)


def test_a_transaction_appears_as_a_whole(run):
    async def body(log: LogBackend) -> None:
        await log.append("s", records(1, 2, 3))
        epoch = (await log.assign(P0)).epoch
        dead = DeadLetter(1, 2, None, b"2", "values", "because")
        await log.commit(Transaction(P0, epoch, 0, 2, results(0, 2), [dead]))
        pointer = Pointer(2, "m", "0" * 64)
        await log.commit(Transaction(P0, epoch, 2, 3, results(2, 3), [], pointer))
        after = await log.assign(P0)
        assert (after.committed, after.end, after.begin, after.results_end) == (3, 3, 0, 3)
        assert after.pointers == (pointer,)
        assert await log.read_dead_letters(P0, 0, 10) == [dead]
        assert await log.read_dead_letters(P0, 2, 10) == []
        assert list((await log.read_results(P0, 0, 10, EVERYTHING)).results) == results(0, 3)

    run(body)


@pytest.mark.parametrize(
    "broken",
    [
        {"start": 1},
        {"end": 3},
        {"end": 1},
        {"results": results(0, 1)},
        {"results": [results(0, 1)[0], results(0, 1)[0]]},
        {"results": results(0, 2)[::-1]},
        {"pointer": Pointer(1, "m", "0")},
    ],
    ids=str,
)
def test_a_transaction_that_breaks_a_promise_changes_nothing(run, broken):
    async def body(log: LogBackend) -> None:
        await log.append("s", records(1, 2, 3))
        epoch = (await log.assign(P0)).epoch
        facts = {"start": 0, "end": 2, "results": results(0, 2)} | broken
        with pytest.raises(InvariantError):
            await log.commit(Transaction(P0, epoch, **facts))
        after = await log.assign(P0)
        assert (after.committed, after.results_end, after.pointers) == (0, None, ())

    run(body)


def test_a_former_owner_is_fenced(run):
    async def body(log: LogBackend) -> None:
        await log.append("s", records(1, 2))
        former = (await log.assign(P0)).epoch
        newer = (await log.assign(P0)).epoch
        assert newer > former
        with pytest.raises(Fenced):
            await log.commit(Transaction(P0, former, 0, 2, results(0, 2)))
        assert (await log.read_results(P0, 0, 10, EVERYTHING)).results == []
        await log.commit(Transaction(P0, newer, 0, 2, results(0, 2)))

    run(body)


def test_only_the_newest_pointers_are_kept(run):
    async def body(log: LogBackend) -> None:
        epoch = await settled(log, 9)
        for offset in (3, 5, 7, 9):
            pointer = Pointer(offset, f"m{offset}", "0")
            await log.commit(Transaction(P0, epoch, 9, 9, pointer=pointer, keep_pointers=3))
        offsets = [pointer.offset for pointer in (await log.assign(P0)).pointers]
        assert offsets == [9, 7, 5]

    run(body)


def test_trimming_moves_the_beginning(run):
    async def body(log: LogBackend) -> None:
        epoch = (await log.assign(P0)).epoch
        for start in range(0, 40, 10):
            await log.append("s", [(0, NewRecord(bytes(9000), None, i)) for i in range(10)])
            big = [Result(i, i, "", False, bytes(9000)) for i in range(start, start + 10)]
            trim = {"trim_input_to": 20, "trim_results_to": 20} if start == 30 else {}
            await log.commit(Transaction(P0, epoch, start, start + 10, big, **trim))
        assignment = await log.assign(P0)
        assert (assignment.begin, assignment.end, assignment.committed) == (20, 40, 40)
        read = await log.read_results(P0, 0, 100, EVERYTHING)
        assert [result.offset for result in read.results] == list(range(20, 40))
        assert (await log.poll(P0, 20, 5, 10**6)).records[0].offset == 20

    run(body)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ResultFilter(), list(range(30))),
        (ResultFilter(key="k1"), list(range(1, 30, 3))),
        (ResultFilter(from_ms=100, to_ms=130), [10, 11, 12]),
        (ResultFilter(anomalies=True), [4, 29]),
        (ResultFilter(anomalies=True, to_ms=100), [4]),
    ],
    ids=str,
)
def test_results_are_filtered_and_paged(run, where, expected):
    async def body(log: LogBackend) -> None:
        await settled(log, 30, anomalies=(4, 29))
        found, offset = [], 0
        while True:
            part = await log.read_results(P0, offset, 4, where)
            if not part.results:
                break
            found += [result.offset for result in part.results]
            offset = part.next_offset
        assert found == expected
        assert part.next_offset == 30

    run(body)


def test_a_configuration_change_reaches_every_partition(run):
    async def body(log: LogBackend) -> None:
        changed = StreamConfig(name="s", partitions=2, max_series=5)
        await log.append("s", records(7))
        entry = await log.update_stream("s", lambda _: changed)
        assert (entry.config, entry.birth) == (changed, CONFIG)
        await asyncio.gather(log.assign(P0), log.assign(P1))
        first = (await log.poll(P0, 1, 10, 10**6)).records
        second = (await log.poll(P1, 0, 10, 10**6)).records
        assert [record.control for record in (*first, *second)] == [True, True]
        assert first[0].timestamp_ms == 7
        assert (await log.streams())[0].config == changed

    run(body)


def test_a_change_begins_from_what_is_there_and_may_be_none(run):
    async def body(log: LogBackend) -> None:
        await log.update_stream("s", lambda now: replace(now, max_series=5))
        entry = await log.update_stream("s", lambda now: replace(now, dead_letter_run=7))
        assert (entry.config.max_series, entry.config.dead_letter_run) == (5, 7)
        assert await log.update_stream("s", lambda _: None) == entry

        def refused(_: StreamConfig) -> StreamConfig:
            raise InvalidParameter("trees", 0, "1 or more")

        with pytest.raises(InvalidParameter):
            await log.update_stream("s", refused)
        assert (await log.streams())[0] == entry
        await log.assign(P0)
        assert len((await log.poll(P0, 0, 10, 10**6)).records) == 2

    run(body)


def test_records_appended_beside_changes_are_there_at_once(run):
    async def body(log: LogBackend) -> None:
        await asyncio.gather(log.assign(P0), log.assign(P1))
        offset = 0
        for turn in range(20):
            await asyncio.gather(
                log.update_stream("s", lambda now, turn=turn: replace(now, max_series=turn + 1)),
                log.append("s", records(turn)),
            )
            while offset < 2 * (turn + 1):
                offset = (await asyncio.wait_for(log.poll(P0, offset, 10, 10**6), 5)).next_offset

    run(body)


def test_a_log_has_a_name_of_its_own(run):
    """Snapshots of several logs may share a bucket."""
    names = set()

    async def body(log: LogBackend) -> None:
        names.add(log.identity)

    run(body)
    run(body)
    (name,) = names
    assert re.fullmatch("[A-Za-z0-9._-]{6,}", name)


def test_two_files_have_two_names(tmp_path):
    async def body() -> None:
        logs = [SqliteLog(tmp_path / folder) for folder in "ab"]
        for log in logs:
            await log.open()
            await log.close()
        assert logs[0].identity != logs[1].identity

    asyncio.run(body())


def test_streams_come_and_go(run):
    async def body(log: LogBackend) -> None:
        while not (change := await log.changes()).assigned:
            pass
        assert set(change.assigned) == {P0, P1}
        with pytest.raises(StreamExists):
            await log.create_stream(CONFIG)
        first = (await log.streams())[0].incarnation
        await settled(log, 3)
        await log.delete_stream("s")
        while not (change := await log.changes()).revoked:
            pass
        assert set(change.revoked) == {P0, P1}
        assert await log.streams() == []
        for call in (
            log.append("s", records(1)),
            log.assign(P0),
            log.delete_stream("s"),
            log.update_stream("s", lambda now: now),
        ):
            with pytest.raises(UnknownStream):
                await call
        assert (await log.create_stream(CONFIG)).incarnation > first
        assert (await log.append("s", records(1)))[0].offset == 0
        assert (await log.read_results(P0, 0, 10, EVERYTHING)).results == []

    run(body)


def test_sqlite_outlives_its_process(tmp_path):
    async def main() -> None:
        log = SqliteLog(tmp_path)
        await log.open()
        await log.create_stream(CONFIG)
        await settled(log, 5)
        await log.append("s", records(5, 6))
        await log.close()  # two records wait
        log = SqliteLog(tmp_path)
        await log.open()
        assert set((await log.changes()).assigned) == {P0, P1}
        assignment = await log.assign(P0)
        assert (assignment.committed, assignment.end) == (5, 7)
        assert [r.value for r in (await log.poll(P0, 5, 9, 99)).records] == [b"5", b"6"]
        await log.append("s", records(7))  # in memory, while the poll's start is not
        batch = await log.poll(P0, 5, 9, 99)
        assert [record.value for record in batch.records] == [b"5", b"6", b"7"]
        await log.close()

    asyncio.run(main())


def test_a_second_process_on_one_directory_fails_at_once(tmp_path):
    async def main() -> None:
        log = SqliteLog(tmp_path)
        await log.open()
        with pytest.raises(DataDirectoryInUse, match="in use by another process"):
            await SqliteLog(tmp_path).open()
        await log.close()
        again = SqliteLog(tmp_path)
        await again.open()
        await again.close()

    asyncio.run(main())


def test_without_the_lock_the_epoch_fences_the_former_process(tmp_path):
    async def main() -> None:
        former = SqliteLog(tmp_path, exclusive=False)
        await former.open()
        await former.create_stream(CONFIG)
        newer = SqliteLog(tmp_path, exclusive=False)
        await newer.open()
        for call in (former.append("s", records(1)), former.assign(P0)):
            with pytest.raises(Fenced, match="another process took this log over"):
                await call
        assert (await newer.append("s", records(1)))[0].offset == 0
        await former.close()
        await newer.close()

    asyncio.run(main())


def test_a_file_of_another_version_is_refused(tmp_path):
    import sqlite3

    connection = sqlite3.connect(tmp_path / "log.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def main() -> None:
        with pytest.raises(EngineError, match="version 99"):
            await SqliteLog(tmp_path).open()

    asyncio.run(main())
