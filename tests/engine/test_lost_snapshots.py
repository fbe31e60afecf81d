"""Snapshots whose writing is cut short while the state that they captured stays in memory."""

from __future__ import annotations

import threading

import pytest

from service.engine.errors import TransientError
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.records import StreamPartition
from tests.engine.world import CONFIG, World, ask, rows, run, until

HERE = StreamPartition("s", 0)
OPTIONS = EngineOptions(
    tick_s=0.005, retry_s=0.005, snapshot=SnapshotPolicy(interval_s=1, share=1.0)
)


async def saved(world: World, offset: int) -> None:
    """Let a snapshot appear, with its pointer."""
    world.clock.s += 2.0
    part = world.log._parts[HERE]
    await until(lambda: part.pointers != () and part.pointers[0].offset == offset)


@pytest.mark.parametrize("moment", ["captured", "writing"])
def test_a_series_in_a_lost_snapshot_is_in_the_next_one(moment):
    """The series changes no more, so only its mark brings it into the next snapshot."""
    lose, lost, writing = threading.Event(), threading.Event(), threading.Event()

    def failpoint(name: str) -> None:
        if moment == "captured" and name == "snapshot.captured" and lose.is_set():
            lose.clear()
            raise TransientError("cut short before it is written")
        if moment == "writing" and name == "snapshot.chunk" and lose.is_set():
            writing.set()
            assert lost.wait(10)
        if moment == "writing" and name == "runner.polled" and writing.is_set():
            lose.clear()
            writing.clear()
            raise TransientError("cut short while it is written")

    async def body() -> None:
        world = World(options=OPTIONS, failpoint=failpoint)
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            part = world.log._parts[HERE]
            await ask(engine, rows((1, 1), (1, 2), key="quiet"))
            await saved(world, 2)
            await ask(engine, rows((1, 3), key="quiet"))
            runner, epoch = engine._owned.runners[HERE], part.epoch
            lose.set()
            world.clock.s += 2.0
            if moment == "writing":
                await until(writing.is_set)
                await engine.append("s", rows((2, 1), key="other"))
            await until(lambda: part.epoch > epoch and engine.ready)
            lost.set()
            await ask(engine, rows((2, 2), key="other"))
            await saved(world, part.end)
            before = runner.pipeline.detectors.digests()
            for task in engine._owned.tasks.values():
                task.cancel()  # a death: no last snapshot
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.state_digests()[HERE] == before

    run(body)
