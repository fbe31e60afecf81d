"""Numbers worked out by hand (MATHS.md, section 20), of real forests and the real threshold."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from rcf import Forest, threshold
from rcf.threshold import COUNT, WORDS, Rule
from tests.rcf.calls import from_python

judge, limits = from_python(threshold.judge), from_python(threshold.limits)
grade_of = from_python(threshold.grade_of)


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


def rule(shingle_size: int, normalized: bool) -> Rule:
    return Rule(
        decay=1 / 2560,
        memory=0.01,
        anomaly_rate=0.002,
        z_factor=3.0,
        lower_threshold=0.8,
        initial_threshold=1.5,
        shingle_size=shingle_size,
        normalized=normalized,
        offset=0.0,
        scale=1.0,
    )


def judged(of: Rule, score: float, before: int = 100) -> tuple[float, float]:
    """AWS's (threshold, grade) of a score after `before` scores cycling 0.9, 1, 1.1, 1."""
    state = np.zeros(WORDS)
    for i in range(before):
        judge(state, of, (0.9, 1.0, 1.1, 1.0)[i % 4])
    threshold, width = limits(state, of)
    grade = grade_of(score, threshold, width, state[COUNT] >= 10, of.lower_threshold)
    return float(threshold), float(grade)


@pytest.mark.parametrize(("score", "grade"), [(1.25, 0.1875), (1.3, 0.5), (1.4, 1.0), (1.0, 0.0)])
def test_threshold_of_single_records(score: float, grade: float) -> None:
    assert judged(rule(1, False), score) == (pytest.approx(1.212114, abs=1e-6), grade)


@pytest.mark.parametrize(("score", "grade"), [(1.3, 0.125), (1.4, 0.625), (1.0, 0.0)])
def test_threshold_of_overlapping_points(score: float, grade: float) -> None:
    assert judged(rule(4, True), score) == (pytest.approx(1.262388, abs=1e-6), grade)


@pytest.mark.parametrize("before", [0, 1, 9])
def test_threshold_before_ten_scores(before: int) -> None:
    assert judged(rule(1, False), 1.5, before) == (1.5, 1.0)
    assert judged(rule(1, False), 1.49, before) == (1.5, 0.0)


def test_threshold_from_ten_to_twenty_scores_moves_to_what_was_learnt() -> None:
    thresholds = [judged(rule(1, False), 1.0, before)[0] for before in range(9, 22)]
    assert thresholds[0] == thresholds[1] == 1.5
    assert all(later < earlier for earlier, later in pairwise(thresholds[1:12]))


def discounted(values: list[float], discount: float) -> tuple[float, float]:
    """(mean, deviation) of values that count (1 - discount) per step of age."""
    if not values:
        return 0.0, 0.0
    weights = (1 - discount) ** np.arange(len(values))[::-1]
    mean = float(np.average(values, weights=weights))
    square = float(np.average(np.square(values), weights=weights))
    return mean, math.sqrt(max(0.0, square - mean * mean))


def written_out(scores: list[float], of: Rule) -> tuple[float, float]:
    """(threshold, width) after `scores`, from MATHS.md, section 14, all statistics anew."""
    capped = [min(score, 2.0) for score in scores]
    last = [0.0, *scores[:-1]] if of.shingle_size > 1 else [0.0] * len(scores)
    steps = [score - before for score, before in zip(scores, last, strict=True)]
    means = [discounted(capped[:i], of.decay)[0] for i in range(1, len(scores))]
    gaps = [m - s for m, s in zip(means, scores[1:], strict=True) if m > s]
    mean, level = discounted(capped, of.decay)
    step, below = discounted(steps, of.memory)[1], discounted(gaps, of.decay / 2)[1]
    factor = max(2.0, 3 * mean / 0.9) if mean < 0.9 and of.normalized else 3.0
    if of.shingle_size == 1:
        long_run = min(math.sqrt(2) * below, level)
    else:
        long_run = 0.5 * min(level, max(step, math.sqrt(2) * below)) + 0.5 * step
    width = (factor - 1) * long_run + level
    if len(scores) < 10:
        return 1.5, width
    trust = min(1.0, (len(scores) - 10) / 10)
    return max(0.8, trust * (mean + width) + (1 - trust) * 1.5), width


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("shingle_size", [1, 4])
def test_thresholds_over_a_stream_of_scores(shingle_size: int, normalized: bool) -> None:
    of = rule(shingle_size, normalized)._replace(decay=0.05, memory=0.02)
    for centre, seed in ((1.0, 1), (0.6, 2)):
        random = np.random.default_rng(seed)
        scores = (centre + 0.2 * random.standard_gamma(1, size=70) - 0.2).tolist()
        state = np.zeros(WORDS)
        for i, score in enumerate(scores):
            judge(state, of, score)
            expected = written_out(scores[: i + 1], of)
            found = limits(state, of)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), f"score {i}, seed {seed}"


def test_scores_on_another_scale_are_judged_alike() -> None:
    """A score s that stands for offset + scale s has threshold and grade of that number."""
    plain, scaled = rule(1, False), rule(1, False)._replace(offset=0.5, scale=0.03)
    state, other = np.zeros(WORDS), np.zeros(WORDS)
    for i in range(200):
        score = (0.9, 1.0, 1.1, 1.0, 1.4)[i % 5]
        threshold, grade = judge(state, plain, score)
        ours, our_grade = judge(other, scaled, (score - 0.5) / 0.03)
        assert (0.5 + 0.03 * ours, our_grade) == (pytest.approx(threshold, rel=1e-9), grade)
