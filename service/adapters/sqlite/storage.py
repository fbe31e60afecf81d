"""The protocol's steps as SQL. Each function runs inside a transaction that `writer` opened.

Each checks first and writes afterwards, so that a refusal has changed nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from service.adapters.sqlite.segments import DEAD_LETTERS, RECORDS, RESULTS, SMALL
from service.engine.config import StreamConfig
from service.engine.control import decode_config, encode_config
from service.engine.errors import Fenced, StreamExists, UnknownStream
from service.engine.ports import Change, Failpoints
from service.engine.records import (
    Assignment,
    DeadLetter,
    NewRecord,
    Overview,
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
from service.engine.transactions import check_transaction

Connection = sqlite3.Connection
Appended = dict[int, list[Record]]


class Row(NamedTuple):
    """One partition's line in the books."""

    id: int
    epoch: int
    committed: int
    begin: int
    end: int


# -- the fence ----------------------------------------------------------------------------


def take_ownership(db: Connection) -> int:
    """Become the file's owner and return the epoch; every former owner is fenced."""
    db.execute("INSERT INTO owner VALUES (1, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1")
    (epoch,) = db.execute("SELECT epoch FROM owner").fetchone()
    return int(epoch)


def check_ownership(db: Connection, epoch: int) -> None:
    """Refuse to write for a former owner.

    Raises:
        Fenced: another process took the file over.
    """
    (newest,) = db.execute("SELECT epoch FROM owner").fetchone()
    if newest != epoch:
        raise Fenced(f"another process took this log over (epoch {epoch} gave way to {newest})")


# -- the catalogue ------------------------------------------------------------------------


def streams(db: Connection) -> list[StreamEntry]:
    """Return the catalogue, ordered by name."""
    rows = db.execute("SELECT id, config, birth FROM streams ORDER BY name").fetchall()
    return [StreamEntry(decode_config(c), decode_config(b), number) for number, c, b in rows]


def entry_of(db: Connection, stream: str) -> StreamEntry:
    """Return one stream's entry.

    Raises:
        UnknownStream: there is none of this name.
    """
    row = db.execute("SELECT id, config, birth FROM streams WHERE name = ?", (stream,)).fetchone()
    if row is None:
        raise UnknownStream(stream)
    return StreamEntry(decode_config(row[1]), decode_config(row[2]), row[0])


def create_stream(db: Connection, config: StreamConfig) -> StreamEntry:
    """Add a stream and its partitions."""
    try:
        existing = entry_of(db, config.name).config
    except UnknownStream:
        data = encode_config(config)
        cursor = db.execute(
            "INSERT INTO streams (name, config, birth) VALUES (?, ?, ?)", (config.name, data, data)
        )
        number = int(cursor.lastrowid or 0)
        rows = [(number, partition) for partition in range(config.partitions)]
        db.executemany("INSERT INTO partitions (stream_id, number) VALUES (?, ?)", rows)
        return StreamEntry(config, config, number)
    raise StreamExists(config.name, existing.changed(config))


def update_stream(db: Connection, stream: str, change: Change) -> tuple[StreamEntry, Appended]:
    """Change a configuration and append the control record to every partition."""
    entry = entry_of(db, stream)
    config = change(entry.config)
    if config is None:
        return entry, {}
    control = encode_config(config)
    db.execute("UPDATE streams SET config = ? WHERE id = ?", (control, entry.incarnation))
    appended = {}
    for number in range(config.partitions):
        row = row_of(db, StreamPartition(config.name, number))
        last = read_records(db, row.id, row.end - 1, 1) if row.end > row.begin else []
        time_ms = last[0].timestamp_ms if last else 0
        appended[number] = [Record(row.end, time_ms, None, control, True)]
        _put_input(db, row, appended[number])
    return StreamEntry(config, entry.birth, entry.incarnation), appended


def delete_stream(db: Connection, stream: str) -> StreamEntry:
    """Remove a stream and everything of it."""
    entry = entry_of(db, stream)
    for number in range(entry.config.partitions):
        row = row_of(db, StreamPartition(stream, number))
        for table in ("input", "results", "dead_letters", "pointers"):
            db.execute(f"DELETE FROM {table} WHERE partition_id = ?", (row.id,))  # noqa: S608  (our own names)
    db.execute("DELETE FROM partitions WHERE stream_id = ?", (entry.incarnation,))
    db.execute("DELETE FROM streams WHERE id = ?", (entry.incarnation,))
    return entry


# -- input --------------------------------------------------------------------------------


