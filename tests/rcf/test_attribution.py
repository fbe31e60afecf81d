"""Attribution: by hand, beside the naive forest, and what it promises of every forest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcf import Forest
from tests.rcf.reference import NaiveForest
from tests.rcf.test_vectors import forest_of

KINDS = ("codisp", "disp", "depth")


def sums(shares: np.ndarray) -> np.ndarray:
    return shares.reshape(len(shares), -1).sum(axis=1)


@pytest.mark.parametrize("score", KINDS)
def test_a_value_above_everything_is_attributed_upwards(score: str) -> None:
    forest = forest_of([0, 1], score)
    above, below = forest.attribution([3.0]), forest.attribution([-2.0])
    assert above.total == forest.score([3.0])
    assert (above.high.item(), above.low.item()) == (pytest.approx(above.total.item()), 0.0)
    assert (below.high.item(), below.low.item()) == (0.0, pytest.approx(below.total.item()))


def test_vector_of_the_depth() -> None:
    found = forest_of([0, 1], "depth").attribution([3.0])
    assert found.high.item() == pytest.approx(1.32080, abs=6e-6)


def test_a_group_is_told_from_the_rest_by_the_gap_between_them() -> None:
    """Ninety points at x = 0 and two near x = 100; y is noise of 1 around both.

    The third point near x = 100 stands beside one of the two, from which only its y tells it: the
    cut that isolates it there is on y. Its codisp is due to the cut that parts the three from the
    ninety: 90 / 3, on x.
    """
    random = np.random.default_rng(1)
    rows = np.column_stack([np.zeros(92), random.uniform(size=92)])
    rows[[40, 60], 0] = 100.0
    forest = Forest(
        2, sample_size=92, score="codisp", output_after=92, initial_accept_fraction=1.0, seed=3
    )
    forest.update(rows)
    query = np.array([[100.0, rows[40, 1] + 1e-3]])
    found = forest.attribution(query).by_feature()
    assert found.total.item() > 25
    assert found.high[0, 0] > 0.95 * found.total.item()
    disp = Forest(
        2, sample_size=92, score="disp", output_after=92, initial_accept_fraction=1.0, seed=3
    )
    disp.update(rows)
    isolated = disp.attribution(query).by_feature()
    assert isolated.high[0, 0] == 0.0, "no box above x = 100 is left behind"


def twins(
    kind: str, rows: np.ndarray, shingle_size: int, seed: int, **sizes: float
) -> tuple[Forest, NaiveForest]:
    """A forest and the naive one, both having learnt the rows."""
    given = {
        "shingle_size": shingle_size,
        "trees": 4,
        "sample_size": 24,
        "time_decay": 1 / 240,
        "score": kind,
        "output_after": 3,
        "initial_accept_fraction": 0.125,
        "seed": seed,
    } | sizes
    forest = Forest(rows.shape[1], **given)
    naive = NaiveForest(features=rows.shape[1], **given)
    forest.update(rows)
    for row in rows:
        naive.process(row)
    return forest, naive


def stream(n: int, features: int, seed: int) -> np.ndarray:
    """Rounded noise, so that some points repeat, with spikes and a feature that never moves."""
    random = np.random.default_rng(seed)
    rows = np.round(2 * random.normal(size=(n, features))) / 2
    rows += 20 * (random.random((n, features)) < 0.02)
    rows[:, -1] = 3.0
    return rows


def points_of(naive: NaiveForest, rows: np.ndarray) -> np.ndarray:
    """The shingles that rows make, were they the next of the stream."""
    size = naive.shingle_size
    values = np.vstack([*naive.records[-(size - 1) :], rows]) if size > 1 else rows
    values = values.astype(np.float32)
    return np.stack([values[i : i + size].ravel() for i in range(len(rows))])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("features", "shingle_size"), [(2, 1), (3, 4), (11, 1)])
def test_attribution_agrees_with_the_naive_forest(
    kind: str, features: int, shingle_size: int
) -> None:
    rows = stream(400, features, features)
    forest, naive = twins(kind, rows[:370], shingle_size, 5)
    found = forest.attribution(rows[370:])
    for i, point in enumerate(points_of(naive, rows[370:])):
        theirs = np.mean([tree.attribution(point, kind) for tree in naive.trees], axis=0)
        ours = np.stack([found.high[i].ravel(), found.low[i].ravel()])
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6 * found.total[i]), f"record {i}"


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    features=st.integers(1, 5),
    shingle_size=st.integers(1, 4),
    box_mass=st.sampled_from([1, 6]),
    scale=st.sampled_from([1.0, 1e-30, 1e37]),
    seed=st.integers(0, 1000),
)
def test_shares_are_not_negative_sum_to_the_score_and_leave_out_what_is_inside(
    kind: str, features: int, shingle_size: int, box_mass: int, scale: float, seed: int
) -> None:
    """Within 1e-9 relative; the last feature never moves, so no box or gap says anything of it."""
    random = np.random.default_rng(seed)
    rows = stream(150, features, seed)
    queries = np.vstack(
        [rows[-10:], rows[random.integers(0, 150, 10)] + random.normal(size=features)]
    )
    queries[:, -1] = 3.0
    forest = Forest(
        features,
        shingle_size=shingle_size,
        trees=9,
        sample_size=32,
        score=kind,
        box_mass=box_mass,
        seed=seed,
    )
    forest.update(rows * scale)
    state = forest.to_bytes()
    found = forest.attribution(queries * scale)
    assert forest.to_bytes() == state
    assert np.array_equal(found.total, forest.score(queries * scale))
    assert found.high.min() >= 0.0 and found.low.min() >= 0.0
    assert sums(found.high) + sums(found.low) == pytest.approx(found.total, rel=1e-9)
    if kind != "depth" and features > 1:
        assert not found.high[..., -1].any() and not found.low[..., -1].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("down", [False, True])
def test_a_spike_is_attributed_to_its_feature_and_lag(kind: str, down: bool) -> None:
    random = np.random.default_rng(4)
    rows = random.normal(size=(1500, 3))
    forest = Forest(3, shingle_size=4, score=kind, seed=1)
    forest.update(rows)
    queries = random.normal(size=(6, 3))
    queries[1, 2] = -12.0 if down else 12.0
    found = forest.attribution(queries)
    right, wrong = (found.low, found.high) if down else (found.high, found.low)
    for lag in range(4):
        place = right[1 + lag].argmax()
        assert np.unravel_index(place, (4, 3)) == (3 - lag, 2), f"lag {lag}"
        assert right[1 + lag].max() > 0.6 * found.total[1 + lag]
        assert right[1 + lag].max() > 10 * wrong[1 + lag].max()
    whole = found.by_feature()
    assert np.argmax((whole.high + whole.low)[1]) == 2
    assert whole.high.shape == (6, 3) and found.by_lag().low.shape == (6, 4)


def test_while_warming_nothing_is_said() -> None:
    forest = Forest(2, shingle_size=3, output_after=5, seed=1)
    forest.update(np.zeros((6, 2)))
    found = forest.attribution(np.ones((2, 2)))
    assert all(np.isnan(part).all() for part in found)
    assert forest.near_neighbours([[0.0, 0.0]]) == [[]]
    forest.update([[0.0, 0.0]])
    assert not np.isnan(forest.attribution([[1.0, 1.0]]).high).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_trees_that_did_not_take_a_record_say_why_afterwards_what_all_said_before(
    kind: str,
) -> None:
    random = np.random.default_rng(5)
    forest = Forest(2, shingle_size=2, trees=200, score=kind, seed=2)
    forest.update(random.normal(size=(2000, 2)))
    query = np.array([[9.0, 0.0]])
    before = forest.attribution(query)
    score = forest.process(query)
    after = forest.attribution_of_newest(score.item())
    assert after.total == score == before.total
    assert sums(after.high) + sums(after.low) == pytest.approx(score, rel=1e-9)
    assert np.abs(after.high - before.high).sum() < 0.03 * score


def test_a_record_that_every_tree_took_is_explained_by_all() -> None:
    forest = Forest(2, trees=5, output_after=3, initial_accept_fraction=1.0, seed=2)
    forest.update([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    score = forest.process([[50.0, 0.5]]).item()
    found = forest.attribution_of_newest(score)
    assert found.high[0, 0, 0] == pytest.approx(score, rel=0.05)
    assert sums(found.high) + sums(found.low) == pytest.approx(score)


def test_a_group_is_parted_with_the_query_in_it() -> None:
    """Queries between a small group and the rest narrow the gap, on one feature more."""
    rows = np.column_stack([np.zeros(62), np.arange(62) % 7 / 7.0])
    rows[[30, 50]] = [[100.0, 40.0], [101.0, 41.0]]
    forest, naive = twins("codisp", rows, 1, 3, sample_size=62, initial_accept_fraction=1.0)
    queries = np.array([[60.0, 39.0], [99.0, 10.0], [95.0, 41.0]])
    found = forest.attribution(queries)
    for i, point in enumerate(points_of(naive, queries)):
        theirs = np.mean([tree.attribution(point, "codisp") for tree in naive.trees], axis=0)
        ours = np.stack([found.high[i].ravel(), found.low[i].ravel()])
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6 * found.total[i]), f"query {i}"
