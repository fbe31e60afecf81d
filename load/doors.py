"""The ways in: what every kind of traffic can do, and how one is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from load.http_door import FORMATS, HttpDoor
from load.kafka_door import KafkaDoor
from load.ramp import Step
from load.service import Model, Served, broker, served
from load.traffic import Traffic

WAYS = (*FORMATS, "kafka")


class Door(Protocol):
    """A way in, with traffic for it."""

    def warm(self, each: int, done: Callable[[int], None]) -> None:
        """Send so many records of every series as fast as it goes; `done` is told how many."""
        ...

    def run(
        self, rate: float, seconds: float, done: Callable[[float], None], slice_s: float
    ) -> Step:
        """Send at a rate (records a second) for some seconds, open loop; `done` is told seconds.

        `slice_s`: see `Latencies`.
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


@contextlib.contextmanager
def opened(way: str, model: Model, traffic: Traffic) -> Iterator[tuple[Served, Door]]:
    """A service of its own and the door to it.

    Args:
        way: one of `WAYS`.
        model: the stream.
        traffic: what is sent.

    Raises:
        NotToBeHadError: there is no broker.
    """
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(broker()) if way == "kafka" else None
        service = stack.enter_context(served(model, kafka))
        door: Door = (
            KafkaDoor(service, traffic)
            if way == "kafka"
            else HttpDoor(service, traffic, FORMATS[way])
        )
        try:
            yield service, door
        finally:
            door.close()
