"""The conditional field: what each tree would put in the place of a point's missing coordinates.

A point whose coordinates are missing in part descends by the cuts of those that are there; where
the cut is of a missing coordinate, into both children. Each leaf so reached completes the point by
its own coordinates. Its rank is the expected inverse depth of the completed point, ``s = p_j x_j +
(1 - p_j) s`` folded as in `rcf.score`, whichever score the forest gives. A missing coordinate lies
inside the leaf's box, hence inside every box above: chances depend on the coordinates that are
there alone, so they are found once a node, from the root down.

A tree answers with the leaf of the lowest ``centrality rank + (1 - centrality) u``, u uniform: with
centrality 1 the most ordinary completion, with 0 a random one of those that the cuts allow. u is
hashed from the tree's random state, the leaf and the record's number, so that asking changes
nothing and an answer does not depend on what was asked before.

The answer of a forest is, coordinate by coordinate, a quantile of its trees' answers.

Source: random-cut-forest-by-aws 4.3.0, ImputeVisitor and ConditionalSampleSummarizer. Ranks are
compared at the root there, too, if the centrality is 0 or 1; in between, AWS compares them at every
branch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rcf.box import find_box
from rcf.cut import key_of, leaf_slot, left_child, separation_wide
from rcf.jit import entry, kernel
from rcf.layout import PairLayout, fixed_layout
from rcf.pair import base_of, mass_of, row_of
from rcf.path import Query, Walk, make_query, make_walk, room_bytes
from rcf.pointer import keep_alive
from rcf.points import is_wide
from rcf.rng import hashed
from rcf.row import RowShape
from rcf.state import F32, F64, I64, OVERHANG, POINTS, RANGE, RECORDS, U8, WIDE, Forest, Int
from rcf.step import copy_values, make_window, open_forest
from rcf.step import row_of as row_shape_of
from rcf.vector import box_gap, box_union, point_row


class Branches(NamedTuple):
    """Nodes still to be visited, from the root down.

    Attributes:
        nodes: int64 (pairs,), their words in `Forest.nodes`.
        depths: int64 (pairs,), their depths.
        reached: float64 (pairs,), chance that no cut separates the query above.
        ranks: float64 (pairs,), share of the rank that the branches above have given.
    """

    nodes: I64
    depths: I64
    reached: F64
    ranks: F64


class Gap(NamedTuple):
    """What is asked of a point with missing coordinates.

    Attributes:
        missing: bool (dimensions,).
        centrality: 0 (a random completion) to 1 (the most ordinary one).
        number: Number of the record, mixed into what is drawn.
        wide: Whether float32 sums of sides may overflow.
    """

    missing: U8
    centrality: float
    number: Int
    wide: bool


@kernel
def make_branches(forest: Forest) -> Branches:
    """Room for the branches of one path: a descent leaves at most one behind a level."""
    n = forest.pairs + 1
    return Branches(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n))


@kernel
def set_query_with_gaps(forest: Forest, query: Query, at: Int, missing: U8) -> Int:
    """Point the query at `query.values[at:]`; note which coordinates are NaN, and count them.

    In the query's row a missing coordinate is +infinity on both sides: it lies outside no box.
    """
    query.at[0] = at
    groups, tail = forest.row.groups, forest.row.tail
    point_row(query.row, 0, query.values, at, forest.dimensions, 0.0, forest.row)
    count = 0
    for i in range(forest.dimensions):
        value = query.values[at + i]
        missing[i] = np.isnan(value)
        if missing[i]:
            count += 1
            group, lane = i // 8, i % 8
            side = 8 if group < groups else tail
            query.row[16 * group + lane] = np.inf
            query.row[16 * group + side + lane] = np.inf
        else:
            query.keys[i] = key_of(value)
    return count


@kernel
def separation(
    forest: Forest, query: Query, walk: Walk, tree: Int, node: Int, left: Int, wide: bool
) -> float:
    """Chance that a random cut of a branch's box, grown to hold the query, isolates the query."""
    box, at = find_box(forest, walk, tree, node, walk.row)
    if wide:
        return float(separation_wide(box, at, query.row, forest.row.width))
    gap = box_gap(box, at, query.row, forest.row)
    if gap <= 0.0:
        return 0.0
    if forest.layout.keeps_range and row_of(forest, left) > 0:
        return np.float64(gap / (forest.singles[2 * left + RANGE] + gap))
    sides = box_union(walk.row, 0, box, at, box, at, forest.row)
    return np.float64(gap / (sides + gap))


