"""Workers as OS processes over one broker: forked, killed, frozen, asked for their state."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaException

from service.adapters.clock import SystemClock
from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.adapters.kafka import Connection, KafkaLog
from service.adapters.memory import MemoryLog
from service.adapters.snapshots import DirectorySnapshotStore, MemorySnapshotStore
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.ports import (
    Clock,
    DetectorFactory,
    ForeignResults,
    LogBackend,
    Ports,
    SnapshotStore,
)
from service.engine.records import EVERYTHING, NewRecord, StreamPartition
from tests.engine.fakes import NoMetrics
from tests.kafka.probe import committed_records, group_offsets
from tests.simulation.lives import fork

OPTIONS = EngineOptions(
    batch_records=40,
    tick_s=0.05,
    retry_s=0.1,
    snapshot=SnapshotPolicy(interval_s=0.5, replay_s=1.0, share=1.0),
)
SETTLE_S = 20.0
TOPICS = ("scores", "anomalies", "dlq")


@dataclass(frozen=True)
class Parts:
    """What a worker is made of besides log and snapshots."""

    factory: DetectorFactory = field(default_factory=ForestFactory)
    clock: Clock = field(default_factory=SystemClock)


PARTS = Parts()


def engine_over(
    log: LogBackend,
    store: SnapshotStore,
    foreign: ForeignResults | None = None,
    options: EngineOptions = OPTIONS,
    parts: Parts = PARTS,
) -> Engine:
    """Return an engine with the real forests, unless told otherwise."""
    ports = Ports(
        log,
        store,
        decoder_for,
        parts.factory,
        parts.clock,
        NoMetrics(),
        foreign=foreign,
    )
    return Engine(ports, options)


@dataclass
class Worker:
    """One process."""

    pid: int
    report: Path
    alive: bool = True

    def partitions(self) -> list[int]:
        """Return the partitions that are its, or were when it died."""
        return json.loads(self.works.read_text()) if self.works.exists() else []

    @property
    def works(self) -> Path:
        """Where it tells the numbers of the partitions that are its."""
        return self.report.with_suffix(".works")

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> dict:
        """Let it stop in good order; return its states' digests and the offsets they belong to."""
        os.kill(self.pid, signal.SIGTERM)
        self.wait()
        return json.loads(self.report.read_text())

    def wait(self) -> None:
        os.waitpid(self.pid, 0)
        self.alive = False


@dataclass
class Cluster:
    """Workers of one application, and the folder that they share."""

    connection: Connection
    directory: Path
    count: int = 0
    options: EngineOptions = OPTIONS

    def start(self, parts: Parts = PARTS) -> Worker:
        """Start another worker."""
        self.count += 1
        report = self.directory / f"worker-{self.count}.json"
        connection, options = self.connection, self.options
        work = partial(_work, connection, self.snapshots, report, options, parts)
        pid = fork(lambda: asyncio.run(work()))
        return Worker(pid, report)

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots."""
        return self.directory / "snaps"

    async def resume(self, config: StreamConfig) -> None:
        """Let a halted stream go on, as any worker could."""
        log = KafkaLog(replace(self.connection, session_s=1.0))
        await log._catalogue.open()  # without joining the group
        await log.update_stream(config.name, lambda now: now)
        await log.close()

    async def create(self, config: StreamConfig) -> None:
        """Make a stream, as any worker could."""
        log = KafkaLog(replace(self.connection, session_s=1.0))
        await log._catalogue.open()  # without joining the group
        await log.create_stream(config)
        await log.close()

    def until_settled(self, config: StreamConfig, ends: list[int], wait_s: float) -> None:
        """Wait until the group's offsets reach the ends."""
        limit_s = time.monotonic() + wait_s
        found: list[int] = []
        while time.monotonic() < limit_s:
            with contextlib.suppress(KafkaException):  # a new broker has no coordinator yet
                found = self.offsets(config)
            if found == ends:
                return
            time.sleep(0.2)
        raise AssertionError(f"after {wait_s} s at {found} of {ends}")

    def until_begun(self, config: StreamConfig, wait_s: float = 20.0) -> None:
        """Wait until workers committed something."""
        limit_s = time.monotonic() + wait_s
        while time.monotonic() < limit_s:
            if any(offset > 0 for offset in self.offsets(config, stable=False)):
                return
            time.sleep(0.02)
        raise AssertionError(f"after {wait_s} s nothing was committed")

    def offsets(self, config: StreamConfig, *, stable: bool = True) -> list[int]:
        """Return the group's offsets; see `group_offsets`."""
        address, group = self.connection.bootstrap, self.connection.application
        return group_offsets(address, group, config.name, config.partitions, stable=stable)

    def outputs(self, config: StreamConfig) -> dict[str, list[list[tuple]]]:
        """Return key, value, time and headers of all committed output records."""
        address = self.connection.bootstrap
        return {
            kind: [
                [
                    (each.key(), each.value(), each.timestamp()[1], each.headers())
                    for each in committed_records(address, f"{config.name}.{kind}", number)
                ]
                for number in range(config.partitions)
            ]
            for kind in TOPICS
        }


async def _work(
    connection: Connection, snapshots: Path, report: Path, options: EngineOptions, parts: Parts
) -> None:
    log = KafkaLog(connection)
    engine = engine_over(log, DirectorySnapshotStore(snapshots), log, options, parts)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await engine.start()
    told = report.with_suffix(".works")
    while not stopping.is_set():
        _tell(engine, told)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 0.1)
    limit_s = time.monotonic() + SETTLE_S
    while time.monotonic() < limit_s and not _at_rest(engine):  # noqa: ASYNC110  (no event)
        await asyncio.sleep(0.05)
    states = {f"{part}": digests for part, digests in engine.state_digests().items()}
    runners = engine._owned.runners
    positions = {f"{part}": runner.pipeline.position for part, runner in runners.items()}
    broken = {f"{p}": str(r.error) for p, r in runners.items() if r.state == "failed"}
    report.write_text(json.dumps({"states": states, "positions": positions, "broken": broken}))  # noqa: ASYNC240  (at the end)
    await engine.stop()


def _tell(engine: Engine, path: Path) -> None:
    """Write down which partitions are this worker's, those that it has yet to restore too."""
    own = [part.partition for part, each in engine._owned.runners.items() if each.state != "fenced"]
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps(own))
    fresh.rename(path)


def _at_rest(engine: Engine) -> bool:
    """Whether no partition is on its way from one worker to another."""
    states = [runner.state for runner in engine._owned.runners.values()]
    return all(state in ("live", "halted", "failed") for state in states)


async def undisturbed(
    config: StreamConfig,
    records: list[tuple[int, NewRecord]],
    options: EngineOptions = OPTIONS,
) -> dict:
    """Return what one worker makes of the records when nothing happens to it, in memory."""
    log = MemoryLog()
    engine = engine_over(log, MemorySnapshotStore(), options=options)
    await engine.start()
    await engine.create_stream(config)
    for first in range(0, len(records), 500):
        await log.append(config.name, records[first : first + 500])
    found: dict = {"results": [], "dead": []}
    for number in range(config.partitions):
        partition = StreamPartition(config.name, number)
        count = sum(part == number for part, _ in records)
        while engine._streams[config.name].tails[number].committed < count:  # noqa: ASYNC110  (no event)
            await asyncio.sleep(0.01)
        found["results"].append((await log.read_results(partition, 0, 10**9, EVERYTHING)).results)
        found["dead"].append(await log.read_dead_letters(partition, 0, 10**9))
    found["states"] = {str(part): digests for part, digests in engine.state_digests().items()}
    await engine.stop()
    return found
