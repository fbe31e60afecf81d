"""The log port over one SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from service.adapters.sqlite import storage
from service.adapters.sqlite.schema import (
    Synchronous,
    identity_of,
    lock_directory,
    open_reader,
    open_writer,
)
from service.adapters.sqlite.writer import Writer
from service.engine.config import StreamConfig
from service.engine.errors import EngineError, TransientError, UnknownStream
from service.engine.ports import Change, Failpoints
from service.engine.records import (
    Assignment,
    Batch,
    DeadLetter,
    NewRecord,
    OwnershipChange,
    Position,
    Record,
    ResultFilter,
    ResultSlice,
    StreamEntry,
    StreamPartition,
    Transaction,
    size_of,
)
from service.engine.transactions import within

T = TypeVar("T")
NEAR_BYTES = 8 * 2**20
"""Bytes of each partition's newest records kept in memory, so that polls need no disk."""


def _ignore(name: str) -> None:
    """Pass a failpoint by."""


class _Arrivals:
    """The newest records of one partition, in memory."""

    def __init__(self) -> None:
        self.begin = -1  # none yet
        self.end = -1
        self._chunks: deque[list[Record]] = deque()
        self._size = 0
        self.news = asyncio.Event()

    def add(self, records: list[Record]) -> None:
        if not self._chunks or records[0].offset != self.end:
            self._chunks.clear()
            self.begin, self._size = records[0].offset, 0
        self._chunks.append(records)
        self.end = records[-1].offset + 1
        self._size += size_of(records)
        while self._size > NEAR_BYTES and len(self._chunks) > 1:
            self._drop_oldest()
        self.news.set()

    def read(self, offset: int, limit: int) -> list[Record] | None:
        """Return up to `limit` records, or None when the first is not here."""
        if not self._chunks or not self.begin <= offset < self.end:
            return None
        found: list[Record] = []
        for chunk in self._chunks:
            if chunk[-1].offset >= offset:
                found.extend(chunk[max(offset - chunk[0].offset, 0) :])
            if len(found) >= limit:
                break
        return found[:limit]

    def drop_below(self, offset: int) -> None:
        """Let go of chunks that are settled."""
        while self._chunks and self._chunks[0][-1].offset < offset:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        gone = self._chunks.popleft()
        self._size -= size_of(gone)
        self.begin = gone[-1].offset + 1


