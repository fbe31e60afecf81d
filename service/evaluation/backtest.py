"""What one setting made of labelled series, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from service.evaluation.alerts import AlertReport, report, tally
from service.evaluation.nab import Windows, nab_of_alerts
from service.evaluation.ranking import average_precision, best_f1, roc_auc, segments
from service.evaluation.vus import vus_pr

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """One series as it was judged, row by row.

    Attributes:
        times_ms: int64 (n,), milliseconds since 1970.
        score, threshold, grade: float64 (n,), NaN where there is none.
        anomaly: bool (n,), what is told of.
        alert: bool (n,), where somebody is alerted: an incident opens, or begins again.
    """

    times_ms: NDArray[np.int64]
    score: Floats
    threshold: Floats
    grade: Floats
    anomaly: NDArray[np.bool_]
    alert: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one setting. None where nothing tells: no labels, no times, no alerts.

    Attributes:
        rows, scored: all, and those with a score.
        anomalies: rows told of.
        alerts: as they are measured: alerts, precision, recall, F1, delay, alerts a day.
        nab: the benchmark's score of the alerts, by profile.
        roc_auc, average_precision, best_f1, vus_pr: of the scores alone, means over the series
            that have labelled rows.
    """

    rows: int
    scored: int
    anomalies: int
    alerts: AlertReport
    nab: dict[str, float] | None
    roc_auc: float | None
    average_precision: float | None
    best_f1: float | None
    vus_pr: float | None


def measures(
    series: Sequence[Judged],
    labels: Sequence[NDArray[np.int8]] | None,
    *,
    late: int = 0,
    timed: bool = True,
    vus_step: int = 1,
) -> Measures:
    """Measure series under one setting.

    Args:
        series: as judged.
        labels: of each, int8 (n,): 1 anomalous, 0 normal, -1 not to be measured; None for none.
        late: rows behind an event in which an alert still tells of it.
        timed: whether the times mean anything.
        vus_step: see `vus_pr`.
    """
    counted = [np.zeros(len(each.score), np.int8) for each in series] if labels is None else labels
    tallies, windows, raised = [], [], []
    for each, marks in zip(series, counted, strict=True):
        kept = marks >= 0
        rows = np.flatnonzero(each.alert[kept])
        times_ms = each.times_ms[kept] if timed else None
        tallies.append(tally(marks[kept] > 0, rows.tolist(), times_ms, late=late))
        windows.append(Windows(int(kept.sum()), segments(marks[kept] > 0)))
        raised.append(rows)
    has_events = any(each.windows for each in windows)
    scored = [
        ~np.isnan(each.score) & (marks >= 0) for each, marks in zip(series, counted, strict=True)
    ]
    pairs = [
        (marks[kept] > 0, each.score[kept])
        for each, marks, kept in zip(series, counted, scored, strict=True)
        if (marks[kept] > 0).any()
    ]
    return Measures(
        rows=sum(len(each.score) for each in series),
        scored=sum(int((~np.isnan(each.score)).sum()) for each in series),
        anomalies=sum(int(each.anomaly.sum()) for each in series),
        alerts=report(tallies),
        nab={name: each.score for name, each in nab_of_alerts(windows, raised).items()}
        if has_events
        else None,
        roc_auc=_mean([roc_auc(*pair) for pair in pairs]),
        average_precision=_mean([average_precision(*pair) for pair in pairs]),
        best_f1=_mean([best_f1(*pair) for pair in pairs]),
        vus_pr=_mean([vus_pr(*pair, step=vus_step) for pair in pairs]),
    )


def flat(found: Measures) -> dict[str, float | int | None]:
    """Return the figures by name, without a level between."""
    plain: dict[str, float | int | None] = asdict(found)
    del plain["alerts"], plain["nab"]
    alerts: dict[str, float | int | None] = asdict(found.alerts)
    nab = found.nab or {}
    return alerts | {f"nab_{name}": score for name, score in nab.items()} | plain


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def labels_of_windows(
    times_ms: NDArray[np.int64], windows: Sequence[tuple[int, int]]
) -> NDArray[np.int8]:
    """Return int8 (n,): 1 where a time lies in one of the windows, both ends included."""
    labels = np.zeros(len(times_ms), dtype=np.int8)
    for first_ms, last_ms in windows:
        labels[(times_ms >= first_ms) & (times_ms <= last_ms)] = 1
    return labels