@kernel
def leaf_rank(forest: Forest, query: Query, gap: Gap, node: Int, depth: Int, origin: Int) -> float:
    """Inverse depth of a query beside, or in, the leaf at word `node`."""
    at = query.at[0]
    for i in range(forest.dimensions):
        if not gap.missing[i] and query.values[at + i] != forest.store[origin + i]:
            return 1.0 / (depth + 1.0)
    if depth == 0:
        return 0.0
    return 1.0 / (depth + math.log2(mass_of(forest, node) + 1.0))


@kernel
def complete_in_tree(
    forest: Forest, query: Query, walk: Walk, branches: Branches, gap: Gap, tree: Int
) -> Int:
    """Where the point of the leaf that completes the query starts in the store."""
    base, slots = base_of(forest, tree), tree * forest.slots
    largest = (1 << forest.layout.bits) - 1
    lowest, found = np.inf, np.int64(-1)
    branches.nodes[0], branches.depths[0] = base, 0
    branches.reached[0], branches.ranks[0] = 1.0, 0.0
    waiting = 1
    while waiting > 0:
        waiting -= 1
        node, depth = branches.nodes[waiting], branches.depths[waiting]
        reached, rank = branches.reached[waiting], branches.ranks[waiting]
        # No leaf below a branch ranks lower than what the branches above have given.
        while gap.centrality * rank < lowest:
            word = forest.nodes[node]
            left = base + left_child(forest.layout, word)
            if left == node:
                origin = np.int64(forest.origins[slots + leaf_slot(word)])
                rank += reached * leaf_rank(forest, query, gap, node, depth, origin)
                value = gap.centrality * rank
                if gap.centrality < 1.0:
                    salt = (gap.number << 16) + (node - base)
                    value += (1.0 - gap.centrality) * hashed(forest.rng, tree, salt)
                if value < lowest:
                    lowest, found = value, origin
                break
            chance = separation(forest, query, walk, tree, node, left, gap.wide)
            rank += reached * chance / (depth + 1.0)
            reached *= 1.0 - chance
            depth += 1
            dimension = (word >> forest.layout.bits) & largest
            if gap.missing[dimension]:
                branches.nodes[waiting], branches.depths[waiting] = left + 1, depth
                branches.reached[waiting], branches.ranks[waiting] = reached, rank
                waiting += 1
                node = left
            else:
                node = left + (1 if query.keys[dimension] > (word >> 32) else 0)
    return found


@kernel
def sort(values: F32, count: Int) -> None:
    """Sort the first values in place; a forest has some dozens of trees."""
    for i in range(1, count):
        value, at = values[i], i
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@kernel
def summarise(
    forest: Forest, missing: U8, origins: I64, room: F32, ranks: I64, out: F64, first: Int
) -> None:
    """Write quantiles over the trees of each missing coordinate from `first` on.

    Args:
        forest: The sections.
        missing: bool (dimensions,).
        origins: int64 (trees,), each tree's completion.
        room: float32 (trees,), room to sort in.
        ranks: int64 (quantiles,), places in the sorted completions.
        out: float64 (quantiles, dimensions - first), out where a coordinate is missing.
        first: First coordinate that is asked for.
    """
    for i in range(first, forest.dimensions):
        if not missing[i]:
            continue
        for tree in range(forest.trees):
            room[tree] = forest.store[origins[tree] + i]
        sort(room, forest.trees)
        for j in range(len(ranks)):
            out[j, i - first] = room[ranks[j]]


