"""Where a reader of results stands that another worker commits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from service.adapters.kafka import Connection
from service.adapters.kafka.followers import Followers
from service.adapters.kafka.results import ResultsTopic
from service.engine.errors import TornLog
from service.engine.records import StreamPartition
from service.messages.headers import CE_ID

PART = StreamPartition("s", 0)


def record(place: int, headers: list[tuple[str, bytes]]) -> SimpleNamespace:
    return SimpleNamespace(
        topic="s.scores",
        partition=0,
        offset=place,
        timestamp=0,
        key=b"k",
        value=b"{}",
        headers=headers,
    )


def test_what_cannot_be_read_is_met_again():
    """A reader that stood past it would miss the results beside it."""
    asked: list[int] = []
    records = [record(7, [(CE_ID, b"s/0/3")]), record(8, [])]

    class Cursor:
        position = 9

        async def read(self, topic: str, partition: int, offset: int, *_: object) -> list[object]:
            asked.append(offset)
            return records

        async def close(self) -> None:
            pass

    async def body() -> None:
        followers = Followers(Connection("127.0.0.1:1"))
        followers.place(PART, 3, 7)
        followers._followers[PART].cursor = Cursor()
        topic = ResultsTopic("s.scores", 0, 0)
        for _ in range(2):
            with pytest.raises(TornLog):
                await followers.read(PART, topic, 10)
        del records[1]
        part = await followers.read(PART, topic, 10)
        assert [result.offset for result in part.results] == [3]
        assert asked == [7, 7, 7]
        await followers.close()

    asyncio.run(body())
