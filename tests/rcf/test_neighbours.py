"""Near neighbours: points, distances, counts, and when they were seen."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Forest, InvalidParameter
from tests.rcf.blocks import Block


def grid_forest(**sizes: float) -> tuple[Forest, np.ndarray]:
    """A forest over records whose values tell which they are: (i mod 50, i // 50)."""
    i = np.arange(900)
    rows = np.column_stack([i % 50, i // 50]).astype(float)
    forest = Forest(2, trees=20, sample_size=64, seed=3, **sizes)
    forest.update(rows)
    return forest, rows


def test_points_distances_and_times_are_those_of_records() -> None:
    forest, rows = grid_forest(shingle_size=3)
    query = np.vstack([rows[700:703]]) + 0.25
    found = forest.near_neighbours(query)[2]
    assert 1 < len(found) <= 20
    assert sum(each.trees for each in found) == 20
    distances = [each.distance for each in found]
    assert distances == sorted(distances)
    for each in found:
        assert each.point.shape == (3, 2)
        assert each.distance == pytest.approx(float(np.linalg.norm(each.point - query)))
        (ago,) = each.ago
        assert ago is not None
        end = len(rows) - ago
        assert np.array_equal(rows[end - 3 : end], each.point)


def test_what_is_sampled_is_found_and_only_what_is_nearer_than_asked() -> None:
    forest, _ = grid_forest()
    points = Block(forest.block).tree(0).points
    point = next(iter(points.values())).astype(float)
    first = forest.near_neighbours(point)[0][0]
    assert first.distance == 0.0 and np.array_equal(first.point[0], point)
    everything = forest.near_neighbours(point + 0.3)[0]
    limit = everything[len(everything) // 2].distance
    nearer = forest.near_neighbours(point + 0.3, distance=limit)[0]
    assert [n.distance for n in nearer] == [
        d for d in [n.distance for n in everything] if d < limit
    ]
    assert nearer
    assert forest.near_neighbours(point, distance=1e-9)[0][0].distance == 0.0


def test_equal_points_are_one_neighbour_seen_several_times() -> None:
    forest = Forest(1, trees=5, sample_size=8, output_after=1, initial_accept_fraction=1.0, seed=1)
    forest.update([1.0, 7.0, 1.0, 1.0, 7.0, 1.0])
    near, far = forest.near_neighbours([1.0, 6.9])
    assert [(each.distance, each.trees, each.ago) for each in near] == [(0.0, 5, (0, 2, 3, 5))]
    assert [(each.trees, each.ago) for each in far] == [(5, (1, 4))]


def test_points_that_outlived_the_ring_have_no_number() -> None:
    forest = Forest(1, trees=5, sample_size=8, time_decay=0.5, output_after=1, seed=1)
    forest.update(np.arange(30.0))
    forest.set_time_decay(0.0)
    forest.update(np.arange(30.0, 30.0 + 2 * forest.shape.ring))
    found = [
        each for query in np.arange(0.0, 300.0, 5.0) for each in forest.near_neighbours([query])[0]
    ]
    numbers = {float(each.point[0, 0]): each.ago for each in found}
    outlived = {value for value, ago in numbers.items() if ago == (None,)}
    assert outlived and len(outlived) < len(numbers)
    newest = forest.records_seen - 1
    assert max(outlived) <= newest - forest.shape.ring
    assert all(newest - ago[0] == v for v, ago in numbers.items() if ago[0] is not None)


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan"), "near"])
def test_a_distance_that_is_none_is_refused(distance: object) -> None:
    forest, _ = grid_forest()
    with pytest.raises(InvalidParameter, match="distance"):
        forest.near_neighbours([[0.0, 0.0]], distance=distance)  # type: ignore[arg-type]  # wrong on purpose


def test_recent_records_are_the_last_ones() -> None:
    forest, rows = grid_forest(time_decay=0.1)
    assert forest.shape.ring < len(rows)
    assert np.array_equal(forest.recent(10), rows[-10:])
    assert np.array_equal(forest.recent(10**6), rows[-forest.shape.ring :])
    assert Forest(2).recent(5).shape == (0, 2)
