"""After every record, whatever the data: what the state says twice agrees, scores are bounded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcf import Forest
from rcf.score import DEPTH
from rcf.state import SCORE, open_block
from tests.rcf.blocks import check_block

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)

#: Pools that records draw their values from.
POOLS = (
    [0.0],
    [0.0, 1.0],
    [-0.0, 0.0, SMALLEST, -SMALLEST, 3 * SMALLEST],
    [LARGEST, -LARGEST, 0.0, 1.0, LARGEST / 2],
    [1e30, 1e-30, -1e30, -1e-30, 2e30, 3e-30],
    [float(v) for v in range(-3, 4)],
    [1e8 + 8 * i for i in range(5)],
)
VALUES = st.one_of(
    *(st.sampled_from(pool) for pool in POOLS),
    st.floats(-LARGEST, LARGEST, width=32),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, Any], np.ndarray, list[tuple[int, float]]]:
    """(parameters of a forest, its records, changes of decay after so many records)."""
    features = draw(st.integers(1, 5))
    parameters: dict[str, Any] = {
        "features": features,
        "shingle_size": draw(st.sampled_from([1, 1, 2, 3, 5])),
        "trees": draw(st.sampled_from([1, 2, 3, 9])),
        "sample_size": draw(st.sampled_from([1, 2, 3, 5, 8, 17])),
        "time_decay": draw(st.sampled_from([0.0, 1e-300, 1e-6, 0.02, 0.3, 1.0])),
        "score": draw(st.sampled_from(["codisp", "disp", "depth"])),
        "output_after": draw(st.integers(1, 5)),
        "initial_accept_fraction": draw(st.sampled_from([0.0, 0.125, 0.5, 1.0])),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }
    pool = draw(st.one_of(st.sampled_from(POOLS), st.lists(VALUES, min_size=1, max_size=12)))
    n = draw(st.integers(1, 80))
    choices = draw(st.binary(min_size=n * features, max_size=n * features))
    rows = np.array([pool[byte % len(pool)] for byte in choices]).reshape(n, features)
    change = st.tuples(st.integers(0, n), st.sampled_from([0.0, 1e-6, 0.01, 0.5, 1.0]))
    return parameters, rows, draw(st.lists(change, max_size=3))


def check_scores(forest: Forest, scores: np.ndarray, warming: int) -> None:
    """NaN while warming; then finite and at least 0.

    Displacements are at most N, inverse depths at most log2(N + 1).
    """
    size, kind = forest.shape.sample_size, open_block(forest.block).header[SCORE]
    largest = math.log2(size + 1) if kind == DEPTH else size
    assert np.all(np.isnan(scores[:warming]))
    ready = scores[warming:]
    assert np.all(np.isfinite(ready))
    assert np.all(ready >= 0) and np.all(ready <= largest * (1 + 1e-6))


@settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(streams())
def test_state_holds_after_every_record(
    stream: tuple[dict[str, Any], np.ndarray, list[tuple[int, float]]],
) -> None:
    parameters, rows, changes = stream
    forest = Forest(**parameters)
    warming = parameters["output_after"] + parameters["shingle_size"] - 1
    learnt = rows.astype(np.float32)
    for i in range(len(rows)):
        for after, decay in changes:
            if after == i:
                forest.set_time_decay(decay)
        check_scores(forest, forest.process(rows[i : i + 1]), max(0, warming - i))
        check_block(forest.block, learnt[: i + 1])
    queries = np.concatenate([rows[-3:], np.full((2, rows.shape[1]), LARGEST)])
    if len(rows) >= warming:
        check_scores(forest, forest.score(queries), 0)


def test_state_holds_over_a_long_stream() -> None:
    """Thousands of records: the epoch of the keys moves, the ring comes round, points are kept."""
    random = np.random.default_rng(5)
    rows = np.round(random.normal(size=(12_000, 2)) * 3) / 3
    forest = Forest(2, shingle_size=3, trees=5, sample_size=40, time_decay=1 / 300, seed=5)
    for start in range(0, len(rows), 400):
        if start == 4000:
            forest.set_time_decay(1e-5)
        scores = forest.process(rows[start : start + 400])
        check_scores(forest, scores, 12 if start == 0 else 0)
        check_block(forest.block, rows[: start + 400].astype(np.float32))
    assert forest.shape.kept > 16 + 5 * 40 // 64, (
        "more points outlived the ring than fitted at first"
    )