def append(
    db: Connection, stream: str, records: Sequence[tuple[int, NewRecord]]
) -> tuple[list[Position], Appended]:
    """Give records their offsets and keep them."""
    numbers = dict.fromkeys(number for number, _ in records)
    rows = {number: row_of(db, StreamPartition(stream, number)) for number in numbers}
    following = {number: count(row.end) for number, row in rows.items()}
    appended: Appended = {number: [] for number in numbers}
    positions = []
    for number, new in records:
        offset = next(following[number])
        appended[number].append(Record(offset, new.timestamp_ms or 0, new.key, new.value))
        positions.append(Position(number, offset))
    for number, part in appended.items():
        _put_input(db, rows[number], part)
    return positions, appended


def read_records(db: Connection, partition_id: int, offset: int, limit: int) -> list[Record]:
    """Read up to `limit` records from `offset` on."""
    rows = db.execute(
        "SELECT first, next, body FROM input WHERE partition_id = ? AND first >= "
        "coalesce((SELECT max(first) FROM input WHERE partition_id = ? AND first <= ?), 0) "
        "AND first < ? ORDER BY first",
        (partition_id, partition_id, offset, offset + limit),
    )
    found: list[Record] = []
    for first, following, body in rows:
        records = RECORDS.decode(body, following - first)
        found.extend(records[max(offset - first, 0) :])
        if len(found) >= limit:
            break
    return found[:limit]


def _put_input(db: Connection, row: Row, records: Sequence[Record]) -> None:
    body, end = RECORDS.encode(records), row.end + len(records)
    grown = db.execute(
        "UPDATE input SET next = ?, body = CAST(body || ? AS BLOB) WHERE partition_id = ? "
        "AND first = (SELECT max(first) FROM input WHERE partition_id = ?) "
        "AND next = ? AND length(body) < ?",
        (end, body, row.id, row.id, row.end, SMALL),
    )
    if grown.rowcount == 0:
        db.execute("INSERT INTO input VALUES (?, ?, ?, ?)", (row.id, row.end, end, body))
    db.execute("UPDATE partitions SET input_end = ? WHERE id = ?", (end, row.id))


# -- ownership of a partition, and its transactions ---------------------------------------


def row_of(db: Connection, partition: StreamPartition) -> Row:
    """Return a partition's line.

    Raises:
        UnknownStream: there is none.
    """
    row = db.execute(
        "SELECT p.id, p.epoch, p.committed, p.input_begin, p.input_end FROM partitions p "
        "JOIN streams s ON s.id = p.stream_id WHERE s.name = ? AND p.number = ?",
        partition,
    ).fetchone()
    if row is None:
        raise UnknownStream(partition.stream)
    return Row(*row)


def assign(db: Connection, partition: StreamPartition) -> Assignment:
    """Fence the partition's former owner, and read where it stopped."""
    row = row_of(db, partition)
    db.execute("UPDATE partitions SET epoch = epoch + 1 WHERE id = ?", (row.id,))
    (results_end,) = db.execute(
        "SELECT max(next) FROM results WHERE partition_id = ?", (row.id,)
    ).fetchone()
    return Assignment(
        partition,
        entry_of(db, partition.stream),
        row.epoch + 1,
        row.committed,
        row.begin,
        row.end,
        results_end,
        _pointers(db, row.id),
    )


def overview(db: Connection, partition: StreamPartition) -> Overview:
    """Read where a partition stands, and leave it alone."""
    row = row_of(db, partition)
    entry = entry_of(db, partition.stream)
    pointers = _pointers(db, row.id)
    return Overview(partition, entry, row.committed, row.begin, row.end, pointers)


def _pointers(db: Connection, partition_id: int) -> tuple[Pointer, ...]:
    """Return the kept pointers, newest first."""
    rows = db.execute(
        "SELECT position, manifest, sha256 FROM pointers WHERE partition_id = ? "
        "ORDER BY position DESC",
        (partition_id,),
    )
    return tuple(Pointer(*row) for row in rows)


def commit(db: Connection, transaction: Transaction, failpoint: Failpoints) -> None:
    """Write a transaction, in the steps of the protocol."""
    row = row_of(db, transaction.partition)
    # 1. Nothing is written for a former owner, or over what is settled already.
    check_transaction(transaction, row.epoch, row.committed)
    # 2. One result for each offset.
    if transaction.results:
        _put_results(db, row.id, transaction)
    failpoint("sqlite.results")
    # 3. What could not be scored, with the reason.
    if transaction.dead_letters:
        _put_dead_letters(db, row.id, transaction)
    failpoint("sqlite.dead_letters")
    # 4. The next offset to settle.
    db.execute("UPDATE partitions SET committed = ? WHERE id = ?", (transaction.end, row.id))
    failpoint("sqlite.offset")
    # 5. A finished snapshot's pointer; the oldest gives way.
    if transaction.pointer is not None:
        _put_pointer(db, row.id, transaction.pointer, transaction.keep_pointers)
        failpoint("sqlite.pointer")
    # 6. What nobody needs any more goes.
    _trim(db, row, transaction)


