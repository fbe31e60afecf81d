"""The conditional field: completions agree with a naive enumeration of leaves; asking is pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from rcf import Forest, InvalidParameter
from tests.rcf.reference import NaiveForest, Node, Tree


def leaves(node: Node) -> Iterator[Node]:
    if node.is_leaf:
        yield node
        return
    assert node.left is not None and node.right is not None
    yield from leaves(node.left)
    yield from leaves(node.right)


def ranked(tree: Tree, query: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(inverse depth, completion) of each leaf that the cuts of what is there lead to."""
    assert tree.root is not None
    missing, found = np.isnan(query), []
    for leaf in leaves(tree.root):
        completed = np.where(missing, leaf.points[0], query).astype(np.float32)
        path = tree.path(completed)
        if path[-1] is not leaf:
            continue
        depth = len(path) - 1
        if leaf.holds(completed):
            rank = 1 / (depth + math.log2(leaf.mass + 1)) if depth else 0.0
        else:
            rank = 1 / (depth + 1)
        for above in range(depth - 1, -1, -1):
            chance = path[above].separation(completed)
            rank = chance / (above + 1) + (1 - chance) * rank
        found.append((rank, completed))
    return found


def both(features: int, shingle_size: int, n: int, box_mass: int) -> tuple[Forest, NaiveForest]:
    """A forest and its naive twin after the same records, some of which repeat."""
    random = np.random.default_rng(features)
    rows = np.round(random.normal(size=(n, features)), 1)
    sizes = {"features": features, "shingle_size": shingle_size, "trees": 5, "sample_size": 20}
    law = {"time_decay": 0.01, "output_after": 1, "initial_accept_fraction": 0.5, "seed": 3}
    naive = NaiveForest(**sizes, **law, score="codisp")
    for row in rows:
        naive.process(row)
    forest = Forest(**sizes, **law, box_mass=box_mass)
    forest.update(rows)
    return forest, naive


@pytest.mark.parametrize(
    ("features", "shingle_size", "box_mass"), [(1, 4, 1), (2, 3, 6), (9, 1, 1)]
)
def test_the_most_ordinary_completion_is_that_of_all_leaves(
    features: int, shingle_size: int, box_mass: int
) -> None:
    forest, naive = both(features, shingle_size, 120, box_mass)
    random, choices = np.random.default_rng(1), 0
    for missing in (1, 2, features * shingle_size - 1):
        query = np.round(random.normal(size=features * shingle_size), 1)
        query[random.permutation(len(query))[:missing]] = np.nan
        query = query.astype(np.float32).astype(np.float64)
        answers = forest.completions(query)[0]
        for tree, answer in zip(naive.trees, answers, strict=True):
            candidates = ranked(tree, query)
            lowest = min(rank for rank, _ in candidates)
            best = [point for rank, point in candidates if rank <= lowest + 1e-6]
            assert any(np.array_equal(point, answer.astype(np.float32)) for point in best)
            choices += len(candidates) > len(best)
    assert choices > 5


def test_a_random_completion_may_be_any_that_the_cuts_allow() -> None:
    forest, naive = both(2, 3, 120, 1)
    query = np.array([0.1, -0.3, np.nan, np.nan, 0.2, np.nan])
    ordinary = forest.completions(query)[0]
    seen: list[set[bytes]] = [set() for _ in naive.trees]
    for _ in range(60):
        for at, answer in enumerate(forest.completions(query, centrality=0.0)[0]):
            seen[at].add(answer.astype(np.float32).tobytes())
        forest.process([0.0, 0.0], learn=False)  # another record: another draw
    for tree, found in zip(naive.trees, seen, strict=True):
        allowed = {point.tobytes() for _, point in ranked(tree, query.astype(np.float32))}
        assert found <= allowed
        assert len(found) > min(3, len(allowed) - 1)
    assert np.array_equal(ordinary, forest.completions(query)[0])


def test_asking_changes_nothing_and_repeats_itself() -> None:
    """Across a restart, and however many records a call asks about."""
    forest, _ = both(2, 3, 200, 1)
    rows = np.random.default_rng(2).normal(size=(7, 2))
    rows[[1, 2, 5], [0, 1, 1]] = rows[4] = np.nan
    before = forest.to_bytes()
    for centrality in (1.0, 0.3):
        filled = forest.impute(rows, centrality=centrality)
        assert np.array_equal(np.isnan(rows), filled != np.where(np.isnan(rows), np.nan, filled))
        assert np.array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
        assert np.isfinite(filled).all()
        restored = Forest.from_bytes(before)
        assert np.array_equal(restored.impute(rows, centrality=centrality), filled)
        one_by_one = [
            restored.impute(np.concatenate([filled[:i], rows[i : i + 1]]), centrality=centrality)[
                -1
            ]
            for i in range(len(rows))
        ]
        assert np.array_equal(np.array(one_by_one), filled)
    assert forest.to_bytes() == before


def test_extrapolation_follows_a_wave() -> None:
    """Ten steps ahead of sin(i / 10) with noise of 0.05: far better than the last value."""
    random = np.random.default_rng(5)
    wave = np.sin(np.arange(3020) / 10)
    forest = Forest(shingle_size=16, seed=5)
    forest.update((wave[:3000] + 0.05 * random.normal(size=3000))[:, None])
    ahead = forest.extrapolate(20)
    errors = np.abs(ahead.expected[:, 0] - wave[3000:])
    assert errors.mean() < 0.2 * np.abs(wave[2999] - wave[3000:]).mean()
    assert (ahead.lower <= ahead.expected).all() and (ahead.expected <= ahead.upper).all()
    assert (ahead.lower < ahead.upper).any()


def test_what_cannot_be_asked() -> None:
    forest = Forest(2, shingle_size=3)
    assert np.isnan(forest.impute([[1.0, np.nan]])[0, 1])  # nothing is known yet
    for wrong, field in (([[1.0, np.inf]], "values[0][1]"), ([[1e39, np.nan]], "values[0][0]")):
        with pytest.raises(InvalidParameter) as caught:
            forest.impute(wrong)
        assert caught.value.field == field
    with pytest.raises(InvalidParameter, match="empty forest"):
        forest.completions(np.full(6, np.nan))
    with pytest.raises(InvalidParameter, match="horizon is 0"):
        forest.extrapolate(0)
    with pytest.raises(InvalidParameter, match="shingle_size is 1"):
        Forest().extrapolate(1)
    with pytest.raises(InvalidParameter, match=r"centrality is 1\.5"):
        forest.impute([[1.0, 2.0]], centrality=1.5)
