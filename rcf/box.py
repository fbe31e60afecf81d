"""Boxes of branches: kept in a row, or recomputed from the points where those are few.

A branch of more than `box_mass` points keeps its box. Minima do not depend on their order, so a box
that is recomputed has the bits of one that was kept.
"""

from __future__ import annotations

import numpy as np

from rcf.cut import leaf_slot, left_child
from rcf.jit import kernel
from rcf.pair import base_of, row_of, set_range, set_row
from rcf.path import Walk
from rcf.state import F32, ROWS, ROWS_FREE, Forest, Int
from rcf.vector import box_union, point_row, point_union


@kernel
def hold_points(forest: Forest, walk: Walk, tree: Int, node: Int, out: F32, at: Int) -> None:
    """Grow the row `out[at:]` to hold every point below the node at word `node`.

    `walk.stack` holds the branches' right children still to be visited; it is deep enough for a
    branch that keeps no box, and for one that has just outgrown that.
    """
    base, slots = base_of(forest, tree), tree * forest.slots
    waiting = 0
    while True:
        word = forest.nodes[node]
        left = base + left_child(forest.layout, word)
        if left != node:
            walk.stack[waiting] = left + 1
            waiting += 1
            node = left
            continue
        origin = np.int64(forest.origins[slots + leaf_slot(word)])
        point_union(out, at, forest.store, origin, forest.dimensions, forest.row)
        if waiting == 0:
            return
        waiting -= 1
        node = walk.stack[waiting]


@kernel
def compute_box(forest: Forest, walk: Walk, tree: Int, node: Int, out: F32, at: Int) -> None:
    """Write the box of the points below the node at word `node` to the row `out[at:]`."""
    for i in range(forest.row.width):
        out[at + i] = np.inf
    hold_points(forest, walk, tree, node, out, at)


@kernel
def find_box(forest: Forest, walk: Walk, tree: Int, node: Int, room: F32) -> tuple[F32, Int]:
    """Where the box of the node at word `node` is: among those kept, or in `room`."""
    word = forest.nodes[node]
    pair = base_of(forest, tree) + left_child(forest.layout, word)
    if pair == node:  # a leaf, whose box is its point
        origin = np.int64(forest.origins[tree * forest.slots + leaf_slot(word)])
        point_row(room, 0, forest.store, origin, forest.dimensions, 0.0, forest.row)
        return room, 0
    kept = row_of(forest, pair)
    if kept > 0:
        return forest.boxes, kept * forest.row.width
    compute_box(forest, walk, tree, node, room, 0)
    return room, 0


@kernel
def take_row(forest: Forest, pair: Int) -> Int:
    """Give the branch above a pair a row to keep its box in; `rcf.points.has_room` must hold.

    Where all branches keep theirs, each pair has its own row: boxes of one tree lie side by side.
    """
    header = forest.header
    kept = pair // forest.layout.words + 1
    if forest.box_mass > 1:
        header[ROWS_FREE] -= 1
        kept = np.int64(forest.free_rows[header[ROWS_FREE]])
    set_row(forest, pair, kept)
    return kept


@kernel
def free_row(forest: Forest, pair: Int) -> None:
    """Let the branch above a pair keep no box."""
    header = forest.header
    kept = row_of(forest, pair)
    set_row(forest, pair, 0)
    if kept > 0 and forest.box_mass > 1:
        forest.free_rows[header[ROWS_FREE]] = kept
        header[ROWS_FREE] += 1


@kernel
def free_all_rows(forest: Forest) -> None:
    """Let no branch keep a box."""
    rows = forest.header[ROWS]
    if forest.box_mass > 1:
        for i in range(rows):
            forest.free_rows[i] = rows - 1 - i
    words = forest.layout.words
    for pair in range(0, words * forest.trees * forest.pairs, words):
        set_row(forest, pair, 0)
    forest.header[ROWS_FREE] = rows - 1


@kernel
def keep_box(forest: Forest, walk: Walk, tree: Int, node: Int) -> None:
    """Let the branch at word `node`, which has outgrown `box_mass`, keep its box."""
    pair = base_of(forest, tree) + left_child(forest.layout, forest.nodes[node])
    at = take_row(forest, pair) * forest.row.width
    compute_box(forest, walk, tree, node, forest.boxes, at)
    sides = box_union(forest.boxes, at, forest.boxes, at, forest.boxes, at, forest.row)
    set_range(forest, pair, sides)
