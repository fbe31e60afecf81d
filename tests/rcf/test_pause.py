"""Score without learning: records go by, the trees stay; and the ways to say how fast to forget."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rcf import Forest, InvalidParameter
from rcf.state import open_block, words_in


def rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2)).cumsum(axis=0)


def trees_of(forest: Forest) -> list[bytes]:
    """The trees' words, keys and randomness."""
    opened = open_block(forest.block)
    return [
        words_in(opened.nodes, opened.layout).tobytes(),
        opened.keys.tobytes(),
        opened.rng.tobytes(),
    ]


def test_a_paused_forest_scores_as_it_would_in_one_call() -> None:
    """Any split of the records into calls gives the bits of `score` for all of them at once."""
    forest = Forest(2, shingle_size=4, trees=10, sample_size=32, seed=1)
    forest.update(rows(300, 1))
    ahead = rows(200, 2)
    wanted, before = forest.score(ahead), trees_of(forest)
    found = [forest.process(part, learn=False) for part in np.split(ahead, [1, 2, 50, 51, 170])]
    assert np.array_equal(np.concatenate(found), wanted)
    assert trees_of(forest) == before
    assert forest.records_seen == 500


def test_what_was_learnt_outlives_any_number_of_records_that_were_not() -> None:
    """Ten times round the ring, where points that trees hold must be kept elsewhere."""
    forest = Forest(2, trees=10, sample_size=32, seed=1)
    forest.update(rows(300, 1))
    queries = rows(50, 3)
    wanted = forest.score(queries)
    forest.process(rows(10 * forest.shape.ring, 4), learn=False)
    assert np.array_equal(forest.score(queries), wanted)
    again = Forest.from_bytes(forest.to_bytes())
    assert np.array_equal(again.process(queries), forest.process(queries))


def test_learning_goes_on_where_it_stopped() -> None:
    """Points that go by take no turn: the trees accept what they would have accepted."""
    paused, other = (Forest(2, trees=10, sample_size=32, seed=1) for _ in range(2))
    paused.update(rows(300, 1))
    other.update(rows(300, 1))
    paused.process(rows(77, 5), learn=False)
    assert np.array_equal(paused.process(rows(400, 6)), other.process(rows(400, 6)))
    assert trees_of(paused)[1:] == trees_of(other)[1:]


@pytest.mark.parametrize(
    ("said", "decay"),
    [
        ({"half_life": 100.0}, math.log(2) / 100),
        ({"window": 300.0}, 0.01),
        ({"time_decay": 0.2}, 0.2),
    ],
)
def test_forgetting_is_said_in_three_ways(said: dict[str, float], decay: float) -> None:
    forest = Forest(**said)
    assert forest.time_decay == pytest.approx(decay)
    other = Forest(time_decay=0.1)
    other.set_time_decay(**said)
    assert other.time_decay == pytest.approx(decay)


def test_half_the_weight_is_gone_after_the_half_life() -> None:
    """A uniform half of what is sampled is younger than the half-life: 50 trees x 64 points."""
    forest = Forest(trees=50, sample_size=64, half_life=1000.0, seed=3)
    n = 8000
    forest.update(np.arange(float(n))[:, None])
    opened = open_block(forest.block)
    held = opened.origins[opened.origins >= 0]
    ages = n - opened.store[held]
    assert np.mean(ages < 1000) == pytest.approx(0.5, abs=0.03)


def test_forgetting_is_said_once() -> None:
    with pytest.raises(InvalidParameter, match=r"window is 300\.0.*without half_life"):
        Forest(half_life=100.0, window=300.0)
    for said in ({"half_life": 0.5}, {"window": 2.0}, {"half_life": math.nan}):
        with pytest.raises(InvalidParameter, match=next(iter(said))):
            Forest(**said)
    with pytest.raises(InvalidParameter, match="time_decay is None"):
        Forest().set_time_decay()


def test_a_running_forest_takes_other_sizes() -> None:
    """It is the forest of those sizes that has learnt the records still held, bit for bit."""
    sizes = {"time_decay": 0.05, "score": "depth", "initial_accept_fraction": 0.5, "box_mass": 3}
    running = Forest(2, shingle_size=4, trees=10, sample_size=32, output_after=7, seed=1, **sizes)
    values = rows(2000, 1)
    running.update(values)
    held = values[-running.shape.ring :]
    assert 4 * 20 <= len(held) < len(values)
    other = running.resized(shingle_size=6, trees=5, sample_size=64, seed=9)
    fresh = Forest(2, shingle_size=6, trees=5, sample_size=64, output_after=7, seed=9, **sizes)
    fresh.update(held)
    assert other.to_bytes() == fresh.to_bytes()
    assert other.resized(seed=3).shape == other.shape
    with pytest.raises(InvalidParameter, match="trees is 0"):
        running.resized(trees=0)
