"""The period of a series, and the shingle that it suggests. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 32
"""Rows from which on a period is looked for."""
LEAST_STRENGTH = 0.3
"""Correlation of a series with itself, a period later, below which there is none."""
SMALLEST, LARGEST = 2, 64
"""Bounds of a suggested shingle: one record shows no shape, a long one costs time and memory."""
_ALMOST = 0.9


@dataclass(frozen=True, slots=True)
class Period:
    """After so many rows a series resembles itself.

    Attributes:
        rows: at least 2.
        strength: its correlation with itself at that distance, (0, 1].
    """

    rows: int
    strength: float

    @property
    def shingle_size(self) -> int:
        """Half the period, as OpenSearch suggests it, within bounds."""
        return min(max(self.rows // 2, SMALLEST), LARGEST)


def period_of(values: NDArray[np.float64]) -> Period | None:
    """Return the strongest period of any feature; None where none shows.

    Args:
        values: (n, features); NaN where there is none. Three periods must fit into n.
    """
    found = [_period(column) for column in values.T] if len(values) >= FEWEST else []
    known = [period for period in found if period is not None]
    return max(known, key=lambda period: period.strength, default=None)


def _period(column: NDArray[np.float64]) -> Period | None:
    correlation = _autocorrelation(column)
    if correlation is None:
        return None
    below = np.flatnonzero(correlation < 0.0)
    begin = int(below[0]) if len(below) else len(correlation)
    lags = np.arange(max(begin, 2), len(correlation) - 1)
    peaks = lags[
        (correlation[lags] >= correlation[lags - 1]) & (correlation[lags] >= correlation[lags + 1])
    ]
    if not len(peaks) or correlation[peaks].max() < LEAST_STRENGTH:
        return None
    # Twice the period is one as well: the first peak counts that is almost the highest.
    level = _ALMOST * correlation[peaks].max()
    first = int(peaks[correlation[peaks] >= level][0])
    lower = np.flatnonzero(correlation[first:] < level)
    hill = correlation[first : first + int(lower[0])] if len(lower) else correlation[first:]
    top = first + int(np.argmax(hill))  # noise makes many peaks of one hill
    return Period(top, float(min(correlation[top], 1.0)))


def _autocorrelation(column: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Correlation with itself at lags 0 … n/3, without the trend; None for a flat series."""
    n = len(column)
    rows = np.arange(n, dtype=np.float64)
    known = np.isfinite(column)
    if known.sum() < FEWEST:
        return None
    filled = np.interp(rows, rows[known], column[known])
    plain = filled - np.polyval(np.polyfit(rows, filled, 1), rows)
    spread = float(np.dot(plain, plain))
    if spread <= 1e-12 * max(float(np.dot(filled, filled)), 1e-300):
        return None
    spectrum = np.fft.rfft(plain, 2 * n)
    shared: NDArray[np.float64] = np.fft.irfft(np.abs(spectrum) ** 2)[: n // 3 + 1]
    return shared / spread * n / (n - np.arange(len(shared)))
