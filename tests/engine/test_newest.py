"""The newest results: those that reading everything would end with, from as little as it takes."""

from __future__ import annotations

import pytest

from service.engine.newest import FIRST_SLICE, LOOKED_THROUGH, newest
from service.engine.reading import ResultReader
from service.engine.records import EVERYTHING, Result, ResultFilter, ResultSlice
from service.engine.tail import PartitionTail
from tests.engine.world import run

ANOMALIES = ResultFilter(anomalies=True)


class Counting(ResultReader):
    """Two partitions in memory: of even and of odd times, an anomaly every so many offsets."""

    def __init__(self, *, length: int, every: int, gap: int = 1) -> None:
        self.first_read = length * gap
        self.whole: list[Result] = []
        tails = []
        for number in range(2):
            results = [
                Result(place * gap, 2 * place + number, "", place % every == 0, b"%d" % place)
                for place in range(length)
            ]
            tail = PartitionTail(kept_bytes=10**9)
            tail.start(0)
            tail.publish(length * gap, results)
            tails.append(tail)
            self.whole += results
        self.whole.sort(key=lambda result: result.timestamp_ms)
        super().__init__("s", None, tails)  # type: ignore[arg-type]  # all of it is in memory

    async def read(self, number: int, offset: int, limit: int, where: ResultFilter) -> ResultSlice:
        self.first_read = min(self.first_read, offset)
        return await super().read(number, offset, limit, where)

    def last(self, count: int, where: ResultFilter) -> list[bytes]:
        return [result.value for result in self.whole if where.accepts(result)][-count:]


@pytest.mark.parametrize("where", [EVERYTHING, ANOMALIES, ResultFilter(to_ms=31_000)])
@pytest.mark.parametrize("count", [1, 30, 1500])
@pytest.mark.parametrize("gap", [1, 3])
def test_they_are_the_end_of_everything(where, count, gap):
    async def body() -> None:
        reader = Counting(length=20_000, every=50, gap=gap)
        found = await newest(reader, range(2), count, where)
        assert found.results == reader.last(count, where)
        assert found.complete
        assert found.next == f"{20_000 * gap},{20_000 * gap}"

    run(body)


def test_no_more_is_read_than_it_takes():
    async def body() -> None:
        reader = Counting(length=50_000, every=100)
        await newest(reader, range(2), 10, EVERYTHING)
        assert reader.first_read == 50_000 - FIRST_SLICE
        await newest(reader, range(2), 30, ANOMALIES)
        assert reader.first_read == 50_000 - 4 * FIRST_SLICE

    run(body)


def test_what_lies_far_back_is_left_out_and_that_is_said():
    async def body() -> None:
        length = LOOKED_THROUGH + 50_000
        reader = Counting(length=length, every=length - 10)  # one at the begin, one near the end
        found = await newest(reader, range(2), 5, ANOMALIES)
        assert found.results == reader.last(2, ANOMALIES)
        assert not found.complete
        assert reader.first_read == length - LOOKED_THROUGH

    run(body)
