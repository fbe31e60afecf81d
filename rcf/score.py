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
    blend    depth x (codisp / 0.15 N)^b, of means over trees   b = (1 - 1 / features) / 2

with ratio_i = M(sibling of v_{i+1}) / (M_{i+1} + 1). A query equal to a leaf's point would only add
to the leaf's mass: codisp is then the largest ratio on the whole path, disp the mass of the leaf's
sibling, and depth (1 - m / 2N) / (K + log2(m + 1)) for a leaf of mass m in a tree of mass N.

Depth ranks the records of one feature better; displacement those of many, few of which deviate:
cuts of the others blur an anomaly's depth, and not the mass that its insertion would displace. The
blend goes from one to the other as features grow, and stays on the scale of depth: where depth is
at the bar of anomalies, 2.4, displacement is 0.15 N in series of one feature and of many. One walk
serves both folds: the first one keeps the chances that it finds, and the second one sums them up.
"""

from __future__ import annotations

import math

import numpy as np

from rcf.box import hold_points
from rcf.cut import leaf_slot, separation_wide
from rcf.jit import formula, kernel
from rcf.pair import base_of, mass_of, row_of
from rcf.path import Query, Walk
from rcf.points import same_point
from rcf.state import Forest, Int
from rcf.vector import LANES, box_gap, box_union, fold_paths, point_row

CODISP, DISP, DEPTH, BLEND = range(4)  #: header word SCORE
NAMES = {"codisp": CODISP, "disp": DISP, "depth": DEPTH, "blend": BLEND}

_ANOMALOUS_SHARE = 0.15  # of the sample, displaced by a point whose depth score is 2.4


def name_of(score: int) -> str:
    """Name of a score's number."""
    return next(name for name, number in NAMES.items() if number == score)


@kernel
def seen_value(forest: Forest, walk: Walk, tree: Int, lane: Int, leaf: Int, score: Int) -> float:
    """Score of a query that equals the point of the leaf at word `leaf`, where its path ends."""
    if score == CODISP:
        return np.float64(walk.ratios[lane])
    if score == DISP:
        return 0.0 if leaf == base_of(forest, tree) else np.float64(mass_of(forest, leaf ^ 1))
    return seen_depth(forest, walk, tree, lane, leaf)


@kernel
def seen_depth(forest: Forest, walk: Walk, tree: Int, lane: Int, leaf: Int) -> float:
    """Inverse depth of a query that equals the point of the leaf at word `leaf`."""
    mass = np.float64(mass_of(forest, leaf))
    whole = np.float64(mass_of(forest, base_of(forest, tree)))
    return float((1.0 - mass / (2.0 * whole)) / (walk.depths[lane] + math.log2(mass + 1.0)))


@kernel
def scale_of(forest: Forest, score: Int, tree: Int) -> float:
    """What a tree's score is multiplied with."""
    if score != DEPTH:
        return 1.0
    return math.log2(np.float64(mass_of(forest, base_of(forest, tree))) + 1.0)


@kernel
def start_folds(
    forest: Forest, query: Query, walk: Walk, first: Int, score: Int, wide: bool
) -> None:
    """Set each lane's value, top and start; fold what lies below the lowest kept box.

    Where the leaf holds a point equal to the query, nothing is to be folded: the top is one more
    than the leaf's depth.
    """
    for lane in range(LANES):
        tree = min(first + lane, forest.trees - 1)
        depth = walk.depths[lane]
        leaf = np.int64(walk.nodes[LANES * depth + lane])
        slot = leaf_slot(forest.nodes[leaf])
        origin = np.int64(forest.origins[tree * forest.slots + slot])
        walk.starts[lane] = depth
        if same_point(query.values, query.at[0], forest.store, origin, forest.dimensions):
            walk.values[lane] = seen_value(forest, walk, tree, lane, leaf, score)
            walk.tops[lane] = depth + 1
        else:
            walk.values[lane] = walk.unseen[LANES * depth + lane]
            walk.tops[lane] = depth
            if forest.box_mass > 1:
                fold_small(forest, query, walk, tree, lane, origin, wide)


@kernel
def fold_trees(
    forest: Forest, query: Query, walk: Walk, first: Int, score: Int, wide: bool
) -> None:
    """Fold the paths of the eight trees from `first`: values, tops and chances of `walk`.

    Args:
        forest: The sections.
        query: The point.
        walk: Its paths.
        first: First of the eight trees.
        score: CODISP, DISP or DEPTH.
        wide: Whether float32 sums of sides may overflow; float64 ones are slower.
    """
    start_folds(forest, query, walk, first, score, wide)
    if wide:
        for lane in range(LANES):
            fold_wide(forest, query, walk, lane)
        return
    fold_paths(
        forest.nodes,
        forest.box_rows,
        forest.boxes,
        query.row,
        walk.nodes,
        walk.unseen,
        walk.starts,
        walk.chances,
        walk.values,
        walk.tops,
        forest.row,
        forest.layout,
    )


