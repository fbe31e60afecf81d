"""The measure of the Numenta Anomaly Benchmark, version 1.1, over scores and over alerts.

The first rows of a series, 15 % and at most 750, are probation and count nothing. The earliest
detection inside a labelled window earns up to 1, less the later it comes; a window without one
costs the profile's `miss`; each detection outside costs `false_alarm`, less shortly behind a
window. One threshold serves all series. 100 is perfect, 0 is what silence gets.

Source: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Rows = NDArray[np.int64]
Window = tuple[int, int]
"""First and last row of a labelled window."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a miss and a false alarm cost, where a timely detection earns 1."""

    false_alarm: float
    miss: float


PROFILES = {
    "standard": Profile(false_alarm=0.11, miss=1.0),
    "reward_low_FP_rate": Profile(false_alarm=0.22, miss=1.0),
    "reward_low_FN_rate": Profile(false_alarm=0.11, miss=2.0),
}


@dataclass(frozen=True, slots=True)
class Windows:
    """A labelled series: how many rows, and its windows in order, which do not overlap."""

    rows: int
    windows: Sequence[Window]

    @property
    def probation(self) -> int:
        """Rows at the beginning that are not scored."""
        return min(int(0.15 * self.rows), 750)


@dataclass(frozen=True, slots=True)
class NabScore:
    """The normalised score of one profile.

    Attributes:
        score: 100 is perfect, 0 is what silence gets.
        threshold: the score from which a row is a detection; None for alerts.
        windows, found: labelled windows, and those with a detection.
        false_rows: detections outside of windows.
    """

    score: float
    threshold: float | None
    windows: int
    found: int
    false_rows: int


def rows_of_windows(times_ms: NDArray[np.int64], windows: Sequence[Window]) -> list[Window]:
    """Return windows of times, both ends inclusive and times of rows, as rows.

    Where a time repeats, its first row counts; for a beginning, the first behind the last window.

    Raises:
        ValueError: an end is no row's time.
    """
    found: list[Window] = []
    behind = 0
    for begin, end in windows:
        first = np.flatnonzero(times_ms[behind:] == begin)
        last = np.flatnonzero(times_ms == end)
        if not len(first) or not len(last):
            raise ValueError(f"no row has the time {end if len(first) else begin}")
        found.append((behind + int(first[0]), int(last[0])))
        behind = int(last[0]) + 1
    return found


def values_of_rows(labelled: Windows) -> tuple[Scores, Rows]:
    """Return what a detection at each row is worth, unweighted, and its window; -1 for none.

    Returns:
        float64 (rows,) in [-1, 1] and int64 (rows,).
    """
    value = np.full(labelled.rows, -1.0)
    window = np.full(labelled.rows, -1, dtype=np.int64)
    begins = [*(first for first, _ in labelled.windows), labelled.rows]
    for number, (first, last) in enumerate(labelled.windows):
        width = last - first + 1
        inside = np.arange(first, last + 1)
        value[inside] = _sigmoid((inside - last - 1) / width) / _sigmoid(np.array(-1.0))
        window[inside] = number
        if width > 1:
            behind = np.arange(last + 1, begins[number + 1])
            value[behind] = _sigmoid((behind - last) / (width - 1))
    return value, window


