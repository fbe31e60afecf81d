"""The facade that HTTP and other doors talk to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from service.engine.asking import Question
from service.engine.board import IncidentBoard, Standing
from service.engine.config import StreamConfig, that_mean
from service.engine.cursor import decode_cursor
from service.engine.errors import (
    Backpressure,
    CallerError,
    Elsewhere,
    EngineError,
    Halted,
    InvalidParameter,
    InvalidRecord,
    NeedsNewModel,
    NotReady,
    StreamExists,
    TransientError,
    UnknownStream,
)
from service.engine.feedback import (
    MOST_KEPT,
    Advice,
    Feedback,
    Verdict,
    factor_of,
    fired,
    judged_ratio,
    suggested,
    with_factor,
)
from service.engine.following import follow
from service.engine.keeping import snapshot_folder
from service.engine.newest import Newest, newest
from service.engine.options import EngineOptions
from service.engine.pipeline import check_values
from service.engine.ports import Change, Decoder, Ports
from service.engine.reading import ResultReader
from service.engine.records import (
    EVERYTHING,
    Decoded,
    Event,
    NewRecord,
    PartitionStatus,
    Position,
    ResultFilter,
    ResultsPage,
    StreamEntry,
    StreamPartition,
    size_of,
)
from service.engine.rehearsal import PastRecord, Rehearsed, merged, past_records, rehearse
from service.engine.runner import PartitionRunner
from service.engine.series import MAX_KEY, partition_of
from service.engine.tail import PartitionTail, kept_bytes_of_each
from service.engine.times import EARLIEST_MS, LATEST_MS, format_ms
from service.engine.workers import Workers, in_thread

logger = logging.getLogger(__name__)
T = TypeVar("T")
FEEDBACK_S = 5.0
"""Bound of the wait for the result that a verdict is about."""

LOOKED_THROUGH = 20_000
"""Offsets of a partition in which is counted what would have fired."""

PAST_AT_ONCE = 2000
"""Results read at once to judge them again."""

MOST_RESULTS = 100_000
"""Results of one answer at most."""

RELEASE_S = 5.0
"""Bound of finishing what is in flight when a partition is revoked."""


class _Stream:
    """What the engine holds for one stream while it runs."""

    def __init__(self, entry: StreamEntry, ports: Ports) -> None:
        self.ports = ports
        count = entry.config.partitions
        self.tails = [PartitionTail(kept_bytes_of_each(count)) for _ in range(count)]
        self.reader = ResultReader(entry.config.name, ports.log, self.tails)
        self.board = IncidentBoard(self.reader)
        self.configure(entry)

    def configure(self, entry: StreamEntry) -> None:
        self.entry = entry
        self.decode: Decoder = self.ports.decoder_for(entry.config)


class Engine:
    """Streams of records in, one result per record out. Lives on one event loop."""

    def __init__(self, ports: Ports, options: EngineOptions | None = None) -> None:
        self._ports = ports
        self._options = options or EngineOptions()
        self._streams: dict[str, _Stream] = {}
        self._runners: dict[StreamPartition, PartitionRunner] = {}
        self._tasks: dict[StreamPartition, asyncio.Task[None]] = {}
        self._warm: dict[StreamPartition, PartitionRunner] = {}
        self._followed: dict[StreamPartition, asyncio.Task[None]] = {}
        self._ownership: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._phase = "not started"
        self._catalogue = asyncio.Lock()
        threads = self._options.score_threads
        self._workers = Workers(
            ThreadPoolExecutor(threads, thread_name_prefix="score"),
            ThreadPoolExecutor(2, thread_name_prefix="save"),
        )
        # Takes minutes where much is asked; snapshots and restores do not wait for it.
        self._rehearser = ThreadPoolExecutor(1, thread_name_prefix="rehearse")

    async def start(self) -> None:
        """Open the log, take over the partitions, restore and go on."""
        await self._ports.log.open()
        for entry in await self._ports.log.streams():
            self._streams[entry.config.name] = _Stream(entry, self._ports)
        await self._sweep_snapshots()
        self._phase = "running"
        self._ownership = asyncio.create_task(self._follow_ownership())

    async def stop(self) -> None:
        """Drain, commit, write snapshots and let go, within a bound."""
        self._phase = "stopping"
        for runner in self._runners.values():
            runner.request_stop()
        tasks = [*self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self._options.stop_s)
        if self._ownership is not None:
            tasks.append(self._ownership)
        await _cancel([*tasks, *self._followed.values()])
        for held in self._streams.values():
            _end_readers(held, NotReady("the service stopped"))
        await self._ports.log.close()
        for executor in (self._workers.scorer, self._workers.saver, self._rehearser):
            executor.shutdown(wait=False, cancel_futures=True)
        self._phase = "stopped"

    @property
    def ready(self) -> bool:
        """Whether every partition is restored and running."""
        return self.not_ready_reason is None

    @property
    def not_ready_reason(self) -> str | None:
        """Why `ready` is false, in a sentence; None when it is true.

        A halted partition is none of the reasons: a restart would not mend it, and the other
        streams are served.
        """
        if self._phase != "running":
            return f"the engine is {self._phase}"
        if self._ownership is not None and self._ownership.done():
            return "partitions are no longer followed"
        for partition, runner in self._runners.items():
            if runner.state not in ("live", "halted"):
                why = "" if runner.error is None else f": {runner.error}"
                return f"{partition} is {runner.state}{why}"
        expected = sum(len(held.tails) for held in self._streams.values())
        if len(self._runners) + len(self._followed) < expected:
            return "partitions are being taken over"
        return None

    @property
    def halted(self) -> list[Halted]:
        """What stands still here because of its dead letters."""
        return [
            Halted(*partition, runner.halt.offset, runner.halt.reason)
            for partition, runner in sorted(self._runners.items())
            if runner.state == "halted" and runner.halt is not None
        ]

    def partitions(self, stream: str) -> list[PartitionStatus]:
        """Tell how each partition of a stream stands.

        Raises:
            UnknownStream: there is none of this name.
        """
        tails = self._held(stream).tails
        halted = {error.partition: error for error in self.halted if error.stream == stream}
        found = []
        for number, tail in enumerate(tails):
            runner = self._runners.get(StreamPartition(stream, number))
            if runner is None:
                found.append(PartitionStatus(number, "elsewhere", tail.committed, 0, None))
                continue
            error = halted.get(number) or runner.error
            reason = None if error is None else str(error)
            waiting = runner.backlog.records
            found.append(PartitionStatus(number, runner.state, tail.committed, waiting, reason))
        return found

    async def resume_stream(self, name: str) -> StreamConfig:
        """Let halted partitions go on, through everything that is in the log at this moment.

        The word to do so is a record in every partition, so no process needs to remember it.

        Raises:
            UnknownStream: there is none of this name.
        """
        return await self._change(name, lambda present: present)

    async def _change(self, name: str, change: Change) -> StreamConfig:
        """Change what a stream is configured as at this moment, whichever process changed it."""
        async with self._catalogue:
            held = self._held(name)
            held.configure(await self._ports.log.update_stream(name, change))
            return held.entry.config

    async def create_stream(self, config: StreamConfig) -> StreamConfig:
        """Make a stream, or return the one there when it is configured equally.

        Raises:
            StreamExists: one of this name is configured otherwise.
        """
        async with self._catalogue:
            held = self._streams.get(config.name)
            if held is not None:
                changed = held.entry.config.changed(config)
                if changed:
                    raise StreamExists(config.name, changed)
                return held.entry.config
            entry = await self._create(config.with_generation(1))
            self._streams[config.name] = _Stream(entry, self._ports)
        await self._live(config.name)
        return entry.config

    async def _create(self, config: StreamConfig) -> StreamEntry:
        try:
            return await self._ports.log.create_stream(config)
        except StreamExists as error:
            if error.changed:
                raise
            entries = await self._ports.log.streams()  # made by another process this moment
            return next(entry for entry in entries if entry.config.name == config.name)

    async def update_stream(self, name: str, change: Change, *, reset: bool) -> StreamConfig:
        """Change a stream; its detectors start afresh if `reset`.

        Args:
            name: the stream.
            change: makes the next configuration of the present one.
            reset: throw away what was learnt.

        Raises:
            UnknownStream: there is none of this name.
            NeedsNewModel: the change needs another model and `reset` is false.
            InvalidParameter: a field that never changes (`partitions`) would, or what `change`
                raises.
        """

        def checked(former: StreamConfig) -> StreamConfig | None:
            config = change(former)
            changed = () if config is None else former.changed(config)
            if config is None or not (changed or reset):
                return None
            for field in that_mean("never", changed):
                kept = f"{getattr(former, field)}; delete the stream and create it again instead"
                raise InvalidParameter(field, getattr(config, field), kept)
            needing = that_mean("model", changed)
            if needing and not reset:
                raise NeedsNewModel(name, needing)
            return config.with_generation(former.generation + reset)

        return await self._change(name, checked)

    async def delete_stream(self, name: str) -> None:
        """Remove a stream with its records, results and snapshots.

        Raises:
            UnknownStream: there is none of this name.
        """
        async with self._catalogue:
            held = self._streams.get(name)
            await self._ports.log.delete_stream(name)
            if held is None:  # the log only had something left of it
                return
            await self._drop(held)
        await self._delete_snapshots(held.entry)  # however long it takes: others go on

    async def look_for(self, name: str) -> None:
        """Learn of a stream that another process made a moment ago, if there is one.

        Asks the log only for a stream unknown here, where several processes share the log, and
        once for all who ask at the same time.
        """
        if name in self._streams or self._ports.foreign is None or self._phase != "running":
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        with contextlib.suppress(TransientError):
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        try:
            for entry in await self._ports.log.streams():
                await self._learn(entry)
        finally:
            self._looking = None

    def stream(self, name: str) -> StreamConfig:
        """Return a stream's configuration.

        Raises:
            UnknownStream: there is none of this name.
        """
        return self._held(name).entry.config

    def streams(self) -> list[StreamConfig]:
        """Return all configurations, ordered by name."""
        return [self._streams[name].entry.config for name in sorted(self._streams)]

    def decode(self, stream: str, value: bytes) -> Decoded:
        """Read a record's value exactly as scoring will, without taking it in.

        Raises:
            UnknownStream: there is none of this name.
            InvalidRecord: scoring would make it an `error` result and a dead letter.
        """
        held = self._held(stream)
        decoded = held.decode(value)
        check_values(held.entry.config, decoded.values)
        _check_key(decoded.key)
        return decoded

    async def ask(self, stream: str, key: str, question: Question[T]) -> T:
        """Ask a series' detector, as it is between two batches; nothing is learnt.

        Raises:
            UnknownStream: there is none of this name.
            UnknownSeries: it has no series of this key.
            Elsewhere: another process runs the series' partition.
            NotReady: the partition does not serve at the moment.
        """
        held = self._held(stream)
        _check_key(key)
        number = partition_of(key, len(held.tails))
        runner = self._runners.get(StreamPartition(stream, number))
        if runner is None and self._ports.foreign is not None:
            raise Elsewhere(stream, number)
        if runner is None or runner.state not in ("live", "halted"):
            raise NotReady(f"{stream}/{number} is not served at the moment")
        return await runner.ask(key, question)

    async def append(self, stream: str, records: Sequence[NewRecord]) -> list[Position]:
        """Take records in, all or none; durable on return, in the order given.

        Raises:
            UnknownStream: there is none of this name.
            Backpressure: too much waits to be scored.
            Halted: a partition asked for stands still; nothing was taken.
        """
        return await self._append(stream, records, None)

    async def _append(
        self, stream: str, records: Sequence[NewRecord], first: Change | None
    ) -> list[Position]:
        """`append`; with a change of the stream just before the records."""
        held = self._held(stream)
        if self._phase != "running":
            raise NotReady(f"the engine is {self._phase}")
        placed = self._place(held.entry.config, records)
        began_s = self._ports.clock.monotonic_s()
        size = size_of(records)
        counts = _count(placed, size)
        self._check_halted(stream, counts)
        reserved = self._reserve(stream, counts, size, len(records))
        appended = False
        try:
            if first is not None:
                await self._change(stream, first)
            self._ports.failpoint("append.before")
            positions = await self._ports.log.append(stream, placed)
            appended = True
            self._ports.failpoint("append.after")
        finally:
            self._in_flight -= size
            for runner, count, part_size in reserved:
                runner.backlog.release(count, part_size, appended=appended)
        self._notice(stream, positions)
        seconds = self._ports.clock.monotonic_s() - began_s
        self._ports.metrics.appended(len(records), size, seconds)
        return positions

    async def backfill(self, stream: str, records: Sequence[NewRecord]) -> list[Position]:
        """Take history in, all or none: from its end on anomalies are told of, none before.

        Every record has its timestamp.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: a time lies in the future, where anomalies must be told of.
            Backpressure, Halted: as for `append`; the stream is unchanged.
            TransientError: as for `append`; the stream may tell of anomalies later all the same.
        """
        newest_ms = max(record.timestamp_ms or 0 for record in records)
        if newest_ms > self._ports.clock.now_ms():
            raise InvalidParameter("timestamp", format_ms(newest_ms), "times that have passed")

        def told_later(present: StreamConfig) -> StreamConfig | None:
            former_ms = present.told_from_ms
            if former_ms is not None and former_ms > newest_ms:
                return None
            return replace(present, told_from=format_ms(newest_ms + 1))

        return await self._append(stream, records, told_later)

    async def results_at(
        self, stream: str, positions: Sequence[Position], timeout_s: float
    ) -> list[bytes]:
        """Wait for the results of records, JSON each, in the order of `positions`.

        Raises:
            UnknownStream: there is none of this name.
            ResultTimeout: they did not appear in time; the records stay accepted.
            NotReady: the partition stopped.
        """
        held = self._held(stream)
        for partition, offset in positions:
            if not 0 <= partition < len(held.tails):
                raise InvalidParameter("partition", partition, f"0 to {len(held.tails) - 1}")
            if offset < 0:
                raise InvalidParameter("offset", offset, "a whole number of at least 0")
        began_s = self._ports.clock.monotonic_s()
        try:
            found = await held.reader.at(positions, timeout_s)
        except EngineError as error:
            if isinstance(error, CallerError | TransientError):
                raise
            raise NotReady(f"stream {stream!r} stopped: {error}") from error
        self._ports.metrics.answered(self._ports.clock.monotonic_s() - began_s)
        return found

    async def results(
        self,
        stream: str,
        *,
        key: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        anomalies: bool = False,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> ResultsPage:
        """Read one page of committed results; without a cursor from the oldest on.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: the cursor or the limit (1 to 100000) is wrong.
        """
        held = self._held(stream)
        _check_most("limit", limit)
        count = len(held.tails)
        offsets = [0] * count if cursor is None else decode_cursor(cursor, count)
        where = ResultFilter(key, from_ms, to_ms, anomalies)
        return await held.reader.page(offsets, _partitions_of(held, key), limit, where)

    async def newest(
        self,
        stream: str,
        last: int,
        *,
        key: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        anomalies: bool = False,
    ) -> Newest:
        """Read the `last` committed results, whichever partition holds them.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: `last` (1 to 100000) is wrong.
            NotReady: it is not known where a partition stands.
        """
        held = self._held(stream)
        _check_most("last", last)
        for number, tail in enumerate(held.tails):
            if not tail.live.is_set():
                raise NotReady(f"{stream}/{number} is not served at the moment")
        where = ResultFilter(key, from_ms, to_ms, anomalies)
        return await newest(held.reader, _partitions_of(held, key), last, where)

    async def incidents(self, stream: str) -> list[Standing]:
        """Return the incidents that are open or were lately, the last to begin first.

        Raises:
            UnknownStream: there is none of this name.
        """
        held = self._held(stream)
        return await held.board.standings(held.entry.config.incident_window_s)

    async def give_feedback(
        self, stream: str, place: Position, verdict: Verdict, *, apply: bool
    ) -> Advice:
        """Keep a verdict on a record, and say what it asks of its series' threshold.

        The verdict is part of the stream's configuration from here on, a record in every partition;
        the suggested factor too, if `apply`.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: no score was given at that place, or it is kept no longer.
        """
        runner = self._runners.get(StreamPartition(stream, place.partition))
        if runner is not None and runner.state == "live":
            # Waiting for what nobody sent would end in "try again", which never helps. What others
            # wrote into the topic is counted when it is read.
            end = max(runner.backlog.end, runner.tail.committed)
            if place.offset >= end:
                raise InvalidParameter("offset", place.offset, "an offset with a score")
        (value,) = await self.results_at(stream, [place], FEEDBACK_S)
        judged = judged_ratio(value)
        if judged.ratio is None:
            raise InvalidParameter("offset", place.offset, "an offset with a score")
        given = Feedback(verdict, *place, judged.key, judged.ratio)

        def counted(present: StreamConfig) -> StreamConfig:
            former = [each for each in present.feedback if (each.partition, each.offset) != place]
            verdicts = (*former, given)[-MOST_KEPT:]
            factors = present.threshold_factors
            if apply:
                factors = with_factor(factors, judged.key, suggested(verdicts, judged.key))
            return replace(present, feedback=verdicts, threshold_factors=factors)

        held = self._held(stream)
        before = factor_of(held.entry.config.threshold_factors, judged.key)
        config = await self._change(stream, counted)
        factor = suggested(config.feedback, judged.key)
        ratios = await self._ratios(held, judged.key)
        gap = config.incident_gap
        return Advice(
            judged.key,
            factor,
            apply,
            len(ratios),
            fired(ratios, before, gap),
            fired(ratios, factor, gap),
        )

    async def _ratios(self, held: _Stream, key: str) -> list[float | None]:
        """Return score by threshold of a series' newest records."""
        number = partition_of(key, held.entry.config.partitions)
        end = held.reader.ends()[number]
        place, where = max(end - LOOKED_THROUGH, 0), ResultFilter(key)
        found: list[float | None] = []
        while place < end:
            part = await held.reader.read(number, place, PAST_AT_ONCE, where)
            found += [judged_ratio(result.value).ratio for result in part.results]
            place = max(part.next_offset, place + 1)
        return found

    async def past(self, stream: str, limit: int) -> list[PastRecord]:
        """Return the newest records that have results, each partition's as they came.

        Raises:
            UnknownStream: there is none of this name.
        """
        held = self._held(stream)
        partitions: list[list[PastRecord]] = []
        for number, end in enumerate(held.reader.ends()):
            found: list[PastRecord] = []
            place = max(end - limit, 0)
            while place < end:
                part = await held.reader.read(number, place, PAST_AT_ONCE, EVERYTHING)
                found += past_records(part.results)
                place = max(part.next_offset, place + 1)
            partitions.append(found)
        return merged(partitions)[-limit:]

    async def rehearse(self, config: StreamConfig, records: Sequence[PastRecord]) -> Rehearsed:
        """Tell what a configuration would make of records, from nothing learnt; change nothing."""
        ports = self._ports
        return await in_thread(
            self._rehearser, lambda: rehearse(config, records, ports.decoder_for, ports.detectors)
        )

    def subscribe(self, stream: str, *, anomalies: bool, after: str | None) -> AsyncIterator[Event]:
        """Follow a stream's results, all or the anomalies, and its incidents.

        Goes on after the event id `after`, from the log; without one, from here on. Ends when
        the stream is deleted or the engine stops. A slow reader is never waited for: it reads
        from the log at its own pace.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: the event id is wrong.
        """
        held = self._held(stream)
        places = None if after is None else decode_cursor(after, len(held.tails), "event id")
        where = ResultFilter(anomalies=anomalies, incidents=anomalies)
        return self._follow(held, places, where)

    async def _follow(
        self, held: _Stream, places: list[int] | None, where: ResultFilter
    ) -> AsyncIterator[Event]:
        ends = [tail.committed for tail in held.tails]
        for number, tail in enumerate(held.tails):
            if not tail.live.is_set():
                await tail.live.wait()
                ends[number] = tail.committed
        begin = ends if places is None else list(map(min, places, ends))
        with contextlib.suppress(EngineError):
            async for event in held.reader.follow(begin, where):
                yield event

    def state_digests(self) -> dict[StreamPartition, dict[str, str]]:
        """Return the SHA-256 of every series' state, for audits; only while nothing is scored."""
        return {
            partition: runner.pipeline.detectors.digests()
            for partition, runner in self._runners.items()
        }

    # -- ownership ------------------------------------------------------------------------

    async def _follow_ownership(self) -> None:
        """Run what the log says this process owns, and know the streams that it knows."""
        try:
            while True:
                change = await self._ports.log.changes()
                for entry in change.deleted:
                    await self._forget(entry)
                for entry in change.streams:
                    await self._learn(entry)
                if change.assigned or change.revoked:
                    self._ports.metrics.rebalanced()
                await self._release(change.revoked)
                for partition in change.assigned:  # those that run already go on
                    await self._take_on(partition)
                for partition in change.foreign:
                    await self._follow_results(partition)
        except Exception:
            logger.exception("partitions are followed no longer; restart the service")
            raise

    async def _learn(self, entry: StreamEntry) -> None:
        """Take note of a stream that a process made or changed."""
        async with self._catalogue:
            held = self._streams.get(entry.config.name)
            if held is not None and held.entry.incarnation < entry.incarnation:
                await self._drop(held)  # with all that runs for it, and shows its results
                held = None
            if held is None:
                self._streams[entry.config.name] = _Stream(entry, self._ports)
            elif held.entry.incarnation == entry.incarnation:
                held.configure(entry)

    async def _forget(self, entry: StreamEntry) -> None:
        """Take note that a process deleted a stream."""
        async with self._catalogue:
            held = self._streams.get(entry.config.name)
            if held is not None and held.entry.incarnation == entry.incarnation:
                await self._drop(held)

    async def _drop(self, held: _Stream) -> None:
        name = held.entry.config.name
        del self._streams[name]
        _end_readers(held, UnknownStream(name))
        partitions = [StreamPartition(name, number) for number in range(len(held.tails))]
        await self._let_go(partitions)
        for partition in partitions:
            self._warm.pop(partition, None)

    async def _take_on(self, partition: StreamPartition) -> None:
        if partition in self._runners and self._tasks[partition].done():
            await self._release((partition,))  # it was fenced, or broke; it is ours once more
        async with self._catalogue:
            held = self._streams.get(partition.stream)
            if held is None or partition in self._runners or self._phase != "running":
                return
            await self._follow_no_longer(partition)
            tail = held.tails[partition.partition]
            runner = self._warm.pop(partition, None)
            if runner is None:
                options, workers = self._options, self._workers
                runner = PartitionRunner(partition, self._ports, options, workers, tail)
            runner.renew()
            self._runners[partition] = runner
            self._ports.metrics.taken(partition)
            self._tasks[partition] = asyncio.create_task(runner.run(), name=str(partition))

    async def _release(self, partitions: Sequence[StreamPartition]) -> None:
        """Let go of partitions that may come back; what was learnt is kept until they do not.

        One that does not serve yet has nothing to finish: it would fence its next owner, and keep
        others waiting.
        """
        running = [partition for partition in partitions if partition in self._runners]
        for partition in running:
            runner = self._runners[partition]
            if runner.state in ("restoring", "retrying"):
                self._tasks[partition].cancel()
            else:
                runner.request_release()
                self._warm[partition] = runner
        tasks = [self._tasks[partition] for partition in running]
        if tasks:
            await asyncio.wait(tasks, timeout=RELEASE_S)
        await self._let_go(running)

    async def _let_go(self, partitions: Sequence[StreamPartition]) -> None:
        tasks = [self._tasks.pop(partition, None) for partition in partitions]
        tasks += [self._followed.pop(partition, None) for partition in partitions]
        for partition in partitions:
            if self._runners.pop(partition, None) is not None:
                self._ports.metrics.released(partition)
        await _cancel([task for task in tasks if task is not None])

    async def _follow_results(self, partition: StreamPartition) -> None:
        """Show readers what another process commits."""
        self._warm.pop(partition, None)
        held, foreign = self._streams.get(partition.stream), self._ports.foreign
        if held is None or foreign is None:
            return
        if partition in self._followed and not self._followed[partition].done():
            return
        tail = held.tails[partition.partition]
        following = follow(foreign, partition, tail, self._options.retry_s)
        self._followed[partition] = asyncio.create_task(following, name=f"results of {partition}")

    async def _follow_no_longer(self, partition: StreamPartition) -> None:
        following = self._followed.pop(partition, None)
        if following is not None:
            await _cancel([following])

    async def _delete_snapshots(self, entry: StreamEntry) -> None:
        folder = snapshot_folder(self._ports.log, entry)
        await self._delete_files(lambda: self._ports.snapshots.names(folder))

    async def _sweep_snapshots(self) -> None:
        """Delete what a death in the middle of a deletion left behind of this log's streams.

        Nothing else: others may keep whatever they like in the same place. The files are listed
        before the streams, so that those of a stream that another process makes meanwhile are not
        among them. Nothing at all when there are no streams: if the log lost them, their snapshots
        are what is left.
        """
        log, store = self._ports.log, self._ports.snapshots
        names = await in_thread(self._workers.saver, lambda: store.names(f"{log.identity}/"))
        known = [snapshot_folder(log, entry) for entry in await log.streams()]
        if names and not known:
            logger.warning("the log has no streams, but there are snapshots of it: they stay")
            return
        kept = (*known, *(f"{log.identity}/{name}." for name in log.unreadable))
        unwanted = [name for name in names if not name.startswith(kept)]
        await self._delete_files(lambda: unwanted)

    async def _delete_files(self, unwanted: Callable[[], list[str]]) -> None:
        store = self._ports.snapshots

        def delete() -> None:
            for name in unwanted():
                store.delete(name)

        try:
            await in_thread(self._workers.saver, delete)
        except OSError as error:
            logger.warning("old snapshots were not deleted: %s", error)

    async def _live(self, stream: str) -> None:
        """Wait a moment until a stream just made is served; it is made either way."""
        tails = self._streams[stream].tails
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(tail.live.wait() for tail in tails)), 5.0)

    # -- input ----------------------------------------------------------------------------

    def _held(self, stream: str) -> _Stream:
        try:
            return self._streams[stream]
        except KeyError:
            raise UnknownStream(stream) from None

    def _place(
        self, config: StreamConfig, records: Sequence[NewRecord]
    ) -> list[tuple[int, NewRecord]]:
        """Find each record's partition and give it a time if it has none."""
        now_ms = self._ports.clock.now_ms()
        partitions = config.partitions
        placed = []
        for record in records:
            key, time_ms = record.key, record.timestamp_ms
            if key is not None and len(key) > MAX_KEY:
                _check_key(key)
            if time_ms is None:
                record = NewRecord(record.value, key, now_ms)  # noqa: PLW2901  (the one that is kept)
            elif not EARLIEST_MS <= time_ms <= LATEST_MS:
                raise InvalidRecord("timestamp", str(time_ms), "outside the years 1 to 9999")
            placed.append((partition_of(key, partitions) if partitions > 1 else 0, record))
        return placed

    def _check_halted(self, stream: str, numbers: Iterable[int]) -> None:
        """Refuse records for partitions that are known here to stand still.

        Raises:
            Halted: one is.
        """
        for number in numbers:
            runner = self._runners.get(StreamPartition(stream, number))
            if runner is not None and runner.state == "halted" and runner.halt is not None:
                raise Halted(stream, number, runner.halt.offset, runner.halt.reason)

    def _reserve(
        self, stream: str, counts: dict[int, tuple[int, int]], size: int, records: int
    ) -> list[tuple[PartitionRunner, int, int]]:
        """Make room in every partition for what comes, or nowhere.

        Raises:
            Backpressure: one has none.
        """
        reserved: list[tuple[PartitionRunner, int, int]] = []
        try:
            if self._in_flight and self._in_flight + size > self._options.in_flight_bytes:
                raise Backpressure(1, f"{self._in_flight} bytes are on their way into the log")
            for number, (count, part_size) in counts.items():
                runner = self._runners.get(StreamPartition(stream, number))
                if runner is not None:
                    runner.backlog.reserve(count, part_size)
                    reserved.append((runner, count, part_size))
        except Backpressure:
            for runner, count, part_size in reserved:
                runner.backlog.release(count, part_size, appended=False)
            self._ports.metrics.refused(records)
            raise
        self._in_flight += size
        return reserved

    def _notice(self, stream: str, positions: Sequence[Position]) -> None:
        """Count appended records as waiting."""
        for number, offset in dict(positions).items():  # the last one of each partition
            runner = self._runners.get(StreamPartition(stream, number))
            if runner is not None:
                runner.backlog.end = max(runner.backlog.end, offset + 1)


def _count(placed: Sequence[tuple[int, NewRecord]], size: int) -> dict[int, tuple[int, int]]:
    """Return (records, bytes) for each partition."""
    numbers = {number for number, _ in placed}
    if len(numbers) == 1:
        return {numbers.pop(): (len(placed), size)}
    counts: dict[int, tuple[int, int]] = {}
    for number, record in placed:
        count, part_size = counts.get(number, (0, 0))
        counts[number] = (count + 1, part_size + len(record.value))
    return counts


def _check_most(field: str, number: int) -> None:
    if not 1 <= number <= MOST_RESULTS:
        raise InvalidParameter(field, number, f"a whole number from 1 to {MOST_RESULTS}")


def _partitions_of(held: _Stream, key: str | None) -> Sequence[int]:
    """Return the partitions that may hold results of a key; all for None."""
    count = len(held.tails)
    return range(count) if key is None else [partition_of(key, count)]


def _check_key(key: str | None) -> None:
    if key is not None and len(key) > MAX_KEY:
        raise InvalidRecord("key", key[:100], f"longer than {MAX_KEY} characters")


def _end_readers(held: _Stream, error: Exception) -> None:
    for tail in held.tails:
        tail.fail(error)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
