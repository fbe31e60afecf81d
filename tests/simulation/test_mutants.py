"""Bugs put in on purpose. Each must be caught; without any, the same lives leave no trace."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.adapters.snapshots import DirectorySnapshotStore
from service.adapters.sqlite import storage
from service.engine import keeping, transactions
from service.engine import snapshot as snapshot_module
from service.engine.detectors import SeriesDetectors
from service.engine.errors import CorruptSnapshot, TransientError
from service.engine.pipeline import Output, Pipeline
from service.engine.records import Batch, Transaction
from service.engine.runner import PartitionRunner
from tests.engine.fakes import FakeDetector, FakeFactory
from tests.simulation.lives import (
    OPTIONS,
    Trap,
    World,
    announce,
    die,
    fail,
    finish,
    fork,
    live,
)
from tests.simulation.workload import make_workload

SEED, RECORDS = 5, 5000
DEATHS = (("sqlite.offset", 25), ("snapshot.before_collect", 4), ("commit.after", 8))
"""Early in each life: however records fall into batches, some are left for the next one."""
Patch = pytest.MonkeyPatch


def world_in(directory: Path) -> World:
    options = dataclasses.replace(OPTIONS, verify_replay=False)  # comparison alone must do
    return World(directory / "log", make_workload(SEED, RECORDS), FakeFactory(), options)


def lives(world: World, damage: Callable[[Path], None] | None = None) -> dict:
    """Three lives that end by death at awkward places; a fourth that reports."""
    # A mutant may wait for ever; where snapshots are damaged nothing does, and some must be made.
    patience_s = 3 if damage is None else 60
    for death in DEATHS:
        die_at(world, death, patience_s)
    if damage is not None:
        damage(world.directory)
    return finish(world, Trap({("commit.before", 7): fail, ("commit.after", 3): fail}), 5)


def die_at(world: World, death: tuple[str, int], patience_s: int) -> int:
    """Live until a failpoint is met so many times; return the signal that ended it, 0 for none."""
    trap = Trap({death: die, ("commit.before", 12): fail})

    def life() -> None:
        signal.alarm(patience_s)
        with contextlib.suppress(Exception):
            live(world, trap, None, stop=False, at_rest=lambda: os._exit(0))

    return os.WTERMSIG(os.waitpid(fork(life), 0)[1])


def is_noticed(
    directory: Path, reference: dict, damage: Callable[[Path], None] | None = None
) -> bool:
    """Tell whether one of several attempts ends otherwise than the reference.

    How records fall into batches, and which snapshots a life starts from, is a matter of timing:
    a death may meet a transaction that the bug does no harm to.
    """
    worlds = (world_in(directory / str(attempt)) for attempt in range(10))
    return any(lives(world, damage) != reference for world in worlds)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict:
    return finish(world_in(tmp_path_factory.mktemp("reference")))


# -- the bugs -----------------------------------------------------------------------------


def randomness_outside_the_snapshot(patch: Patch) -> None:
    restore = FakeFactory.restore

    def forgetful(self, data: bytes):
        detector = restore(self, data)
        detector.state = 12345
        return detector

    patch.setattr(FakeFactory, "restore", forgetful)


def a_counter_outside_the_snapshot(patch: Patch) -> None:
    restore = FakeFactory.restore

    def forgetful(self, data: bytes):
        detector = restore(self, data)
        detector.seen = 0
        return detector

    patch.setattr(FakeFactory, "restore", forgetful)


def results_and_offset_in_two_transactions(patch: Patch) -> None:
    put = storage._put_results

    def split(db, partition_id, transaction):
        put(db, partition_id, transaction)
        db.execute("RELEASE job")
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        db.execute("SAVEPOINT job")

    patch.setattr(storage, "_put_results", split)


def offset_before_results(patch: Patch) -> None:
    check = storage.check_transaction

    def early(transaction: Transaction, epoch: int, committed: int) -> None:
        check(transaction, epoch, committed)

    def commit(db, transaction, failpoint):
        row = storage.row_of(db, transaction.partition)
        early(transaction, row.epoch, row.committed)
        db.execute("UPDATE partitions SET committed = ? WHERE id = ?", (transaction.end, row.id))
        db.execute("RELEASE job")
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        db.execute("SAVEPOINT job")
        failpoint("sqlite.offset")
        if transaction.results:
            storage._put_results(db, row.id, transaction)

    patch.setattr(storage, "commit", commit)


def no_replay(patch: Patch) -> None:
    async def skip(self, committed: int, fingerprint: str) -> int:
        self.pipeline.position = committed
        return 0

    patch.setattr(PartitionRunner, "_replay", skip)


def a_replay_that_emits(patch: Patch) -> None:
    replay = PartitionRunner._replay

    async def emitting(self, committed: int, fingerprint: str) -> int:
        start = self.pipeline.position
        if start < committed:
            batch = await self._poll(start, committed - start)
            scored = await self._score(batch, start)
            await self._ports.log.commit(self._transaction(start, 0, scored.output, None))
        return await replay(self, committed, fingerprint)

    patch.setattr(PartitionRunner, "_replay", emitting)
    patch.setattr(storage, "check_transaction", lambda *_: None)


def committed_offset_one_too_high(patch: Patch) -> None:
    original = PartitionRunner._transaction

    def shifted(self, start, end, output, written):
        transaction = original(self, start, end, output, written)
        return dataclasses.replace(transaction, end=end + (end > start))

    patch.setattr(PartitionRunner, "_transaction", shifted)
    patch.setattr(storage, "check_transaction", lambda *_: None)


def committed_offset_one_too_low(patch: Patch) -> None:
    assign = storage.assign

    def low(db, partition):
        found = assign(db, partition)
        return dataclasses.replace(found, committed=max(found.committed - 1, 0), results_end=None)

    patch.setattr(storage, "assign", low)
    patch.setattr(storage, "check_transaction", lambda *_: None)


def snapshot_offset_one_too_high(patch: Patch) -> None:
    original = keeping.capture

    def shifted(pipeline: Pipeline, places):
        taken = original(pipeline, places)
        taken.offset += 1
        return taken

    patch.setattr(keeping, "capture", shifted)
    patch.setattr(transactions, "_broken_promise", lambda *_: None)


def snapshot_offset_one_too_low(patch: Patch) -> None:
    original = keeping.capture

    def shifted(pipeline: Pipeline, places):
        taken = original(pipeline, places)
        taken.offset -= 1
        return taken

    patch.setattr(keeping, "capture", shifted)


def a_failed_commit_is_ignored(patch: Patch) -> None:
    original = PartitionRunner._commit

    async def careless(self, scored) -> None:
        with contextlib.suppress(TransientError):
            await original(self, scored)

    patch.setattr(PartitionRunner, "_commit", careless)
    patch.setattr(transactions, "_broken_promise", lambda *_: None)


def a_commit_is_not_awaited(patch: Patch) -> None:
    async def careless(self) -> None:
        self._committing = None

    patch.setattr(PartitionRunner, "_committed", careless)
    patch.setattr(transactions, "_broken_promise", lambda *_: None)


def a_stale_committed_offset(patch: Patch) -> None:
    """Trust the state in memory after a failure, whatever the log says."""

    def always(self, assignment) -> bool:
        return self._pipeline is not None

    patch.setattr(PartitionRunner, "_is_warm", always)
    patch.setattr(transactions, "_broken_promise", lambda *_: None)


def changes_forgotten_after_a_snapshot(patch: Patch) -> None:
    """Of the series that changed, save only the first."""
    original = SeriesDetectors.changed
    patch.setattr(SeriesDetectors, "changed", lambda self: original(self)[:1])


def a_reset_that_keeps_the_models(patch: Patch) -> None:
    patch.setattr(SeriesDetectors, "forget_all", lambda _: None)


def batches_that_forget_their_last_record(patch: Patch) -> None:
    process = Pipeline.process

    def lossy(self, batch: Batch) -> Output:
        return process(self, dataclasses.replace(batch, records=batch.records[:1]))

    patch.setattr(Pipeline, "process", lossy)


MUTANTS = [
    randomness_outside_the_snapshot,
    a_counter_outside_the_snapshot,
    results_and_offset_in_two_transactions,
    offset_before_results,
    no_replay,
    a_replay_that_emits,
    committed_offset_one_too_high,
    committed_offset_one_too_low,
    snapshot_offset_one_too_high,
    snapshot_offset_one_too_low,
    a_failed_commit_is_ignored,
    a_commit_is_not_awaited,
    a_stale_committed_offset,
    changes_forgotten_after_a_snapshot,
    a_reset_that_keeps_the_models,
    batches_that_forget_their_last_record,
]


def test_without_a_bug_the_lives_leave_no_trace(reference, tmp_path):
    announce(SEED)
    assert lives(world_in(tmp_path)) == reference


def test_every_life_ends_where_it_is_meant_to(tmp_path):
    announce(SEED)
    worlds = (world_in(tmp_path / str(attempt)) for attempt in range(10))
    killed = ([die_at(world, death, 60) == signal.SIGKILL for death in DEATHS] for world in worlds)
    assert any(all(ends) for ends in killed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_mutant_is_caught(mutant, reference, tmp_path, monkeypatch):
    announce(SEED)
    mutant(monkeypatch)
    assert is_noticed(tmp_path, reference)


def flip_bits_of_every_pack(directory: Path) -> None:
    packs = list(directory.rglob("*.pack"))
    assert packs, "no snapshot was made that could be damaged"
    for path in packs:
        # One in the state of each series: a pack may begin with one that a later pack replaces.
        data = bytearray(path.read_bytes())
        for start in range(0, len(data), FakeDetector.BYTES):
            data[start + 5] ^= 1
        path.write_bytes(data)


def test_altered_snapshots_are_noticed(reference, tmp_path):
    """All three slots are bad: the state is made again from the whole log, not from them."""
    assert lives(world_in(tmp_path), flip_bits_of_every_pack) == reference


def test_unchecked_checksums_would_not_notice(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot_module, "check", lambda *_: None)
    assert is_noticed(tmp_path, reference, flip_bits_of_every_pack)


def test_a_replay_is_compared_with_what_was_emitted(tmp_path, monkeypatch):
    randomness_outside_the_snapshot(monkeypatch)
    found = lives(dataclasses.replace(world_in(tmp_path), options=OPTIONS))
    assert "repeating a committed record" in found["broken"]


def test_a_missing_fence_lets_a_late_owner_write(tmp_path, monkeypatch):
    """The contract suite's fence tests fail without the two comparisons of epochs."""
    from tests.contracts import test_log

    def run(body) -> None:
        from service.adapters.sqlite import SqliteLog

        async def main() -> None:
            log = SqliteLog(tmp_path)
            await log.open()
            try:
                await log.create_stream(test_log.CONFIG)
                await body(log)
            finally:
                await log.close()

        asyncio.run(main())

    check = storage.check_transaction
    monkeypatch.setattr(
        storage, "check_transaction", lambda t, _, committed: check(t, t.epoch, committed)
    )
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_log.test_a_former_owner_is_fenced(run)


def test_a_snapshot_of_series_that_moved_on_is_caught(monkeypatch):
    """A matter of moments: left to chance, the lives above seldom meet it."""
    from tests.engine import test_snapshot

    monkeypatch.setattr(snapshot_module.Capture, "before_change", lambda *_: None)
    with pytest.raises(AssertionError):
        test_snapshot.test_a_snapshot_is_the_state_of_the_moment_it_was_taken()


def test_a_torn_write_is_never_seen_as_a_snapshot(tmp_path, monkeypatch):
    """Without the rename, a death in the middle of a write leaves half a file in place."""

    def careless(self, name, chunks) -> None:
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(chunks)

    def half():
        yield b"half"
        raise OSError("only half")

    store = DirectorySnapshotStore(tmp_path)
    with pytest.raises(OSError, match="only half"):
        store.write("a", half())
    with pytest.raises(CorruptSnapshot):
        store.read("a")
    monkeypatch.setattr(DirectorySnapshotStore, "write", careless)
    with pytest.raises(OSError, match="only half"):
        store.write("a", half())
    assert store.read("a") == b"half"
