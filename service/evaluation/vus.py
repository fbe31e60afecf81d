"""VUS-PR: the volume under the precision-recall surface over widths of a soft border of labels.

Source: Paparrizos et al., "Volume Under the Surface", PVLDB 15(11), 2022, section 4; thresholds and
the rewards beyond a label's ends as in the benchmark TSB-AD, with which published figures are made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.evaluation.ranking import Labels, Scores, segments

Floats = NDArray[np.float64]


def vus_pr(
    labels: Labels, scores: Scores, *, window: int = 100, thresholds: int = 250, step: int = 1
) -> float:
    """Mean area under precision and recall over border widths 0 … window; NaN without anomalies.

    Args:
        labels: (n,), True where anomalous.
        scores: (n,), finite, higher is more anomalous.
        window: widest border, in rows; half of it lies on either side of a label.
        thresholds: so many of the scores, evenly spaced by rank, serve as thresholds.
        step: between widths; above 1 is faster and close.
    """
    spans = segments(labels)
    if not spans:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ranks = np.linspace(0, len(scores) - 1, thresholds).astype(np.int64)
    surface = _Surface(labels, scores, order, ordered[ranks])
    return float(np.mean([surface.area(width, spans) for width in range(0, window + 1, step)]))


class _Surface:
    """One series at fixed thresholds, greatest first."""

    def __init__(
        self, labels: Labels, scores: Scores, order: NDArray[np.int64], levels: Floats
    ) -> None:
        self._labels = labels
        self._scores = scores
        self._order = order
        self._levels = levels
        # Every threshold is one of the scores, so at least one row is flagged at each.
        self._flagged = np.searchsorted(-scores[order], -levels, side="right")
        self._hits = np.cumsum(labels[order])[self._flagged - 1].astype(np.float64)
        self._positives = int(labels.sum())

    def area(self, width: int, spans: list[tuple[int, int]]) -> float:
        """Area under the curve for one width of the border."""
        soft = _softened(self._labels, width, spans)
        border = np.where(self._labels, 0.0, soft)
        reward = np.cumsum(border[self._order])[self._flagged - 1]
        peaks = np.array([self._scores[a : b + 1].max() for a, b in segments(soft > 0)])
        found = (peaks >= self._levels[:, None]).mean(axis=1)
        gained = self._hits + reward
        recall = np.minimum(gained / (self._positives + reward / 2), 1.0) * found
        return float(np.sum(np.diff(recall, prepend=0.0) * gained / self._flagged))


def _softened(labels: Labels, width: int, spans: list[tuple[int, int]]) -> Floats:
    """Labels with a border that falls off as the root of the distance; at most 1."""
    soft = labels.astype(np.float64)
    fall = np.sqrt(1.0 - np.arange(1, width // 2 + 1) / width) if width else np.empty(0)
    for first, last in spans:
        after = soft[last + 1 : last + 1 + len(fall)]
        after += fall[: len(after)]
        before = soft[max(first - len(fall), 0) : first]
        before += fall[: len(before)][::-1]
    return np.minimum(soft, 1.0)
