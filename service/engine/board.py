"""What incidents there are and were lately, over all partitions of a stream.

A partition tells of its incidents exactly once, in its committed results; they are read from there,
whichever process runs the partition. Incidents of different partitions that overlap in time are put
into one group here, at the reader's side: no partition knows of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from service.engine.incidents import IncidentEvent
from service.engine.outcome import incident_events
from service.engine.reading import ResultReader
from service.engine.records import ResultFilter
from service.engine.times import parse_time

LOOKBACK = 100_000
"""Offsets of each partition that are looked through for incidents the first time."""
MOST_KEPT = 1000
"""Closed incidents that are remembered for a stream, the newest."""

_decode = msgspec.json.Decoder(IncidentEvent).decode
_TOLD = ResultFilter(incidents=True)
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """An incident as it was told of last.

    Attributes:
        group: the earliest incident of those, in any partition, that overlap in time.
    """

    event: IncidentEvent
    group: str


class IncidentBoard:
    """The incidents of one stream, brought up to date when somebody asks."""

    def __init__(self, reader: ResultReader) -> None:
        self._reader = reader
        self._places: list[int] | None = None
        self._known: dict[str, IncidentEvent] = {}
        self._reading = asyncio.Lock()

    async def standings(self, window_s: float) -> list[Standing]:
        """Return the incidents known, the last to begin first.

        Args:
            window_s: incidents no farther apart belong to one group.
        """
        async with self._reading:
            await self._catch_up()
        events = sorted(self._known.values(), key=lambda each: each.started, reverse=True)
        groups = grouped(events, window_s)
        return [Standing(event, groups[event.incident]) for event in events]

    async def _catch_up(self) -> None:
        ends = self._reader.ends()
        if self._places is None:
            self._places = [max(end - LOOKBACK, 0) for end in ends]
        for number, end in enumerate(ends):
            while self._places[number] < end:
                part = await self._reader.read(number, self._places[number], _AT_ONCE, _TOLD)
                for result in part.results:
                    for event in map(_decode, incident_events(result.value)):
                        self._known[event.incident] = event
                self._places[number] = max(part.next_offset, self._places[number] + 1)
        closed = [name for name, event in self._known.items() if event.event == "close"]
        for name in closed[:-MOST_KEPT]:
            del self._known[name]


def grouped(events: Sequence[IncidentEvent], window_s: float) -> dict[str, str]:
    """Return each incident's group: the name of the earliest incident that it hangs together with.

    Incidents hang together whose times overlap, or lie no farther apart than the window. Those of
    one partition do so only through another partition's: their own partition told them apart.
    """
    spans = sorted(
        (parse_time(each.started), parse_time(each.last), each.incident, each.partition)
        for each in events
    )
    group: dict[str, str] = {}
    end_ms, leader, partitions = 0, "", set[int]()
    for started_ms, last_ms, name, partition in spans:
        apart = not group or started_ms > end_ms + window_s * 1000
        if apart or partitions == {partition}:
            leader, end_ms, partitions = name, last_ms, set()
        partitions.add(partition)
        end_ms = max(end_ms, last_ms)
        group[name] = leader
    return group
