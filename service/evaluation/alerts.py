"""What alerts are worth to who gets them.

An alert is a row in which one was raised. An event is a labelled run of rows. An alert is right
when it falls into an event, or at most `late` rows behind it; an event is found by its first right
alert. So precision counts alerts and recall counts events: ten alerts in one event are ten that
somebody reads, and one event that somebody learns of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.evaluation.ranking import Labels, segments

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class AlertReport:
    """What alerts came to.

    Attributes:
        alerts, right: raised, and those that told of an event.
        events, found: labelled, and those that an alert told of.
        precision: right / alerts; None without alerts, or events.
        recall: found / events; None without events.
        f1: their harmonic mean; 0 when either is 0, None when either is None.
        delay_rows: mean rows from an event's first to its first right alert; None when none is.
        delay_s: the same in seconds; None without times.
        alerts_per_day: per series; None without times, or when they span nothing.
    """

    alerts: int
    right: int
    events: int
    found: int
    precision: float | None
    recall: float | None
    f1: float | None
    delay_rows: float | None
    delay_s: float | None
    alerts_per_day: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """What the alerts of one series came to, to be added up with others.

    Attributes:
        alerts, right, events: as in `AlertReport`.
        delay_rows, delay_ms: of each event found, to its first right alert; no times, no ms.
        days: that the series' times span; 0 without times.
    """

    alerts: int
    right: int
    events: int
    delay_rows: list[int]
    delay_ms: list[int]
    days: float


def tally(
    labels: Labels,
    alerts: Sequence[int],
    times_ms: NDArray[np.int64] | None = None,
    *,
    late: int = 0,
) -> Tally:
    """Compare the alerts of a series with its labels.

    Args:
        labels: (n,), True where anomalous.
        alerts: increasing row numbers.
        times_ms: (n,), milliseconds since 1970; None when rows have no time.
        late: rows behind an event in which an alert still tells of it, as long as the next event
            has not begun.
    """
    raised = np.asarray(alerts, dtype=np.int64)
    right = np.zeros(len(raised), dtype=bool)
    rows: list[int] = []
    waits_ms: list[int] = []
    spans = segments(labels)
    begins = [*(first for first, _ in spans), len(labels)]
    for number, (first, last) in enumerate(spans):
        told = (raised >= first) & (raised <= min(last + late, begins[number + 1] - 1))
        right |= told
        if told.any():
            row = int(raised[told][0])
            rows.append(row - first)
            if times_ms is not None:
                waits_ms.append(int(times_ms[row] - times_ms[first]))
    return Tally(len(raised), int(right.sum()), len(spans), rows, waits_ms, days(times_ms))


def report(tallies: Sequence[Tally]) -> AlertReport:
    """Add series up: counts are sums, delays are means over all events found."""
    alerts = sum(each.alerts for each in tallies)
    right = sum(each.right for each in tallies)
    events = sum(each.events for each in tallies)
    rows = [delay for each in tallies for delay in each.delay_rows]
    waits_ms = [delay for each in tallies for delay in each.delay_ms]
    spanned = sum(each.days for each in tallies)
    precision = right / alerts if alerts and events else None
    recall = len(rows) / events if events else None
    f1 = None
    if precision is not None and recall is not None:
        f1 = 2 * precision * recall / (precision + recall) if precision and recall else 0.0
    return AlertReport(
        alerts,
        right,
        events,
        len(rows),
        precision,
        recall,
        f1,
        delay_rows=float(np.mean(rows)) if rows else None,
        delay_s=float(np.mean(waits_ms)) / 1000 if waits_ms else None,
        alerts_per_day=alerts / spanned if spanned else None,
    )


def days(times_ms: NDArray[np.int64] | None) -> float:
    """Days that times span; 0 without any."""
    return 0.0 if times_ms is None or not len(times_ms) else float(np.ptp(times_ms)) / DAY_MS
