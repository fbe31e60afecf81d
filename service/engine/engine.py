"""The facade that HTTP and other doors talk to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from service.engine.appending import Appender, check_key
from service.engine.asking import Question
from service.engine.board import Standing
from service.engine.config import StreamConfig
from service.engine.cursor import decode_cursor
from service.engine.errors import (
    CallerError,
    Elsewhere,
    EngineError,
    Halted,
    InvalidParameter,
    NotReady,
    TransientError,
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
from service.engine.held import HeldStream
from service.engine.lookback import newest_ratios, newest_records
from service.engine.newest import Newest, newest
from service.engine.options import EngineOptions
from service.engine.owned import Owned, cancel
from service.engine.pipeline import check_values
from service.engine.ports import Change, Ports
from service.engine.records import (
    Decoded,
    Event,
    NewRecord,
    PartitionStatus,
    Position,
    ResultFilter,
    ResultsPage,
    StreamPartition,
)
from service.engine.rehearsal import PastRecord, Rehearsed, rehearse
from service.engine.streams import Streams
from service.engine.sweeping import delete_snapshots, sweep_snapshots
from service.engine.tail import PartitionTail
from service.engine.times import format_ms
from service.engine.workers import Workers, in_thread

logger = logging.getLogger(__name__)
T = TypeVar("T")
FEEDBACK_S = 5.0
"""Bound of the wait for the result that a verdict is about."""

MOST_RESULTS = 100_000
"""Results of one answer at most."""


class Engine:
    """Streams of records in, one result per record out. Lives on one event loop."""

    def __init__(self, ports: Ports, options: EngineOptions | None = None) -> None:
        self._ports = ports
        self._options = options or EngineOptions()
        self._ownership: asyncio.Task[None] | None = None
        self._phase = "not started"
        threads = self._options.score_threads
        self._workers = Workers(
            ThreadPoolExecutor(threads, thread_name_prefix="score"),
            ThreadPoolExecutor(2, thread_name_prefix="save"),
        )
        self._owned = Owned(ports, self._options, self._workers)
        self._streams = Streams(ports, self._owned)
        self._appender = Appender(ports, self._options, self._owned)
        # Takes minutes where much is asked; snapshots and restores do not wait for it.
        self._rehearser = ThreadPoolExecutor(1, thread_name_prefix="rehearse")

    async def start(self) -> None:
        """Open the log, take over the partitions, restore and go on."""
        await self._ports.log.open()
        await self._streams.open()
        await sweep_snapshots(self._ports.log, self._ports.snapshots, self._workers.saver)
        self._phase = "running"
        self._ownership = asyncio.create_task(self._follow_ownership())

    async def stop(self) -> None:
        """Drain, commit, write snapshots and let go, within a bound."""
        self._phase = "stopping"
        await self._owned.settle()
        if self._ownership is not None:
            await cancel([self._ownership])
        await self._owned.end()
        for held in self._streams:
            held.end_readers(NotReady("the service stopped"))
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
        if self._owned.not_live is not None:
            return self._owned.not_live
        expected = sum(len(held.tails) for held in self._streams)
        if len(self._owned) < expected:
            return "partitions are being taken over"
        return None

    @property
    def halted(self) -> list[Halted]:
        """What stands still here because of its dead letters."""
        return self._owned.halted

    def partitions(self, stream: str) -> list[PartitionStatus]:
        """Tell how each partition of a stream stands.

        Raises:
            UnknownStream: there is none of this name.
        """
        tails = self._streams[stream].tails
        halted = {error.partition: error for error in self.halted if error.stream == stream}
        found = []
        for number, tail in enumerate(tails):
            runner = self._owned.runner(stream, number)
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
        return await self._streams.change(name, lambda present: present)

    async def create_stream(self, config: StreamConfig) -> StreamConfig:
        """Make a stream, or return the one there when it is configured equally.

        Raises:
            StreamExists: one of this name is configured otherwise.
        """
        config, made = await self._streams.create(config)
        if made:
            await self._live(config.name)
        return config

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
        return await self._streams.update(name, change, reset=reset)

    async def delete_stream(self, name: str) -> None:
        """Remove a stream with its records, results and snapshots.

        Raises:
            UnknownStream: there is none of this name.
        """
        entry = await self._streams.delete(name)
        if entry is not None:  # others go on meanwhile
            log, store = self._ports.log, self._ports.snapshots
            await delete_snapshots(log, store, self._workers.saver, entry)

    async def look_for(self, name: str) -> None:
        """Learn of a stream that another process made a moment ago, if there is one.

        Asks the log only for a stream unknown here, where several processes share the log, and
        once for all who ask at the same time.
        """
        if name in self._streams or self._ports.foreign is None or self._phase != "running":
            return
        await self._streams.look()

    def stream(self, name: str) -> StreamConfig:
        """Return a stream's configuration.

        Raises:
            UnknownStream: there is none of this name.
        """
        return self._streams[name].entry.config

    def streams(self) -> list[StreamConfig]:
        """Return all configurations, ordered by name."""
        return [held.entry.config for held in self._streams]

    def decode(self, stream: str, value: bytes) -> Decoded:
        """Read a record's value exactly as scoring will, without taking it in.

        Raises:
            UnknownStream: there is none of this name.
            InvalidRecord: scoring would make it an `error` result and a dead letter.
        """
        held = self._streams[stream]
        decoded = held.decode(value)
        check_values(held.entry.config, decoded.values)
        check_key(decoded.key)
        return decoded

    async def ask(self, stream: str, key: str, question: Question[T]) -> T:
        """Ask a series' detector, as it is between two batches; nothing is learnt.

        Raises:
            UnknownStream: there is none of this name.
            UnknownSeries: it has no series of this key.
            Elsewhere: another process runs the series' partition.
            NotReady: the partition does not serve at the moment.
        """
        held = self._streams[stream]
        check_key(key)
        (number,) = held.partitions_of(key)
        runner = self._owned.runner(stream, number)
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
        config = self._streams[stream].entry.config
        self._check_running()
        return await self._appender.append(config, records)

    async def backfill(self, stream: str, records: Sequence[NewRecord]) -> list[Position]:
        """Take history in, all or none: from its end on anomalies are told of, none before.

        Every record has its timestamp.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: a time lies in the future, where anomalies must be told of.
            Backpressure, Halted: as for `append`; the stream is unchanged.
            TransientError: as for `append`; the stream may tell of anomalies later all the same.
        """
        config = self._streams[stream].entry.config
        self._check_running()
        newest_ms = max(record.timestamp_ms or 0 for record in records)
        if newest_ms > self._ports.clock.now_ms():
            raise InvalidParameter("timestamp", format_ms(newest_ms), "times that have passed")

        def told_later(present: StreamConfig) -> StreamConfig | None:
            former_ms = present.told_from_ms
            if former_ms is not None and former_ms > newest_ms:
                return None
            return replace(present, told_from=format_ms(newest_ms + 1))

        async def tell_later() -> StreamConfig:
            return await self._streams.change(stream, told_later)

        return await self._appender.append(config, records, tell_later)

    def _check_running(self) -> None:
        if self._phase != "running":
            raise NotReady(f"the engine is {self._phase}")

    async def results_at(
        self, stream: str, positions: Sequence[Position], timeout_s: float
    ) -> list[bytes]:
        """Wait for the results of records, JSON each, in the order of `positions`.

        Raises:
            UnknownStream: there is none of this name.
            ResultTimeout: they did not appear in time; the records stay accepted.
            NotReady: the partition stopped.
        """
        held = self._streams[stream]
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
        held = self._streams[stream]
        _check_most("limit", limit)
        count = len(held.tails)
        offsets = [0] * count if cursor is None else decode_cursor(cursor, count)
        where = ResultFilter(key, from_ms, to_ms, anomalies)
        return await held.reader.page(offsets, held.partitions_of(key), limit, where)

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
        held = self._streams[stream]
        _check_most("last", last)
        for number, tail in enumerate(held.tails):
            if not tail.started:
                raise NotReady(f"{stream}/{number} is not served at the moment")
        where = ResultFilter(key, from_ms, to_ms, anomalies)
        return await newest(held.reader, held.partitions_of(key), last, where)

    async def incidents(self, stream: str) -> list[Standing]:
        """Return the incidents that are open or were lately, the last to begin first.

        Raises:
            UnknownStream: there is none of this name.
        """
        held = self._streams[stream]
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
        runner = self._owned.runner(stream, place.partition)
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

        held = self._streams[stream]
        before = factor_of(held.entry.config.threshold_factors, judged.key)
        config = await self._streams.change(stream, counted)
        factor = suggested(config.feedback, judged.key)
        (number,) = held.partitions_of(judged.key)
        ratios = await newest_ratios(held.reader, number, judged.key)
        gap = config.incident_gap
        return Advice(
            judged.key,
            factor,
            apply,
            len(ratios),
            fired(ratios, before, gap),
            fired(ratios, factor, gap),
        )

    async def past(self, stream: str, limit: int) -> list[PastRecord]:
        """Return the newest records that have results, each partition's as they came.

        Raises:
            UnknownStream: there is none of this name.
        """
        return await newest_records(self._streams[stream].reader, limit)

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
        held = self._streams[stream]
        places = None if after is None else decode_cursor(after, len(held.tails), "event id")
        where = ResultFilter(anomalies=anomalies, incidents=anomalies)
        return self._follow(held, places, where)

    async def _follow(
        self, held: HeldStream, places: list[int] | None, where: ResultFilter
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
            for partition, runner in self._owned.runners.items()
        }

    # -- ownership ------------------------------------------------------------------------

    async def _follow_ownership(self) -> None:
        """Run what the log says this process owns, and know the streams that it knows."""
        try:
            while True:
                change = await self._ports.log.changes()
                for entry in change.deleted:
                    await self._streams.forget(entry)
                for entry in change.streams:
                    await self._streams.learn(entry)
                if change.assigned or change.revoked:
                    self._ports.metrics.rebalanced()
                await self._owned.release(change.revoked)
                for partition in change.assigned:  # those that run already go on
                    await self._take_on(partition)
                for partition in change.foreign:
                    self._owned.follow_results(partition, self._tail_of(partition))
        except Exception:
            logger.exception("partitions are followed no longer; restart the service")
            raise

    async def _take_on(self, partition: StreamPartition) -> None:
        if self._owned.has_ended(partition):
            await self._owned.release((partition,))  # it was fenced, or broke; it is ours once more
        async with self._streams.lock:
            tail = self._tail_of(partition)
            if tail is not None and self._phase == "running":
                await self._owned.take_on(partition, tail)

    def _tail_of(self, partition: StreamPartition) -> PartitionTail | None:
        held = self._streams.get(partition.stream)
        return None if held is None else held.tails[partition.partition]

    async def _live(self, stream: str) -> None:
        """Wait a moment until a stream just made is served; it is made either way."""
        tails = self._streams[stream].tails
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(tail.live.wait() for tail in tails)), 5.0)


def _check_most(field: str, number: int) -> None:
    if not 1 <= number <= MOST_RESULTS:
        raise InvalidParameter(field, number, f"a whole number from 1 to {MOST_RESULTS}")
