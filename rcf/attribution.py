"""Attribution: a path folded into the score's shares per dimension, high and low.

Every score of `rcf.score` is what one cut does: the insertion of query q puts one cut above a group
that holds q, and the score is that cut's displacement or depth. Which side of which dimension the
cut lies on is the share. In the notation of `rcf.score`, the score is ``sum_j W_j x_j``, where W_j
is the chance that q becomes the sibling of v_j:

    **The cut that isolates q** beside v_j is drawn from v_j's box grown to hold q, and is a uniform
    one among those that separate the two (Guha et al. 2016, Definition 1). With the gap d_h by
    which q lies beyond the box at face h (a dimension, from above or below) it is on h with chance
    ``d_h / sum d``. So face h gets ``sum_j W_j x_j d_h / sum d``. That is all of depth and of disp.

    **The cut that parts q's group** from its sibling is what codisp is due to where the largest
    ratio above v_j exceeds M_j: not q alone is displaced, but the group C below v_{i+1} together
    with q. The partition of v_i's points into C and the sibling S is known; the cut that made it
    is a uniform one among those that make it, which lie in the gaps between the boxes of C with q
    and of S. So the weight W_j x_j goes to face h in proportion to that gap: where C lies above S,
    to "high". There always is one: the cut itself lies in it.

Both are the chance that the cut lies on h given what it parts: expectations, not the dimensions of
single cuts, which are noisier. Shares are never negative and sum to the score, because W_j x_j is
handed out whole. A dimension whose value lies within every box that the path passes, siblings
included, gets none.

**A query equal to a leaf's point** would join the leaf. Under disp the group is the leaf, under
codisp the group of the largest ratio. The depth of a point has no such cut; as in AWS's library
the leaf is thought away: half a share each to all faces, then the fold of above over boxes of the
siblings met so far ("shadow boxes"), scaled to the score.

Source for depth: AWS random-cut-forest-by-aws, AbstractAttributionVisitor.
"""

from __future__ import annotations

import numpy as np

from rcf.box import find_box
from rcf.cut import separation_wide
from rcf.faces import box_gap_wide, box_sides_wide, spread_gaps, spread_parting
from rcf.jit import kernel
from rcf.pair import mass_of
from rcf.path import Query, Walk
from rcf.score import CODISP, DEPTH, chance_at, scale_of
from rcf.state import F32, F64, Forest, Int
from rcf.vector import LANES, box_union


@kernel
def node_at(walk: Walk, lane: Int, level: Int) -> Int:
    """Word of the node of a path at a depth."""
    return np.int64(walk.nodes[LANES * level + lane])


@kernel
def separation_at(
    forest: Forest, query: Query, walk: Walk, lane: Int, level: Int, box: F32, at: Int, wide: bool
) -> float:
    """Chance that a cut separates the query from the node at `level`, as the score was folded.

    Args:
        forest: The sections.
        query: The point.
        walk: Its paths, folded.
        lane: The tree's lane.
        level: Not above the path's top.
        box: float32 rows.
        at: Where the node's row starts.
        wide: See `rcf.score.fold_trees`.
    """
    if level == walk.depths[lane]:
        return 1.0
    if wide:
        return separation_wide(box, at, query.row, forest.row.width)
    return chance_at(walk, lane, level)


@kernel
def attribute(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    score: Int,
    wide: bool,
    shares: F64,
    at: Int,
    own: F64,
) -> None:
    """Add one tree's attribution to `shares[at:]`.

    Args:
        forest: The sections.
        query: The point.
        walk: Its paths, folded by `rcf.score.fold_trees`; room for rows is overwritten.
        tree: The tree.
        lane: Its lane.
        score: CODISP, DISP or DEPTH.
        wide: See `rcf.score.fold_trees`.
        shares: float64, out: dimensions shares above, then as many below; they sum to the tree's
            score, `walk.values[lane]` times `rcf.score.scale_of`.
        at: Where they start.
        own: float64 (2 dimensions,), room.
    """
    scale = scale_of(forest, score, tree)
    if walk.tops[lane] > walk.depths[lane]:
        attribute_seen(forest, query, walk, tree, lane, score, scale, shares, at, own)
    else:
        attribute_unseen(forest, query, walk, tree, lane, score, scale, wide, shares, at)


