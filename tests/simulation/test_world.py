"""A world that fails at random, from one seed: against an oracle that met no failure.

The log in memory outlives every engine. Operations fail before or after they took effect,
wait, and meet former owners that do not know they are dead. Producers that hear no answer send
again, so the input holds duplicates. Whatever is in the input at the end, one pipeline that
reads it from the first record says what results and states must be.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from service.adapters.codec import JsonDecoder
from service.adapters.memory import MemoryLog
from service.engine.config import StreamConfig
from service.engine.detectors import SeriesDetectors
from service.engine.engine import Engine
from service.engine.errors import Backpressure, TransientError
from service.engine.options import EngineOptions
from service.engine.pipeline import Pipeline
from service.engine.policy import BacklogPolicy, SnapshotPolicy
from service.engine.ports import no_failpoint
from service.engine.records import EVERYTHING, Batch, NewRecord, StreamPartition
from service.engine.snapshot import load, read_manifest
from tests.engine.fakes import FakeFactory
from tests.engine.world import World, run, until
from tests.simulation.lives import announce

CONFIG = StreamConfig(
    name="s",
    features=("x", "y"),
    shingle_size=2,
    sample_size=5,
    partitions=3,
    new_series="shared",
    max_series=4,
)


class RestlessLog(MemoryLog):
    """A log that waits and fails as its dice fall."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.calm = False

    async def _maybe(self) -> None:
        for _ in range(self.rng.choice((0, 0, 1, 5))):
            await asyncio.sleep(0)
        if self.rng.random() < 0.05:
            await asyncio.sleep(self.rng.random() * 0.01)
        if not self.calm and self.rng.random() < 0.04:
            raise TransientError("the dice fell badly")

    async def append(self, stream, records):
        await self._maybe()
        positions = await super().append(stream, records)
        await self._maybe()
        return positions

    async def commit(self, transaction):
        await self._maybe()
        await super().commit(transaction)
        await self._maybe()

    async def assign(self, partition):
        await self._maybe()
        found = await super().assign(partition)
        await self._maybe()
        return found

    async def poll(self, partition, offset, max_records, max_bytes):
        batch = await super().poll(partition, offset, self.rng.randint(1, 40), max_bytes)
        await self._maybe()
        return batch

    async def read_results(self, partition, offset, limit, where):
        await self._maybe()
        return await super().read_results(partition, offset, limit, where)


def record(rng: random.Random, number: int) -> NewRecord:
    value = rng.choice((b"[%d,1]", b"[%d,2]", b'{"values":[%d,3]}', b"[%d")) % number
    return NewRecord(value, f"k{rng.randrange(9)}", 10**12 + rng.randrange(1000))


async def produce(rng: random.Random, engine: Engine, count: int) -> None:
    """Append, and append again when no answer came."""
    for number in range(count):
        records = [record(rng, number) for _ in range(rng.randint(1, 12))]
        for _ in range(rng.choice((1, 1, 1, 2))):
            try:
                await engine.append("s", records)
            except TransientError:
                continue
            except Backpressure:
                await asyncio.sleep(0.002)
        if rng.random() < 0.04:
            await change(rng, engine)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.003)


async def change(rng: random.Random, engine: Engine) -> None:
    changes = {"max_series": rng.randint(2, 6), "time_decay": rng.choice((None, 0.1, 0.2))}
    reset = rng.random() < 0.5
    await engine.update_stream("s", lambda now: replace(now, **changes), reset=reset)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_results_are_those_of_the_input(seed):
    announce(seed)
    rng = random.Random(seed)

    async def body() -> None:
        log = RestlessLog(random.Random(seed + 1000))
        options = EngineOptions(
            tick_s=0.003,
            retry_s=0.001,
            retry_most_s=0.005,
            snapshot=SnapshotPolicy(interval_s=0.5, share=1.0),
            backlog=BacklogPolicy(records=400),
        )
        world = World(log=log, options=options)
        await log.create_stream(CONFIG)
        ticking = asyncio.create_task(tick(world))
        left: list[Engine] = []
        for life in range(5):
            engine = Engine(world_ports(world), options)
            await engine.start()
            await produce(rng, engine, 40)
            log.calm = life == 4
            if rng.random() < 0.3:
                await engine.stop()
            else:
                left.append(engine)  # to itself: a former owner that does not know
        # One that still tries to take partitions over would fence the last engine for good.
        for engine in left:
            await engine.stop()
        async with world.engine() as last:
            await until(lambda: last.ready)
            partitions = [StreamPartition("s", number) for number in range(3)]
            await until(
                lambda: all(log._parts[p].committed == log._parts[p].end for p in partitions)
            )
            await asyncio.sleep(0.05)
            states = last.state_digests()
        ticking.cancel()
        for partition in partitions:
            for pointer in log._parts[partition].pointers:
                load(world.store, read_manifest(world.store, pointer), spare(), no_failpoint)
            await agree(log, partition, states[partition])

    run(body)


def spare() -> SeriesDetectors:
    return SeriesDetectors(FakeFactory())


def world_ports(world: World):
    from service.engine.ports import Ports

    return Ports(world.log, world.store, JsonDecoder, world.factory, world.clock, world.metrics)


async def tick(world: World) -> None:
    """Let the fake clock run, with jumps."""
    while True:
        world.clock.s += 0.2
        world.clock.ms += random.Random(world.clock.ms).randint(-5000, 5000)
        await asyncio.sleep(0.004)


async def agree(log: MemoryLog, partition: StreamPartition, states: dict[str, str]) -> None:
    """Compare what was committed with what one undisturbed pipeline makes of the input."""
    part = log._parts[partition]
    assert part.begin == 0
    oracle = Pipeline(partition, CONFIG, spare(), JsonDecoder)
    expected = oracle.process(Batch(partition, part.input, part.end))
    found = await log.read_results(partition, 0, 10**6, EVERYTHING)
    assert len(expected.results) > 100
    assert list(found.results) == expected.results
    assert part.dead_letters == expected.dead_letters
    assert states == oracle.detectors.digests()