def nab_scores(
    series: Sequence[Windows],
    scores: Sequence[Scores],
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, NabScore]:
    """Score rows whose score reaches a threshold, by profile.

    Args:
        series: the labelled series.
        scores: of each, (rows,), finite.
        thresholds: of each profile, fixed beforehand; None takes the best, the habit of the
            benchmark.

    Raises:
        ValueError: there are not as many finite scores as rows.
    """
    pooled, worth, windows = _pooled(series, scores)
    order = np.argsort(-pooled, kind="stable")
    ordered = pooled[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    levels = np.append(np.inf, ordered[ends])
    found: dict[str, NabScore] = {}
    for name, profile in PROFILES.items():
        change = _changes(worth[order], windows[order], profile)
        totals = np.append(0.0, np.cumsum(change)[ends])
        if thresholds is None:
            place = int(np.argmax(totals))
        else:
            place = int(np.flatnonzero(levels >= thresholds[name])[-1])
        hit = pooled >= levels[place]
        found[name] = _normalised(
            totals[place],
            profile,
            series,
            threshold=float(levels[place] if thresholds is None else thresholds[name]),
            found=len(np.unique(windows[hit & (windows >= 0)])),
            false_rows=int(np.sum(hit & (windows < 0))),
        )
    return found


def nab_of_alerts(series: Sequence[Windows], alerts: Sequence[Rows]) -> dict[str, NabScore]:
    """Score alerts, rows of each series in which one was raised, as they are.

    Args:
        series: the labelled series.
        alerts: of each, increasing row numbers.
    """
    return _of_alerts(series, [values_of_rows(labelled) for labelled in series], alerts)


def best_nab_of_alerts(
    series: Sequence[Windows], scores: Sequence[Scores], cooldown: int = 40, steps: int = 80
) -> dict[str, NabScore]:
    """Score what `spaced` makes of the scores, at the best threshold of each profile.

    Args:
        series: the labelled series.
        scores: of each, (rows,), finite.
        cooldown: rows of silence after a row that reached the threshold.
        steps: thresholds tried: quantiles of the scores behind probation, between the highest
            0.012 % and 2 %.
    """
    counted = [each[labelled.probation :] for labelled, each in zip(series, scores, strict=True)]
    shares = 1 - np.geomspace(0.00012, 0.02, steps)
    levels = np.unique(np.quantile(np.concatenate(counted), shares))
    worth = [values_of_rows(labelled) for labelled in series]
    best: dict[str, NabScore] = {}
    for level in levels.tolist():
        alerts = [spaced(each, level, cooldown) for each in scores]
        for name, scored in _of_alerts(series, worth, alerts).items():
            if name not in best or scored.score > best[name].score:
                best[name] = replace(scored, threshold=level)
    return best


def spaced(scores: Scores, threshold: float, cooldown: int) -> Rows:
    """Return the rows that reach a threshold after more than `cooldown` rows that did not."""
    hit = np.flatnonzero(scores >= threshold)
    return hit[np.diff(hit, prepend=-cooldown - 1) > cooldown]


def _of_alerts(
    series: Sequence[Windows], worth: Sequence[tuple[Scores, Rows]], alerts: Sequence[Rows]
) -> dict[str, NabScore]:
    """Score alerts, given what rows are worth."""
    earned = charged = 0.0
    found = false_rows = 0
    for labelled, (value, window), raised in zip(series, worth, alerts, strict=True):
        rows = raised[raised >= labelled.probation]
        inside = rows[window[rows] >= 0]
        outside = rows[window[rows] < 0]
        _, earliest = np.unique(window[inside], return_index=True)
        earned += float(value[inside[earliest]].sum())
        charged += float(value[outside].sum())
        found += len(earliest)
        false_rows += len(outside)
    return {
        name: _normalised(
            earned + profile.miss * found + profile.false_alarm * charged,
            profile,
            series,
            threshold=None,
            found=found,
            false_rows=false_rows,
        )
        for name, profile in PROFILES.items()
    }


def _sigmoid(place: Scores) -> Scores:
    """The benchmark's reward by relative place: 1 long before, 0 at the end, -1 far behind."""
    reward = 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, 3.0))) - 1.0
    return np.where(place > 3.0, -1.0, reward)


def _pooled(series: Sequence[Windows], scores: Sequence[Scores]) -> tuple[Scores, Scores, Rows]:
    """Return scores, worth and window of all rows behind probation; windows numbered throughout."""
    parts: tuple[list[Scores], list[Scores], list[Rows]] = [], [], []
    earlier = 0
    for labelled, found in zip(series, scores, strict=True):
        if found.shape != (labelled.rows,) or not np.isfinite(found).all():
            raise ValueError(f"{labelled.rows} rows need as many finite scores")
        value, window = values_of_rows(labelled)
        counted = slice(labelled.probation, None)
        parts[0].append(found[counted])
        parts[1].append(value[counted])
        parts[2].append(np.where(window >= 0, window + earlier, -1)[counted])
        earlier += len(labelled.windows)
    return np.concatenate(parts[0]), np.concatenate(parts[1]), np.concatenate(parts[2])


def _changes(worth: Scores, windows: Rows, profile: Profile) -> Scores:
    """What each row, in the order of falling scores, adds to the total of silence."""
    change = np.where(windows < 0, worth * profile.false_alarm, 0.0)
    by_window = np.argsort(windows, kind="stable")
    by_window = by_window[windows[by_window] >= 0]
    _, begins = np.unique(windows[by_window], return_index=True)
    for rows in np.split(by_window, begins[1:]) if len(by_window) else []:
        best = np.maximum.accumulate(worth[rows])  # the earliest row is worth most
        change[rows] = np.diff(best, prepend=-profile.miss)
    return change


def _normalised(
    gained: float,
    profile: Profile,
    series: Sequence[Windows],
    *,
    threshold: float | None,
    found: int,
    false_rows: int,
) -> NabScore:
    windows = sum(len(labelled.windows) for labelled in series)
    # A window that probation swallows whole can be neither found nor missed.
    missable = sum(
        last >= labelled.probation for labelled in series for _, last in labelled.windows
    )
    perfect = windows + profile.miss * missable
    score = 100.0 * gained / perfect if perfect else 0.0
    return NabScore(score, threshold, windows, found, false_rows)