@kernel
def complete_row(
    forest: Forest,
    query: Query,
    walk: Walk,
    branches: Branches,
    gap: Gap,
    origins: I64,
) -> None:
    """Ask every tree for its completion."""
    for tree in range(forest.trees):
        origins[tree] = complete_in_tree(forest, query, walk, branches, gap, tree)


@kernel
def complete(
    block: U8,
    values: F64,
    ranks: I64,
    middle: Int,
    centrality: float,
    out: F64,
    row: RowShape,
    layout: PairLayout,
) -> None:
    """`complete_rows` for one shape of box rows and one layout."""
    forest = open_forest(block, row, layout)
    window = make_window(forest, values)
    room = np.empty(room_bytes(forest), np.uint8)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    branches = make_branches(forest)
    missing = np.empty(forest.dimensions, np.uint8)
    origins, sorted_room = np.empty(forest.trees, np.int64), np.empty(forest.trees, np.float32)
    newest = forest.dimensions - forest.features
    seen = forest.header[RECORDS]
    for i in range(len(values)):
        at = i * forest.features
        for j in range(len(ranks)):
            out[i, j] = values[i]
        count = set_query_with_gaps(forest, query, at, missing)
        known = seen + i + 1 >= forest.shingle_size and forest.header[POINTS] > 0
        if count == 0 or not known:
            continue
        wide = forest.header[WIDE] != 0 or is_wide(forest, window, at, forest.dimensions)
        gap = Gap(missing, centrality, seen + i + 1, wide)
        complete_row(forest, query, walk, branches, gap, origins)
        summarise(forest, missing, origins, sorted_room, ranks, out[i], newest)
        for k in range(forest.features):
            window[at + newest + k] = np.float32(out[i, middle, k])
    keep_alive(window)
    keep_alive(room)


@entry
def complete_rows(
    block: U8, values: F64, ranks: I64, middle: Int, centrality: float, out: F64
) -> None:
    """Complete records as a continuation of the stream; nothing changes.

    A missing value is completed from the records before it, those of the call included, and takes
    part in completing what follows.

    Args:
        block: uint8, a forest's block.
        values: float64 (records, features), NaN where missing.
        ranks: int64 (quantiles,), places in the sorted completions of the trees.
        middle: Which of them stands for the value in what follows.
        centrality: 0 to 1.
        out: float64 (records, quantiles, features), out; NaN where nothing is known yet.
    """
    complete(
        block, values, ranks, middle, centrality, out, row_shape_of(block), fixed_layout(False)
    )


@entry
def complete_points(block: U8, points: F64, centrality: float, out: F64) -> None:
    """Each tree's completion of whole points; nothing changes.

    Args:
        block: uint8, a forest's block that has learnt a point.
        points: float64 (points, dimensions), NaN where missing.
        centrality: 0 to 1.
        out: float64 (points, trees, dimensions), out.
    """
    forest = open_forest(block, row_shape_of(block), fixed_layout(False))
    dimensions = forest.dimensions
    window = np.zeros(points.size + OVERHANG, np.float32)
    copy_values(window, 0, points.reshape(-1), 0, points.size)
    room = np.empty(room_bytes(forest), np.uint8)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    branches = make_branches(forest)
    missing = np.empty(dimensions, np.uint8)
    origins = np.empty(forest.trees, np.int64)
    for i in range(len(points)):
        set_query_with_gaps(forest, query, i * dimensions, missing)
        wide = forest.header[WIDE] != 0 or is_wide(forest, window, i * dimensions, dimensions)
        gap = Gap(missing, centrality, forest.header[RECORDS], wide)
        complete_row(forest, query, walk, branches, gap, origins)
        for tree in range(forest.trees):
            for k in range(dimensions):
                value = np.float64(forest.store[origins[tree] + k])
                out[i, tree, k] = value if missing[k] else points[i, k]
    keep_alive(window)
    keep_alive(room)
    keep_alive(block)
