"""What the engine tells its metrics, beside the figures of each batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.engine.errors import Fenced, InvariantError, TransientError
from service.engine.policy import SnapshotPolicy
from service.engine.records import NewRecord, StreamPartition
from tests.engine.world import CONFIG, World, ask, rows, run, until

HERE = StreamPartition(CONFIG.name, 0)


class Reports:
    """Keeps every report: its name, and what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple, dict]] = []

    def __getattr__(self, name: str):
        return lambda *args, **named: self.told.append((name, args, named))

    def of(self, name: str) -> list[tuple]:
        """The arguments of every report of a name."""
        return [args for each, args, _ in self.told if each == name]


def test_a_partition_is_taken_and_released_and_each_deal_is_a_rebalance():
    async def body() -> None:
        world = World(metrics=(reports := Reports()))
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await until(lambda: reports.of("taken") == [(HERE,)])
            assert len(reports.of("rebalanced")) == 1
            await engine.delete_stream(CONFIG.name)
            assert reports.of("released") == [(HERE,)]

    run(body)


@pytest.mark.parametrize(
    ("error", "outcomes"),
    [(TransientError("lost"), ["unknown", "committed"]), (Fenced("another's"), ["fenced"])],
)
def test_how_each_transaction_ended(error, outcomes):
    async def body() -> None:
        world = World(metrics=(reports := Reports()))
        commit, errors = world.log.commit, [error]

        async def failing(transaction) -> None:
            if errors:
                raise errors.pop()
            await commit(transaction)

        world.log.commit = failing  # type: ignore[method-assign]  # this log alone
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await engine.append(CONFIG.name, rows((1, 2)))
            await until(lambda: len(reports.of("transacted")) == len(outcomes))
        told = [outcome for (outcome,) in reports.of("transacted")]
        assert told[: len(outcomes)] == outcomes  # a stop commits its snapshot, too

    run(body)


@pytest.mark.parametrize(
    ("error", "for_good"),
    [
        (TransientError("lost"), False),
        (Fenced("another's"), False),
        (InvariantError(*HERE, 0, "broken"), True),
        (ValueError("a defect"), True),
    ],
)
def test_a_failure_is_told_with_whether_it_is_for_good(error, for_good):
    async def body() -> None:
        world = World(metrics=(reports := Reports()))

        async def failing(transaction) -> None:
            raise error

        world.log.commit = failing  # type: ignore[method-assign]  # this log alone
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await engine.append(CONFIG.name, rows((1, 2)))
            await until(lambda: reports.of("failed") != [])
        named = [named for name, _, named in reports.told if name == "failed"]
        assert reports.of("failed")[0] == (HERE, type(error).__name__)
        assert named[0] == {"for_good": for_good}

    run(body)


def test_a_wait_for_results_is_timed():
    async def body() -> None:
        world = World(metrics=(reports := Reports()))
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2)))
        assert reports.of("answered") == [(0.0,)]  # the clock stands still

    run(body)


def test_a_refused_snapshot_is_told():
    async def body() -> None:
        world = World(metrics=(reports := Reports()))
        world.options = replace(world.options, snapshot=SnapshotPolicy(interval_s=1.0, share=1.0))

        def full(name: str, chunks) -> None:
            raise OSError("disk full")

        world.store.write = full  # type: ignore[method-assign]  # this store alone
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2)))
            world.clock.s += 2.0
            await until(lambda: reports.of("snapshot_failed") != [])
        assert set(reports.of("snapshot_failed")) == {(HERE,)}

    run(body)


def test_a_batch_comes_with_an_anomaly_and_a_dead_letter_of_its_own():
    async def body() -> None:
        world = World(metrics=(reports := Reports()))
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            results = await ask(engine, rows(*[(n, 0) for n in range(200)]))
            await ask(engine, [NewRecord(b"?", "pump")])
        batches = [named for name, _, named in reports.told if name == "processed"]
        anomalies = {result["offset"] for result in results if result["anomaly"]}
        assert anomalies
        for batch in batches:
            assert (batch["anomaly"] is None) == (batch["anomalous"] == 0)
            assert batch["anomaly"] is None or batch["anomaly"].offset in anomalies
        (letter,) = [batch["dead_letter"] for batch in batches if batch["dead"]]
        assert (letter.offset, letter.key) == (200, "pump")

    run(body)
