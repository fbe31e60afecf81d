"""The file as one looks at it from outside, while a process may serve it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from service.adapters.sqlite import storage
from service.adapters.sqlite.log import SqliteLog
from service.adapters.sqlite.schema import open_view
from service.engine.errors import EngineError, TransientError
from service.engine.records import (
    Batch,
    DeadLetter,
    NewRecord,
    Overview,
    Position,
    ResultFilter,
    ResultSlice,
    StreamEntry,
    StreamPartition,
)

T = TypeVar("T")


class SqliteView:
    """A `LogView` over the file in a directory. Reads are short, so they block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file; see `LogView`."""
        try:
            self._db = open_view(self._directory)
        except sqlite3.Error as error:
            raise EngineError(f"the log in {self._directory} cannot be read: {error}") from error

    async def close(self) -> None:
        """Let go."""
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""
        return self._read(storage.streams)

    async def overview(self, partition: StreamPartition) -> Overview:
        """Tell how a partition stands; see `LogView`."""
        return self._read(lambda db: storage.overview(db, partition))

    async def read_records(self, partition: StreamPartition, offset: int, limit: int) -> Batch:
        """Read records; see `LogView`."""

        def read(db: sqlite3.Connection) -> Batch:
            number = storage.row_of(db, partition).id
            records = storage.read_records(db, number, offset, limit)
            return Batch(partition, records, records[-1].offset + 1 if records else offset)

        return self._read(read)

    async def read_results(
        self, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
    ) -> ResultSlice:
        """Read committed results; see `LogView`."""
        return self._read(lambda db: storage.read_results(db, partition, offset, limit, where))

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read committed dead letters; see `LogView`."""
        return self._read(lambda db: storage.read_dead_letters(db, partition, offset, limit))

    async def requeue(
        self, partition: StreamPartition, letters: Sequence[DeadLetter]
    ) -> list[Position]:
        """Append dead letters to the input once more; see `LogView`. Takes the log for itself."""
        records = [NewRecord(each.value, each.key, each.timestamp_ms) for each in letters]
        await self.close()  # a writer makes files that this connection would overlook
        log = SqliteLog(self._directory)
        await log.open()
        try:
            number = partition.partition
            return await log.append(partition.stream, [(number, record) for record in records])
        finally:
            await log.close()
            await self.open()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read all of it from one moment's state."""
        if self._db is None:
            raise TransientError("the log is closed")
        try:
            self._db.execute("BEGIN")
            try:
                return work(self._db)
            finally:
                self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise TransientError(f"the log could not be read: {error}") from error
        except sqlite3.Error as error:
            raise EngineError(f"the log's file is damaged: {error}") from error
