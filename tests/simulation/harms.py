"""The menu of `make chaos` for the embedded service: one harm each, and what must hold.

Each harm returns a sentence with its figures, or raises AssertionError. Reference is always a life
of the same records to which nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import psutil

from service.adapters.forest import ForestFactory
from service.engine.config import StreamConfig
from service.engine.errors import Backpressure, TransientError
from service.engine.policy import BacklogPolicy
from service.engine.ports import DetectorFactory
from service.engine.records import EVERYTHING, NewRecord, StreamPartition
from tests.simulation.chaos import kill_after, run_chaos
from tests.simulation.damage import (
    OwnDisk,
    SkewedClock,
    SlowFactory,
    Told,
    damage,
    newest_files,
)
from tests.simulation.lives import (
    OPTIONS,
    Trap,
    World,
    begin,
    check,
    die,
    finish,
    fork,
    live,
    read_all,
    settle,
    warm,
)
from tests.simulation.workload import HARSH, LARGE, Append, Workload, make_workload

TIMEOUT_S = 300.0
SNAPSHOT_S = 2.0
MOST_GROWTH_MB = 100.0
BACKLOG = 100
FULL_S, AGAIN_S = 0.5, 0.02
OLDER = "trying an older snapshot"
STATE_LOST = "no sound snapshot is left"


@dataclass(frozen=True)
class Setting:
    """What a harm works with.

    Attributes:
        directory: empty.
        seed: of everything random.
        records: about how many there are.
        turns: how often the harm is done.
        factory: of the detectors.
        told: told the share that is done.
    """

    directory: Path
    seed: int
    records: int = 60_000
    turns: int = 20
    factory: DetectorFactory = field(default_factory=ForestFactory)
    told: Told = lambda _share: None

    @property
    def step_bytes(self) -> int:
        """By how much a disk grows that is full: a part of what the records take."""
        return max(2**20, 50 * self.records)

    def world(self, name: str, workload: Workload) -> World:
        """A world in a directory of its own."""
        return World(self.directory / name, workload, self.factory)


def kills(setting: Setting) -> str:
    """kill -9 at random moments."""
    outcome = run_chaos(
        setting.directory,
        setting.seed,
        records=setting.records,
        kills=setting.turns,
        factory=setting.factory,
        told=setting.told,
    )
    same(outcome.found, outcome.reference)
    return f"{outcome.kills} kills, {outcome.found['statuses']}"


def corrupt_snapshot(setting: Setting) -> str:
    """kill -9, and then bits of the newest snapshot's files flipped, or the files cut off.

    An older snapshot is used, or everything repeated; where neither can be, the partition stops.
    """
    rng, workload = random.Random(setting.seed), make_workload(setting.seed, setting.records)
    warm(setting.factory, workload)
    reference = begin(setting.world("undisturbed", workload), timeout_s=TIMEOUT_S)
    world = setting.world("damaged", workload)
    said = setting.directory / "said.log"
    for turn in range(setting.turns):
        budget = int(rng.uniform(0.5, 1.5) * setting.records / setting.turns)
        with logged(said):
            child = fork(partial(live, world, Trap(), budget, stop=False))
        await_snapshots(world.directory / "snapshots", 8)
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for path in newest_files(world.directory / "snapshots", 4):
            damage(rng, path)
        setting.told((turn + 1) / (setting.turns + 1))
    with logged(said):
        found = finish(world, timeout_s=TIMEOUT_S)
    same(found, reference())
    older = said.read_text().count(OLDER)
    assert older > 0, "no start met a damaged snapshot"
    return f"{setting.turns} times, {older} snapshots refused; {lost_state(setting)}"


def await_snapshots(folder: Path, count: int) -> None:
    """Wait until so many were written; where nothing is left to be learnt, not for long."""
    before, limit_s = set(folder.rglob("*.manifest")), time.monotonic() + SNAPSHOT_S
    while len({*folder.rglob("*.manifest")} - before) < count and time.monotonic() < limit_s:
        time.sleep(0.01)


def lost_state(setting: Setting) -> str:
    """All snapshots damaged, and the log trimmed: the partition stops, and says why."""
    config = StreamConfig(
        name="s", trees=5, sample_size=16, shingle_size=2, seed=1, retention=1000, decoder="number"
    )
    records = tuple(NewRecord(b"%d" % (n % 17), f"k{n % 5}", n) for n in range(200))
    workload = Workload((config,), {"s": tuple(Append(records) for _ in range(25))})
    world = setting.world("lost", workload)

    def work() -> None:
        asyncio.run(_trimmed(world))

    assert os.waitpid(fork(work), 0)[1] == 0, "the log was not trimmed"
    for path in newest_files(world.directory / "snapshots", 10**6):
        damage(random.Random(setting.seed), path)
    said = setting.directory / "lost.log"
    with logged(said):
        found = finish(world, timeout_s=TIMEOUT_S)
    assert STATE_LOST in str(found.get("broken")), found
    return "with none left it stopped: STATE_LOST"


async def _trimmed(world: World) -> None:
    """Live until a snapshot is needed, because the log's beginning is gone."""
    engine, log = world.engine(Trap())
    await engine.start()
    (stream,) = world.workload.streams
    await engine.create_stream(stream)
    for step in world.workload.steps[stream.name]:
        assert isinstance(step, Append)
        positions = await engine.append(stream.name, step.records)
        await engine.results_at(stream.name, positions[-1:], 30)
        await asyncio.sleep(2 * world.options.snapshot.interval_s)
    part = StreamPartition(stream.name, 0)
    (first, *_) = (await log.read_results(part, 0, 1, EVERYTHING)).results
    assert first.offset > 0
    await engine.stop()


