"""One partition's life: assign, restore, poll, process, commit, keep; again after a failure.

Law: nothing is emitted twice and nothing is left out. State in memory may run ahead of the
committed offset by the batch in flight; whenever a commit's outcome is not known for certain,
the state counts as lost and is made again from the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any, TypeVar

from service.engine.asking import Question
from service.engine.errors import (
    Fenced,
    InvariantError,
    ReplayMismatch,
    TornLog,
    TransientError,
    UnknownSeries,
    UnknownStream,
)
from service.engine.halting import Halt, LookAhead
from service.engine.keeping import Keeper
from service.engine.options import EngineOptions
from service.engine.pipeline import Output, Pipeline
from service.engine.policy import KEPT_POINTERS, Backlog, trim_to
from service.engine.ports import Ports
from service.engine.records import (
    EVERYTHING,
    Assignment,
    Batch,
    StreamPartition,
    Transaction,
    size_of,
)
from service.engine.snapshot import Written
from service.engine.tail import PartitionTail
from service.engine.workers import Workers, in_thread

logger = logging.getLogger(__name__)
T = TypeVar("T")


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
        self._scorer = workers.scorer
        self._stopping = asyncio.Event()
        self._releasing = False
        self._pipeline: Pipeline | None = None
        self._sound = False  # whether the state is that before its position, and nothing else
        self._incarnation = -1
        self._epoch = -1
        self._begin = 0
        self._asked = 0
        self._commit_from_s = 0.0
        self._keeper = Keeper(partition, ports, options, workers)
        self._polling: asyncio.Task[Batch] | None = None
        self._committing: asyncio.Task[None] | None = None
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
                return await in_thread(self._scorer, look)

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
        # 2. State in memory may stay if it is the one of the committed offset.
        replayed = 0
        if self._is_warm(assignment):
            self._keeper.go_on(assignment)
        else:
            # 3. Otherwise start from the newest sound snapshot that is not ahead ...
            self._pipeline, self._sound = None, False
            self._incarnation = assignment.entry.incarnation
            self._pipeline, fingerprint = await self._keeper.restore(assignment)
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

    def _is_warm(self, assignment: Assignment) -> bool:
        return (
            self._pipeline is not None
            and self._sound
            and self._incarnation == assignment.entry.incarnation
            and self._pipeline.position == assignment.committed
        )

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
            tasks = (self._polling, self._committing, self._keeper.saving, stop)
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
            output, score_s, worked_s = await in_thread(self._scorer, score)
        if pipeline.position < batch.next_offset:  # it halted in the middle
            end = pipeline.position
            settled = [record for record in batch.records if record.offset < end]
            behind = batch.behind + len(batch.records) - len(settled)
            batch = Batch(batch.partition, settled, end, behind)
        self._keeper.processed(len(batch.records), worked_s)
        return _Scored(batch, output, start, began_s, score_s)

    async def _commit(self, scored: _Scored) -> None:
        """Make a batch's outcome durable and visible; steps in this order and no other."""
        ports, output, end = self._ports, scored.output, scored.batch.next_offset
        began_s = ports.clock.monotonic_s()
        # 1. A finished snapshot's pointer goes with the next transaction after its boundary.
        written = self._keeper.written
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
            self._keeper.pointed(written)
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
        pointers = self._keeper.pointers
        if pointer is not None:
            pointers = (pointer, *pointers)[:KEPT_POINTERS]
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
        self._keeper.finish()
        written = self._keeper.written
        if written is not None and self._committing is None and self._polling_idles():
            await self._commit_pointer(written)
        await self._keeper.begin(self.pipeline, force=force)

    def _polling_idles(self) -> bool:
        return self._polling is None or not self._polling.done()

    async def _commit_pointer(self, written: Written) -> None:
        """Commit a finished snapshot's pointer when no batch comes along to take it."""
        position = self.pipeline.position
        self._ports.failpoint("pointer.before")
        await self._transact(self._transaction(position, position, Output(), written))
        self._ports.failpoint("pointer.after")
        self._keeper.pointed(written)

    # -- leaving --------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Settle everything and leave a snapshot of the last offset behind."""
        await self._committed()
        for force in (True, True, False):  # one under way, the last one, its pointer
            await self._keeper.tidied()
            await self._look_after_snapshot(force=force)
            await self._keeper.saved()
        await self._look_after_snapshot()
        await self._keeper.tidied()

    async def _abandon(self) -> None:
        """Leave nothing running behind; what was in flight has an unknown outcome."""
        tasks: list[asyncio.Task[Any]] = self._keeper.running
        tasks += [task for task in (self._polling, self._committing) if task is not None]
        self._polling = self._committing = None
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            self._keeper.abandon(self._pipeline)
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                logger.debug("%s: left behind: %s", self.partition, task.exception())

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
