"""How well scores rank anomalies above normal records; higher scores mean more anomalous.

Labels are 0 or 1 a record, float64 (n,); scores float64 (n,).
"""

from __future__ import annotations

import numpy as np

from load.labelled import Span
from rcf.state import F64

_THRESHOLDS = 250


def auc(scores: F64, labels: F64) -> float:
    """Chance that an anomaly scores higher than a normal record; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((last - counts + 1 + last) / 2)[inverse]
    bad = float(labels.sum())
    return float((ranks[labels > 0].sum() - bad * (bad + 1) / 2) / (bad * (len(labels) - bad)))


def _cuts(scores: F64, labels: F64) -> tuple[F64, F64]:
    """(anomalies, records) at or above each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return np.cumsum(labels[order])[ends], (ends + 1).astype(np.float64)


def average_precision(scores: F64, labels: F64) -> float:
    """Mean precision over the anomalies, each at its own score."""
    hits, called = _cuts(scores, labels)
    return float(np.sum(np.diff(hits, prepend=0.0) * hits / called) / labels.sum())


def best_f1(scores: F64, labels: F64) -> float:
    """F1 at the threshold where it is largest."""
    hits, called = _cuts(scores, labels)
    return float(np.max(2 * hits / (called + labels.sum())))


def spans_of(labels: F64) -> list[Span]:
    """First and last record of each run of labels above 0."""
    edges = np.diff(np.concatenate([[0], labels > 0, [0]]).astype(int))
    return list(
        zip(
            np.flatnonzero(edges == 1).tolist(),
            (np.flatnonzero(edges == -1) - 1).tolist(),
            strict=True,
        )
    )


def widened(labels: F64, width: int) -> F64:
    """Labels that fade over half of `width` records before and after each span."""
    soft = labels.copy()
    for first, last in spans_of(labels):
        after = np.arange(last + 1, min(last + width // 2 + 1, len(labels)))
        before = np.arange(max(first - width // 2, 0), first)
        for near, distance in ((after, after - last), (before, first - before)):
            soft[near] += np.sqrt(1 - distance / width)
    faded: F64 = np.minimum(soft, 1.0)
    return faded


def vus_pr(scores: F64, labels: F64, window: int = 100, step: int = 1) -> float:
    """Volume under the range-aware precision-recall surface.

    Args:
        scores: One a record.
        labels: 0 or 1 a record, some of them 1.
        window: Widest fading of labels, in records.
        step: Between the widths that are looked at; 1 looks at all.

    Source: Paparrizos et al., "Volume Under the Surface", PVLDB 2022, as TSB-AD computes it.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    thresholds = ranked[np.linspace(0, len(scores) - 1, _THRESHOLDS).astype(int)]
    called = np.searchsorted(-ranked, -thresholds, side="right")
    core = np.cumsum(labels[order])[called - 1]
    areas = []
    for width in range(0, window + 1, step):
        soft = widened(labels, width)
        edge = np.cumsum((soft * (1 - labels))[order])[called - 1]
        peaks = np.array([scores[first : last + 1].max() for first, last in spans_of(soft)])
        found = (peaks[None, :] >= thresholds[:, None]).mean(axis=1)
        recall = np.minimum((core + edge) / (labels.sum() + edge / 2), 1) * found
        areas.append(np.sum(np.diff(recall, prepend=0.0) * (core + edge) / called))
    return float(np.mean(areas))


def trailing_mean(scores: F64, records: int) -> F64:
    """Mean of each score and those before it, `records` in all where there are so many."""
    sums: F64 = np.concatenate([[0.0], np.cumsum(scores)])
    last = np.arange(1, len(scores) + 1)
    first = np.maximum(0, last - records)
    means: F64 = (sums[last] - sums[first]) / (last - first)
    return means
