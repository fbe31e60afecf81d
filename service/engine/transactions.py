"""What a log checks before it writes a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

from service.engine.errors import Fenced, InvariantError
from service.engine.records import Record, Result, Transaction, size_of

NO_GAPS: Mapping[int, int] = {}


def check_transaction(
    transaction: Transaction, epoch: int, committed: int, gaps: Mapping[int, int] = NO_GAPS
) -> None:
    """Refuse a transaction of a former owner, or one that would break a promise.

    Args:
        transaction: what its owner wants to write.
        epoch: the partition's newest epoch.
        committed: the partition's committed offset.
        gaps: offsets that are known to hold no record: the first one -> the next that does.

    Raises:
        Fenced: another owner took the partition over.
        InvariantError: it leaves offsets out or settles some twice, or its pointer is ahead.
    """
    if transaction.epoch != epoch:
        raise Fenced(
            f"{transaction.partition}: epoch {transaction.epoch} gave way to epoch {epoch}"
        )
    reason = _broken_promise(transaction, committed, gaps)
    if reason is not None:
        raise InvariantError(*transaction.partition, transaction.start, reason)


def within(records: Sequence[Record], max_bytes: int) -> Sequence[Record]:
    """Return the longest beginning of at most `max_bytes`, and at least one record."""
    if size_of(records) <= max_bytes:
        return records
    size = 0
    for index, record in enumerate(records):
        size += len(record.value)
        if size > max_bytes and index:
            return records[:index]
    return records


def _broken_promise(
    transaction: Transaction, committed: int, gaps: Mapping[int, int]
) -> str | None:
    start, end, results = transaction.start, transaction.end, transaction.results
    if start != committed:
        return f"a transaction starts at {start}, but {committed} is committed"
    if end < start:
        return f"a transaction ends at {end}, before its start"
    if not _one_each(results, start, end, gaps):
        return f"results are not one for each offset in [{start}, {end}), in order"
    pointer = transaction.pointer
    if pointer is not None and pointer.offset > start:
        return f"a snapshot pointer at {pointer.offset} is ahead of {start}"
    return None


def _one_each(results: Sequence[Result], start: int, end: int, gaps: Mapping[int, int]) -> bool:
    offsets = list(map(attrgetter("offset"), results))
    if offsets == list(range(start, end)):
        return True
    expected = start
    for offset in offsets:
        if offset != gaps.get(expected, expected):
            return False
        expected = offset + 1
    return expected == end or (expected < end <= gaps.get(expected, expected))
