"""Looks at the newest results of a stream once more."""

from __future__ import annotations

from service.engine.feedback import judged_ratio
from service.engine.reading import ResultReader
from service.engine.records import EVERYTHING, ResultFilter
from service.engine.rehearsal import PastRecord, merged, past_records

LOOKED_THROUGH = 20_000
"""Offsets of a partition in which is counted what would have fired."""

AT_ONCE = 2000
"""Results read at once."""


async def newest_ratios(reader: ResultReader, partition: int, key: str) -> list[float | None]:
    """Return score by threshold of a series' newest records."""
    end = reader.ends()[partition]
    place, where = max(end - LOOKED_THROUGH, 0), ResultFilter(key)
    found: list[float | None] = []
    while place < end:
        part = await reader.read(partition, place, AT_ONCE, where)
        found += [judged_ratio(result.value).ratio for result in part.results]
        place = max(part.next_offset, place + 1)
    return found


async def newest_records(reader: ResultReader, limit: int) -> list[PastRecord]:
    """Return the newest records that have results, each partition's as they came."""
    partitions: list[list[PastRecord]] = []
    for number, end in enumerate(reader.ends()):
        found: list[PastRecord] = []
        place = max(end - limit, 0)
        while place < end:
            part = await reader.read(number, place, AT_ONCE, EVERYTHING)
            found += past_records(part.results)
            place = max(part.next_offset, place + 1)
        partitions.append(found)
    return merged(partitions)[-limit:]
