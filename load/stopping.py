"""Trees that a score needs for a stated error: would it pay to stop asking early?

``python -m load stopping`` asks the trees one after the other, each a forest of its own, and stops
where the 95 % interval of the mean so far is within the error, at `LEAST` trees at the earliest.
Trees are walked eight at a time, so what could be left out are whole eights.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from load.contender import Setup
from load.report import Row, publish, told
from load.streams import seasonal
from rcf import Forest
from rcf.state import F64

SETUPS = tuple(Setup(f, s, 50, 256) for f, s in ((1, 1), (1, 8), (5, 8)))
ERRORS = (0.05, 0.1, 0.2)  #: of the mean
LEAST = 8
QUANTILE = 1.96  #: of the normal law, for 95 % on both sides together
RECORDS = 2000


def scores_by_tree(setup: Setup, score: str, records: int) -> F64:
    """Scores of the records behind the warm-up, float64 (trees, records)."""
    values = seasonal(records + 4 * setup.sample_size, setup.features).values
    trees = [
        Forest(
            setup.features,
            shingle_size=setup.shingle,
            trees=1,
            sample_size=setup.sample_size,
            score=score,
            seed=seed,
        ).process(values)[-records:]
        for seed in range(setup.trees)
    ]
    return np.array(trees)


def trees_needed(scores: F64, error: float) -> NDArray[np.int64]:
    """Trees asked until the mean is known well enough, or all.

    Args:
        scores: float64 (trees, records).
        error: Half the interval's width over the mean, above 0.

    Returns:
        int64 (records,).
    """
    asked = np.arange(1, len(scores) + 1)[:, None]
    mean = np.cumsum(scores, axis=0) / asked
    spread = np.cumsum(scores**2, axis=0) / asked - mean**2
    deviation = np.sqrt(np.maximum(spread, 0.0) / np.maximum(asked - 1, 1))
    enough = (QUANTILE * deviation <= error * mean) & (asked >= LEAST)
    enough[-1] = True
    needed: NDArray[np.int64] = enough.argmax(axis=0) + 1
    return needed


def rows(setups: tuple[Setup, ...], records: int) -> Iterator[Row]:
    """One for each shape and score."""
    for setup in setups:
        for score in ("codisp", "depth"):
            scores = scores_by_tree(setup, score, records)
            row: dict[str, str | float | int] = {"shape": setup.shape, "score": score}
            for error in ERRORS:
                needed = trees_needed(scores, error)
                eights = np.minimum(8 * np.ceil(needed / 8), setup.trees)
                row[f"trees within {error:.0%}"] = float(eights.mean())
                row[f"all within {error:.0%}"] = float((needed == setup.trees).mean())
            yield row


def main(setups: tuple[Setup, ...] = SETUPS, records: int = RECORDS) -> None:
    """Measure and publish."""
    title = "stopping early: trees of 50 that a score needs, and the share of records that need all"
    publish(title, told("stopping", rows(setups, records)), least=LEAST, records=records)