def _put_results(db: Connection, partition_id: int, transaction: Transaction) -> None:
    start, end, results = transaction.start, transaction.end, transaction.results
    body = RESULTS.encode(results)
    telling = sum(result.anomaly or result.incident for result in results)
    times = [result.timestamp_ms for result in results]
    earliest, latest = min(times), max(times)
    grown = db.execute(
        "UPDATE results SET next = ?, anomalies = anomalies + ?, "
        "earliest_ms = min(earliest_ms, ?), latest_ms = max(latest_ms, ?), "
        "body = CAST(body || ? AS BLOB) WHERE partition_id = ? "
        "AND first = (SELECT max(first) FROM results WHERE partition_id = ?) "
        "AND next = ? AND length(body) < ?",
        (end, telling, earliest, latest, body, partition_id, partition_id, start, SMALL),
    )
    if grown.rowcount == 0:
        row = (partition_id, start, end, telling, earliest, latest, body)
        db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _put_dead_letters(db: Connection, partition_id: int, transaction: Transaction) -> None:
    letters = transaction.dead_letters
    body = DEAD_LETTERS.encode(letters)
    row = (partition_id, transaction.start, transaction.end, len(letters), body)
    db.execute("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?)", row)


def _put_pointer(db: Connection, partition_id: int, pointer: Pointer, keep: int) -> None:
    row = (partition_id, pointer.offset, pointer.manifest, pointer.sha256)
    db.execute("INSERT OR REPLACE INTO pointers VALUES (?, ?, ?, ?)", row)
    db.execute(
        "DELETE FROM pointers WHERE partition_id = ? AND position NOT IN "
        "(SELECT position FROM pointers WHERE partition_id = ? ORDER BY position DESC LIMIT ?)",
        (partition_id, partition_id, keep),
    )


def _trim(db: Connection, row: Row, transaction: Transaction) -> None:
    """Delete whole segments below the trim offsets."""
    if transaction.trim_input_to <= row.begin:
        return
    where = "WHERE partition_id = ? AND next <= ?"
    db.execute(f"DELETE FROM input {where}", (row.id, transaction.trim_input_to))  # noqa: S608  (as above)
    below = (row.id, transaction.trim_results_to)
    db.execute(f"DELETE FROM results {where}", below)  # noqa: S608  (as above)
    db.execute(f"DELETE FROM dead_letters {where}", below)  # noqa: S608  (as above)
    db.execute(
        "UPDATE partitions SET input_begin = "
        "coalesce((SELECT min(first) FROM input WHERE partition_id = ?), input_end) WHERE id = ?",
        (row.id, row.id),
    )


# -- reading ------------------------------------------------------------------------------


def read_results(
    db: Connection, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
) -> ResultSlice:
    """Read committed results that a filter accepts; segments without any are not opened."""
    row = row_of(db, partition)
    segments = db.execute(
        "SELECT first, next, body FROM results WHERE partition_id = ? AND first >= "
        "coalesce((SELECT max(first) FROM results WHERE partition_id = ? AND first <= ?), 0) "
        "AND anomalies >= ? AND latest_ms >= ? AND earliest_ms < ? ORDER BY first",
        (
            *(row.id, row.id, offset, int(where.sparse)),
            -(2**63) if where.from_ms is None else where.from_ms,
            2**63 - 1 if where.to_ms is None else where.to_ms,
        ),
    )
    found: list[Result] = []
    for first, following, body in segments:
        for result in RESULTS.decode(body, following - first):
            if result.offset >= offset and where.accepts(result):
                found.append(result)
                if len(found) == limit:
                    return ResultSlice(found, result.offset + 1)
    return ResultSlice(found, max(offset, row.committed))


def read_dead_letters(
    db: Connection, partition: StreamPartition, offset: int, limit: int
) -> list[DeadLetter]:
    """Read committed dead letters."""
    row = row_of(db, partition)
    segments = db.execute(
        "SELECT count, body FROM dead_letters WHERE partition_id = ? AND next > ? ORDER BY first",
        (row.id, offset),
    )
    found: list[DeadLetter] = []
    for length, body in segments:
        found.extend(dead for dead in DEAD_LETTERS.decode(body, length) if dead.offset >= offset)
        if len(found) >= limit:
            break
    return found[:limit]
