"""What a configuration would have made of records: the pipeline that serves, without a log.

Law: nothing is appended, committed or learnt anywhere else. Records are judged in the order given,
from an empty state, as they would be after the stream was made.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter

import msgspec
import numpy as np

from service.engine.config import StreamConfig
from service.engine.detectors import SeriesDetectors
from service.engine.incidents import IncidentEvent
from service.engine.outcome import Reason
from service.engine.pipeline import Pipeline
from service.engine.ports import DecoderFactory, DetectorFactory
from service.engine.records import Batch, Record, Result, StreamPartition
from service.evaluation.backtest import Judged

BATCH = 2000
_encode = msgspec.json.Encoder().encode


class PastRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it once came; `values` in the order of the features, None where missing."""

    key: str
    timestamp_ms: int
    values: Sequence[float | None]


class _Past(msgspec.Struct, gc=False):
    """What of a result is a record to judge again."""

    values: list[float | None] | None


_past = msgspec.json.Decoder(_Past).decode


def past_records(results: Iterable[Result]) -> list[PastRecord]:
    """Return the records behind results; those that could not be read are left out."""
    read = ((result, _past(result.value).values) for result in results)
    return [
        PastRecord(result.key, result.timestamp_ms, values)
        for result, values in read
        if values is not None
    ]


def merged(partitions: Iterable[Sequence[PastRecord]]) -> list[PastRecord]:
    """Return the records of partitions in one order, by the latest time that each has reached.

    Those of one partition stay as they came, for that order decides what is late and by how much a
    counter rose.
    """
    return [record for _, record in heapq.merge(*map(_reached, partitions), key=itemgetter(0))]


def _reached(records: Sequence[PastRecord]) -> Iterator[tuple[int, PastRecord]]:
    """Records with the latest time up to each."""
    latest = accumulate((record.timestamp_ms for record in records), max)
    return zip(latest, records, strict=True)


class _Judgement(msgspec.Struct, gc=False):
    """What of a result is measured."""

    score: float | None
    threshold: float | None
    grade: float | None
    anomaly: bool
    incidents: list[IncidentEvent] = []
    error: Reason | None = None


_judgement = msgspec.json.Decoder(_Judgement).decode
Seen = tuple[Result, _Judgement]


@dataclass(slots=True)
class Rehearsed:
    """What came of records.

    Attributes:
        series: each as it was judged.
        rows: for each series the places of its records among all.
        incidents: every event, in order.
        errors: why records could not be judged, in order.
    """

    series: dict[str, Judged] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)
    incidents: list[IncidentEvent] = field(default_factory=list)
    errors: list[Reason] = field(default_factory=list)


def rehearse(
    config: StreamConfig,
    records: Iterable[PastRecord],
    decoder_for: DecoderFactory,
    detectors: DetectorFactory,
) -> Rehearsed:
    """Judge records under a configuration.

    All of them go through one partition, whichever they came from: incidents group over all.
    """
    partition = StreamPartition(config.name, 0)
    line = Pipeline(partition, config, SeriesDetectors(detectors), decoder_for)
    seen: list[Seen] = []
    waiting: list[Record] = []
    for offset, record in enumerate(records):
        value = _encode({"values": record.values})
        waiting.append(Record(offset, record.timestamp_ms, record.key, value))
        if len(waiting) == BATCH:
            seen += _judged(line, waiting)
            waiting = []
    seen += _judged(line, waiting)
    return _gathered(seen)


def _judged(line: Pipeline, records: list[Record]) -> list[Seen]:
    """Process records, past any halt: nothing of the future is decided by them."""
    seen: list[Seen] = []
    while records:
        line.resume()
        batch = Batch(line.partition, records, records[-1].offset + 1)
        seen += [(result, _judgement(result.value)) for result in line.process(batch).results]
        records = [record for record in records if record.offset >= line.position]
    return seen


def _gathered(seen: list[Seen]) -> Rehearsed:
    found = Rehearsed()
    for place, (result, judgement) in enumerate(seen):
        found.rows.setdefault(result.key, []).append(place)
        found.incidents += judgement.incidents
        if judgement.error is not None:
            found.errors.append(judgement.error)
    for key, rows in found.rows.items():
        found.series[key] = _as_arrays([seen[row] for row in rows])
    return found


def _as_arrays(seen: list[Seen]) -> Judged:
    def numbers(values: list[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([np.nan if value is None else value for value in values])

    told = [judgement for _, judgement in seen]
    return Judged(
        np.array([result.timestamp_ms for result, _ in seen], dtype=np.int64),
        numbers([each.score for each in told]),
        numbers([each.threshold for each in told]),
        numbers([each.grade for each in told]),
        np.array([each.anomaly for each in told], dtype=bool),
        np.array([any(map(_alerts, each.incidents)) for each in told], dtype=bool),
    )


def _alerts(event: IncidentEvent) -> bool:
    """Tell whether somebody hears of something new: an incident, or an anomaly after a calm."""
    return event.event == "open" or event.because == "again"
