"""An engine over the log in memory, for tests of one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.adapters.codec import decoder_for
from service.adapters.memory import MemoryLog
from service.adapters.snapshots import MemorySnapshotStore
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.ports import (
    DetectorFactory,
    Failpoints,
    ForeignResults,
    Metrics,
    Ports,
    no_failpoint,
)
from service.engine.records import NewRecord
from tests.engine.fakes import FakeFactory, NoMetrics

CONFIG = StreamConfig(name="s", features=("x", "y"), shingle_size=2)


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000
        self.s = 0.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.s

    def worked_s(self) -> float:
        return self.s


@dataclass
class World:
    """Everything that outlives an engine."""

    log: MemoryLog = field(default_factory=MemoryLog)
    store: MemorySnapshotStore = field(default_factory=MemorySnapshotStore)
    clock: FakeClock = field(default_factory=FakeClock)
    factory: DetectorFactory = field(default_factory=FakeFactory)
    metrics: Metrics = field(default_factory=NoMetrics)
    failpoint: Failpoints = no_failpoint
    foreign: ForeignResults | None = None
    options: EngineOptions = field(
        default_factory=lambda: EngineOptions(
            tick_s=0.01, retry_s=0.005, snapshot=SnapshotPolicy(interval_s=10, share=1.0)
        )
    )

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        engine = Engine(
            Ports(
                self.log,
                self.store,
                decoder_for,
                self.factory,
                self.clock,
                self.metrics,
                self.failpoint,
                self.foreign,
            ),
            self.options,
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run an async test, never for long."""

    async def bounded() -> None:
        await asyncio.wait_for(body(), 20)

    asyncio.run(bounded())


def rows(*values: tuple[float, ...], key: str | None = None, time_ms: int | None = None):
    """Make records of vectors."""
    return [NewRecord(json.dumps(value).encode(), key, time_ms) for value in values]


async def ask(engine: Engine, records, stream: str = "s") -> list[dict]:
    """Append records and return their results."""
    positions = await engine.append(stream, records)
    return [json.loads(result) for result in await engine.results_at(stream, positions, 5)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not condition():  # noqa: ASYNC110  (there is no event for most of them)
        await asyncio.sleep(0.002)
