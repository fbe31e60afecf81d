"""Takes records into the log, all or none, as far as there is room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from service.engine.config import StreamConfig
from service.engine.errors import Backpressure, Halted, InvalidRecord
from service.engine.options import EngineOptions
from service.engine.owned import Owned
from service.engine.ports import Ports
from service.engine.records import NewRecord, Position, size_of
from service.engine.runner import PartitionRunner
from service.engine.series import MAX_KEY, partition_of
from service.engine.times import EARLIEST_MS, LATEST_MS

Reserved = list[tuple[PartitionRunner, int, int]]
"""(partition, records, bytes) for which room is kept."""


class Appender:
    """Appends records to streams, and counts what is on its way and what waits."""

    def __init__(self, ports: Ports, options: EngineOptions, owned: Owned) -> None:
        self._ports, self._options, self._owned = ports, options, owned
        self._in_flight = 0

    async def append(
        self,
        config: StreamConfig,
        records: Sequence[NewRecord],
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> list[Position]:
        """Append records in the order given; durable on return.

        Args:
            config: of the stream.
            records: of the stream.
            before: done once it is certain that there is room.

        Raises:
            InvalidRecord: a key is too long, or a time far off.
            Backpressure: too much waits to be scored.
            Halted: a partition asked for stands still; nothing was taken.
        """
        stream = config.name
        placed = self._place(config, records)
        began_s = self._ports.clock.monotonic_s()
        size = size_of(records)
        counts = _count(placed, size)
        self._check_halted(stream, counts)
        reserved = self._reserve(stream, counts, size, len(records))
        appended = False
        try:
            if before is not None:
                await before()
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
                check_key(key)
            if time_ms is None:
                record = NewRecord(record.value, key, now_ms)  # noqa: PLW2901  (the one that is kept)
            elif not EARLIEST_MS <= time_ms <= LATEST_MS:
                raise InvalidRecord("timestamp", str(time_ms), "outside the years 1 to 9999")
            placed.append((partition_of(key, partitions) if partitions > 1 else 0, record))
        return placed

    def _check_halted(self, stream: str, numbers: Iterable[int]) -> None:
        """Refuse records for partitions that are known here to stand still."""
        for number in numbers:
            runner = self._owned.runner(stream, number)
            if runner is not None and runner.state == "halted" and runner.halt is not None:
                raise Halted(stream, number, runner.halt.offset, runner.halt.reason)

    def _reserve(
        self, stream: str, counts: dict[int, tuple[int, int]], size: int, records: int
    ) -> Reserved:
        """Make room in every partition for what comes, or nowhere."""
        reserved: Reserved = []
        try:
            if self._in_flight and self._in_flight + size > self._options.in_flight_bytes:
                raise Backpressure(1, f"{self._in_flight} bytes are on their way into the log")
            for number, (count, part_size) in counts.items():
                runner = self._owned.runner(stream, number)
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
            runner = self._owned.runner(stream, number)
            if runner is not None:
                runner.backlog.end = max(runner.backlog.end, offset + 1)


def check_key(key: str | None) -> None:
    """Refuse a key that no record may have.

    Raises:
        InvalidRecord: it is too long.
    """
    if key is not None and len(key) > MAX_KEY:
        raise InvalidRecord("key", key[:100], f"longer than {MAX_KEY} characters")


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
