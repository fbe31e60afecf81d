"""When snapshots are written: one at a time, and for what scoring costs, not for its waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from service.adapters.snapshots import MemorySnapshotStore
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.records import StreamPartition
from tests.engine.world import CONFIG, FakeClock, World, ask, rows, run, until

PARTITIONS = 4
HERE = [StreamPartition("s", number) for number in range(PARTITIONS)]
KEYS = "abcdefghijklmnop"  # some for each partition
OPTIONS = EngineOptions(
    tick_s=0.005, retry_s=0.005, snapshot=SnapshotPolicy(interval_s=1, share=1.0)
)


class SlowStore(MemorySnapshotStore):
    """Counts who writes at the same time; each write lasts until it is allowed to end."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = threading.Semaphore(0)
        self.writing = self.most = self.begun = 0
        self._lock = threading.Lock()

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        with self._lock:
            self.begun += 1
            self.writing += 1
            self.most = max(self.most, self.writing)
        assert self.allowed.acquire(timeout=10)
        super().write(name, chunks)
        with self._lock:
            self.writing -= 1


@asynccontextmanager
async def all_due(store: SlowStore) -> AsyncIterator[tuple[World, Engine]]:
    """An engine, the snapshots of all of whose partitions are due, and one begun."""
    world = World(store=store, options=OPTIONS)
    async with world.engine() as engine:
        await engine.create_stream(replace(CONFIG, partitions=PARTITIONS))
        for key in KEYS:
            await ask(engine, rows((1, 1), (1, 2), key=key))
        world.clock.s += 2.0
        await until(lambda: store.begun > 0)
        yield world, engine


def pointed(world: World) -> int:
    """Partitions that have a snapshot."""
    return sum(world.log._parts[here].pointers != () for here in HERE)


def test_snapshots_that_are_due_together_are_written_one_after_the_other():
    async def body() -> None:
        store = SlowStore()
        async with all_due(store) as (world, _):
            await asyncio.sleep(0.1)  # all have looked by then, many times
            assert store.begun == 1
            store.allowed.release(1000)
            await until(lambda: pointed(world) == PARTITIONS)
        assert store.most == 1

    run(body)


def test_a_partition_that_stops_waits_for_nobodys_turn():
    async def body() -> None:
        store = SlowStore()
        async with all_due(store) as (world, engine):
            stopping = asyncio.create_task(engine.stop())
            await until(lambda: store.begun == 2)
            store.allowed.release(1000)
            await stopping
            assert pointed(world) == PARTITIONS

    run(body)


class WaitingClock(FakeClock):
    """Time passes with every look; threads work only where they are told so."""

    def __init__(self) -> None:
        super().__init__()
        self.worked = 0.0
        self.step = 0.0

    def monotonic_s(self) -> float:
        self.s += 0.001
        return self.s

    def worked_s(self) -> float:
        self.worked += self.step
        return self.worked


def test_scoring_that_waits_asks_for_no_snapshot_and_scoring_that_works_does():
    async def body() -> None:
        clock = WaitingClock()
        policy = SnapshotPolicy(interval_s=1e9, replay_s=0.05, share=1.0)
        world = World(clock=clock, options=replace(OPTIONS, snapshot=policy))
        async with world.engine() as engine:
            await engine.create_stream(replace(CONFIG, partitions=1))
            for _ in range(100):
                await ask(engine, rows((1, 1)))
            part = world.log._parts[HERE[0]]
            assert part.pointers == ()
            clock.step = 0.1
            await ask(engine, rows((1, 2)))
            await until(lambda: part.pointers != ())

    run(body)
