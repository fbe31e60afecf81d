"""What scores are worth as a ranking, before any threshold.

Labels are booleans (n,), True where anomalous; scores float64 (n,), finite, higher is more
anomalous. Equal scores stand or fall together, so the order of the rows does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


def roc_auc(labels: Labels, scores: Scores) -> float:
    """Chance that an anomalous row scores above a normal one, ties half; NaN without both kinds.

    Source: Mann and Whitney 1947, by the sum of ranks.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[group]
    above = ranks[labels].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(labels: Labels, scores: Scores) -> float:
    """Precision at each threshold, weighted by the recall it adds; NaN without anomalies."""
    hits, flagged, positives = _at_thresholds(labels, scores)
    if not positives:
        return float("nan")
    gained = np.diff(hits, prepend=0) / positives
    return float(np.sum(gained * hits / flagged))


def best_f1(labels: Labels, scores: Scores) -> float:
    """Greatest F1 of rows over all thresholds, without point adjustment; NaN without anomalies."""
    hits, flagged, positives = _at_thresholds(labels, scores)
    return float(np.max(2 * hits / (flagged + positives))) if positives else float("nan")


def segments(labels: Labels) -> list[tuple[int, int]]:
    """Runs of labelled rows, first and last row of each, in order."""
    change = np.diff(labels.astype(np.int8), prepend=0, append=0)
    first, behind = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return list(zip(first.tolist(), (behind - 1).tolist(), strict=True))


def _at_thresholds(
    labels: Labels, scores: Scores
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Anomalous rows and all rows at or above each distinct score, greatest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.cumsum(labels[order], dtype=np.int64)[ends]
    return hits, ends + 1, int(labels.sum())
