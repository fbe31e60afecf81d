"""One life of the service: forked, set to work on a workload, and ended in any way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from service.adapters.clock import SystemClock
from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.adapters.snapshots import DirectorySnapshotStore
from service.adapters.sqlite import SqliteLog
from service.engine.engine import Engine
from service.engine.errors import Backpressure, TransientError
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.ports import (
    Clock,
    DetectorFactory,
    Failpoints,
    LogBackend,
    Ports,
    SnapshotStore,
)
from service.engine.records import EVERYTHING, StreamPartition
from tests.engine.fakes import NoMetrics
from tests.simulation.workload import Append, Workload

OPTIONS = EngineOptions(
    batch_records=400,
    tick_s=0.01,
    retry_s=0.005,
    snapshot=SnapshotPolicy(interval_s=0.03, replay_s=1.0, share=1.0),
)


@dataclass
class Trap:
    """A failpoint that counts, and does something at chosen occurrences."""

    actions: dict[tuple[str, int], Callable[[], None]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, name: str) -> None:
        self.counts[name] += 1
        action = self.actions.get((name, self.counts[name]))
        if action is not None:
            action()


def announce(seed: int) -> None:
    """Say which seed a test ran with; pytest shows it when the test fails."""
    sys.stdout.write(f"seed {seed}\n")


def die() -> None:
    """End this process as a loss of power would, but for the disk."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fail() -> None:
    """Fail as the world does now and then."""
    raise TransientError("injected")


@dataclass(frozen=True)
class World:
    """What a life is made of; mutants replace parts."""

    directory: Path
    workload: Workload
    factory: DetectorFactory = field(default_factory=ForestFactory)
    options: EngineOptions = OPTIONS
    synchronous: str = "FULL"
    clock: Clock = field(default_factory=SystemClock)
    make_log: Callable[[World, Failpoints], LogBackend] | None = None

    def log(self, failpoint: Failpoints) -> LogBackend:
        if self.make_log is not None:
            return self.make_log(self, failpoint)
        return SqliteLog(self.directory, self.synchronous, failpoint=failpoint)

    def store(self, failpoint: Failpoints) -> SnapshotStore:
        return DirectorySnapshotStore(self.directory / "snapshots", failpoint)

    def engine(self, failpoint: Failpoints) -> tuple[Engine, LogBackend]:
        log = self.log(failpoint)
        ports = Ports(
            log,
            self.store(failpoint),
            decoder_for,
            self.factory,
            self.clock,
            NoMetrics(),
            failpoint,
        )
        return Engine(ports, self.options), log


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child and return its process id; the child never returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns of locks that other threads may hold; what is forked here uses none
        # that the idle threads of earlier tests could.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def finish(world: World, trap: Failpoints | None = None, timeout_s: float = 60.0) -> dict:
    """Live undisturbed to the end of the workload and report what is in the log."""
    return begin(world, trap, timeout_s)()


def begin(
    world: World, trap: Failpoints | None = None, timeout_s: float = 60.0
) -> Callable[[], dict]:
    """As `finish`, without waiting for it: the answer waits, and returns the report."""
    report = world.directory.parent / f"{world.directory.name}.json"

    def work() -> None:
        asyncio.run(_finish(world, trap or Trap(), report, timeout_s))

    def wait() -> dict:
        _, status = os.waitpid(child, 0)
        return json.loads(report.read_text()) if status == 0 else {"died": status}

    report.unlink(missing_ok=True)
    child = fork(work)
    return wait


async def _finish(world: World, trap: Failpoints, report: Path, timeout_s: float) -> None:
    engine, log = world.engine(trap)
    await engine.start()
    try:
        await asyncio.wait_for(settle(world, engine, log), timeout_s)
        found = await read_all(world, engine, log)
    except (BrokenEngineError, TimeoutError) as error:
        found = {"broken": f"{type(error).__name__}: {error}"}
    report.write_text(json.dumps(found))  # noqa: ASYNC240  (at the end, alone)
    await engine.stop()


class BrokenEngineError(Exception):
    """The engine stopped a partition."""


async def settle(world: World, engine: Engine, log: LogBackend) -> None:
    """Work through the whole workload and wait until all of it is committed."""
    await work_on(world, engine, log, None)
    for config in world.workload.streams:
        for number in range(config.partitions):
            partition = StreamPartition(config.name, number)
            end = await input_end(engine, partition)
            while engine._streams[config.name].tails[number].committed < end:
                check(engine)
                await asyncio.sleep(0.003)


def check(engine: Engine) -> None:
    """Fail when a partition stopped for good."""
    for runner in engine._owned.runners.values():
        if runner.state in ("failed", "fenced"):
            raise BrokenEngineError(str(runner.error))


