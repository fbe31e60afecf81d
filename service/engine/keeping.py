"""A partition's snapshots: restored from, taken when due, pointed at, tidied up behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

from service.engine.detectors import SeriesDetectors
from service.engine.errors import CorruptSnapshot, EngineError, StateLost
from service.engine.options import EngineOptions
from service.engine.pipeline import Pipeline
from service.engine.policy import KEPT_POINTERS, SnapshotSchedule
from service.engine.ports import LogBackend, Ports
from service.engine.records import Assignment, Pointer, StreamEntry, StreamPartition
from service.engine.snapshot import (
    Capture,
    Manifest,
    SeriesRef,
    Written,
    capture,
    collect,
    places_of,
    read_manifest,
    restore,
    write,
)
from service.engine.workers import Workers, in_thread

logger = logging.getLogger(__name__)


def snapshot_folder(log: LogBackend, entry: StreamEntry) -> str:
    """Return the prefix of all snapshot files of a log's stream."""
    return f"{log.identity}/{entry.config.name}.{entry.incarnation}/"


class Keeper:
    """Keeps a partition's state beyond this process. Lives on the loop of the partition's runner.

    A snapshot is captured between two batches, written while scoring goes on, and counts once its
    pointer is committed, which is the runner's to do. Files that no pointer needs go afterwards.

    Attributes:
        pointers: those that stand in the log, the newest first.
        written: the snapshot that is durable and not pointed at; None where there is none.
        saving: the task that writes a snapshot; None while there is none.
    """

    def __init__(
        self, partition: StreamPartition, ports: Ports, options: EngineOptions, workers: Workers
    ) -> None:
        self.partition = partition
        self.pointers: tuple[Pointer, ...] = ()
        self.written: Written | None = None
        self.saving: asyncio.Task[Written | None] | None = None
        self._ports = ports
        self._policy, self._fingerprint = options.snapshot, options.fingerprint
        self._scorer, self._saver, self._turn = workers.scorer, workers.saver, workers.saving
        self._folder = ""
        self._epoch = -1
        self._places: dict[str, SeriesRef] = {}
        self._collecting: asyncio.Task[None] | None = None
        self._taken: Capture | None = None
        self._schedule = SnapshotSchedule(self._policy, ports.clock.monotonic_s())

    # -- taking over ----------------------------------------------------------------------

    def go_on(self, assignment: Assignment) -> None:
        """Keep what is known of snapshots, as far as it still holds.

        The pointer under way may have arrived, or another owner's; then files may be gone.
        """
        known, self.pointers = self.pointers, assignment.pointers
        self._epoch = assignment.epoch
        written, arrived = self.written, known
        if written is not None and written.pointer not in known:
            arrived = (written.pointer, *known)[:KEPT_POINTERS]
        if written is not None and self.pointers == arrived:
            self._places = {place.key: place for place in written.series}
            self.written = None
        elif self.pointers != known:
            # Another owner saved in between and may have deleted what its snapshots do not need.
            self._places, self.written = {}, None

    async def restore(self, assignment: Assignment) -> tuple[Pipeline, str]:
        """Make the state of the newest usable snapshot, or the one that everything begins with.

        Returns:
            The state, and the fingerprint of its maker.

        Raises:
            StateLost: no snapshot is sound, and the log does not reach back to its origin.
        """
        self.pointers, self._epoch = assignment.pointers, assignment.epoch
        self.written, self._places = None, {}
        self._folder = snapshot_folder(self._ports.log, assignment.entry)
        self._schedule = SnapshotSchedule(self._policy, self._ports.clock.monotonic_s())
        for pointer in assignment.pointers:
            if pointer.offset > assignment.committed:
                continue
            try:
                load = partial(self._load, pointer, assignment.begin)
                pipeline, manifest = await in_thread(self._saver, load)
            except CorruptSnapshot as error:
                logger.error("%s: %s; trying an older snapshot", self.partition, error)
                continue
            self._places = places_of(manifest)
            return pipeline, manifest.fingerprint
        origin = assignment.origin
        if assignment.begin > origin:
            reason = f"no sound snapshot is left, and the log begins at {assignment.begin}"
            raise StateLost(*self.partition, assignment.committed, reason)
        detectors = SeriesDetectors(self._ports.detectors)
        birth, decoder_for = assignment.entry.birth, self._ports.decoder_for
        fresh = Pipeline(self.partition, birth, detectors, decoder_for, origin)
        return fresh, self._fingerprint

    def _load(self, pointer: Pointer, begin: int) -> tuple[Pipeline, Manifest]:
        ports = self._ports
        manifest = read_manifest(ports.snapshots, pointer)
        if pointer.offset < begin:
            raise CorruptSnapshot(pointer.manifest, "the input after it is trimmed")
        ports.failpoint("restore.manifest")
        detectors = SeriesDetectors(ports.detectors)
        pipeline = restore(ports.snapshots, manifest, detectors, ports.decoder_for, ports.failpoint)
        return pipeline, manifest

    # -- serving --------------------------------------------------------------------------

    def processed(self, records: int, worked_s: float) -> None:
        """Note a batch; see `SnapshotSchedule`."""
        self._schedule.processed(records, worked_s)

    def finish(self) -> None:
        """Note that a snapshot is durable, if one is."""
        if self.saving is not None and self.saving.done():
            saving, self.saving = self.saving, None
            self.written, self._taken = saving.result(), None

    async def begin(self, pipeline: Pipeline, *, force: bool) -> None:
        """Capture the state and let it be written, when that is due.

        Args:
            pipeline: not processing at the moment.
            force: count anything that changed as due.
        """
        if self.saving is not None or self.written is not None:
            return
        if self._collecting is not None and not self._collecting.done():
            return
        if force and self._schedule.records > 0:
            self.saving = await self._begin(pipeline)
        elif self._schedule.due(self._ports.clock.monotonic_s()) and not self._turn.locked():
            async with contextlib.AsyncExitStack() as until_written:
                await until_written.enter_async_context(self._turn)
                self.saving = await self._begin(pipeline)
                self.saving.add_done_callback(lambda _: self._turn.release())
                until_written.pop_all()

    async def _begin(self, pipeline: Pipeline) -> asyncio.Task[Written | None]:
        """Fix the state, and let it be written in the background."""
        self._schedule.begun(self._ports.clock.monotonic_s())
        self._taken = await in_thread(self._scorer, lambda: capture(pipeline, self._places))
        self._ports.failpoint("snapshot.captured")
        return asyncio.create_task(self._save(pipeline, self._taken))

    async def _save(self, pipeline: Pipeline, taken: Capture) -> Written | None:
        """Write a captured state in the background; None when the store refuses."""
        prefix = f"{self._folder}{self.partition.partition}/{self._epoch:08d}-"
        ports, fingerprint = self._ports, self._fingerprint
        try:
            written = await in_thread(
                self._saver,
                lambda: write(ports.snapshots, prefix, taken, fingerprint, ports.failpoint),
            )
        except OSError as error:
            self._give_up(pipeline, taken)
            ports.metrics.snapshot_failed(self.partition)
            logger.error("%s: the snapshot was not written: %s", self.partition, error)
            return None
        self._schedule.finished(ports.clock.monotonic_s())
        return written

    def _give_up(self, pipeline: Pipeline, taken: Capture) -> None:
        """Count what was captured as changed: it stands in no snapshot that will be pointed at."""
        taken.abandon()
        pipeline.detectors.mark_changed(taken.changed)
        self._schedule.records += 1

    def pointed(self, written: Written) -> None:
        """Take note that a snapshot's pointer is committed, and begin to tidy up behind it."""
        self._places = {place.key: place for place in written.series}
        self.pointers = (written.pointer, *self.pointers)[:KEPT_POINTERS]
        self.written = None
        self._ports.metrics.snapshot_written(
            self.partition,
            size=written.size,
            series=len(written.series),
            seconds=self._schedule.duration_s,
        )
        folder = written.pointer.manifest.rpartition("/")[0] + "/"
        self._collecting = asyncio.create_task(self._collect(folder, self.pointers))

    async def _collect(self, folder: str, pointers: tuple[Pointer, ...]) -> None:
        """Delete what no kept snapshot needs. Nothing waits for it but the next snapshot.

        That begins only afterwards, because nothing points at its files yet. Scoring goes on, and
        so a store that hangs stops nothing.
        """
        try:
            self._ports.failpoint("snapshot.before_collect")
            await in_thread(self._saver, lambda: collect(self._ports.snapshots, folder, pointers))
        except (OSError, EngineError) as error:
            logger.warning("%s: old snapshots were not deleted: %s", self.partition, error)

    # -- leaving --------------------------------------------------------------------------

    async def saved(self) -> None:
        """Wait until what is being written is written."""
        if self.saving is not None:
            await asyncio.wait({self.saving})

    async def tidied(self) -> None:
        """Wait until what may go is gone."""
        if self._collecting is not None:
            await asyncio.wait({self._collecting})

    @property
    def running(self) -> list[asyncio.Task[Any]]:
        """What runs in the background; whoever cancels it calls `abandon` afterwards."""
        return [task for task in (self._collecting, self.saving) if task is not None]

    def abandon(self, pipeline: Pipeline | None) -> None:
        """Let nothing that was captured be forgotten by the next snapshot.

        Capturing it counted its series as saved, and the state may stay. So either it is finished
        and waits for its pointer, or its series count as changed again. The task cannot see to that
        itself: one that is cancelled before its first step runs nothing.

        Args:
            pipeline: the state, if there is one.
        """
        saving, taken, self._taken = self.saving, self._taken, None
        self.saving = None
        if taken is None:
            return
        ended = saving is not None and saving.done() and not saving.cancelled()
        if saving is not None and ended and saving.exception() is None:
            self.written = saving.result()  # None: refused by the store, and seen to
        elif pipeline is not None:
            self._give_up(pipeline, taken)
