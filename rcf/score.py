"""Folds: from a path and its boxes to a score, without insertion.

Let v_0 (root) … v_K (leaf) be the path of query q, M_j the mass of v_j, p_j the chance that a cut of
v_j's box grown to hold q isolates q from it, p_K = 1. Were q inserted, it would become the sibling
of v_j with chance W_j = p_j (1 - p_0) … (1 - p_{j-1}), so a score's expectation is sum_j W_j x_j,
folded from the leaf up as ``s = p_j x_j + (1 - p_j) s`` and finished at the first box that contains
q: boxes are nested, so every p above it is 0.

    score    x_j                                          source
    codisp   max(M_j, largest ratio above v_j)             Guha et al. 2016, Definition 4, on the path
    disp     M_j                                           Guha et al. 2016, Definition 2
    depth    1 / (j + 1), times log2(N + 1) at the end     AWS's expected inverse depth

with ratio_i = M(sibling of v_{i+1}) / (M_{i+1} + 1). A query equal to a leaf's point would only add
to the leaf's mass: codisp is then the largest ratio on the whole path, disp the mass of the leaf's
sibling, and depth (1 - m / 2N) / (K + log2(m + 1)) for a leaf of mass m in a tree of mass N.
"""

from __future__ import annotations

import math

import numpy as np

from rcf.cut import leaf_slot, left_child, separation_wide
from rcf.jit import kernel
from rcf.path import Query, Walk
from rcf.points import same_point
from rcf.state import Forest
from rcf.vector import LANES, box_gap

CODISP, DISP, DEPTH = range(3)  #: header word SCORE
NAMES = {"codisp": CODISP, "disp": DISP, "depth": DEPTH}

_LARGEST = np.float32(3.0e38)


@kernel
def separation_probability(forest: Forest, query: Query, box: int) -> float:
    """Chance that a random cut of a box grown to hold the query isolates the query from it.

    Args:
        forest: The sections.
        query: The point.
        box: Number of the box over all trees.

    Returns:
        Delta / (range + Delta) in [0, 1], exactly 0 inside the box.
        Source: Guha et al. 2016, Definition 1.
    """
    at = box * forest.row.width
    gap = box_gap(forest.boxes, at, query.row, forest.row)
    if gap == 0.0:
        return 0.0
    total = forest.ranges[box] + gap
    if total < _LARGEST:
        return np.float64(gap) / np.float64(total)
    return separation_wide(forest.boxes, at, query.row, forest.row.width)


@kernel
def seen_value(score: int, walk: Walk, lane: int, depth: int) -> float:
    """Score of a query that equals the point of the leaf at `depth`."""
    leaf = LANES * depth + lane
    if score == CODISP:
        return np.float64(walk.ratios[leaf])
    mass = np.float64(walk.masses[leaf])
    if score == DISP:
        return 0.0 if depth == 0 else np.float64(walk.masses[leaf - LANES]) - mass
    whole = np.float64(walk.masses[lane])
    return (1.0 - mass / (2.0 * whole)) / (depth + math.log2(mass + 1.0))


@kernel
def unseen_value(score: int, walk: Walk, lane: int, depth: int) -> float:
    """Score of a query that becomes the sibling of the path's node at `depth`."""
    node = LANES * depth + lane
    if score == CODISP:
        return np.float64(max(walk.masses[node], walk.ratios[node]))
    if score == DISP:
        return np.float64(walk.masses[node])
    return 1.0 / (depth + 1.0)


@kernel
def scale_of(score: int, mass: float) -> float:
    """What a tree's score is multiplied with, for a tree of `mass` points."""
    return math.log2(mass + 1.0) if score == DEPTH else 1.0


@kernel
def fold_score(
    forest: Forest, query: Query, walk: Walk, tree: int, lane: int, score: int
) -> tuple[float, int]:
    """Fold the path of one tree, leaf to root, and note the chances on the way.

    Returns:
        (score, top): `top` is the depth of the highest node whose box does not contain the query;
        one more than the leaf's depth where the leaf holds an equal point. `walk.chances` holds the
        separation probabilities from `top` to the leaf.
    """
    depth = walk.depths[lane]
    pairs = tree * forest.pairs
    leaf = np.int64(walk.nodes[LANES * depth + lane])
    slot = leaf_slot(forest.nodes[2 * pairs + leaf])
    origin = np.int64(forest.origins[tree * forest.slots + slot])
    if same_point(query.values, query.at[0], forest.store, origin, forest.dimensions):
        return seen_value(score, walk, lane, depth), depth + 1
    value = unseen_value(score, walk, lane, depth)
    walk.chances[depth] = 1.0
    top = depth
    while top > 0:
        node = np.int64(walk.nodes[LANES * (top - 1) + lane])
        box = pairs + (left_child(forest.nodes[2 * pairs + node]) >> 1)
        chance = separation_probability(forest, query, box)
        if chance == 0.0:
            break
        top -= 1
        walk.chances[top] = chance
        value = chance * unseen_value(score, walk, lane, top) + (1.0 - chance) * value
    return value, top