def clock_skew(setting: Setting) -> str:
    """Clocks that are wrong by up to an hour and jump, and times of records that jitter."""
    rng, workload = random.Random(setting.seed), make_workload(setting.seed, setting.records)
    warm(setting.factory, workload)
    reference = begin(setting.world("undisturbed", workload), timeout_s=TIMEOUT_S)
    world = setting.world("skewed", workload)
    for turn in range(setting.turns):
        budget = int(rng.uniform(0.2, 1.5) * setting.records / setting.turns)
        skewed = replace(world, clock=SkewedClock(rng.getrandbits(32)))
        kill_after(skewed, budget, rng.uniform(0.02, 0.2))
        setting.told((turn + 1) / (setting.turns + 2))
    expected = reference()
    same(finish(replace(world, clock=SkewedClock(1)), timeout_s=TIMEOUT_S), expected)
    jittered = finish(setting.world("jittered", jitter(workload, rng)), timeout_s=TIMEOUT_S)
    assert jittered["judged"] == expected["judged"], "times of records moved scores"
    return f"{setting.turns} lives, each with its own clock; times of records jittered by an hour"


def jitter(workload: Workload, rng: random.Random) -> Workload:
    """The same records at other times."""

    def moved(step: object) -> object:
        if not isinstance(step, Append):
            return step
        return Append(
            tuple(
                NewRecord(each.value, each.key, each.timestamp_ms + rng.randint(0, 3_600_000))
                for each in step.records
            )
        )

    steps = {name: tuple(map(moved, each)) for name, each in workload.steps.items()}
    return Workload(workload.streams, steps)


def poison(setting: Setting) -> str:
    """1 % of all records cannot be read: each has one outcome, and nobody else notices."""
    workload = make_workload(setting.seed, setting.records, poison=[*HARSH, LARGE])
    warm(setting.factory, workload)
    clean = setting.world("clean", _without(workload, {*HARSH, LARGE}))
    reference = begin(clean, timeout_s=TIMEOUT_S)
    rng, world = random.Random(setting.seed), setting.world("poisoned", workload)
    for turn in range(setting.turns):
        kill_after(world, int(setting.records / setting.turns), rng.uniform(0.05, 0.3))
        setting.told((turn + 1) / (setting.turns + 1))
    found, expected = finish(world, timeout_s=TIMEOUT_S), reference()
    sent = sum(len(step.records) for each in workload.steps.values() for step in _appends(each))
    kept = sum(
        len(step.records) for each in clean.workload.steps.values() for step in _appends(each)
    )
    assert found["states"] == expected["states"], "poison moved what others learnt"
    assert all(whole for _, whole in found["offsets"].values()), "an offset has no one result"
    errors = found["statuses"]["error"] - expected["statuses"].get("error", 0)
    assert errors == sent - kept, f"{errors} errors of {sent - kept} poisoned records"
    return f"{sent - kept} poisoned of {sent} records, one error each; what was learnt is the same"


def _appends(steps: tuple) -> list[Append]:
    return [step for step in steps if isinstance(step, Append)]


def _without(workload: Workload, values: set[bytes]) -> Workload:
    """The same without records of some values."""

    def left(step: object) -> object:
        if not isinstance(step, Append):
            return step
        return Append(tuple(each for each in step.records if each.value not in values))

    steps = {name: tuple(map(left, each)) for name, each in workload.steps.items()}
    nothing = Append(())
    return Workload(
        workload.streams,
        {name: tuple(step for step in each if step != nothing) for name, each in steps.items()},
    )