@kernel
def fold_small(
    forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int, origin: Int, wide: bool
) -> None:
    """Fold the branches of a path that keep no box; their boxes grow from the leaf's point up.

    Args:
        forest: The sections.
        query: The point, not equal to the leaf's.
        walk: Its paths; value, top, start and `small` are changed.
        tree: The tree.
        lane: Its lane.
        origin: Where the leaf's point starts in the store.
        wide: See `fold_trees`.
    """
    width = forest.row.width
    depth = walk.depths[lane]
    level, value = depth, walk.values[lane]
    point_row(walk.row, 0, forest.store, origin, forest.dimensions, 0.0, forest.row)
    while level > 0:
        node = np.int64(walk.nodes[LANES * (level - 1) + lane])
        if mass_of(forest, node) > forest.box_mass:
            break
        below = np.int64(walk.nodes[LANES * level + lane])
        hold_points(forest, walk, tree, below ^ 1, walk.row, 0)
        if wide:
            chance = separation_wide(walk.row, 0, query.row, width)
        else:
            sides = box_union(walk.row, 0, walk.row, 0, walk.row, 0, forest.row)
            gap = box_gap(walk.row, 0, query.row, forest.row)
            chance = np.float64(gap / (sides + gap)) if gap > 0.0 else 0.0
        if chance == 0.0:
            walk.starts[lane] = level - 1
            break
        walk.small[LANES * (depth - level) + lane] = chance
        level -= 1
        value = chance * walk.unseen[LANES * level + lane] + (1.0 - chance) * value
        walk.starts[lane] = level
    walk.tops[lane] = level
    walk.values[lane] = value


@kernel
def fold_wide(forest: Forest, query: Query, walk: Walk, lane: Int) -> None:
    """`fold_paths` for one tree, with sums of sides in float64."""
    width = forest.row.width
    start = walk.starts[lane]
    if walk.tops[lane] > start:
        return
    value = walk.values[lane]
    while walk.tops[lane] > 0:
        level = walk.tops[lane] - 1
        # Siblings share a pair, and a branch's box is filed under its children's.
        child = np.int64(walk.nodes[LANES * walk.tops[lane] + lane])
        kept = row_of(forest, child & -2)
        chance = separation_wide(forest.boxes, kept * width, query.row, width)
        if chance == 0.0:
            break
        walk.chances[LANES * (start - 1 - level) + lane] = chance
        value = chance * walk.unseen[LANES * level + lane] + (1.0 - chance) * value
        walk.tops[lane] = level
    walk.values[lane] = value


@kernel
def chance_at(walk: Walk, lane: Int, level: Int) -> float:
    """Chance that a cut separates the query from the branch at `level`, from the top down."""
    start = walk.starts[lane]
    if level >= start:
        return np.float64(walk.small[LANES * (walk.depths[lane] - 1 - level) + lane])
    return np.float64(walk.chances[LANES * (start - 1 - level) + lane])


@kernel
def depth_of(forest: Forest, walk: Walk, tree: Int, lane: Int) -> float:
    """Inverse depth of a query from the chances that a fold of another score has left.

    Args:
        forest: The sections.
        walk: Paths that `fold_trees` has folded.
        tree: The tree.
        lane: Its lane.
    """
    depth, top = walk.depths[lane], walk.tops[lane]
    scale = scale_of(forest, DEPTH, tree)
    if top > depth:
        leaf = np.int64(walk.nodes[LANES * depth + lane])
        return float(scale * seen_depth(forest, walk, tree, lane, leaf))
    value = 1.0 / (depth + 1.0)
    for level in range(depth - 1, top - 1, -1):
        chance = chance_at(walk, lane, level)
        value = chance / (level + 1.0) + (1.0 - chance) * value
    return float(scale * value)


@kernel
def blended(forest: Forest, depth: float, displacement: float) -> float:
    """The blend of a point's depth score and its displacement, both at least 0."""
    mass = 0.0
    for tree in range(forest.trees):
        mass += forest.sizes[tree]
    ordinary = _ANOMALOUS_SHARE * mass / forest.trees
    return float(depth * (displacement / ordinary) ** blend_exponent(forest.features))


@formula
def blend_exponent(features: Int) -> float:
    """The exponent of displacement in the blend; that of depth is 1."""
    return 0.5 - 0.5 / features
