"""Attempts to connect are paced while an address cannot be reached, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import time

from aiokafka.errors import KafkaConnectionError

from service.adapters.kafka.library import PAUSE_S, PacedConnections


class Brokers:
    """Take connections, but not at the addresses that are away."""

    def __init__(self) -> None:
        self.away: dict[str, Exception] = {}
        self.asked: list[str] = []

    async def connect(self, host: str, port: int, *, client_id: str) -> str:
        self.asked.append(host)
        if host in self.away:
            raise self.away[host]
        return f"{client_id}@{host}:{port}"


def test_a_broker_that_is_away_is_asked_once_in_a_while() -> None:
    brokers = Brokers()
    brokers.away = {"a": ConnectionRefusedError(), "b": KafkaConnectionError(), "c": TimeoutError()}
    connect = PacedConnections(brokers.connect)

    async def insist(host: str) -> None:
        until_s = time.monotonic() + 2.5 * PAUSE_S
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError, KafkaConnectionError):
                await connect(host, 9092, client_id="me")

    async def body() -> None:
        await asyncio.gather(*(insist(host) for host in brokers.away))

    asyncio.run(body())
    assert {host: brokers.asked.count(host) for host in "abc"} == {"a": 4, "b": 4, "c": 4}


def test_others_and_one_that_is_back_are_reached_at_once() -> None:
    brokers = Brokers()
    brokers.away = {"a": ConnectionRefusedError()}
    connect = PacedConnections(brokers.connect)

    async def body() -> None:
        with contextlib.suppress(OSError):
            await connect("a", 1, client_id="me")
        brokers.away = {}
        began_s = time.monotonic()
        assert await connect("a", 2, client_id="me") == "me@a:2"
        assert await connect("b", 1, client_id="me") == "me@b:1"
        assert time.monotonic() - began_s < PAUSE_S / 2
        assert await connect("a", 1, client_id="me") == "me@a:1"
        again_s = time.monotonic()
        assert await connect("a", 1, client_id="me") == "me@a:1"
        assert time.monotonic() - again_s < PAUSE_S / 2

    asyncio.run(body())