def poison_100(setting: Setting) -> str:
    """Nothing but garbage: the partition halts where it must, and goes on unharmed when told."""
    count = setting.records // 10
    config = StreamConfig(name="s", features=("x", "y"), trees=5, sample_size=16)
    good = [NewRecord(b'{"values":[%d,1]}' % (n % 13), f"k{n % 5}", n) for n in range(2_000)]
    garbage = [NewRecord(HARSH[n % len(HARSH)], f"k{n % 5}", n) for n in range(count)]
    halves = good[:1_000], good[1_000:]
    warm(setting.factory, Workload((config,), {}))
    clean = setting.world(
        "clean", Workload((config,), {"s": tuple(map(Append, map(tuple, halves)))})
    )
    reference = finish(clean, timeout_s=TIMEOUT_S)
    report = setting.directory / "poisoned.json"
    world = setting.world("poisoned", clean.workload)

    def work() -> None:
        told = asyncio.run(_choke(world, (halves[0], garbage, halves[1])))
        report.write_text(json.dumps(told))

    assert os.waitpid(fork(work), 0)[1] == 0, "the poisoned life broke"
    found = json.loads(report.read_text())
    limit = min(config.dead_letter_run, round(config.dead_letter_share * 1_000) + 1)
    assert found["halted_at"] == len(halves[0]) + limit - 1, found
    assert found["errors"] == count, found
    assert found["states"] == reference["states"], "garbage moved what was learnt"
    return (
        f"{count} records of garbage: halted at the {limit}th, and when told to go on scored "
        f"{len(halves[1])} behind them as if they had not been"
    )


async def _choke(world: World, parts: tuple[list[NewRecord], ...]) -> dict:
    """Feed the parts, let the halt pass, and tell what came of it."""
    engine, log = world.engine(Trap())
    await engine.start()
    (config,) = world.workload.streams
    await engine.create_stream(config)
    part = StreamPartition(config.name, 0)
    placed = [(0, each) for some in parts for each in some]
    for first in range(0, len(placed), 500):
        await log.append(config.name, placed[first : first + 500])
    while not engine.halted:
        check(engine)
        await asyncio.sleep(0.01)
    (halted,) = engine.halted
    await engine.resume_stream(config.name)
    while engine._streams[config.name].tails[0].committed <= len(placed):
        check(engine)
        await asyncio.sleep(0.01)
    dead = await log.read_dead_letters(part, 0, 10**9)
    digests = engine.state_digests()
    await engine.stop()
    return {
        "halted_at": halted.offset,
        "errors": len(dead),
        "states": {str(each): digests[each] for each in digests},
    }


