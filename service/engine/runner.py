"""One partition's life: assign, restore, poll, process, commit, keep; again after a failure.

Law: nothing is emitted twice and nothing is left out. State in memory may run ahead of the
committed offset by the batch in flight; whenever a commit's outcome is not known for certain,
the state counts as lost and is made again from the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from service.engine.asking import Question
from service.engine.detectors import SeriesDetectors
from service.engine.errors import (
    CorruptSnapshot,
    EngineError,
    Fenced,
    InvariantError,
    ReplayMismatch,
    StateLost,
    TornLog,
    TransientError,
    UnknownSeries,
    UnknownStream,
)
from service.engine.halting import Halt, LookAhead
from service.engine.pipeline import Output, Pipeline
from service.engine.policy import (
    KEPT_POINTERS,
    Backlog,
    BacklogPolicy,
    SnapshotPolicy,
    SnapshotSchedule,
    trim_to,
)
from service.engine.ports import (
    Clock,
    DecoderFactory,
    DetectorFactory,
    Failpoints,
    ForeignResults,
    LogBackend,
    Metrics,
    SnapshotStore,
)
from service.engine.records import (
    EVERYTHING,
    Assignment,
    Batch,
    Pointer,
    StreamEntry,
    StreamPartition,
    Transaction,
    size_of,
)
from service.engine.snapshot import (
    Capture,
    Manifest,
    SeriesRef,
    Written,
    alerting_of,
    capture,
    collect,
    config_of,
    intake_of,
    limit_of,
    load,
    places_of,
    read_manifest,
    write,
)
from service.engine.tail import PartitionTail

logger = logging.getLogger(__name__)
T = TypeVar("T")


def snapshot_folder(log: LogBackend, entry: StreamEntry) -> str:
    """Return the prefix of all snapshot files of a log's stream."""
    return f"{log.identity}/{entry.config.name}.{entry.incarnation}/"


