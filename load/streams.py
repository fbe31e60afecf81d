"""Seeded streams with known anomalies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Stream(NamedTuple):
    """Records and where their anomalies are.

    Attributes:
        values: float64 (n, features).
        spikes: int64, records with a spike.
        shifts: int64, records at which a level shift begins.
    """

    values: NDArray[np.float64]
    spikes: NDArray[np.int64]
    shifts: NDArray[np.int64]


def seasonal(records: int, features: int = 1, *, seed: int = 0) -> Stream:
    """Two periods, noise, a spike in every thousand records and a level shift in every 20,000.

    Args:
        records: Length.
        features: Columns; they differ in phase, period and scale.
        seed: Same seed, same stream.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(records, dtype=np.float64)[:, None]
    phase = rng.uniform(0, 2 * np.pi, features)
    period = rng.uniform(40, 160, features)
    values = 10 * np.sin(2 * np.pi * time / period + phase)
    values += 3 * np.sin(2 * np.pi * time / 1440 + phase[::-1])
    values += rng.normal(size=(records, features))
    shifts = np.arange(20_000, records, 20_000)
    for at in shifts:
        values[at:] += rng.choice([-4.0, 4.0])
    spikes = np.flatnonzero(rng.random(records) < 1e-3)
    values[spikes, rng.integers(0, features, len(spikes))] += 30.0
    return Stream(np.ascontiguousarray(values), spikes, shifts)
