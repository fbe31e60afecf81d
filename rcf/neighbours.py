"""Near neighbours: the sampled points that a query's paths lead to.

A path ends at the leaf whose box, of all in the tree, the cuts let stand nearest. With fifty trees
that is fifty candidates at most, usually far fewer distinct ones: an approximate answer.

Source: AWS random-cut-forest-by-aws, NearNeighborVisitor; equal points are merged by their
coordinates, not by a hash of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf import state
from rcf.state import F32, I64


class Neighbour(NamedTuple):
    """A sampled point near a query.

    Attributes:
        distance: Euclidean, at least 0, over all records of the point.
        trees: In how many trees the query's path ends at it.
        point: float32 (shingle_size, features), oldest record first.
        ago: For each time the point was seen and is still sampled, how many records before the
            newest learnt one its last record came, ascending. None stands for a time before the
            last `ring` records (see `rcf.state`), whose number is forgotten, or for a time of
            another stream that was merged; it comes last.
    """

    distance: float
    trees: int
    point: F32
    ago: tuple[int | None, ...]


def neighbours_of(forest: state.Forest, query: F32, slots: I64, distance: float) -> list[Neighbour]:
    """The distinct points of reservoir slots, those nearer than `distance`, nearest first.

    Args:
        forest: The sections, as `rcf.state.open_block` gives them.
        query: float32 (dimensions,).
        slots: int64 (trees,): slot of the leaf at which each tree's path ends, counted over all
            trees.
        distance: Above 0.
    """
    found: dict[bytes, tuple[F32, set[int], int]] = {}
    for tree, slot in enumerate(slots.tolist()):
        start = int(forest.origins[slot])
        point = forest.store[start : start + forest.dimensions].copy()
        _, origins, trees = found.get(point.tobytes(), (point, set(), 0))
        found[point.tobytes()] = (point, origins | _origins_of_leaf(forest, tree, slot), trees + 1)
    listed = [
        Neighbour(
            float(np.linalg.norm(point.astype(np.float64) - query)),
            trees,
            point.reshape(forest.shingle_size, forest.features),
            _times(forest, origins),
        )
        for point, origins, trees in found.values()
    ]
    near = [neighbour for neighbour in listed if neighbour.distance < distance]
    return sorted(near, key=lambda each: (each.distance, -each.trees, each.point.tobytes()))


def _origins_of_leaf(forest: state.Forest, tree: int, slot: int) -> set[int]:
    """Places of all points that the leaf of a slot holds."""
    own = slice(tree * forest.slots, (tree + 1) * forest.slots)
    held = (forest.leaves[own] == forest.leaves[slot]) & (forest.origins[own] >= 0)
    return set(forest.origins[own][held].tolist())


def _times(forest: state.Forest, origins: set[int]) -> tuple[int | None, ...]:
    """How many records ago the points at these places ended."""
    newest = int(forest.header[state.RECORDS]) - 1
    ago: list[int] = []
    outlived = False
    for origin in origins:
        if origin >= forest.ring_floats:
            outlived = True
            continue
        since_first = (newest - origin // forest.features) % forest.ring
        ago.append(since_first - (forest.shingle_size - 1))
    return (*sorted(ago), *((None,) if outlived else ()))
