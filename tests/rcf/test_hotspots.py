"""Hotspots: DBSCAN beside one written from its definition, sizes, densities and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcf import Forest, InvalidParameter
from rcf.hotspots import NOISE, cluster, find_hotspots


def naive_cluster(rows: np.ndarray, radius: float, least: int) -> list[int]:
    """Ester et al. 1996, Algorithm DBSCAN: points in order, clusters expanded one by one."""
    neighbours = [
        [j for j in range(len(rows)) if np.linalg.norm(rows[i] - rows[j]) <= radius]
        for i in range(len(rows))
    ]
    labels: list[int | None] = [None] * len(rows)
    clusters = 0
    for i in range(len(rows)):
        if labels[i] is not None:
            continue
        if len(neighbours[i]) < least:
            labels[i] = NOISE
            continue
        labels[i] = clusters
        seeds = list(neighbours[i])
        while seeds:
            j = seeds.pop(0)
            if labels[j] in (None, NOISE):
                fresh = labels[j] is None
                labels[j] = clusters
                if fresh and len(neighbours[j]) >= least:
                    seeds += neighbours[j]
        clusters += 1
    return [NOISE if label is None else label for label in labels]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 60),
    features=st.integers(1, 3),
    least=st.integers(1, 6),
    radius=st.sampled_from([0.3, 0.7, 1.0, 2.0]),
)
def test_clusters_are_those_of_the_definition(
    seed: int, n: int, features: int, least: int, radius: float
) -> None:
    rows = np.random.default_rng(seed).integers(0, 8, size=(n, features)) / 2
    assert cluster(rows, radius, least).tolist() == naive_cluster(rows, radius, least)


def test_two_crowds_and_noise_between() -> None:
    random = np.random.default_rng(1)
    crowd = np.array([10.0, 10.0]) + random.uniform(-1, 1, size=(60, 2))
    loose = np.array([-10.0, 0.0]) + random.uniform(-1.5, 1.5, size=(30, 2))
    noise = np.array([0.0, 300.0]) + random.uniform(-100, 100, size=(10, 2))
    first, second = find_hotspots(np.vstack([loose, noise, crowd]), 1.0, 5)
    assert (first.records, second.records) == (60, 30)
    assert np.array_equal(first.low, crowd.min(axis=0))
    assert np.array_equal(first.high, crowd.max(axis=0))
    sides = crowd.max(axis=0) - crowd.min(axis=0)
    assert first.density == pytest.approx(60 / sides.prod())
    assert first.holds(np.array([11.5, 9.0]), 1.0) and not first.holds(np.array([12.5, 9.0]), 1.0)


def test_an_extent_counts_as_at_least_the_radius() -> None:
    (spot,) = find_hotspots(np.column_stack([np.arange(10.0), np.zeros(10)]), 1.5, 3)
    assert spot.density == pytest.approx(10 / (9.0 * 1.5))


def test_a_forest_looks_at_its_last_records() -> None:
    random = np.random.default_rng(2)
    forest = Forest(1, seed=1)
    forest.update(random.normal(size=(500, 1)))
    forest.update(50 + random.normal(size=(200, 1)))
    (spot,) = forest.hotspots(window=150, radius=1.0, least=20)
    assert 45 < spot.low[0] < spot.high[0] < 55
    assert len(forest.hotspots(window=400, radius=1.0, least=20)) == 2
    assert Forest(1).hotspots(window=100, radius=1.0, least=2) == []


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("window", {"window": 99}),
        ("window", {"window": 1001}),
        ("radius", {"radius": 0.0}),
        ("radius", {"radius": float("nan")}),
        ("least", {"least": 1}),
        ("least", {"least": 201}),
    ],
)
def test_limits_are_those_of_kinesis(field: str, given: dict[str, float]) -> None:
    forest = Forest(1)
    forest.update(np.zeros(300))
    limits = {"window": 200, "radius": 1.0, "least": 5} | given
    with pytest.raises(InvalidParameter, match=field):
        forest.hotspots(**limits)  # type: ignore[arg-type]  # floats and integers in one dict


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"values\[1\]\[0\]"):
        find_hotspots([[1.0, 2.0], [np.nan, 1.0]], 1.0, 2)


@pytest.mark.parametrize("scale", [1e-38, 1e38])
def test_extremes_have_a_size(scale: float) -> None:
    (spot,) = find_hotspots(np.linspace(0, scale, 20), scale, 2)
    assert spot.records == 20 and spot.density > 0
