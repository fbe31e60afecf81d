"""Hotspots: where the records of a window crowd, by DBSCAN.

A record is in a crowd if at least `least` records of the window, itself among them, lie within
`radius` of it (Euclidean). Crowded records within `radius` of each other belong to one hotspot, and
so do the records within `radius` of one of those (to the first found, where there are several).
What is left is noise.

A hotspot's size is the product over features of its extent, each counted as at least `radius`: a
hotspot that is flat in one feature would have no volume. Its density is records over size.

Source: Ester, Kriegel, Sander and Xu 1996 (DBSCAN); parameters, limits and answers of Amazon
Kinesis Data Analytics' HOTSPOTS, which does not say how it measures a hotspot's size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rcf.arguments import as_rows, real, refuse_invalid, whole
from rcf.state import F64, I64

SMALLEST_WINDOW, LARGEST_WINDOW = 100, 1000  #: records, as in Kinesis Data Analytics

NOISE = -1


class Hotspot(NamedTuple):
    """A crowd of records.

    Attributes:
        density: Records over size.
        low: float64 (features,), least values of its records.
        high: float64 (features,), largest values.
        records: How many records belong to it.
    """

    density: float
    low: F64
    high: F64
    records: int

    def holds(self, values: F64, radius: float) -> bool:
        """Whether a record lies in the hotspot's box grown by `radius` on every side."""
        return bool(np.all(self.low - radius <= values) and np.all(values <= self.high + radius))


def find_hotspots(
    values: ArrayLike, radius: float, least: int, features: int | None = None
) -> list[Hotspot]:
    """The hotspots of some records, the densest first.

    Args:
        values: (n, features); (n,) does for one feature.
        radius: How far neighbours may lie apart, above 0.
        least: Records that make a crowd, 2 to n; with fewer records than that there is none.
        features: Values a record; None: as the shape says.

    Raises:
        InvalidParameter: A parameter is outside what is allowed, or a value is not finite.
    """
    shape = np.shape(values)
    rows = as_rows(values, features or (shape[1] if len(shape) == 2 else 1))
    refuse_invalid(rows)
    radius = real("radius", radius, np.nextafter(0.0, 1.0), 1e300)
    least = whole("least", least, 2, max(2, len(rows)))
    labels = cluster(rows, radius, least)
    found = [
        _measured(rows[labels == label], radius) for label in range(labels.max(initial=-1) + 1)
    ]
    return sorted(found, key=lambda each: -each.density)


def cluster(rows: F64, radius: float, least: int) -> I64:
    """DBSCAN: the cluster of each row, numbered from 0 by their first crowded rows; -1 for noise.

    Args:
        rows: float64 (n, features); takes n^2 bytes a distance, so n is some thousands at most.
        radius: Above 0.
        least: At least 1.
    """
    near = _near(rows, radius)
    crowded = near.sum(axis=1) >= least
    labels = np.full(len(rows), NOISE)
    clusters = 0
    for start in np.flatnonzero(crowded).tolist():
        if labels[start] != NOISE:
            continue
        front = np.zeros(len(rows), bool)
        front[start] = True
        while front.any():
            labels[front] = clusters
            front = near[front & crowded].any(axis=0) & (labels == NOISE)
        clusters += 1
    return labels


def _near(rows: F64, radius: float) -> NDArray[np.bool_]:
    """Which rows lie within `radius` of each other: bool (n, n)."""
    square = np.zeros((len(rows), len(rows)))
    with np.errstate(over="ignore"):
        for feature in rows.T:
            square += ((feature[:, None] - feature[None, :]) / radius) ** 2
    near: NDArray[np.bool_] = square <= 1.0
    return near


def _measured(rows: F64, radius: float) -> Hotspot:
    low, high = rows.min(axis=0), rows.max(axis=0)
    # As logarithms: the product of many extents leaves the range of a float.
    size = np.log(np.maximum(high - low, radius)).sum()
    with np.errstate(over="ignore"):
        density = float(np.exp(np.log(len(rows)) - size))
    return Hotspot(density, low, high, len(rows))
