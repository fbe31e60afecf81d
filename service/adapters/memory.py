"""The log in memory: everything the file log does, except outliving its process.

Also the plainest statement of what a log must do; the contract suite runs over both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.errors import StreamExists, UnknownStream
from service.engine.ports import Change
from service.engine.records import (
    Assignment,
    Batch,
    DeadLetter,
    NewRecord,
    OwnershipChange,
    Pointer,
    Position,
    Record,
    Result,
    ResultFilter,
    ResultSlice,
    StreamEntry,
    StreamPartition,
    Transaction,
)
from service.engine.transactions import check_transaction, within


@dataclass(slots=True)
class _Part:
    """One partition. The lists hold offsets from `begin` and `results_begin` on."""

    input: list[Record] = field(default_factory=list)
    begin: int = 0
    results: list[Result] = field(default_factory=list)
    results_begin: int = 0
    dead_letters: list[DeadLetter] = field(default_factory=list)
    pointers: tuple[Pointer, ...] = ()
    committed: int = 0
    epoch: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def end(self) -> int:
        return self.begin + len(self.input)


class MemoryLog:
    """A `LogBackend` in memory, for one event loop at a time."""

    def __init__(self) -> None:
        self.identity = "memory"
        self.unreadable: Collection[str] = ()
        self._entries: dict[str, StreamEntry] = {}
        self._parts: dict[StreamPartition, _Part] = {}
        self._incarnation = 0
        self._changes: asyncio.Queue[OwnershipChange] = asyncio.Queue()

    async def open(self) -> None:
        """Offer every partition to the caller; whoever owned them before is fenced."""
        self._changes = asyncio.Queue()
        for part in self._parts.values():
            part.epoch += 1
            part.arrived = asyncio.Event()
        if self._parts:
            self._changes.put_nowait(OwnershipChange(assigned=tuple(self._parts)))

    async def close(self) -> None:
        """Do nothing: the content stays."""

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    async def create_stream(self, config: StreamConfig) -> StreamEntry:
        """Add a stream; see `LogBackend`."""
        if config.name in self._entries:
            raise StreamExists(config.name, self._entries[config.name].config.changed(config))
        self._incarnation += 1
        entry = StreamEntry(config, config, self._incarnation)
        self._entries[config.name] = entry
        partitions = _partitions(config)
        self._parts.update((partition, _Part()) for partition in partitions)
        self._changes.put_nowait(OwnershipChange(assigned=partitions))
        return entry

    async def update_stream(self, stream: str, change: Change) -> StreamEntry:
        """Change a configuration; see `LogBackend`."""
        former = self._entry(stream)
        config = change(former.config)
        if config is None:
            return former
        entry = replace(former, config=config)
        self._entries[config.name] = entry
        for partition in _partitions(config):
            part = self._parts[partition]
            last_ms = part.input[-1].timestamp_ms if part.input else 0
            self._put(part, Record(part.end, last_ms, None, encode_config(config), True))
        return entry

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream; see `LogBackend`."""
        partitions = _partitions(self._entry(stream).config)
        del self._entries[stream]
        for partition in partitions:
            del self._parts[partition]
        self._changes.put_nowait(OwnershipChange(revoked=partitions))

    async def append(self, stream: str, records: Sequence[tuple[int, NewRecord]]) -> list[Position]:
        """Append records; see `LogBackend`."""
        self._entry(stream)
        positions = []
        for number, new in records:
            part = self._parts[StreamPartition(stream, number)]
            positions.append(Position(number, part.end))
            self._put(part, Record(part.end, new.timestamp_ms or 0, new.key, new.value))
        return positions

    async def changes(self) -> OwnershipChange:
        """Wait for the next change of ownership."""
        return await self._changes.get()

    async def assign(self, partition: StreamPartition) -> Assignment:
        """Take a partition over; see `LogBackend`."""
        part = self._part(partition)
        part.epoch += 1
        return Assignment(
            partition,
            self._entries[partition.stream],
            part.epoch,
            part.committed,
            part.begin,
            part.end,
            part.results[-1].offset + 1 if part.results else None,
            part.pointers,
        )

    async def poll(
        self, partition: StreamPartition, offset: int, max_records: int, max_bytes: int
    ) -> Batch:
        """Wait for records; see `LogBackend`."""
        part = self._part(partition)
        while part.end <= offset:
            part.arrived.clear()
            await part.arrived.wait()
        first = max(offset - part.begin, 0)
        records = within(part.input[first : first + max_records], max_bytes)
        return Batch(partition, records, records[-1].offset + 1)

    async def commit(self, transaction: Transaction) -> None:
        """Make a transaction visible as a whole; see `LogBackend`."""
        part = self._part(transaction.partition)
        check_transaction(transaction, part.epoch, part.committed)
        part.results.extend(transaction.results)
        part.dead_letters.extend(transaction.dead_letters)
        part.committed = transaction.end
        if transaction.pointer is not None:
            kept = (transaction.pointer, *part.pointers)
            part.pointers = kept[: transaction.keep_pointers]
        gone = max(transaction.trim_input_to - part.begin, 0)
        del part.input[:gone]
        part.begin += gone
        gone = max(transaction.trim_results_to - part.results_begin, 0)
        del part.results[:gone]
        part.results_begin += gone
        kept_from = transaction.trim_results_to
        part.dead_letters = [dead for dead in part.dead_letters if dead.offset >= kept_from]

    async def read_results(
        self, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
    ) -> ResultSlice:
        """Read committed results; see `LogBackend`."""
        part = self._part(partition)
        found: list[Result] = []
        for result in part.results[max(offset - part.results_begin, 0) :]:
            if where.accepts(result):
                found.append(result)
                if len(found) == limit:
                    return ResultSlice(found, result.offset + 1)
        return ResultSlice(found, max(offset, part.committed))

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read committed dead letters; see `LogBackend`."""
        part = self._part(partition)
        return [dead for dead in part.dead_letters if dead.offset >= offset][:limit]

    def _entry(self, stream: str) -> StreamEntry:
        try:
            return self._entries[stream]
        except KeyError:
            raise UnknownStream(stream) from None

    def _part(self, partition: StreamPartition) -> _Part:
        try:
            return self._parts[partition]
        except KeyError:
            raise UnknownStream(partition.stream) from None

    @staticmethod
    def _put(part: _Part, record: Record) -> None:
        part.input.append(record)
        part.arrived.set()


def _partitions(config: StreamConfig) -> tuple[StreamPartition, ...]:
    return tuple(StreamPartition(config.name, number) for number in range(config.partitions))