class SqliteLog:
    """A `LogBackend` in a directory of this machine.

    Args:
        directory: where the file lives; one process at a time.
        synchronous: "FULL" survives a loss of power; "NORMAL" only the death of the process,
            with less waiting for the disk.
        exclusive: hold a lock on the directory, so that a second process fails at once. The
            epoch in the file fences a former owner either way.
        failpoint: called at the protocol's named places.
    """

    def __init__(
        self,
        directory: Path,
        synchronous: Synchronous = "FULL",
        *,
        exclusive: bool = True,
        failpoint: Failpoints = _ignore,
    ) -> None:
        self.identity = ""
        self.unreadable: Collection[str] = ()
        self._directory = directory
        self._synchronous = synchronous
        self._exclusive = exclusive
        self._failpoint = failpoint
        self._lock: int | None = None
        self._writer: Writer | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="sqlite-reader")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._arrivals: dict[StreamPartition, _Arrivals] = {}
        self._changes: asyncio.Queue[OwnershipChange] = asyncio.Queue()

    async def open(self) -> None:
        """Lock the directory, open the file, offer every partition; see `LogBackend`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._exclusive:
            self._lock = lock_directory(self._directory)
        try:
            connection = open_writer(self._directory, self._synchronous)
            self.identity = identity_of(connection)
            self._writer = Writer(connection, asyncio.get_running_loop(), self._failpoint)
        except BaseException:
            self._unlock()
            raise
        owned = [part for entry in await self.streams() for part in _partitions(entry.config)]
        self._arrivals = {partition: _Arrivals() for partition in owned}
        if owned:
            self._changes.put_nowait(OwnershipChange(assigned=tuple(owned)))

    async def close(self) -> None:
        """Finish the queued writes, close the file, unlock; see `LogBackend`."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await asyncio.to_thread(writer.close)
        self._readers.shutdown(wait=True)
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._unlock()

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""
        return await self._read(storage.streams)

    async def create_stream(self, config: StreamConfig) -> StreamEntry:
        """Add a stream; see `LogBackend`."""
        return await self._write(
            lambda db: storage.create_stream(db, config), lambda _: self._offer(config)
        )

    async def update_stream(self, stream: str, change: Change) -> StreamEntry:
        """Change a configuration; see `LogBackend`."""
        entry, _ = await self._write(
            lambda db: storage.update_stream(db, stream, change),
            lambda done: self._announce(stream, done[1]),
        )
        return entry

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream; see `LogBackend`."""
        await self._write(
            lambda db: storage.delete_stream(db, stream), lambda entry: self._retract(entry.config)
        )

    async def append(self, stream: str, records: Sequence[tuple[int, NewRecord]]) -> list[Position]:
        """Append records; see `LogBackend`."""

        def work(db: sqlite3.Connection) -> tuple[list[Position], storage.Appended]:
            self._failpoint("sqlite.append")
            return storage.append(db, stream, records)

        positions, _ = await self._write(work, lambda done: self._announce(stream, done[1]))
        return positions

    async def changes(self) -> OwnershipChange:
        """Wait for the next change of ownership."""
        return await self._changes.get()

    async def assign(self, partition: StreamPartition) -> Assignment:
        """Take a partition over; see `LogBackend`."""
        assignment = await self._write(lambda db: storage.assign(db, partition))
        arrivals = self._arrivals.setdefault(partition, _Arrivals())
        arrivals.end = max(arrivals.end, assignment.end)
        return assignment

    async def poll(
        self, partition: StreamPartition, offset: int, max_records: int, max_bytes: int
    ) -> Batch:
        """Wait for records; see `LogBackend`."""
        arrivals = self._arrivals.get(partition)
        if arrivals is None:
            raise UnknownStream(partition.stream)
        while arrivals.end <= offset:
            arrivals.news.clear()
            await arrivals.news.wait()
        records = arrivals.read(offset, max_records)
        if records is None:
            records = await self._read(
                lambda db: storage.read_records(
                    db, storage.row_of(db, partition).id, offset, max_records
                )
            )
        batch = within(records, max_bytes)
        return Batch(partition, batch, batch[-1].offset + 1)

    async def commit(self, transaction: Transaction) -> None:
        """Make a transaction durable and visible as a whole; see `LogBackend`."""
        await self._write(lambda db: storage.commit(db, transaction, self._failpoint))
        arrivals = self._arrivals.get(transaction.partition)
        if arrivals is not None:
            arrivals.drop_below(transaction.end)

    async def read_results(
        self, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
    ) -> ResultSlice:
        """Read committed results; see `LogBackend`."""
        return await self._read(
            lambda db: storage.read_results(db, partition, offset, limit, where)
        )

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read committed dead letters; see `LogBackend`."""
        return await self._read(lambda db: storage.read_dead_letters(db, partition, offset, limit))

    async def _write(
        self,
        work: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None] | None = None,
    ) -> T:
        if self._writer is None:
            raise TransientError("the log is closed")
        return await self._writer.run(work, then)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read beside the writer, all of it from one moment's state."""

        def run() -> T:
            db = self._reader()
            db.execute("BEGIN")
            try:
                return work(db)
            finally:
                db.execute("COMMIT")

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except sqlite3.OperationalError as error:
            raise TransientError(f"the log could not be read: {error}") from error
        except sqlite3.Error as error:
            raise EngineError(f"the log's file is damaged: {error}") from error

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_reader(self._directory)
            self._opened.append(connection)
        return connection

    def _offer(self, config: StreamConfig) -> None:
        partitions = _partitions(config)
        self._arrivals.update((partition, _Arrivals()) for partition in partitions)
        self._changes.put_nowait(OwnershipChange(assigned=partitions))

    def _retract(self, config: StreamConfig) -> None:
        partitions = _partitions(config)
        for partition in partitions:
            self._arrivals.pop(partition, None)
        self._changes.put_nowait(OwnershipChange(revoked=partitions))

    def _announce(self, stream: str, appended: storage.Appended) -> None:
        for number, records in appended.items():
            arrivals = self._arrivals.get(StreamPartition(stream, number))
            if arrivals is not None and records:
                arrivals.add(records)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _partitions(config: StreamConfig) -> tuple[StreamPartition, ...]:
    return tuple(StreamPartition(config.name, number) for number in range(config.partitions))