@kernel
def attribute_unseen(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    score: Int,
    scale: float,
    wide: bool,
    shares: F64,
    at: Int,
) -> None:
    """`attribute` where the leaf's point differs from the query."""
    depth, top = walk.depths[lane], walk.tops[lane]
    reached, waiting = scale, 0.0  # not yet separated; due to the group, not yet handed out
    group, largest = np.int64(0), np.float32(0.0)
    for level in range(depth + 1):
        node = node_at(walk, lane, level)
        if score == CODISP and level > 0:
            ratio = ratio_of(forest, node)
            if ratio > largest:
                part_group(forest, query, walk, tree, lane, group, waiting, shares, at)
                group, largest, waiting = np.int64(level), ratio, 0.0
        if level < top:
            continue
        box, place = find_box(forest, walk, tree, node, walk.row)
        chance = separation_at(forest, query, walk, lane, level, box, place, wide)
        value = walk.unseen[LANES * level + lane]
        weight = reached * chance * np.float64(value)
        reached *= 1.0 - chance
        if score == CODISP and value > np.float32(mass_of(forest, node)):
            waiting += weight
        else:
            spread_gaps(box, place, query.row, forest.dimensions, forest.row, weight, shares, at)
    part_group(forest, query, walk, tree, lane, group, waiting, shares, at)


@kernel
def ratio_of(forest: Forest, node: Int) -> np.float32:
    """Mass of a node's sibling over its own and one, with the bits of the descent."""
    mass, beside = np.float32(mass_of(forest, node)), np.float32(mass_of(forest, node ^ 1))
    return beside / (mass + np.float32(1.0))


@kernel
def part_group(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    level: Int,
    weight: float,
    shares: F64,
    at: Int,
) -> None:
    """Hand out `weight` to the faces at which the node at `level` with the query is parted."""
    if weight == 0.0:
        return
    node = node_at(walk, lane, level)
    own, own_at = find_box(forest, walk, tree, node, walk.row)
    box_union(walk.edge, 0, own, own_at, query.row, 0, forest.row)
    other, other_at = find_box(forest, walk, tree, node ^ 1, walk.other)
    spread_parting(walk.edge, other, other_at, forest.dimensions, forest.row, weight, shares, at)


@kernel
def attribute_seen(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    score: Int,
    scale: float,
    shares: F64,
    at: Int,
    own: F64,
) -> None:
    """`attribute` where the leaf's point equals the query."""
    value = np.float64(walk.values[lane]) * scale
    if score == DEPTH:
        for face in range(2 * forest.dimensions):
            own[face] = value / (2 * forest.dimensions)
        fold_shadow(forest, query, walk, tree, lane, own)
        total = 0.0
        for face in range(2 * forest.dimensions):
            total += own[face]
        for face in range(2 * forest.dimensions):
            shares[at + face] += own[face] * (value / total)
        return
    group, largest = np.int64(walk.depths[lane]), np.float32(0.0)
    if score == CODISP:
        for level in range(1, walk.depths[lane] + 1):
            ratio = ratio_of(forest, node_at(walk, lane, level))
            if ratio > largest:
                group, largest = np.int64(level), ratio
    part_group(forest, query, walk, tree, lane, group, value, shares, at)


@kernel
def fold_shadow(forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int, own: F64) -> None:
    """Fold depth shares upwards from the leaf's parent over boxes without the leaf."""
    for level in range(walk.depths[lane] - 1, -1, -1):
        chance = grow_shadow(forest, query, walk, tree, lane, level)
        if chance == 0.0:
            return
        for face in range(2 * forest.dimensions):
            own[face] *= 1.0 - chance
        weight = chance * scale_of(forest, DEPTH, tree) / (level + 1)
        spread_gaps(walk.edge, 0, query.row, forest.dimensions, forest.row, weight, own, 0)


@kernel
def grow_shadow(
    forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int, level: Int
) -> float:
    """Let `walk.edge` be the box of the node at `level` without the path's leaf.

    It must be that of the node below, unless that is the leaf.

    Returns:
        Chance that a cut separates the query from it.
    """
    below = node_at(walk, lane, level + 1)
    box, at = find_box(forest, walk, tree, below ^ 1, walk.row)
    if level + 1 == walk.depths[lane]:
        box_union(walk.edge, 0, box, at, box, at, forest.row)
    else:
        box_union(walk.edge, 0, walk.edge, 0, box, at, forest.row)
    gap = box_gap_wide(walk.edge, 0, query.row, forest.row.width)
    return gap / (box_sides_wide(walk.edge, 0, forest.row.width) + gap)