def slow_consumer(setting: Setting) -> str:
    """Scoring takes twenty times as long while records come as fast as they are taken."""
    workload = make_workload(setting.seed, setting.records // 4)
    warm(setting.factory, workload)
    reference = begin(setting.world("undisturbed", workload), timeout_s=TIMEOUT_S)
    options = replace(OPTIONS, backlog=BacklogPolicy(records=BACKLOG))
    slow = SlowFactory(setting.factory)
    world = replace(setting.world("slow", workload), factory=slow, options=options)
    report = setting.directory / "slow.json"

    def work() -> None:
        report.write_text(json.dumps(asyncio.run(_pressed(world))))

    assert os.waitpid(fork(work), 0)[1] == 0, "the slow life broke"
    found = json.loads(report.read_text())
    same(found["found"], reference())
    grown = found["grown_mb"]
    assert found["refused"] > 0, "nothing was refused"
    assert grown < MOST_GROWTH_MB, f"memory grew by {grown:.0f} MB"
    return f"{found['refused']} appends refused, memory grew by {grown:.0f} MB"


async def _pressed(world: World) -> dict:
    """Append as fast as it goes; tell what was refused and by how much memory grew."""
    engine, log = world.engine(Trap())
    refused, append = 0, engine.append

    async def counting(stream: str, records: tuple) -> list:
        nonlocal refused
        try:
            return await append(stream, records)
        except Backpressure:
            refused += 1
            raise

    engine.append = counting  # type: ignore[method-assign]  # this engine alone
    process, most = psutil.Process(), 0
    before = process.memory_info().rss
    await engine.start()
    working = asyncio.create_task(settle(world, engine, log))
    while not working.done():
        most = max(most, process.memory_info().rss)
        await asyncio.wait({working}, timeout=0.1)
    await working
    found = await read_all(world, engine, log)
    await engine.stop()
    return {"found": found, "refused": refused, "grown_mb": (most - before) / 1e6}


def disk_full(setting: Setting) -> str:
    """A disk that is full again and again: nothing is lost, and it goes on when there is room."""
    workload = make_workload(setting.seed, setting.records)
    warm(setting.factory, workload)
    reference = begin(setting.world("undisturbed", workload), timeout_s=TIMEOUT_S)
    report = setting.directory / "full.json"

    def work() -> None:
        report.write_text(json.dumps(_full_again_and_again(setting, workload)))

    assert os.waitpid(fork(work), 0)[1] == 0, "the life on a full disk broke"
    found = json.loads(report.read_text())
    same(found["found"], reference())
    assert found["full"] > 1, "the disk was never full"
    refused, reasons = found["refused"], ", ".join(found["reasons"])
    return (
        f"full {found['full']} times, killed {found['killed']} times then; {refused} writes "
        f"refused; not ready meanwhile: {reasons}"
    )


def _full_again_and_again(setting: Setting, workload: Workload) -> dict:
    """Live on a disk of one's own, which grows each time it is full; every other time die then."""
    place = setting.directory / "disk"
    place.mkdir()
    disk = OwnDisk(place, setting.step_bytes)
    world = World(place / "log", workload, setting.factory)
    told = {"full": 0, "killed": 0, "refused": 0, "reasons": [], "found": None}
    report = setting.directory / "life.json"
    while told["found"] is None:
        report.write_text(json.dumps(told))
        os.waitpid(fork(lambda: asyncio.run(_until_full_twice(world, disk, report))), 0)
        before, told = told, json.loads(report.read_text())
        assert told != before, "a life broke"
        disk.enlarge()
        setting.told(min(0.9, told["full"] / setting.turns))
    return told


async def _until_full_twice(world: World, disk: OwnDisk, report: Path) -> None:
    """Work to the end, or die at the second full disk."""
    told = json.loads(report.read_text())  # noqa: ASYNC240  (at the begin)
    engine, log = world.engine(Trap())
    stuck = asyncio.Event()

    def insisting(work: Callable) -> Callable:
        async def until_done(*arguments: object, **named: object) -> object:
            while True:
                try:
                    return await work(*arguments, **named)
                except TransientError:
                    told["refused"] += 1
                    stuck.set()
                    await asyncio.sleep(AGAIN_S)

        return until_done

    for name in ("append", "create_stream", "update_stream"):
        setattr(engine, name, insisting(getattr(engine, name)))
    try:
        await engine.start()
    except TransientError as error:  # too full even to take the log over: start again later
        told["full"], told["refused"] = told["full"] + 1, told["refused"] + 1
        told["reasons"] = sorted({*told["reasons"], str(error)[:100]})
        report.write_text(json.dumps(told))  # noqa: ASYNC240  (the last words)
        return
    working, fills = asyncio.create_task(settle(world, engine, log)), 0
    while not working.done():
        await asyncio.wait({working}, timeout=0.1)
        retrying = [each for each in engine._owned.runners.values() if each.state == "retrying"]
        if not (stuck.is_set() or retrying):
            continue
        await asyncio.wait({working}, timeout=FULL_S)  # nothing may break meanwhile
        check(engine)
        told["full"] += 1
        told["reasons"] = sorted({*told["reasons"], str(engine.not_ready_reason)[:100]})
        fills += 1
        if fills == 2:
            told["killed"] += 1
            report.write_text(json.dumps(told))  # noqa: ASYNC240  (the last words)
            die()
        disk.enlarge()
        stuck.clear()
        await asyncio.wait({working}, timeout=world.options.retry_most_s)
    await working
    told["found"] = await read_all(world, engine, log)
    report.write_text(json.dumps(told))  # noqa: ASYNC240  (at the end)
    await engine.stop()


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Write what the service logs into a file, also that of processes forked meanwhile."""
    handler, logger = logging.FileHandler(path), logging.getLogger("service")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        handler.close()


def same(found: dict, reference: dict) -> None:
    """Fail unless outputs and states are those of the undisturbed run."""
    assert "results" in reference, f"the undisturbed run broke: {reference}"
    assert found == reference, f"differs from the undisturbed run: {_difference(found, reference)}"


def _difference(found: dict, reference: dict) -> str:
    names = [name for name in reference if found.get(name) != reference[name]]
    return ", ".join(names) if "results" in found else str(found)


HARMS: dict[str, Callable[[Setting], str]] = {
    "kills": kills,
    "disk-full": disk_full,
    "corrupt-snapshot": corrupt_snapshot,
    "clock-skew": clock_skew,
    "slow-consumer": slow_consumer,
    "poison-1": poison,
    "poison-100": poison_100,
}
