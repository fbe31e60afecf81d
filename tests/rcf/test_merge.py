"""Forests become one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from rcf import Detector, Forest, InvalidParameter, state
from tests.rcf.blocks import Block, check_block

SIZES: dict[str, Any] = {"shingle_size": 3, "trees": 11, "sample_size": 24, "output_after": 5}


def stream(n: int, seed: int, features: int = 2) -> np.ndarray:
    """float32 (n, features), half of it on a coarse grid: many points are equal."""
    rows = np.random.default_rng(seed).normal(size=(n, features))
    rows[: n // 2] = np.round(rows[: n // 2])
    return rows.astype(np.float32)


def taught(rows: np.ndarray, **parameters: Any) -> Forest:
    forest = Forest(rows.shape[1], **SIZES | parameters)
    forest.update(rows)
    return forest


def merged(first: Forest, *others: Forest) -> Forest:
    """A copy of the first one, merged with the others."""
    forest = copy.copy(first)
    forest.merge(*others)
    return forest


@pytest.mark.parametrize("box_mass", [1, 4])
@pytest.mark.parametrize(("own", "others"), [(300, 500), (10, 4), (300, 7), (0, 300), (2, 300)])
@pytest.mark.parametrize("decay", [0.0, 0.004, 0.3])
def test_the_state_holds_and_goes_on(own: int, others: int, box_mass: int, decay: float) -> None:
    """Masses, hulls, reservoirs and store recounted after merging, and again after a while."""
    one, two = stream(own, 1), stream(others, 2)
    first = taught(one, time_decay=decay, box_mass=box_mass, seed=1)
    second = taught(two, time_decay=0.01, initial_accept_fraction=1.0, seed=2)
    before = first.to_bytes(), second.to_bytes()
    forest = merged(first, second)
    assert (first.to_bytes(), second.to_bytes()) == before
    check_block(forest.block, one, two)
    again = Forest.from_bytes(forest.to_bytes())
    more = stream(400, 3)
    assert np.array_equal(forest.process(more), again.process(more), equal_nan=True)
    check_block(forest.block, np.concatenate([one, more]), two)


@pytest.mark.parametrize(("trees", "sample_size", "decay"), [(100, 4, 3e-5), (200, 8, 1 / 80)])
def test_many_small_trees_find_room(trees: int, sample_size: int, decay: float) -> None:
    """A point that plants a tree is kept a second time for the others."""
    sizes = {"trees": trees, "sample_size": sample_size, "time_decay": decay}
    rows = stream(32 * sample_size, 1)
    old = taught(rows, seed=1, **sizes)
    new = Forest(2, **SIZES | sizes)
    new.merge(old)
    check_block(new.block, rows[:0], rows)
    forest = state.open_block(new.block)
    assert forest.header[state.KEPT_USED] <= forest.header[state.KEPT]


def test_a_sample_holds_the_smallest_keys_of_both() -> None:
    """As of one moment: an epoch or a decay of its own does not make a stream's points newer."""
    first = taught(stream(3000, 1), time_decay=0.01, seed=1)
    second = taught(stream(900, 2), time_decay=0.03, seed=2)
    keys = []
    for forest in (first, second, merged(first, second)):
        block = Block(forest.block)
        reals, header = block.forest.reals, block.forest.header
        age = int(header[16] - header[18])
        keys.append(np.sort(block.keys[block.keys >= 0].reshape(11, -1) * np.exp(reals[0] * age)))
    both = np.sort(np.concatenate(keys[:2], axis=1))[:, :24]
    assert np.allclose(keys[2], both, rtol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.002])
def test_shares_are_those_of_one_reservoir_over_both(decay: float) -> None:
    """Of each stream's points a share as large as that of its weight, within four deviations."""
    sizes = {"shingle_size": 1, "trees": 400, "sample_size": 16, "time_decay": decay}
    ages = [900, 500]
    weights = [np.exp(-decay * np.arange(n)).sum() for n in ages]
    forests = [
        taught(np.full((n, 1), float(i)) + np.linspace(0, 0.5, n)[:, None], seed=i, **sizes)
        for i, n in enumerate(ages)
    ]
    values = Block(merged(*forests).block).sampled()
    share, expected = np.mean(values < 1.0), weights[0] / sum(weights)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / values.size)


