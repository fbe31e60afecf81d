"""Inputs made to break a forest, from 1 to 10,000 dimensions: no NaN, and every mass recounted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rcf import Forest, Forests
from tests.rcf.blocks import check_block

RECORDS = 90
LARGEST = float(np.finfo(np.float32).max)

#: (random, records, features) -> records.
INPUTS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "constant": lambda random, n, d: np.full((n, d), 7.25),
    "two values": lambda random, n, d: random.choice([0.0, 1.0], (n, d)),
    "denormals": lambda random, n, d: random.integers(-3, 4, (n, d)) * 1.4e-45,
    "1e30 beside 1e-30": lambda random, n, d: (
        np.where(random.random((n, d)) < 0.5, 1e30, 1e-30) * random.choice([-1.0, 1.0], (n, d))
    ),
    "duplicates in turn": lambda random, n, d: random.normal(size=(2, d))[np.arange(n) % 2],
    "one of many differs": lambda random, n, d: np.where(
        (np.arange(n)[:, None] % 9 == 8) & (np.arange(d) == d // 2), 5.0, 1.0
    ),
    "largest floats": lambda random, n, d: random.choice([-LARGEST, LARGEST, 0.0], (n, d)),
    "minus zero": lambda random, n, d: random.choice([-0.0, 0.0], (n, d)),
    "doubling": lambda random, n, d: 2.0 ** (np.arange(n)[:, None] - 60 + np.zeros(d)),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("dimensions", [1, 2, 5, 31, 1000, 10_000])
@pytest.mark.parametrize("score", ["codisp", "depth"])
def test_a_forest_stays_sound(name: str, dimensions: int, score: str) -> None:
    random = np.random.default_rng(dimensions)
    rows = INPUTS[name](random, RECORDS, dimensions)
    forest = Forest(
        dimensions, trees=5, sample_size=16, time_decay=0.05, output_after=4, score=score, seed=1
    )
    learnt = forest.process(rows)
    scored = forest.score(rows[:20])
    assert np.all(np.isnan(learnt[:4])) and np.all(np.isfinite(learnt[4:]))
    assert np.all(np.isfinite(scored)) and np.all(scored >= 0) and np.all(learnt[4:] >= 0)
    if name in ("constant", "minus zero"):
        assert np.all(scored == scored[0])
    check_block(forest.block, rows.astype(np.float32))


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("features", "shingle_size"), [(1, 1), (1, 8), (30, 8)])
def test_many_small_forests_stay_sound(name: str, features: int, shingle_size: int) -> None:
    random = np.random.default_rng(features)
    rows = INPUTS[name](random, RECORDS, features)
    forests = Forests(
        2, features, shingle_size=shingle_size, trees=3, sample_size=24, output_after=4
    )
    assert forests.shape.narrow
    scores = forests.process(np.arange(RECORDS) % 2, rows)
    warm = 2 * (shingle_size - 1 + 4)
    assert np.all(np.isfinite(scores[warm:])) and np.all(scores[warm:] >= 0)
    for series in range(2):
        check_block(forests.block(series), rows[series::2].astype(np.float32))
