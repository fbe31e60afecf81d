"""kill -9 around a halt: every life halts at the same record, and goes on all the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from service.adapters.sqlite import SqliteLog
from service.engine import snapshot as snapshot_module
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.halting import DeadLetterLimit, LookAhead
from service.engine.ports import LogBackend
from service.engine.records import EVERYTHING, NewRecord, StreamPartition
from tests.engine.fakes import FakeFactory
from tests.simulation.lives import OPTIONS, Trap, World, announce, die, fail, fork
from tests.simulation.workload import Workload

SEED = 23
RECORDS = 3000
CONFIG = StreamConfig(
    name="s", shingle_size=2, partitions=2, dead_letter_share=0.05, dead_letter_run=25
)
DEATHS = (
    ("commit.after", 6),
    ("snapshot.before_collect", 3),
    ("sqlite.offset", 9),
    ("pointer.after", 1),
    ("snapshot.written", 2),
    ("commit.before", 4),
)


def make_records() -> list[tuple[int, NewRecord]]:
    """Bad records here and there, and a burst of them in each partition."""
    rng = random.Random(SEED)
    found = []
    for n in range(RECORDS):
        number = rng.randrange(2)
        burst = 1200 + 900 * number < n < 1400 + 900 * number
        bad = rng.random() < (0.7 if burst else 0.02)
        value = b"{" if bad else b"%r" % rng.random()
        found.append((number, NewRecord(value, f"k{n % 7}", n)))
    return found


def world_in(directory: Path) -> World:
    workload = Workload((CONFIG,), {})
    options = replace(OPTIONS, batch_records=37, verify_replay=False)
    return World(directory / "log", workload, FakeFactory(), options)


def feed(world: World) -> None:
    """Put everything into the log before any life begins, so that all find the same."""

    async def body() -> None:
        log = SqliteLog(world.directory)
        await log.open()
        await log.create_stream(CONFIG)
        await log.append("s", make_records())
        await log.close()

    asyncio.run(body())


async def at_rest(
    engine: Engine, stood: Mapping[int, int] | None = None
) -> dict[int, tuple[int, str]]:
    """Wait until every partition halted or settled everything; where they stand, and how.

    Args:
        stood: where they were told to go on; each must have left that place.
    """
    while True:
        await asyncio.sleep(0.02)
        found = engine.partitions("s") if engine.streams() else []
        broken = [each.reason for each in found if each.state == "failed"]
        assert not broken, broken
        rests = [e.state == "halted" or (e.state, e.waiting) == ("live", 0) for e in found]
        moved = [stood is None or each.committed > stood[each.partition] for each in found]
        if found and all(rests) and all(moved):
            return {each.partition: (each.committed, each.state) for each in found}


async def outcome(engine: Engine, log: LogBackend) -> dict:
    found = {}
    for number in range(CONFIG.partitions):
        partition = StreamPartition("s", number)
        results = (await log.read_results(partition, 0, 10**6, EVERYTHING)).results
        dead = await log.read_dead_letters(partition, 0, 10**6)
        found[str(number)] = [
            [result.value.decode() for result in results],
            [letter.offset for letter in dead],
            engine.state_digests()[partition],
        ]
    return found


async def life(world: World, trap: Trap, *, resumes: int) -> list:
    """Resume so many times; tell where the partitions stood each time, and what came out."""
    engine, log = world.engine(trap)
    await engine.start()
    told = [sorted((await at_rest(engine)).items())]
    for _ in range(resumes):
        stood = {each.partition: each.committed for each in engine.partitions("s")}
        await engine.resume_stream("s")
        told.append(sorted((await at_rest(engine, stood)).items()))
    told.append(await outcome(engine, log))
    await engine.stop()
    return told


def lived(world: World, trap: Trap, *, resumes: int) -> list:
    report = world.directory.parent / "report.json"
    report.unlink(missing_ok=True)

    def work() -> None:
        signal.alarm(30)
        report.write_text(json.dumps(asyncio.run(life(world, trap, resumes=resumes))))

    os.waitpid(fork(work), 0)
    return json.loads(report.read_text()) if report.exists() else []


def lives(world: World) -> list:
    feed(world)
    traps = (Trap({death: die, ("commit.before", 3): fail}) for death in DEATHS)
    died = [not lived(world, trap, resumes=0) for trap in traps]
    assert sum(died) >= 4, died
    return lived(world, Trap(), resumes=1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> list:
    world = world_in(tmp_path_factory.mktemp("reference"))
    feed(world)
    found = lived(world, Trap(), resumes=1)
    first, second, _ = found
    assert [state for _, (_, state) in first] == ["halted", "halted"]
    assert [state for _, (_, state) in second] == ["live", "live"]
    return found


def test_deaths_do_not_move_a_halt(reference, tmp_path):
    announce(SEED)
    assert lives(world_in(tmp_path)) == reference


def test_a_count_outside_the_snapshot_would_move_it(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot_module, "limit_of", lambda _: DeadLetterLimit())
    assert lives(world_in(tmp_path)) != reference


def test_a_halt_that_nobody_needs_to_let_go_on_would_be_seen(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(LookAhead, "permits", lambda *_: True)
    assert lives(world_in(tmp_path)) != reference
