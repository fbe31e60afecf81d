"""Damaged snapshots, trimmed input, a group that is gone: never a silent new start."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from confluent_kafka.admin import AdminClient

from service.adapters.clock import SystemClock
from service.adapters.codec import JsonDecoder
from service.adapters.kafka import Connection, KafkaLog
from service.adapters.kafka.topics import Topics
from service.adapters.snapshots import DirectorySnapshotStore
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.errors import StateLost
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.ports import Ports
from service.engine.records import EVERYTHING, NewRecord, StreamPartition
from service.engine.runner import PartitionRunner
from tests.engine.fakes import FakeFactory, NoMetrics
from tests.kafka.test_log import TIME_MS, stream
from tests.simulation.lives import announce

RECORDS, FLIPS = 300, 50
OPTIONS = EngineOptions(
    batch_records=20, tick_s=0.05, snapshot=SnapshotPolicy(interval_s=0.1, share=1.0)
)
Digests = dict[str, str]


async def life(
    kafka: Connection,
    folder: Path,
    config: StreamConfig,
    work: Callable[[Engine, KafkaLog, PartitionRunner], Awaitable[None]],
) -> None:
    """Start a worker and let it work once its partition is live, or has failed."""
    log = KafkaLog(kafka)
    store = DirectorySnapshotStore(folder)
    ports = Ports(log, store, JsonDecoder, FakeFactory(), SystemClock(), NoMetrics(), foreign=log)
    engine = Engine(ports, OPTIONS)
    await engine.start()
    try:
        if config.name not in {known.name for known in engine.streams()}:
            await engine.create_stream(config)
        settled = ("live", "failed")
        while (runner := engine._owned.runners.get(part_of(config))) is None or (  # noqa: ASYNC110  (no event)
            runner.state not in settled
        ):
            await asyncio.sleep(0.02)
        await work(engine, log, runner)
    finally:
        await engine.stop()


def part_of(config: StreamConfig) -> StreamPartition:
    return StreamPartition(config.name, 0)


async def first_life(kafka: Connection, folder: Path, config: StreamConfig) -> Digests:
    """Score records, with snapshots on the way; return the digests of the state."""
    found: Digests = {}

    async def work(engine: Engine, _: KafkaLog, runner: PartitionRunner) -> None:
        for first in range(0, RECORDS, 50):
            rows = [
                NewRecord(b"[%d]" % (n % 7), f"k{n % 5}", TIME_MS + n)
                for n in range(first, first + 50)
            ]
            positions = await engine.append(config.name, rows)
            await engine.results_at(config.name, positions[-1:], 20)
            await asyncio.sleep(0.3)
        assert len(runner._keeper.pointers) == 3
        found.update(engine.state_digests()[part_of(config)])

    await life(kafka, folder, config, work)
    return found


async def trim(kafka: Connection, config: StreamConfig, to: int) -> None:
    topics = Topics(kafka)
    await topics.trim({TopicPartition(config.name, 0): to})
    await topics.close()


def flip(rng: random.Random, paths: list[Path]) -> None:
    """Flip bits all over files, at least one in each."""
    for turn in range(max(FLIPS, len(paths))):
        path = paths[turn % len(paths)]
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


def files(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda each: each.stat().st_mtime,
    )


@pytest.mark.slow
def test_damaged_snapshots_cost_time_or_stop_the_partition_and_never_start_it_afresh(
    kafka, tmp_path
):
    seed = 4
    announce(seed)
    config, rng = stream(kafka), random.Random(seed)

    async def body() -> None:
        states = await first_life(kafka, tmp_path, config)

        async def same(engine: Engine, log: KafkaLog, runner: PartitionRunner) -> None:
            assert runner.state == "live", runner.error
            assert engine.state_digests()[part_of(config)] == states
            read = await log.read_results(part_of(config), 0, 10**6, EVERYTHING)
            assert [result.offset for result in read.results] == list(range(RECORDS))

        # 1. The newest is damaged: an older one must do.
        flip(rng, files(tmp_path)[-1:])
        await life(kafka, tmp_path, config, same)
        # 2. The group is gone: the results say where it stood.
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        gone = admin.delete_consumer_groups([kafka.application])
        await asyncio.to_thread(gone[kafka.application].result, 10)
        await life(kafka, tmp_path, config, same)
        # 3. All are damaged: everything is repeated, and compared with what stands there.
        flip(rng, files(tmp_path))
        await life(kafka, tmp_path, config, same)
        # 4. All are damaged, and the input's beginning is gone: nothing could make the state.
        flip(rng, files(tmp_path))
        await trim(kafka, config, 10)

        async def stopped(engine: Engine, log: KafkaLog, runner: PartitionRunner) -> None:
            assert runner.state == "failed"
            assert isinstance(runner.error, StateLost)
            assert "no sound snapshot is left, and the log begins at 10" in str(runner.error)
            assert "no sound snapshot" in engine.not_ready_reason
            read = await log.read_results(part_of(config), 0, 10**6, EVERYTHING)
            assert len(read.results) == RECORDS

        await life(kafka, tmp_path, config, stopped)

    asyncio.run(asyncio.wait_for(body(), 120))
