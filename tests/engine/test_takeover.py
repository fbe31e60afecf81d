"""What a partition is taken over with: sound state, at once, whatever hangs beside it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from service.adapters.memory import MemoryLog
from service.adapters.snapshots import MemorySnapshotStore
from service.engine.errors import NotReady
from service.engine.policy import SnapshotPolicy
from service.engine.records import StreamPartition
from tests.engine.world import CONFIG, World, ask, rows, run, until

HERE = StreamPartition("s", 0)


def test_a_state_that_was_found_wrong_is_not_taken_for_warm():
    """A rebalance gives a failed partition back to the runner that had it."""

    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 1), (1, 2)))
            for task in engine._owned.tasks.values():
                task.cancel()  # a death: no last snapshot
        stored = world.log._parts[HERE].results
        last = stored[-1]
        stored[-1] = type(last)(last.offset, last.timestamp_ms, last.key, last.anomaly, b"other")
        async with world.engine() as engine:
            for _ in range(3):
                await until(lambda: engine._owned.has_ended(HERE))
                assert engine._owned.runners[HERE].state == "failed"
                assert "another result" in str(engine._owned.runners[HERE].error)
                with pytest.raises(NotReady):  # it has results, how many is not known
                    await engine.newest("s", 5)
                await engine._take_on(HERE)

    run(body)


class HangingStore(MemorySnapshotStore):
    """Answers no listing until it is let; notes how many wait."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.free = False, threading.Event()
        self.waiting = 0

    def names(self, prefix: str) -> list[str]:
        if self.hangs:
            self.waiting += 1
            assert self.free.wait(10)
        return super().names(prefix)


def test_scoring_does_not_wait_for_a_store_that_hangs():
    """Files are tidied up behind a pointer: nothing else but the next snapshot comes after."""

    async def body() -> None:
        world = World(store=HangingStore())
        policy = SnapshotPolicy(interval_s=1, share=1.0)
        world.options = replace(world.options, snapshot=policy)
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            world.store.hangs = True
            await ask(engine, rows((1, 1), (1, 2)))
            world.clock.s += 2.0
            await until(lambda: world.store.waiting == 1)
            for n in range(5):
                await asyncio.wait_for(ask(engine, rows((n, n))), 2)
                world.clock.s += 2.0
            assert world.store.waiting == 1 and len(world.log._parts[HERE].pointers) == 1
            world.store.free.set()
            await until(lambda: len(world.log._parts[HERE].pointers) > 1)

    run(body)


def test_streams_are_made_while_files_of_a_deleted_one_go():
    async def body() -> None:
        world = World(store=HangingStore())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            world.store.hangs = True
            deleting = asyncio.create_task(engine.delete_stream("s"))
            await until(lambda: world.store.waiting == 1)
            await asyncio.wait_for(engine.create_stream(replace(CONFIG, name="t")), 2)
            world.store.free.set()
            await deleting

    run(body)


class BusyLog(MemoryLog):
    """Whose brokers take their time to give a partition."""

    async def assign(self, partition):
        await asyncio.sleep(3)
        return await super().assign(partition)


def test_what_does_not_serve_yet_is_let_go_at_once():
    """Else it would fence its next owner, and hold up all other changes."""

    async def body() -> None:
        async with World(log=BusyLog()).engine() as engine:
            creating = asyncio.create_task(engine.create_stream(CONFIG))
            await until(lambda: HERE in engine._owned.runners)
            await asyncio.wait_for(engine._owned.release((HERE,)), 1)
            assert HERE not in engine._owned.runners and HERE not in engine._owned._warm
            creating.cancel()

    run(body)