def no_failpoint(name: str) -> None:
    """Pass a failpoint by."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as the engine is given it; `foreign` where several processes share the log."""

    log: LogBackend
    snapshots: SnapshotStore
    decoder_for: DecoderFactory
    detectors: DetectorFactory
    clock: Clock
    metrics: Metrics
    failpoint: Failpoints = no_failpoint
    foreign: ForeignResults | None = None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine works; none of it changes a result.

    Attributes:
        score_threads: partitions scored at once, at least 1.
        batch_records, batch_bytes: bounds of one batch.
        batch_s: batches are kept so small that scoring one takes about so many seconds.
        commit_interval_s: commits of a partition begin so many seconds apart, unless more waits
            than fits into one; the first after a rest begins at once. Where a commit costs as
            much as scoring some hundred records, this is what the rest pays for.
        tick_s: how often an idle partition looks whether a snapshot is due.
        retry_s, retry_most_s: first and longest wait before a failed partition tries again.
        stop_s: bound of a stop; what is not done by then is left to the next start.
        verify_replay: compare what a restart repeats with the stored results.
        fingerprint: names the numerics (machine, compiler); results of another one are not
            compared.
        in_flight_bytes: bound of the appends under way, in bytes.
    """

    score_threads: int = 2
    batch_records: int = 2000
    batch_bytes: int = 8 * 2**20
    batch_s: float = 0.1
    commit_interval_s: float = 0.0
    tick_s: float = 1.0
    retry_s: float = 0.1
    retry_most_s: float = 2.0
    stop_s: float = 15.0
    verify_replay: bool = True
    fingerprint: str = ""
    in_flight_bytes: int = 64 * 2**20
    snapshot: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    backlog: BacklogPolicy = field(default_factory=BacklogPolicy)


@dataclass(frozen=True, slots=True)
class Workers:
    """Who works for all partitions of an engine.

    Attributes:
        scorer: threads that score.
        saver: threads that write and read snapshots.
        saving: held while a snapshot is written because it was due. What it takes from scoring is
            the same for one after the other, but several at a time leave too little.
    """

    scorer: Executor
    saver: Executor
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Scored:
    batch: Batch
    output: Output
    start: int
    began_s: float
    score_s: float


class PartitionRunner:
    """Runs one partition until it is asked to stop, fenced, or broken."""

    def __init__(
        self,
        partition: StreamPartition,
        ports: Ports,
        options: EngineOptions,
        workers: Workers,
        tail: PartitionTail,
    ) -> None:
        self.partition = partition
        self.tail = tail
        self.backlog = Backlog(options.backlog)
        self.state = "restoring"
        self.error: Exception | None = None
        self._ports = ports
        self._options = options
        self._scorer, self._saver, self._turn = workers.scorer, workers.saver, workers.saving
        self._stopping = asyncio.Event()
        self._releasing = False
        self._pipeline: Pipeline | None = None
        self._sound = False  # whether the state is that before its position, and nothing else
        self._incarnation = -1
        self._folder = ""
        self._epoch = -1
        self._begin = 0
        self._asked = 0
        self._commit_from_s = 0.0
        self._pointers: tuple[Pointer, ...] = ()
        self._places: dict[str, SeriesRef] = {}
        self._written: Written | None = None
        self._polling: asyncio.Task[Batch] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[Written | None] | None = None
        self._collecting: asyncio.Task[None] | None = None
        self._taken: Capture | None = None
        self._schedule = SnapshotSchedule(options.snapshot, ports.clock.monotonic_s())
        self._ahead = LookAhead()
        self._alone = asyncio.Lock()  # a detector is not safe for two threads at once

    @property
    def halt(self) -> Halt | None:
        """Why the partition stands still; None while it does not, or is not held."""
        return self._pipeline.halt if self._pipeline is not None else None

    @property
    def pipeline(self) -> Pipeline:
        """The partition's state; only while live."""
        if self._pipeline is None:
            raise self._broken(0, "no state is held")
        return self._pipeline

    def request_stop(self) -> None:
        """Ask `run` to settle what waits, write a last snapshot and return."""
        self._stopping.set()

    def request_release(self) -> None:
        """Ask `run` to finish the transaction in flight and return, the state kept for `renew`."""
        self._releasing = True
        self._stopping.set()

    def renew(self) -> None:
        """Get ready to `run` once more, after a release or a cancellation."""
        self._releasing = False
        self._stopping.clear()
        self.state, self.error = "restoring", None

    async def ask(self, key: str, question: Question[T]) -> T:
        """Ask a series' detector between two batches; only while live or halted.

        Raises:
            UnknownSeries: there is none of this key.
        """

        def look() -> T:
            detector = self.pipeline.detectors.look_at(key)
            if detector is None:
                raise UnknownSeries(self.partition.stream, key)
            return question(detector)

        async def alone() -> T:
            async with self._alone:
                return await self._in_thread(self._scorer, look)

        # Whoever asks may go away, but no batch may begin before the thread is done.
        return await asyncio.shield(asyncio.ensure_future(alone()))

    async def run(self) -> None:
        """Serve the partition; returns when stopped or fenced, or when a promise is broken."""
        delay_s = self._options.retry_s
        while True:
            try:
                await self._take_over()
                delay_s = self._options.retry_s
                await self._serve()
                self.state = "stopped"
                return
            except TransientError as error:
                self._set_state("retrying", error)
                self._ports.failpoint("abort.begin")
            except UnknownStream:
                self.state = "stopped"  # deleted while it was served
                return
            except Fenced as error:
                self._set_state("fenced", error)
                return
            except asyncio.CancelledError:
                self._sound = False  # a thread may be in the middle of a batch
                raise
            except Exception as error:
                self._sound = False
                self._set_state("failed", error)
                return
            finally:
                await self._abandon()
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            delay_s = min(2 * delay_s, self._options.retry_most_s)

    # -- taking over ----------------------------------------------------------------------

    async def _take_over(self) -> None:
        """Become the partition's owner with the state that belongs to its committed offset."""
        began_s = self._ports.clock.monotonic_s()
        # 1. Fence the former owner, and only then read where it stopped.
        assignment = await self._ports.log.assign(self.partition)
        self._ports.failpoint("restore.assigned")
        self._audit(assignment)
        self._epoch, self._begin = assignment.epoch, assignment.begin
        self._ahead = LookAhead()
        known, self._pointers = self._pointers, assignment.pointers
        # 2. State in memory may stay if it is the one of the committed offset.
        replayed = 0
        if self._is_warm(assignment):
            self._keep_snapshots(known)
        else:
            # 3. Otherwise start from the newest sound snapshot that is not ahead ...
            self._sound = False
            fingerprint = await self._restore(assignment)
            # 4. ... and repeat what was committed since, without emitting it.
            replayed = await self._replay(assignment.committed, fingerprint)
            self._sound = True
        # 5. Go on at the committed offset.
        self.tail.start(assignment.committed)
        self.backlog.committed = assignment.committed
        self.backlog.end = max(self.backlog.end, assignment.end)  # appends went on meanwhile
        self.state, self.error = "live", None
        if self.halt is not None:
            self._go_on_or_say_why_not(self.halt)
        seconds = self._ports.clock.monotonic_s() - began_s
        self._ports.metrics.restored(self.partition, replayed=replayed, seconds=seconds)
        self._ports.metrics.series(self.partition, len(self.pipeline.detectors))
        self._ports.metrics.lag(self.partition, self.backlog.records)
        self._ports.failpoint("restore.done")
        logger.info(
            "%s: live at offset %d after repeating %d records in %.3f s",
            *(self.partition, assignment.committed, replayed, seconds),
        )

    def _audit(self, assignment: Assignment) -> None:
        """Check that results and committed offset meet."""
        end, committed = assignment.results_end, assignment.committed
        if end is not None and end != committed:
            reason = f"results end at {end}, but {committed} is committed"
            raise TornLog(*self.partition, committed, reason)

    def _keep_snapshots(self, known: tuple[Pointer, ...]) -> None:
        """Find out whether the pointer under way arrived, and whether files may still be named.

        Args:
            known: the pointers when this runner last looked.
        """
        written, arrived = self._written, known
        if written is not None and written.pointer not in known:
            arrived = (written.pointer, *known)[:KEPT_POINTERS]
        if written is not None and self._pointers == arrived:
            self._places = {place.key: place for place in written.series}
            self._written = None
        elif self._pointers != known:
            # Another owner saved in between and may have deleted what its snapshots do not need.
            self._places, self._written = {}, None

    def _is_warm(self, assignment: Assignment) -> bool:
        return (
            self._pipeline is not None
            and self._sound
            and self._incarnation == assignment.entry.incarnation
            and self._pipeline.position == assignment.committed
        )

    async def _restore(self, assignment: Assignment) -> str:
        """Make the state of the newest usable snapshot; return the fingerprint of its maker."""
        self._pipeline, self._written, self._places = None, None, {}
        self._incarnation = assignment.entry.incarnation
        self._folder = snapshot_folder(self._ports.log, assignment.entry)
        self._schedule = SnapshotSchedule(self._options.snapshot, self._ports.clock.monotonic_s())
        for pointer in assignment.pointers:
            if pointer.offset > assignment.committed:
                continue
            try:
                load = partial(self._load, pointer)
                self._pipeline, manifest = await self._in_thread(self._saver, load)
                self._places = places_of(manifest)
                return manifest.fingerprint
            except CorruptSnapshot as error:
                logger.error("%s: %s; trying an older snapshot", self.partition, error)
        origin = assignment.origin
        if assignment.begin > origin:
            reason = f"no sound snapshot is left, and the log begins at {assignment.begin}"
            raise StateLost(*self.partition, assignment.committed, reason)
        detectors = SeriesDetectors(self._ports.detectors)
        birth = assignment.entry.birth
        self._pipeline = Pipeline(self.partition, birth, detectors, self._ports.decoder_for, origin)
        return self._options.fingerprint

    def _load(self, pointer: Pointer) -> tuple[Pipeline, Manifest]:
        manifest: Manifest = read_manifest(self._ports.snapshots, pointer)
        if pointer.offset < self._begin:
            raise CorruptSnapshot(pointer.manifest, "the input after it is trimmed")
        self._ports.failpoint("restore.manifest")
        detectors = SeriesDetectors(self._ports.detectors)
        load(self._ports.snapshots, manifest, detectors, self._ports.failpoint)
        pipeline = Pipeline(
            self.partition,
            config_of(manifest),
            detectors,
            self._ports.decoder_for,
            manifest.offset,
            limit_of(manifest),
            alerting_of(manifest),
            intake_of(manifest),
        )
        return pipeline, manifest

    async def _replay(self, committed: int, fingerprint: str) -> int:
        """Repeat [position, committed) without emitting; return the number of records."""
        pipeline, replayed = self.pipeline, 0
        same = fingerprint == self._options.fingerprint
        compare = self._options.verify_replay and same
        if not same:
            logger.warning(
                "%s: the snapshot was made by %r, this is %r; scores may differ in the last bit, "
                "so what is repeated is not compared",
                *(self.partition, fingerprint, self._options.fingerprint),
            )
        while pipeline.position < committed:
            self._ports.failpoint("replay.batch")
            pipeline.resume()  # somebody did, or nothing behind the halt would be committed
            start = pipeline.position
            batch = await self._poll(start, committed - start)
            records = [record for record in batch.records if record.offset < committed]
            batch = Batch(self.partition, records, min(batch.next_offset, committed))
            scored = await self._score(batch, start)
            if compare:
                await self._compare(scored)
            replayed += len(scored.batch.records)
        return replayed

    async def _compare(self, scored: _Scored) -> None:
        stored = await self._ports.log.read_results(
            self.partition, scored.start, len(scored.output.results), EVERYTHING
        )
        expected = {result.offset: result for result in stored.results}
        for result in scored.output.results:
            if expected.get(result.offset, result) != result:
                reason = "repeating a committed record gave another result than the stored one"
                raise ReplayMismatch(*self.partition, result.offset, reason)

    # -- serving --------------------------------------------------------------------------

    async def _serve(self) -> None:
        while True:
            if self._releasing:
                return await self._committed()
            batch = await self._next_batch()
            if batch is not None and self.halt is not None:
                self._look_behind(self.halt, batch)
            elif batch is not None:
                start = self.pipeline.position
                scored = await self._score(batch, start)
                self._ports.failpoint("runner.scored")
                await self._committed()
                self._committing = asyncio.create_task(self._commit(scored))
                self._pace(scored.began_s, full=len(batch.records) >= self._asked)
                if self.halt is not None:
                    await self._committed()  # whoever hears of a halt finds what led to it
                    self._go_on_or_say_why_not(self.halt)
            elif self._stopping.is_set() and not (self._releasing or self._waits()):
                return await self._finish()
            await self._look_after_snapshot()

    def _go_on_or_say_why_not(self, halt: Halt) -> None:
        """Pass a halt that was overruled already; say loudly that the partition stands at another.

        Called once for each halt.
        """
        if self._ahead.permits(halt):
            self._resume(halt)
            return
        self.state = "halted"
        self._ports.metrics.halted(self.partition, True)
        logger.error(
            "%s: HALTED at offset %d: %s. Nothing behind it is scored. Look at the dead letters "
            "(`rcf dlq list %s`), mend their source, then let the stream go on (`rcf resume %s`)",
            *(self.partition, halt.offset, halt.reason),
            *(self.partition.stream, self.partition.stream),
        )

    def _look_behind(self, halt: Halt, batch: Batch) -> None:
        """Go on when the log holds the word to do so behind the halt; process nothing yet."""
        self._ahead.see(batch)
        waits = batch.next_offset - self.pipeline.position + batch.behind
        self._ports.metrics.lag(self.partition, max(self.backlog.records, waits))
        if self._ahead.permits(halt):
            self._resume(halt)

    def _resume(self, halt: Halt) -> None:
        self.pipeline.resume()
        self.state = "live"
        self._ports.metrics.halted(self.partition, False)
        logger.warning(
            "%s: goes on behind offset %d, where it halted: %s",
            *(self.partition, halt.offset, halt.reason),
        )

    async def _next_batch(self) -> Batch | None:
        """Wait for input, the end of a commit or a snapshot, a tick, or a stop."""
        if self._polling is None:
            self._asked = self._batch_records()
            position = self.pipeline.position
            if self.halt is not None:
                position = self._ahead.next_offset(self.halt)
            self._polling = asyncio.create_task(self._gather(position, self._asked))
        if not (self._polling.done() or self._stopping.is_set()):
            stop = asyncio.create_task(self._stopping.wait())
            tasks = (self._polling, self._committing, self._saving, stop)
            await asyncio.wait(
                [task for task in tasks if task is not None],
                timeout=self._options.tick_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            stop.cancel()
        if self._committing is not None and self._committing.done():
            await self._committed()
        draining = self._stopping.is_set() and not self._releasing and self._waits()
        if draining and not self._polling.done():
            await asyncio.wait({self._polling}, timeout=self._options.tick_s)
        if not self._polling.done():
            return None
        batch, self._polling = self._polling.result(), None
        return batch

    def _waits(self) -> bool:
        """Tell whether input is known to wait that may be processed."""
        return self.halt is None and self.pipeline.position < self.backlog.end

    def _batch_records(self) -> int:
        """Return how many records scoring takes about `batch_s` for."""
        wanted = int(self.backlog.records_per_s * self._options.batch_s)
        return min(max(wanted, 50), self._options.batch_records) if wanted else 500

    def _pace(self, began_s: float, *, full: bool) -> None:
        """Note from when on the next batch may be taken, after one that was full or not.

        Counted from where that one was taken: what scoring takes does not come on top.
        """
        self._commit_from_s = began_s + (0.0 if full else self._options.commit_interval_s)

    async def _gather(self, offset: int, records: int) -> Batch:
        """Poll once the commit interval is over."""
        pause_s = self._commit_from_s - self._ports.clock.monotonic_s()
        if pause_s > 0.0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
        return await self._poll(offset, records)

    async def _poll(self, offset: int, records: int) -> Batch:
        most = min(records, self._options.batch_records)
        batch = await self._ports.log.poll(self.partition, offset, most, self._options.batch_bytes)
        self._ports.failpoint("runner.polled")
        return batch

    async def _score(self, batch: Batch, start: int) -> _Scored:
        clock, pipeline = self._ports.clock, self.pipeline

        def score() -> tuple[Output, float, float]:
            """Leave out the wait for a thread: it says nothing about the next batch."""
            started_s, worked_s = clock.monotonic_s(), clock.worked_s()
            output = pipeline.process(batch)
            return output, clock.monotonic_s() - started_s, clock.worked_s() - worked_s

        began_s = clock.monotonic_s()
        async with self._alone:
            output, score_s, worked_s = await self._in_thread(self._scorer, score)
        if pipeline.position < batch.next_offset:  # it halted in the middle
            end = pipeline.position
            settled = [record for record in batch.records if record.offset < end]
            behind = batch.behind + len(batch.records) - len(settled)
            batch = Batch(batch.partition, settled, end, behind)
        self._schedule.processed(len(batch.records), worked_s)
        return _Scored(batch, output, start, began_s, score_s)

    async def _commit(self, scored: _Scored) -> None:
        """Make a batch's outcome durable and visible; steps in this order and no other."""
        ports, output, end = self._ports, scored.output, scored.batch.next_offset
        began_s = ports.clock.monotonic_s()
        # 1. A finished snapshot's pointer goes with the next transaction after its boundary.
        written = self._written
        transaction = self._transaction(scored.start, end, output, written)
        ports.failpoint("commit.before")
        # 2. Results, dead letters, offset and pointer appear together, or none of them.
        await self._transact(transaction)
        ports.failpoint("commit.after")
        # 3. Only what is committed is shown to readers.
        now_s = ports.clock.monotonic_s()
        self.tail.publish(end, output.results)
        self.backlog.settled(end, size_of(scored.batch.records), scored.score_s)
        # 4. Files that no kept pointer needs go, once the pointer stands.
        if written is not None:
            self._pointed(written)
        self._report(scored, commit_s=now_s - began_s, batch_s=now_s - scored.began_s)

    async def _transact(self, transaction: Transaction) -> None:
        """Commit, and report how that ended."""
        try:
            await self._ports.log.commit(transaction)
        except Fenced:
            self._ports.metrics.transacted("fenced")
            raise
        except TransientError:
            self._ports.metrics.transacted("unknown")
            raise
        self._ports.metrics.transacted("committed")

    def _transaction(
        self, start: int, end: int, output: Output, written: Written | None
    ) -> Transaction:
        pointer = None if written is None else written.pointer
        pointers = (pointer, *self._pointers)[:KEPT_POINTERS] if pointer else self._pointers
        begin = trim_to(self.pipeline.config.retention, end, self._begin, pointers)
        trim = begin if begin > self._begin else 0
        self._begin = begin
        return Transaction(
            self.partition,
            self._epoch,
            start,
            end,
            output.results,
            output.dead_letters,
            pointer,
            KEPT_POINTERS,
            trim_input_to=trim,
            trim_results_to=trim,
        )

    async def _committed(self) -> None:
        """Wait for the commit in flight and raise what it raised."""
        if self._committing is not None:
            committing, self._committing = self._committing, None
            await committing

    def _report(self, scored: _Scored, *, commit_s: float, batch_s: float) -> None:
        output, metrics = scored.output, self._ports.metrics
        metrics.processed(
            self.partition,
            records=len(output.results),
            scored=output.scored,
            anomalous=output.anomalous,
            dead=len(output.dead_letters),
            anomaly=output.newest_anomaly(),
            dead_letter=output.dead_letters[-1] if output.dead_letters else None,
        )
        metrics.timed(batch_s=batch_s, score_s=scored.score_s, commit_s=commit_s)
        metrics.lag(self.partition, max(self.backlog.records, scored.batch.behind))
        metrics.series(self.partition, len(self.pipeline.detectors))

    # -- snapshots ------------------------------------------------------------------------

    async def _look_after_snapshot(self, *, force: bool = False) -> None:
        """Begin, finish, or point at a snapshot, whatever is due."""
        if self._saving is not None and self._saving.done():
            saving, self._saving = self._saving, None
            self._written, self._taken = saving.result(), None
        if self._written is not None and self._committing is None and self._polling_idles():
            await self._commit_pointer()
        if self._saving is not None or self._written is not None:
            return
        if self._collecting is not None and not self._collecting.done():
            return
        if force and self._schedule.records > 0:
            self._saving = await self._begin_snapshot()
        elif self._schedule.due(self._ports.clock.monotonic_s()) and not self._turn.locked():
            async with contextlib.AsyncExitStack() as until_written:
                await until_written.enter_async_context(self._turn)
                self._saving = await self._begin_snapshot()
                self._saving.add_done_callback(lambda _: self._turn.release())
                until_written.pop_all()

    async def _begin_snapshot(self) -> asyncio.Task[Written | None]:
        """Fix the state, and let it be written in the background."""
        self._schedule.begun(self._ports.clock.monotonic_s())
        self._taken = await self._in_thread(
            self._scorer, lambda: capture(self.pipeline, self._places)
        )
        self._ports.failpoint("snapshot.captured")
        return asyncio.create_task(self._save(self._taken))

    def _polling_idles(self) -> bool:
        return self._polling is None or not self._polling.done()

    async def _save(self, taken: Capture) -> Written | None:
        """Write a captured state in the background; None when the store refuses."""
        prefix = f"{self._folder}{self.partition.partition}/{self._epoch:08d}-"
        ports, fingerprint = self._ports, self._options.fingerprint
        try:
            written = await self._in_thread(
                self._saver,
                lambda: write(ports.snapshots, prefix, taken, fingerprint, ports.failpoint),
            )
        except OSError as error:
            self._give_up(taken)
            ports.metrics.snapshot_failed(self.partition)
            logger.error("%s: the snapshot was not written: %s", self.partition, error)
            return None
        self._schedule.finished(ports.clock.monotonic_s())
        return written

    def _give_up(self, taken: Capture) -> None:
        """Count what was captured as changed: it stands in no snapshot that will be pointed at."""
        taken.abandon()
        self.pipeline.detectors.mark_changed(taken.changed)
        self._schedule.records += 1

    async def _commit_pointer(self) -> None:
        """Commit a finished snapshot's pointer when no batch comes along to take it."""
        written = self._written
        if written is not None:
            position = self.pipeline.position
            self._ports.failpoint("pointer.before")
            await self._transact(self._transaction(position, position, Output(), written))
            self._ports.failpoint("pointer.after")
            self._pointed(written)

    def _pointed(self, written: Written) -> None:
        """Take note that a snapshot's pointer is committed, and begin to tidy up behind it."""
        self._places = {place.key: place for place in written.series}
        self._pointers = (written.pointer, *self._pointers)[:KEPT_POINTERS]
        self._written = None
        self._ports.metrics.snapshot_written(
            self.partition,
            size=written.size,
            series=len(written.series),
            seconds=self._schedule.duration_s,
        )
        folder = written.pointer.manifest.rpartition("/")[0] + "/"
        self._collecting = asyncio.create_task(self._collect(folder, self._pointers))

    async def _collect(self, folder: str, pointers: tuple[Pointer, ...]) -> None:
        """Delete what no kept snapshot needs. Nothing waits for it but the next snapshot.

        That begins only afterwards, because nothing points at its files yet. Scoring goes on, and
        so a store that hangs stops nothing.
        """
        try:
            self._ports.failpoint("snapshot.before_collect")
            await self._in_thread(
                self._saver, lambda: collect(self._ports.snapshots, folder, pointers)
            )
        except (OSError, EngineError) as error:
            logger.warning("%s: old snapshots were not deleted: %s", self.partition, error)

    # -- leaving --------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Settle everything and leave a snapshot of the last offset behind."""
        await self._committed()
        for force in (True, True, False):  # one under way, the last one, its pointer
            if self._collecting is not None:
                await asyncio.wait({self._collecting})
            await self._look_after_snapshot(force=force)
            if self._saving is not None:
                await asyncio.wait({self._saving})
        await self._look_after_snapshot()
        if self._collecting is not None:
            await asyncio.wait({self._collecting})

    async def _abandon(self) -> None:
        """Leave nothing running behind; what was in flight has an unknown outcome.

        Not so a snapshot: capturing it counted its series as saved, and the state may stay. So
        either it is finished and waits for its pointer, or its series count as changed again. The
        task cannot see to that itself: one that is cancelled before its first step runs nothing.
        """
        saving, taken, self._taken = self._saving, self._taken, None
        running = (self._polling, self._committing, self._collecting, saving)
        tasks = [task for task in running if task]
        self._polling = self._committing = self._saving = self._collecting = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                logger.debug("%s: left behind: %s", self.partition, task.exception())
        if taken is None:
            return
        if saving is not None and not saving.cancelled() and saving.exception() is None:
            self._written = saving.result()  # None: refused by the store, and seen to
        elif self._pipeline is not None:
            self._give_up(taken)

    def _set_state(self, state: str, error: Exception) -> None:
        self.state, self.error = state, error
        logger.error("%s: %s: %s", self.partition, state, error, exc_info=state == "failed")
        metrics, kind = self._ports.metrics, type(error).__name__
        metrics.failed(self.partition, kind, for_good=state == "failed")
        elsewhere = state == "fenced" and self._ports.foreign is not None
        if state != "retrying" and not elsewhere:
            self.tail.fail(error)

    def _broken(self, offset: int, reason: str) -> InvariantError:
        return InvariantError(*self.partition, offset, reason)

    @staticmethod
    async def _in_thread(executor: Executor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