def test_what_either_knew_is_ordinary() -> None:
    rng = np.random.default_rng(4)
    left, right = rng.normal(0, 1, (2000, 2)), rng.normal(30, 1, (2000, 2))
    sizes = {"shingle_size": 1, "trees": 50, "sample_size": 256}
    first, second = taught(left, seed=1, **sizes), taught(right, seed=2, **sizes)
    both = merged(first, second)
    probes = np.array([[0.0, 0.0], [30.0, 30.0], [15.0, 15.0]])
    assert first.score(probes)[1] > 100 and both.score(probes)[:2].max() < 5
    assert both.score(probes)[2] > 50
    mixed = taught(np.stack([left, right], axis=1).reshape(-1, 2), seed=3, **sizes)
    assert both.score(left).mean() == pytest.approx(mixed.score(left).mean(), rel=0.1)


def test_a_new_forest_starts_with_what_an_old_one_knows() -> None:
    """Its shingles are its own: none is made of records of two streams."""
    old, rows = taught(stream(600, 1), seed=1), stream(40, 5)
    forest = Forest(2, **SIZES, seed=9)
    forest.merge(old)
    scores = forest.process(rows)
    assert np.isnan(scores[:2]).all() and not np.isnan(scores[2:]).any()
    assert forest.records_seen == 40


def test_what_has_learnt_nothing_adds_nothing() -> None:
    rows = stream(300, 1)
    forest = taught(rows, seed=1)
    other = merged(forest, Forest(2, **SIZES))
    check_block(other.block, rows)
    probes = stream(20, 2)
    assert np.array_equal(other.score(probes), forest.score(probes))


def test_a_new_detector_judges_by_what_others_have_learnt() -> None:
    """From its first record on, but by thresholds of its own."""
    sizes: dict[str, Any] = {"trees": 10, "sample_size": 64}
    rows = np.random.default_rng(5).normal(size=(1500, 2))
    others = [Detector(2, seed=seed, **sizes) for seed in (1, 2)]
    for number, other in enumerate(others):
        other.process(rows[500 * number : 500 * number + 500])
    states = [other.to_bytes() for other in others]
    detector = Detector(2, seed=3, **sizes)
    detector.merge(*others)
    assert [other.to_bytes() for other in others] == states
    again = Detector.from_bytes(detector.to_bytes())
    known = np.concatenate([rows[1000:1300], [[12.0, -12.0]]])
    found = detector.process(known)
    assert not np.isnan(found.score).any() and detector.values_seen == 301
    assert found.grade[-1] > 0.5 and (found.grade[:-1] > 0).sum() <= 2
    assert found.threshold[0] != others[0].score(rows[:1]).threshold[0]
    for one, other in zip(found, again.process(known), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    with pytest.raises(InvalidParameter, match="of another kind"):
        detector.merge(others[0], Detector(2, **sizes | {"trees": 11}))


def test_neighbours_are_found_before_the_stream_has_a_whole_point() -> None:
    forest = Forest(2, **SIZES)
    forest.merge(taught(stream(600, 1), seed=1))
    found = forest.near_neighbours(stream(5, 2))
    assert [len(near) > 0 for near in found] == [False, False, True, True, True]


@pytest.mark.parametrize(
    "other",
    [{"trees": 5}, {"shingle_size": 4}, {"features": 3}, {"sample_size": 23}],
    ids=str,
)
def test_forests_of_other_sizes_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidParameter, match=f"others is '[0-9]+ {next(iter(other))}'; allowed: "
    ):
        Forest(2, **SIZES).merge(Forest(2, **SIZES), Forest(**{"features": 2, **SIZES, **other}))
    with pytest.raises(InvalidParameter, match="at least one forest"):
        Forest(2, **SIZES).merge()


def test_several_at_once_are_as_one_after_the_other() -> None:
    """The samples are the same; the trees are random."""
    forests = [taught(stream(400 + 100 * seed, seed), seed=seed) for seed in range(4)]
    at_once = merged(*forests)
    in_turn = merged(merged(merged(*forests[:2]), forests[2]), forests[3])
    check_block(at_once.block, stream(400, 0), *(stream(400 + 100 * i, i) for i in (1, 2, 3)))
    keys = [np.sort(Block(forest.block).keys, axis=1) for forest in (at_once, in_turn)]
    assert np.allclose(keys[0], keys[1], rtol=1e-5)


def test_detectors_that_weigh_features_otherwise_are_refused() -> None:
    one, other = (
        Detector(2, trees=3, sample_size=16, transform="robust", weights=weights)
        for weights in ([1.0, 1.0], [1000.0, 0.0])
    )
    with pytest.raises(InvalidParameter, match="others"):
        one.merge(other)
    one.merge(copy.copy(one))
