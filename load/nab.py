"""The Numenta Anomaly Benchmark's scoring, from its published rules.

    * The first records of a file teach and are not scored (`load.labelled.NAB_START`).
    * The earliest detection inside a window earns up to 1, the earlier the more; a window without
      one costs the profile's price of a miss.
    * A detection outside of windows costs up to the profile's price of a false alarm, less soon
      after a window.
    * Where no thresholds are given, one for all files and each profile: the best.
    * 0 is the score of no detection at all, 100 that of one at the start of each window.

Source: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from load.labelled import Labelled
from rcf.state import F64, I64

COOLDOWN = 40  #: records without an alert before the next one
_CANDIDATES = 80


class Profile(NamedTuple):
    """What a false alarm and a miss cost; a detection earns 1."""

    false_alarm: float
    miss: float


PROFILES = {
    "standard": Profile(0.11, 1.0),
    "low_FP": Profile(0.22, 1.0),
    "low_FN": Profile(0.11, 2.0),
}


class Judged(NamedTuple):
    """A file with what each of its records would earn, and the scores of its records.

    Attributes:
        worth: float64 (n,), of a detection at each record, before prices.
        window: int64 (n,), the window a record is in, or -1.
        start: First record that counts.
        scores: float64 (n,).
    """

    worth: F64
    window: I64
    start: int
    scores: F64


class Tally(NamedTuple):
    """What detections came to, before prices: false alarms, hits, windows hit, windows."""

    false_alarms: float
    hits: float
    found: int
    windows: int


def scaled_sigmoid(place: F64) -> F64:
    """NAB's 2 / (1 + exp(5 y)) - 1; -1 beyond y = 3."""
    value: F64 = 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, 50.0))) - 1.0
    return np.where(place > 3.0, -1.0, value)


_BEST = float(scaled_sigmoid(np.array(-1.0)))


def judged(file: Labelled, scores: F64) -> Judged:
    """What each record of a file would earn."""
    count = len(file.values)
    places = np.arange(count, dtype=float)
    worth, window = np.full(count, -1.0), np.full(count, -1, np.int64)
    ends = [*(first for first, _ in file.spans[1:]), count][: len(file.spans)]
    for number, ((first, last), end) in enumerate(zip(file.spans, ends, strict=True)):
        width = last - first + 1
        inside, after = slice(first, last + 1), slice(last + 1, end)
        worth[inside] = scaled_sigmoid((places[inside] - last - 1) / width) / _BEST
        window[inside] = number
        if width > 1:
            worth[after] = scaled_sigmoid((places[after] - last) / (width - 1.0))
    return Judged(worth, window, file.start, scores)


def spaced(detections: NDArray[np.int64], cooldown: int) -> NDArray[np.int64]:
    """Detections that come after more than `cooldown` records without one."""
    if not len(detections):
        return detections
    kept: NDArray[np.int64] = detections[np.append(True, np.diff(detections) > cooldown)]
    return kept


def tally(files: list[Judged], detect: Callable[[Judged], NDArray[np.int64]]) -> Tally:
    """What the detections of all files come to."""
    false_alarms = hits = 0.0
    found = windows = 0
    for file in files:
        places = detect(file)
        places = places[places >= file.start]
        outside = file.window[places] < 0
        false_alarms += float(file.worth[places[outside]].sum())
        inside = places[~outside]
        # The earliest detection of a window is worth most.
        numbers, earliest = np.unique(file.window[inside], return_index=True)
        hits += float(file.worth[inside[earliest]].sum())
        found += len(numbers)
        windows += len(np.unique(file.window[file.start :][file.window[file.start :] >= 0]))
    return Tally(false_alarms, hits, found, windows)


def normalised(total: Tally, profile: Profile, windows: int) -> float:
    """The score of a profile, 0 for no detection at all and 100 for the best; may be below 0."""
    raw = total.hits + profile.false_alarm * total.false_alarms
    raw -= profile.miss * (total.windows - total.found)
    null = -profile.miss * total.windows
    return 100.0 * (raw - null) / (windows - null)


def best_thresholds(files: list[Judged], windows: int, cooldown: int = COOLDOWN) -> list[float]:
    """Scores of the profiles, each at the threshold that is best for all files.

    Candidates are quantiles of the pooled scores between the top 0.012 % and the top 2 %.
    """
    pooled = np.concatenate([file.scores[file.start :] for file in files])
    shares = np.geomspace(0.00012, 0.02, _CANDIDATES)
    best = [-np.inf] * len(PROFILES)
    for threshold in np.unique(np.quantile(pooled, 1 - shares)).tolist():
        total = tally(files, lambda file: _above(file, threshold, cooldown))  # noqa: B023
        scores = [normalised(total, profile, windows) for profile in PROFILES.values()]
        best = [max(pair) for pair in zip(best, scores, strict=True)]
    return best


def _above(file: Judged, threshold: float, cooldown: int) -> NDArray[np.int64]:
    return spaced(np.flatnonzero(file.scores >= threshold), cooldown)


def as_they_came(files: list[Judged], windows: int) -> list[float]:
    """Scores of the profiles where a record with a score above 0 is a detection."""
    total = tally(files, lambda file: np.flatnonzero(file.scores > 0.0))
    return [normalised(total, profile, windows) for profile in PROFILES.values()]
