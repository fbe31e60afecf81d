"""Density and distance: by hand, beside the naive forest, and what they mean."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Forest
from rcf.density import density_of
from tests.rcf.test_attribution import points_of, stream, sums, twins
from tests.rcf.test_vectors import forest_of


def test_vectors() -> None:
    forest = forest_of([0, 1], "depth")
    distance, density = forest.distance([3.0]), forest.density([3.0])
    assert distance.total.item() == distance.high.item() == pytest.approx(8 / 3, abs=6e-6)
    assert density.total.item() == density.high.item() == pytest.approx(0.49975, abs=6e-6)
    assert not distance.low.any() and not density.low.any()


def test_density_of_parts_by_hand() -> None:
    """Two dimensions, P = (.5, 0) above and (.25, .25) below, F sums to 6 of mass 3."""
    parts = np.zeros((1, 3, 2, 2))
    parts[0, 0] = [[0.5, 0.0], [0.25, 0.25]]
    parts[0, 1] = [[3.0, 0.0], [1.5, 1.5]]
    parts[0, 2] = [[1.0, 0.0], [1.0, 0.5]]
    found, shares = density_of(parts, 3.0)
    volume = 0.75 * (2.0 / 0.75) ** 2 + 0.25 * (0.5 / 0.25) ** 2
    assert found.item() == pytest.approx(2.0 / (0.002 + volume))
    assert shares[0] == pytest.approx(parts[0, 1] * found.item() / 6)


@pytest.mark.parametrize(("features", "shingle_size"), [(2, 1), (3, 4)])
def test_both_agree_with_the_naive_forest(features: int, shingle_size: int) -> None:
    rows = stream(400, features, features)
    forest, naive = twins("codisp", rows[:370], shingle_size, 6)
    distance, density = forest.distance(rows[370:]), forest.density(rows[370:])
    mass = np.mean([tree.root.mass for tree in naive.trees if tree.root is not None])
    for i, point in enumerate(points_of(naive, rows[370:])):
        parts = np.mean([tree.interpolation(point) for tree in naive.trees], axis=0)
        ours = np.stack([distance.high[i].ravel(), distance.low[i].ravel()])
        assert ours == pytest.approx(parts[2], rel=1e-5, abs=1e-5), f"record {i}"
        total, shares = density_of(parts[None], float(mass))
        assert density.total[i] == pytest.approx(total[0], rel=1e-4), f"record {i}"
        ours = np.stack([density.high[i].ravel(), density.low[i].ravel()])
        assert ours == pytest.approx(shares[0], rel=1e-4, abs=1e-9), f"record {i}"


@pytest.mark.parametrize("box_mass", [1, 6])
def test_shares_sum_and_nothing_changes(box_mass: int) -> None:
    rows = stream(300, 3, 2)
    forest = Forest(3, shingle_size=2, trees=9, sample_size=32, box_mass=box_mass, seed=1)
    forest.update(rows[:250])
    state = forest.to_bytes()
    for found in (forest.distance(rows[250:]), forest.density(rows[250:])):
        assert found.high.min() >= 0 and found.low.min() >= 0
        assert sums(found.high) + sums(found.low) == pytest.approx(found.total, rel=1e-9)
    assert forest.to_bytes() == state


def test_a_crowd_is_denser_than_its_edge_and_the_edge_than_nowhere() -> None:
    random = np.random.default_rng(3)
    forest = Forest(2, seed=1)
    forest.update(random.normal(size=(3000, 2)))
    queries = np.array([[0.0, 0.0], [2.0, 0.0], [6.0, 0.0], [0.0, -30.0]])
    density, distance = forest.density(queries), forest.distance(queries)
    assert np.all(np.diff(density.total) < 0) and np.all(np.diff(distance.total) > 0)
    # Distances are in the unit of the values: 6 lies some 3 beyond the data, 30 some 27.
    assert distance.high[2, 0, 0] > 10 * distance.low[2, 0, 0]
    assert 25 < distance.low[3, 0, 1] < 40


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_lengths_have_a_density(scale: float) -> None:
    forest = Forest(40, trees=5, sample_size=32, seed=1)
    rows = np.random.default_rng(1).normal(size=(200, 40)) * scale
    forest.update(rows)
    density = forest.density(rows[:5] * 1.1)
    assert np.isfinite(density.total).all() and density.total.max() <= 1000.0
