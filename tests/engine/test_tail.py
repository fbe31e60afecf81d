"""Readers near the end: from memory, in order, never waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from service.engine.following import follow
from service.engine.reading import ResultReader
from service.engine.records import (
    EVERYTHING,
    Result,
    ResultFilter,
    ResultSlice,
    StreamPartition,
)
from service.engine.tail import FEW_WAITING, PartitionTail
from tests.engine.world import CONFIG, World, run


def results(start: int, end: int) -> list[Result]:
    return [Result(n, n, f"k{n % 2}", n % 5 == 0, b"x" * 100) for n in range(start, end)]


def test_the_newest_results_are_read_from_memory_and_older_ones_are_not_here():
    async def body() -> None:
        tail = PartitionTail(kept_bytes=2000)
        assert tail.read(0, 10, EVERYTHING) is None
        tail.start(100)
        for start in range(100, 160, 10):
            tail.publish(start + 10, results(start, start + 10))
        assert tail.read(100, 10, EVERYTHING) is None
        near = tail.read(143, 5, EVERYTHING)
        assert near is not None
        assert [result.offset for result in near.results] == [143, 144, 145, 146, 147]
        assert near.next_offset == 148
        rest = tail.read(148, 99, ResultFilter(anomalies=True))
        assert rest is not None
        assert [result.offset for result in rest.results] == [150, 155]
        assert rest.next_offset == 160

    run(body)


def test_reading_is_as_filtering_all_that_was_published():
    async def body() -> None:
        random = Random(3)
        tail, published = PartitionTail(kept_bytes=9000), []
        tail.start(0)
        for _ in range(400):
            start = tail.committed + random.choice([0, 0, 1])  # a record without a result
            fresh = results(start, start + random.randrange(1, 6))
            published += fresh
            tail.publish(fresh[-1].offset + 1, fresh)
            offset, limit = random.randrange(tail.committed + 2), random.randrange(1, 60)
            found = tail.read(offset, limit, EVERYTHING)
            expected = [each for each in published if each.offset >= offset][:limit]
            if found is None:
                assert offset < tail.committed - 20, "only what is old is not here"
            else:
                assert found.results == expected
        assert tail.read(tail.committed - 9, 9, EVERYTHING) is not None

    run(body)


def test_waiting_ends_when_the_offset_is_settled_or_the_partition_fails():
    async def body() -> None:
        tail = PartitionTail()
        tail.start(0)
        first, second, third = tail.beyond(0), tail.beyond(4), tail.beyond(5)
        tail.publish(5, results(0, 5))
        assert first.done()
        assert second.done()
        assert not third.done()
        tail.fail(RuntimeError("broken"))
        with pytest.raises(RuntimeError):
            await third
        with pytest.raises(RuntimeError):
            await tail.beyond(9)
        tail.start(10)  # results 5 to 9 were committed unseen
        assert tail.read(7, 1, EVERYTHING) is None
        await tail.beyond(9)

    run(body)


def test_readers_that_gave_up_are_forgotten():
    async def body() -> None:
        tail = PartitionTail()
        tail.start(0)
        kept = tail.beyond(0)
        for _ in range(10_000):
            tail.beyond(0).cancel()
        assert len(tail._waiting) <= 2 * FEW_WAITING
        tail.publish(1, results(0, 1))
        await asyncio.wait_for(kept, 1)

    run(body)


@pytest.mark.parametrize(("partitions", "megabytes"), [(1, 16), (4, 16), (8, 8), (64, 1), (256, 1)])
def test_a_stream_of_many_partitions_keeps_less_of_each(partitions, megabytes):
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(replace(CONFIG, partitions=partitions))
            kept = {tail._kept_bytes for tail in engine._streams[CONFIG.name].tails}
            assert kept == {megabytes * 2**20}

    run(body)


def test_a_partition_that_failed_before_it_served_does_not_count_as_empty():
    async def body() -> None:
        tail = PartitionTail()
        tail.fail(ValueError("torn"))
        assert tail.live.is_set() and not tail.started
        assert tail.read(0, 10, EVERYTHING) is None, "the log is asked"
        asked = asyncio.Queue[int | None]()

        class Elsewhere:
            async def await_results(self, partition, offset, limit):
                await asked.put(offset)
                await asyncio.Event().wait()

        following = asyncio.create_task(follow(Elsewhere(), StreamPartition("s", 0), tail, 0.01))
        assert await asked.get() is None, "from where results end at the moment"
        following.cancel()

    run(body)


class Bare:
    """A log whose partition has a committed offset and no results."""

    async def read_results(self, partition, offset, limit, where):
        return ResultSlice([], offset)


def test_pages_end_where_a_partition_has_no_results():
    async def body() -> None:
        tail = PartitionTail()
        tail.start(5)
        page = await ResultReader("s", Bare(), [tail]).page([0], [0], 10, EVERYTHING)
        assert page.next is None

    run(body)
