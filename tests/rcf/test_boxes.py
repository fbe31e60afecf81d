"""Branches that keep no box: the same scores, state and laws, in less memory."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Forest, InvalidParameter, state
from tests.rcf.blocks import check_block

RECORDS = 700


def stream(kind: str, features: int) -> np.ndarray:
    random = np.random.default_rng(features)
    if kind == "few values":  # many equal points, so leaves of many points
        return random.integers(0, 3, (RECORDS, features)).astype(float)
    rows = random.normal(size=(RECORDS, features)).cumsum(axis=0)
    if kind == "drift":
        return rows
    rows[::50] *= 3e36  # sums of sides overflow float32
    return rows


@pytest.mark.parametrize("kind", ["few values", "drift", "huge"])
@pytest.mark.parametrize(("features", "shingle"), [(1, 1), (1, 4), (3, 2), (2, 9)])
def test_scores_do_not_depend_on_which_boxes_are_kept(kind, features, shingle):
    rows = stream(kind, features)
    expected = None
    for box_mass in (1, 2, 3, 8, 40, 1000):
        forest = Forest(
            features, shingle_size=shingle, trees=11, sample_size=48, box_mass=box_mass, seed=5
        )
        found = [forest.process(rows[:500])]
        check_block(forest.block, rows[:500].astype(np.float32))
        # A restored forest numbers its rows anew, and goes on alike.
        forest = Forest.from_bytes(forest.to_bytes())
        check_block(forest.block, rows[:500].astype(np.float32))
        found += [forest.score(rows[500:520]), forest.process(rows[500:])]
        check_block(forest.block, rows.astype(np.float32))
        scores = np.concatenate(found)
        expected = scores if expected is None else expected
        assert np.array_equal(scores, expected, equal_nan=True)


def test_room_for_boxes_grows_when_trees_need_more_than_usual():
    """One far point after the other: every cut parts the newest, so nearly all branches are big."""
    rows = 4.0 ** (np.arange(120) - 60)
    forest = Forest(1, trees=30, sample_size=100, box_mass=3, initial_accept_fraction=1.0, seed=2)
    before = forest.shape.rows
    forest.process(rows)
    assert forest.shape.rows > before
    check_block(forest.block, rows.astype(np.float32).reshape(-1, 1))
    assert forest.nbytes < Forest(1, trees=30, sample_size=100, seed=2).nbytes * 1.1


def test_memory_falls_as_fewer_boxes_are_kept():
    rows = stream("drift", 5)
    sizes = []
    for box_mass in (1, 4, 8, 16):
        forest = Forest(5, shingle_size=8, box_mass=box_mass)
        forest.process(rows)
        sizes.append(forest.nbytes)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.45 * sizes[0]


@pytest.mark.parametrize("value", [0, -1, 16_384, 1.5, True, "8"])
def test_a_box_mass_that_is_none_is_refused(value):
    with pytest.raises(InvalidParameter) as caught:
        Forest(1, box_mass=value)
    assert caught.value.field == "box_mass"
    assert Forest(1, trees=1, box_mass=state.MAX_SAMPLE_SIZE).shape.box_mass == 16_383
