"""A log that several processes share: streams and partitions come and go by others' doing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from service.engine.errors import EngineError, NotReady, UnknownStream
from service.engine.records import (
    OwnershipChange,
    Position,
    Result,
    ResultSlice,
    StreamEntry,
    StreamPartition,
)
from tests.engine.fakes import FakeFactory, NoMetrics
from tests.engine.world import CONFIG, World, ask, rows, run, until

HERE = StreamPartition("s", 0)


class Others:
    """Results that other processes commit, as a test says."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.slices: asyncio.Queue[ResultSlice | EngineError] = asyncio.Queue()

    async def await_results(self, partition, offset, limit):
        if offset is None:
            return ResultSlice([], self.end)
        part = await self.slices.get()
        if isinstance(part, EngineError):
            raise part
        assert part.results[0].offset == offset
        return part


class Restores(NoMetrics):
    """Counts what takeovers repeat."""

    def __init__(self) -> None:
        self.replayed: list[int] = []

    def restored(self, partition, *, replayed, seconds):
        self.replayed.append(replayed)


class Counting(FakeFactory):
    """Counts the detectors made from nothing."""

    made = 0

    def create(self, config, seed):
        self.made += 1
        return super().create(config, seed)


def tell(world: World, **change) -> None:
    world.log._changes.put_nowait(OwnershipChange(**change))


def test_a_partition_that_comes_back_goes_on_with_what_it_had_learnt():
    async def body() -> None:
        world = World(metrics=Restores(), factory=Counting(), foreign=Others(0))
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2), (3, 4), (5, 6)))
            tell(world, revoked=(HERE,))
            await until(lambda: not engine._owned.runners)
            assert not engine.ready
            tell(world, assigned=(HERE,))
            await until(lambda: engine.ready)
            (result,) = await ask(engine, rows((7, 8)))
            assert result["status"] == "scored"
            assert world.metrics.replayed == [0, 0]
            assert world.factory.made == 1

    run(body)


def test_a_partition_that_another_process_had_meanwhile_is_made_again():
    async def body() -> None:
        world = World(metrics=Restores(), foreign=Others(3))
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2), (3, 4), (5, 6)))
            tell(world, revoked=(HERE,))
            tell(world, foreign=(HERE,))
            await until(lambda: HERE in engine._owned.followed)
            assert engine.ready
            tell(world, assigned=(HERE,))
            await until(lambda: HERE in engine._owned.runners and engine.ready)
            await ask(engine, rows((7, 8)))
            assert world.metrics.replayed == [0, 3]

    run(body)


def test_results_of_another_process_reach_the_readers_of_this_one():
    async def body() -> None:
        others = Others(5)
        world = World(foreign=others)
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2)))
            waiting = asyncio.create_task(engine.results_at("s", [Position(0, 2)], 5))
            await asyncio.sleep(0.01)
            tell(world, revoked=(HERE,))
            tell(world, foreign=(HERE,))
            others.slices.put_nowait(ResultSlice([Result(1, 0, "", False, b'"one"')], 2))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            others.slices.put_nowait(ResultSlice([Result(2, 0, "", False, b'"two"')], 3))
            assert await waiting == [b'"two"']

    run(body)


@pytest.mark.parametrize("error", [EngineError("the broker does not allow it"), UnknownStream("s")])
def test_results_are_followed_again_after_they_could_not_be(error):
    async def body() -> None:
        others = Others(0)
        world = World(foreign=others)
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await until(lambda: engine.ready)
            waiting = asyncio.create_task(engine.results_at("s", [Position(0, 0)], 5))
            tell(world, revoked=(HERE,), foreign=(HERE,))
            others.slices.put_nowait(error)
            await until(others.slices.empty)
            if isinstance(error, UnknownStream):  # it is there again
                tell(world, foreign=(HERE,))
            others.slices.put_nowait(ResultSlice([Result(0, 0, "", False, b'"one"')], 1))
            assert await waiting == [b'"one"']

    run(body)


def test_a_fenced_owner_says_nothing_to_readers_where_another_goes_on():
    async def body() -> None:
        others = Others(0)
        world = World(foreign=others)
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2)))
            await world.log.assign(HERE)  # another process
            (position,) = await engine.append("s", rows((3, 4)))
            waiting = asyncio.create_task(engine.results_at("s", [position], 5))
            await until(lambda: engine._owned.runners[HERE].state == "fenced")
            tell(world, revoked=(HERE,), foreign=(HERE,))
            others.slices.put_nowait(ResultSlice([Result(1, 0, "", False, b'"theirs"')], 2))
            assert await waiting == [b'"theirs"']

    run(body)


