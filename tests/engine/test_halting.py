"""Too many dead letters halt a partition: at one offset, whatever happens around it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from dataclasses import replace

import pytest

from service.adapters.codec import JsonDecoder
from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import Halted, InvariantError, ResultTimeout
from service.engine.halting import WINDOW, DeadLetterLimit
from service.engine.options import EngineOptions
from service.engine.pipeline import Pipeline
from service.engine.policy import SnapshotPolicy
from service.engine.records import (
    EVERYTHING,
    Batch,
    NewRecord,
    PartitionStatus,
    Record,
    StreamPartition,
)
from tests.engine.fakes import FakeFactory, NoMetrics
from tests.engine.world import World, run, until

P0 = StreamPartition("s", 0)
CONFIG = StreamConfig(name="s", dead_letter_run=5)
GOOD, BAD = b"1.5", b"{"


def records(text: str, first: int = 0, config: StreamConfig = CONFIG) -> list[Record]:
    """One record a character: "x" is a bad one, "c" a control record, any other a good one."""
    values = {"x": BAD, "c": encode_config(config)}
    return [
        Record(first + i, 0, "k", values.get(sign, GOOD), sign == "c")
        for i, sign in enumerate(text)
    ]


def pipeline(config: StreamConfig = CONFIG) -> Pipeline:
    return Pipeline(P0, config, SeriesDetectors(FakeFactory()), JsonDecoder)


def halts_at(text: str, config: StreamConfig = CONFIG) -> int | None:
    line = pipeline(config)
    output = line.process(Batch(P0, records(text), len(text)))
    assert len(output.results) == line.position
    assert line.position == (len(text) if line.halt is None else line.halt.offset + 1)
    return None if line.halt is None else line.halt.offset


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("xxxx.xxxx", None),
        ("xxxxx....", 4),
        (".x.xxxxxx", 7),
        ("xxxxcxxxx", None),  # a change of the configuration begins the count afresh
        ("xxxxcxxxxx", 9),
    ],
)
def test_a_run_halts_at_its_last_record(text, offset):
    assert halts_at(text) == offset


@pytest.mark.parametrize(
    ("share", "text", "offset"),
    [
        (0.2, "x" * 200 + "." * 1000, None),
        (0.2, "x" * 200 + "." * 799 + "x", 999),
        (0.2, "x" * 200 + "." * 800 + "x", None),  # the first one is WINDOW records old
        (0.2, "x" * 201, 200),
        (0.002, "x..x" + "." * 2000 + "x", None),
        (0.002, "x" + "." * 998 + "x..x..x", 1005),
        (1.0, "x" * 3000, None),  # never more than all of them
        (0.0, "x" * 3000, None),
    ],
)
def test_a_share_halts_where_it_is_exceeded(share, text, offset):
    config = replace(CONFIG, dead_letter_run=0, dead_letter_share=share)
    assert halts_at(text, config) == offset


def test_a_first_bad_record_is_one_of_a_thousand():
    assert halts_at("x", StreamConfig(name="s")) is None
    assert WINDOW * StreamConfig(name="s").dead_letter_share == 200


def test_a_halted_pipeline_refuses_to_process():
    line = pipeline()
    line.process(Batch(P0, records("xxxxx"), 5))
    with pytest.raises(InvariantError, match="halted"):
        line.process(Batch(P0, records(".", 5), 6))


def test_series_behind_the_halt_are_not_admitted():
    line = pipeline(replace(CONFIG, max_series=1))
    some = records("xxxxx")
    line.process(Batch(P0, [*some, Record(5, 0, "later", GOOD)], 6))
    assert len(line.detectors) == 0


@pytest.mark.parametrize("seed", range(20))
def test_batches_and_snapshots_do_not_move_the_halt(seed):
    rng = random.Random(seed)
    text = "".join(rng.choices("x.c", (30, 69, 1), k=400))
    config = replace(CONFIG, dead_letter_run=3, dead_letter_share=0.05)
    log = records(text, config=config)
    whole, found = pipeline(config), []
    cut, cut_found = pipeline(config), []
    for line, halts, most in ((whole, found, 400), (cut, cut_found, 30)):
        while line.position < len(text):
            end = min(line.position + rng.randint(1, most), len(text))
            line.process(Batch(P0, log[line.position : end], end))
            if line.halt is not None:
                halts.append(line.halt)
            line.limit = DeadLetterLimit(line.limit.count())  # as through a snapshot
            line.resume()
    assert found == cut_found and len(found) > 2
    assert whole.detectors.digests() == cut.detectors.digests()


# -- a partition's life -------------------------------------------------------------------


def new(text: str) -> list[NewRecord]:
    return [NewRecord(BAD if sign == "x" else GOOD, "k", 1) for sign in text]


class Standing(NoMetrics):
    """Remembers which partitions stand still, and what waits."""

    def __init__(self) -> None:
        self.now: dict[StreamPartition, bool] = {}
        self.waiting: dict[StreamPartition, int] = {}

    def lag(self, partition, records) -> None:
        self.waiting[partition] = records

    def halted(self, partition, stands) -> None:
        self.now[partition] = stands


def fed(world: World, text: str):
    return world.log.append("s", [(0, record) for record in new(text)])


async def settled(world: World, offset: int) -> None:
    await until(lambda: world.log._parts[P0].committed == offset)
    await asyncio.sleep(0.03)
    assert world.log._parts[P0].committed == offset


def test_a_halted_partition_says_so_and_goes_on_when_told(caplog):
    world = World(metrics=Standing())

    async def body() -> None:
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await fed(world, "..xxxxx.....xxxxx...")
            await settled(world, 7)
            assert engine.ready
            (halt,) = engine.halted
            assert (halt.partition, halt.offset) == (0, 6)
            assert "5 records in a row" in str(halt) and "resume" in str(halt)
            (status,) = engine.partitions("s")
            assert status == PartitionStatus(0, "halted", 7, status.waiting, str(halt))
            assert world.metrics.now == {P0: True}
            with pytest.raises(Halted):
                await engine.append("s", new("."))
            assert world.log._parts[P0].end == 20
            # What is in the log at this moment passes, the second run too.
            await engine.resume_stream("s")
            await settled(world, 21)
            assert world.metrics.now == {P0: False} and engine.halted == []
            # What comes later is counted afresh.
            await fed(world, "xxxxxx")
            await settled(world, 26)
            with pytest.raises(ResultTimeout):
                await engine.results_at("s", [(0, 26)], 0.05)

    with caplog.at_level(logging.ERROR):
        run(body)
    said = [record.getMessage() for record in caplog.records if "HALTED" in record.getMessage()]
    assert len(said) == 2 and "rcf dlq list s" in said[0] and "rcf resume s" in said[0]


def test_a_halt_is_told_of_once_what_led_to_it_is_durable():
    world = World()

    async def body() -> None:
        asked, done, commit = asyncio.Event(), asyncio.Event(), world.log.commit

        async def slow(transaction):
            asked.set()
            await done.wait()
            await commit(transaction)

        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await until(lambda: engine.ready)
            world.log.commit = slow  # type: ignore[method-assign]  # this log alone
            await fed(world, "..xxxxx")
            await asked.wait()
            await asyncio.sleep(0.05)
            (stands,) = engine.partitions("s")
            assert (stands.state, stands.committed) == ("live", 0) and not engine.halted
            done.set()
            await settled(world, 7)
            await until(lambda: engine.halted)
            (stands,) = engine.partitions("s")
            assert (stands.state, stands.committed) == ("halted", 7)

    run(body)


def test_what_others_append_behind_a_halt_counts_as_lag():
    world = World(metrics=Standing())

    async def body() -> None:
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await fed(world, "xxxxx...")
            await until(lambda: world.metrics.waiting[P0] == 3)
            await fed(world, "....")
            await until(lambda: world.metrics.waiting[P0] == 7)
            await engine.resume_stream("s")
            await until(lambda: world.metrics.waiting[P0] == 0)
            assert world.log._parts[P0].committed == 13

    run(body)


def test_a_change_of_the_configuration_lets_it_go_on():
    world = World()

    async def body() -> None:
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await fed(world, "xxxxxxx")
            await settled(world, 5)
            await engine.update_stream(
                "s", lambda now: replace(now, dead_letter_run=0), reset=False
            )
            await settled(world, 8)
            await fed(world, "x" * 20)
            await settled(world, 28)

    run(body)


@pytest.mark.parametrize("snapshots", [True, False])
@pytest.mark.parametrize("graceful", [True, False])
def test_a_restart_halts_where_the_former_life_did(snapshots, graceful):
    interval_s = 0.01 if snapshots else 1e9
    policy = SnapshotPolicy(interval_s=interval_s, replay_s=1e9, share=1.0)
    world = World(options=EngineOptions(tick_s=0.01, retry_s=0.005, snapshot=policy))

    async def body() -> None:
        for life in range(3):
            async with world.engine() as engine:
                if life == 0:
                    await engine.create_stream(CONFIG)
                    await fed(world, "...xxxx")
                await until(lambda e=engine: e.ready)
                world.clock.s += 5
                if life == 1:
                    await fed(world, "x....xxxxx")  # the fifth of a run that began in another life
                await settled(world, 7 if life == 0 else 8)
                world.clock.s += 5
                await asyncio.sleep(0.03)
                assert len(engine.halted) == (life > 0)
                if not graceful:
                    for task in engine._owned.tasks.values():
                        task.cancel()
        assert bool(world.log._parts[P0].pointers) == (snapshots or graceful)
        async with world.engine() as engine:
            await until(lambda: engine.halted)
            await engine.resume_stream("s")
            await settled(world, 18)
        part = world.log._parts[P0]
        assert [dead.offset for dead in part.dead_letters] == [*range(3, 8), *range(12, 17)]
        statuses = [json.loads(result.value)["status"] for result in part.results]
        assert len(statuses) == 18 and statuses[-1] == "control"
        # Replay passes a halt that somebody let go on, and repeats the same results.
        for pointer in part.pointers:
            world.store.delete(pointer.manifest)
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.partitions("s")[0].committed == 18 and engine.halted == []
            assert (await world.log.read_results(P0, 0, 99, EVERYTHING)).results == part.results

    run(body)


def test_a_word_to_go_on_outlives_the_process_that_heard_it():
    world = World()

    async def body() -> None:
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await fed(world, "xxxxx...")
            await settled(world, 5)
        # Written while nobody runs the partition, as another worker would.
        await world.log.update_stream("s", lambda now: now)
        async with world.engine() as engine:
            await settled(world, 9)
            assert engine.halted == []

    run(body)
