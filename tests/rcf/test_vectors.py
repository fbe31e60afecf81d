"""Numbers worked out by hand (MATHS.md, section 20), of real forests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rcf import Forest


def forest_of(points: list[float], score: str, trees: int = 13) -> Forest:
    """A forest whose every tree holds exactly `points`."""
    forest = Forest(
        1,
        trees=trees,
        sample_size=len(points),
        score=score,
        output_after=len(points),
        initial_accept_fraction=1.0,
        seed=3,
    )
    assert np.all(np.isnan(forest.process(points)))
    return forest


@pytest.mark.parametrize(
    ("points", "query", "score", "expected"),
    [
        # Two leaves, the query outside: the root separates with chance 2/3, the leaf {1} surely.
        ([0, 1], 3.0, "depth", (2 / 3 + 1 / 3 * 1 / 2) * math.log2(3)),
        ([0, 1], 3.0, "depth", 1.32080),
        ([0, 1], 3.0, "disp", 5 / 3),
        ([0, 1], 3.0, "codisp", 5 / 3),
        # Inside the box only a leaf separates, whichever it is.
        ([0, 1], 0.5, "depth", 0.79248),
        ([0, 1], 0.5, "disp", 1.0),
        ([0, 1], 0.5, "codisp", 1.0),
        # Equal to a leaf of mass 1: it would have mass 2 beside a sibling of mass 1.
        ([0, 1], 1.0, "depth", 0.59436),
        ([0, 1], 1.0, "disp", 1.0),
        ([0, 1], 1.0, "codisp", 0.5),
        # One leaf of mass N: 0.5 for the same value, log2(N + 1) for any other.
        ([7] * 5, 7.0, "depth", 0.5),
        ([7] * 5, 7.5, "depth", math.log2(6)),
        ([7] * 256, 7.000001, "depth", 8.005625),
        ([7] * 5, 7.0, "disp", 0.0),
        ([7] * 5, 7.0, "codisp", 0.0),
        ([7] * 5, -1e30, "disp", 5.0),
        ([7] * 5, -1e30, "codisp", 5.0),
        # {0, 0, 0, 1}: the leaf {1} beside mass 3; the query isolated from the root (chance 1/2)
        # has displacement 4, from the leaf max(1, 3 / (1 + 1)).
        ([0, 0, 0, 1], 2.0, "codisp", 1 / 2 * 4 + 1 / 2 * 1.5),
        ([0, 0, 0, 1], 2.0, "disp", 1 / 2 * 4 + 1 / 2 * 1),
        ([0, 0, 0, 1], 0.0, "codisp", 1 / 4),
        ([0, 0, 0, 1], 0.0, "disp", 1.0),
        ([0, 0, 0, 1], 0.0, "depth", (1 - 3 / 8) / (1 + 2) * math.log2(5)),
    ],
)
def test_scores_by_hand(points: list[float], query: float, score: str, expected: float) -> None:
    scores = forest_of(points, score).score([query])
    assert scores[0] == pytest.approx(expected, abs=6e-6)


def test_the_middle_of_three_points() -> None:
    """{0, 1, 3} and q = 4: two trees are possible, the cut at the root below 1 or above.

    Root: p = 1/4. Cut in [0, 1), a third: then the branch {1, 3} with p = 1/3. Else the leaf {3}.
    """
    low = 1 / 4 * 3 + 3 / 4 * (1 / 3 * 2 + 2 / 3 * 1)
    high = 1 / 4 * 3 + 3 / 4 * 1
    forest = forest_of([0, 1, 3], "disp", trees=1)
    seen = set()
    for seed in range(40):
        forest = Forest(
            1,
            trees=1,
            sample_size=3,
            score="disp",
            output_after=3,
            initial_accept_fraction=1.0,
            seed=seed,
        )
        forest.update([0, 1, 3])
        seen.add(round(float(forest.score([4.0])[0]), 6))
    assert seen == {round(low, 6), round(high, 6)}
