"""Folds: from a path and its boxes to a score, without insertion.

Let v_0 (root) … v_K (leaf) be the path of query q, M_j the mass of v_j, p_j the chance that a cut
of v_j's box grown to hold q isolates q from it, p_K = 1. Were q inserted, it would become the
sibling of v_j with chance W_j = p_j (1 - p_0) … (1 - p_{j-1}), so a score's expectation is
sum_j W_j x_j, folded from the leaf up as ``s = p_j x_j + (1 - p_j) s`` and finished at the first
box that contains q: boxes are nested, so every p above it is 0.

    score    x_j                                          source
    codisp   max(M_j, largest ratio above v_j)             Guha et al. 2016, Definition 4, on a path
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
from rcf.state import Forest, Int
from rcf.vector import LANES, fold_paths

CODISP, DISP, DEPTH = range(3)  #: header word SCORE
NAMES = {"codisp": CODISP, "disp": DISP, "depth": DEPTH}


@kernel
def seen_value(score: Int, walk: Walk, lane: Int, depth: Int) -> float:
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
def scale_of(score: Int, mass: float) -> float:
    """What a tree's score is multiplied with, for a tree of `mass` points."""
    return math.log2(mass + 1.0) if score == DEPTH else 1.0


@kernel
def start_folds(forest: Forest, query: Query, walk: Walk, first: Int, score: Int) -> None:
    """Set each lane's value at its leaf, and its top.

    The top is the leaf's depth, or one more where the leaf holds a point equal to the query, so
    that nothing is to be folded.
    """
    for lane in range(LANES):
        tree = min(first + lane, forest.trees - 1)
        depth = walk.depths[lane]
        leaf = np.int64(walk.nodes[LANES * depth + lane])
        slot = leaf_slot(forest.nodes[2 * tree * forest.pairs + leaf])
        origin = np.int64(forest.origins[tree * forest.slots + slot])
        if same_point(query.values, query.at[0], forest.store, origin, forest.dimensions):
            walk.values[lane] = seen_value(score, walk, lane, depth)
            walk.tops[lane] = depth + 1
        else:
            walk.values[lane] = walk.unseen[LANES * depth + lane]
            walk.tops[lane] = depth


@kernel
def fold_trees(
    forest: Forest, query: Query, walk: Walk, first: Int, score: Int, wide: bool
) -> None:
    """Fold the paths of the eight trees from `first`: `walk.values`, `walk.tops`, `walk.chances`.

    Args:
        forest: The sections.
        query: The point.
        walk: Its paths.
        first: First of the eight trees.
        score: CODISP, DISP or DEPTH.
        wide: Whether float32 sums of sides may overflow; float64 ones are slower.
    """
    start_folds(forest, query, walk, first, score)
    if wide:
        for lane in range(LANES):
            fold_wide(forest, query, walk, min(first + lane, forest.trees - 1), lane)
        return
    fold_paths(
        forest.boxes,
        forest.ranges,
        first,
        forest.pairs,
        forest.trees - 1,
        query.row,
        walk.nodes,
        walk.unseen,
        walk.depths,
        walk.chances,
        walk.values,
        walk.tops,
        forest.row,
    )


@kernel
def fold_wide(forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int) -> None:
    """`fold_paths` for one tree, with sums of sides in float64."""
    width = forest.row.width
    if walk.tops[lane] > walk.depths[lane]:
        return
    value = walk.values[lane]
    while walk.tops[lane] > 0:
        level = walk.tops[lane] - 1
        node = np.int64(walk.nodes[LANES * level + lane])
        box = tree * forest.pairs + (left_child(forest.nodes[2 * tree * forest.pairs + node]) >> 1)
        chance = separation_wide(forest.boxes, box * width, query.row, width)
        if chance == 0.0:
            break
        walk.chances[LANES * (walk.depths[lane] - 1 - level) + lane] = chance
        value = chance * walk.unseen[LANES * level + lane] + (1.0 - chance) * value
        walk.tops[lane] = level
    walk.values[lane] = value