def test_a_partition_that_is_ours_again_after_it_was_fenced_is_taken_over_again():
    async def body() -> None:
        world = World(foreign=Others(0), metrics=Restores())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2)))
            running = engine._owned.tasks[HERE]
            tell(world, assigned=(HERE,))
            (result,) = await ask(engine, rows((3, 4)))
            assert engine._owned.tasks[HERE] is running, "nothing is done to one that runs"
            await world.log.assign(HERE)  # another process, which dies
            (position,) = await engine.append("s", rows((5, 6)))
            await until(lambda: engine._owned.runners[HERE].state == "fenced")
            tell(world, assigned=(HERE,))
            (result,) = await engine.results_at("s", [position], 5)
            assert json.loads(result)["status"] == "scored"
            assert len(world.metrics.replayed) == 2

    run(body)


def test_streams_of_other_processes_are_learnt_changed_and_forgotten():
    async def body() -> None:
        world = World(foreign=Others(0))
        async with world.engine() as engine:
            theirs = replace(CONFIG, name="theirs")
            entry = StreamEntry(theirs, theirs, 7)
            tell(world, streams=(entry,), foreign=(StreamPartition("theirs", 0),))
            await until(lambda: engine.streams() == [theirs] and engine.ready)
            changed = replace(theirs, max_series=5)
            tell(world, streams=(replace(entry, config=changed),))
            await until(lambda: engine.streams() == [changed])
            reader = asyncio.create_task(engine.results_at("theirs", [Position(0, 0)], 5))
            await asyncio.sleep(0.01)
            tell(world, deleted=(replace(entry, incarnation=6),))  # an earlier one of its name
            tell(world, deleted=(entry,))
            await until(lambda: engine.streams() == [])
            with pytest.raises((UnknownStream, NotReady)):
                await reader

    run(body)


def test_a_stream_that_was_made_again_elsewhere_shows_its_own_results():
    """It may be learnt of before the earlier one's end is."""

    async def body() -> None:
        others = Others(0)
        world = World(foreign=others)
        async with world.engine() as engine:
            entry = StreamEntry(CONFIG, CONFIG, 7)
            tell(world, streams=(entry,), foreign=(HERE,))
            await until(lambda: HERE in engine._owned.followed)
            former, again = engine._streams["s"], replace(entry, incarnation=8)
            tell(world, streams=(again,))
            tell(world, deleted=(entry,), revoked=(HERE,))
            tell(world, foreign=(HERE,))
            await until(lambda: engine._streams.get("s") not in (None, former) and engine.ready)
            assert engine._streams["s"].entry == again
            others.slices.put_nowait(ResultSlice([Result(0, 0, "", False, b'"one"')], 1))
            assert await engine.results_at("s", [Position(0, 0)], 1) == [b'"one"']

    run(body)


def test_a_release_waits_for_the_transaction_in_flight():
    async def body() -> None:
        world = World(foreign=Others(0), metrics=Restores())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            slow, commit = asyncio.Event(), world.log.commit

            async def wait_and_commit(transaction) -> None:
                await slow.wait()
                await commit(transaction)

            world.log.commit = wait_and_commit
            await engine.append("s", rows((1, 2), (3, 4)))
            await until(lambda: engine._owned.runners[HERE]._committing is not None)
            tell(world, revoked=(HERE,))
            await asyncio.sleep(0.02)
            slow.set()
            tell(world, assigned=(HERE,))
            await until(lambda: len(world.metrics.replayed) == 2)
            assert world.metrics.replayed == [0, 0]
            found = await engine.results("s")
            assert [json.loads(each)["offset"] for each in found.results] == [0, 1]

    run(body)


def test_a_stream_that_another_process_made_this_moment_is_found_when_asked_for():
    async def body() -> None:
        world = World(foreign=Others(0))
        async with world.engine() as engine:
            asked = 0
            streams = world.log.streams

            async def counted():
                nonlocal asked
                asked += 1
                return await streams()

            world.log.streams = counted
            await world.log.create_stream(CONFIG)  # nobody told this engine
            with pytest.raises(UnknownStream):
                engine.stream("s")
            await asyncio.gather(*(engine.look_for("s") for _ in range(5)))
            assert engine.stream("s").name == "s"
            await engine.look_for("s")
            assert asked == 1
            await engine.look_for("nowhere")
            assert asked == 2

    run(body)


def test_one_process_alone_asks_nobody():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            world.log.streams = None
            await engine.look_for("nowhere")

    run(body)