async def input_end(engine: Engine, partition: StreamPartition) -> int:
    """Return a partition's end once it is live."""
    while True:
        runner = engine._owned.runners.get(partition)
        if runner is not None and runner.state == "live":
            return max(runner.backlog.end, runner.pipeline.position)
        check(engine)
        await asyncio.sleep(0.002)


async def work_on(world: World, engine: Engine, log: LogBackend, budget: int | None) -> None:
    """Go on with the workload where the log stands, for up to `budget` records."""
    streams = world.workload.streams
    await asyncio.gather(
        *(
            _work_on_stream(world, engine, c.name, budget and budget // len(streams))
            for c in streams
        )
    )


async def _work_on_stream(world: World, engine: Engine, stream: str, budget: int | None) -> None:
    config = next(config for config in world.workload.streams if config.name == stream)
    if stream not in {known.name for known in engine.streams()}:
        await engine.create_stream(config)
    ends = [
        await input_end(engine, StreamPartition(stream, number))
        for number in range(config.partitions)
    ]
    done = 0
    for step in world.workload.steps[stream][world.workload.step_at(stream, sum(ends)) :]:
        if budget is not None and done >= budget:
            return
        check(engine)
        if isinstance(step, Append):
            await _append(engine, stream, step)
            done += len(step.records)
        else:
            await engine.update_stream(stream, lambda _, step=step: step.config, reset=step.reset)


async def _append(engine: Engine, stream: str, step: Append) -> None:
    while True:
        try:
            await engine.append(stream, step.records)
            return
        except Backpressure:
            await asyncio.sleep(0.005)


async def read_all(world: World, engine: Engine, log: LogBackend) -> dict:
    """Return digests of everything that must not depend on deaths."""
    names = ("results", "judged", "offsets", "dead", "states", "statuses")
    found: dict = {name: {} for name in names}
    statuses: Counter[str] = Counter()
    for config in world.workload.streams:
        for number in range(config.partitions):
            partition = StreamPartition(config.name, number)
            results = (await log.read_results(partition, 0, 10**9, EVERYTHING)).results
            dead = await log.read_dead_letters(partition, 0, 10**9)
            name = str(partition)
            found["results"][name] = _digest((r.offset, r.value) for r in results)
            found["judged"][name] = _digest(_judged(json.loads(r.value)) for r in results)
            found["dead"][name] = _digest((d.offset, d.value, d.field, d.reason) for d in dead)
            offsets = [result.offset for result in results]
            found["offsets"][name] = [len(offsets), offsets == list(range(len(offsets)))]
            statuses.update(json.loads(result.value)["status"] for result in results)
    states = engine.state_digests()
    found["states"] = {str(partition): states[partition] for partition in sorted(states)}
    found["statuses"] = dict(sorted(statuses.items()))
    return found


def _judged(result: dict) -> list:
    """What a result says of the values, whatever the times."""
    return [result.get(name) for name in ("offset", "score", "threshold", "grade", "confidence")]


def _digest(rows) -> str:
    digest = sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def live(
    world: World,
    trap: Failpoints,
    budget: int | None,
    *,
    stop: bool,
    at_rest: Callable[[], None] | None = None,
) -> None:
    """The body of a child: start, work, then stop gracefully or wait to be killed.

    Args:
        world: Where and what of.
        trap: What happens at failpoints.
        budget: Records to append at most; None for all of the workload.
        stop: Whether to stop gracefully.
        at_rest: What else to do once the work is done, all of it is committed and a snapshot had
            time to be written: from then on no failpoint would be met.
    """

    async def run() -> None:
        engine, log = world.engine(trap)
        await engine.start()
        await work_on(world, engine, log, budget)
        if stop:
            await settle_quietly(world, engine, log)
            await engine.stop()
        else:
            if at_rest is not None:
                await settle_quietly(world, engine, log)
                at_rest()
            await asyncio.sleep(60)

    asyncio.run(run())


async def settle_quietly(world: World, engine: Engine, log: LogBackend) -> None:
    """Wait until what was appended is committed and a snapshot had time to be written."""
    for (stream, number), runner in list(engine._owned.runners.items()):
        end = await input_end(engine, StreamPartition(stream, number))
        while runner.tail.committed < end:
            check(engine)
            await asyncio.sleep(0.003)
    await asyncio.sleep(0.08)


def warm(factory: DetectorFactory, workload: Workload) -> None:
    """Compile in this process what the children will need."""
    import numpy as np

    for config in workload.streams:
        detector = factory.create(replace(config), 1)
        values = np.random.default_rng(0).normal(size=(200, len(config.features)))
        detector.process(values, np.arange(200.0), explain=config.explain)
        factory.restore(detector.to_bytes())
