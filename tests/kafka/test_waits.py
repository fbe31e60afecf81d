"""Every wait for the client library ends, and what it leaves behind makes no noise."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.adapters.kafka import connection
from service.adapters.kafka.connection import bounded
from service.engine.errors import TransientError


async def _deaf(seconds: float) -> None:
    """As the library does now and then: a cancellation is answered by waiting."""
    limit_s = time.monotonic() + seconds
    while time.monotonic() < limit_s:
        try:
            await asyncio.sleep(limit_s - time.monotonic())
        except asyncio.CancelledError:
            continue


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(connection, "CANCEL_S", 0.1)


def test_a_call_that_does_not_heed_its_cancellation_is_left_behind():
    async def body() -> None:
        began_s = time.monotonic()
        with pytest.raises(TransientError, match=r"knocking did not end within 0\.1 s"):
            await bounded(_deaf(1.0), "knocking", 0.1)
        assert time.monotonic() - began_s < 0.6

    asyncio.run(body())


def test_whoever_waits_may_be_cancelled_all_the_same():
    async def body() -> None:
        waiting = asyncio.create_task(bounded(_deaf(1.0), "knocking", 60.0))
        await asyncio.sleep(0.05)
        waiting.cancel()
        began_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - began_s < 0.6

    asyncio.run(body())


def test_an_error_of_what_was_left_behind_is_reported_to_nobody():
    said: list[dict] = []

    async def late() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
            raise ValueError("too late") from None

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        with pytest.raises(TransientError):
            await bounded(late(), "knocking", 0.05)
        await asyncio.sleep(0.5)

    asyncio.run(body())
    assert said == []
