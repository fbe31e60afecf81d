"""Insertion and deletion of a point, with the law of a tree that was built with or without it.

Source: Guha et al. 2016, Theorem 2, Algorithms 1 and 2. After insertion of q into a random cut tree
of S the tree is distributed as one of S and q; after deletion as one of S without q.
"""

from __future__ import annotations

import numpy as np

from rcf.box import find_box, free_row, keep_box, row_of, take_row
from rcf.cut import branch_word, draw_separating_cut, leaf_slot, leaf_word, left_child
from rcf.jit import kernel
from rcf.path import Query, Walk
from rcf.rng import uniform
from rcf.score import chance_at
from rcf.state import Forest, Int
from rcf.vector import LANES, box_touches, box_union, point_row


@kernel
def plant(forest: Forest, tree: Int, slot: Int) -> None:
    """Make the point of `slot` the root of an empty tree."""
    base = tree * 2 * forest.pairs
    forest.nodes[base] = leaf_word(slot, 0)
    forest.masses[base] = 1
    forest.leaves[tree * forest.slots + slot] = 0


@kernel
def insert_point(
    forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int, top: Int, slot: Int
) -> None:
    """Insert the query, whose path and chances the walk holds, as the point of `slot`.

    From the highest node whose box does not contain the query (`top`, see `fold_score`) downwards,
    the query separates from a node with its chance, and there becomes its sibling.
    """
    depth = walk.depths[lane]
    base = tree * 2 * forest.pairs
    if top > depth:
        join_leaf(forest, walk, tree, lane, slot)
        return
    level = top
    while level < depth and uniform(forest.rng, tree) >= chance_at(walk, lane, level):
        level += 1
    node = np.int64(walk.nodes[LANES * level + lane])
    splice(forest, query, walk, tree, node, slot)
    for above in range(level):
        ancestor = np.int64(walk.nodes[LANES * above + lane])
        forest.masses[base + ancestor] += 1
        if forest.masses[base + ancestor] == forest.box_mass + 1:
            keep_box(forest, walk, tree, ancestor)
        elif above >= top:
            grow_box(forest, query, tree, ancestor)


@kernel
def join_leaf(forest: Forest, walk: Walk, tree: Int, lane: Int, slot: Int) -> None:
    """Add the point of `slot` to the leaf of the path, which holds an equal one.

    The leaf then names the newest slot, because that is expected to stay longest.
    """
    depth = walk.depths[lane]
    base = tree * 2 * forest.pairs
    leaf = np.int64(walk.nodes[LANES * depth + lane])
    forest.masses[base + leaf] += 1
    forest.nodes[base + leaf] = leaf_word(slot, leaf)
    forest.leaves[tree * forest.slots + slot] = leaf
    for level in range(depth):
        node = np.int64(walk.nodes[LANES * level + lane])
        forest.masses[base + node] += 1
        if forest.masses[base + node] == forest.box_mass + 1:
            keep_box(forest, walk, tree, node)


@kernel
def splice(forest: Forest, query: Query, walk: Walk, tree: Int, node: Int, slot: Int) -> None:
    """Put a branch in the place of `node`, with that subtree and the query below it."""
    pairs = tree * forest.pairs
    base = 2 * pairs
    box, at = find_box(forest, walk, tree, node, walk.row)
    dimension, cut, query_left = draw_separating_cut(
        box, at, query.row, forest.row, forest.rng, tree
    )
    pair = forest.free_pairs[tree]
    forest.free_pairs[tree] = np.int64(forest.parents[pairs + pair])
    if forest.masses[base + node] >= forest.box_mass:
        kept = take_row(forest, tree, pair)
        forest.ranges[kept] = box_union(
            forest.boxes, kept * forest.row.width, box, at, query.row, 0, forest.row
        )
    subtree = 2 * pair + (1 if query_left else 0)
    leaf = 2 * pair + (0 if query_left else 1)
    move_node(forest, tree, node, subtree)
    forest.nodes[base + leaf] = leaf_word(slot, leaf)
    forest.masses[base + leaf] = 1
    forest.leaves[tree * forest.slots + slot] = leaf
    forest.nodes[base + node] = branch_word(cut, dimension, 2 * pair)
    forest.masses[base + node] += 1
    forest.parents[pairs + pair] = node


@kernel
def move_node(forest: Forest, tree: Int, source: Int, target: Int) -> None:
    """Move a node's word and mass to another number, and tell those who point to it."""
    pairs = tree * forest.pairs
    base = 2 * pairs
    word = forest.nodes[base + source]
    mass = forest.masses[base + source]
    forest.masses[base + target] = mass
    if left_child(word) != source:
        forest.nodes[base + target] = word
        forest.parents[pairs + (left_child(word) >> 1)] = target
        return
    slots = tree * forest.slots
    slot = leaf_slot(word)
    forest.nodes[base + target] = leaf_word(slot, target)
    if mass == 1:
        forest.leaves[slots + slot] = target
        return
    for other in range(forest.slots):
        if forest.leaves[slots + other] == source and forest.origins[slots + other] >= 0:
            forest.leaves[slots + other] = target


@kernel
def grow_box(forest: Forest, query: Query, tree: Int, node: Int) -> None:
    """Grow the box of a branch, where it keeps one, to hold the query."""
    kept = row_of(forest, tree, forest.nodes[2 * tree * forest.pairs + node])
    if kept >= 0:
        at = kept * forest.row.width
        forest.ranges[kept] = box_union(
            forest.boxes, at, forest.boxes, at, query.row, 0, forest.row
        )


@kernel
def delete_point(forest: Forest, walk: Walk, tree: Int, slot: Int) -> None:
    """Take the point of `slot` out of its tree; the slot must not be the tree's only one."""
    pairs = tree * forest.pairs
    slots = tree * forest.slots
    base = 2 * pairs
    leaf = np.int64(forest.leaves[slots + slot])
    if forest.masses[base + leaf] > 1:
        leave_leaf(forest, tree, leaf, slot)
        return
    origin = np.int64(forest.origins[slots + slot])
    # Padding 1: see `box_touches`.
    point_row(walk.edge, 0, forest.store, origin, forest.dimensions, 1.0, forest.row)
    pair = leaf >> 1
    node = np.int64(forest.parents[pairs + pair])
    free_row(forest, tree, pair)
    move_node(forest, tree, leaf ^ 1, node)
    forest.parents[pairs + pair] = forest.free_pairs[tree]
    forest.free_pairs[tree] = pair
    touching = True
    while node != 0:
        pair = node >> 1
        node = np.int64(forest.parents[pairs + pair])
        lose_point(forest, tree, node, pair)
        if touching:
            touching = shrink_box(forest, walk, tree, node)


@kernel
def lose_point(forest: Forest, tree: Int, node: Int, pair: Int) -> None:
    """Take one off the mass of the branch above `pair`, which may become too small for a box."""
    mass = forest.masses[2 * tree * forest.pairs + node] - 1
    forest.masses[2 * tree * forest.pairs + node] = mass
    if mass == forest.box_mass:
        free_row(forest, tree, pair)


@kernel
def leave_leaf(forest: Forest, tree: Int, leaf: Int, slot: Int) -> None:
    """Take one of several equal points from a leaf, which must name a slot that stays."""
    pairs = tree * forest.pairs
    slots = tree * forest.slots
    base = 2 * pairs
    if leaf_slot(forest.nodes[base + leaf]) == slot:
        for other in range(forest.slots):
            held = forest.leaves[slots + other] == leaf and forest.origins[slots + other] >= 0
            if held and other != slot:
                forest.nodes[base + leaf] = leaf_word(other, leaf)
    forest.masses[base + leaf] -= 1
    node = leaf
    while node != 0:
        pair = node >> 1
        node = np.int64(forest.parents[pairs + pair])
        lose_point(forest, tree, node, pair)


@kernel
def shrink_box(forest: Forest, walk: Walk, tree: Int, node: Int) -> bool:
    """Recompute the kept box of a branch from its children if the deleted point reaches it.

    `walk.edge` is the deleted point.

    Returns:
        False if the box holds the point strictly inside; boxes above it then do so too.
    """
    word = forest.nodes[2 * tree * forest.pairs + node]
    kept = row_of(forest, tree, word)
    if kept < 0:
        return True
    at = kept * forest.row.width
    if not box_touches(forest.boxes, at, walk.edge, forest.row):
        return False
    left = left_child(word)
    a, at_a = find_box(forest, walk, tree, left, walk.row)
    b, at_b = find_box(forest, walk, tree, left + 1, walk.other)
    forest.ranges[kept] = box_union(forest.boxes, at, a, at_a, b, at_b, forest.row)
    return True


@kernel
def rebuild_tree(forest: Forest, walk: Walk, tree: Int) -> None:
    """Recompute masses and kept boxes of a tree from its words, parents and points.

    No branch of the tree may keep a box yet.
    """
    pairs = tree * forest.pairs
    base, slots = 2 * pairs, tree * forest.slots
    for i in range(2 * forest.pairs):
        forest.masses[base + i] = 0
    for slot in range(forest.slots):
        if forest.origins[slots + slot] >= 0:
            node = np.int64(forest.leaves[slots + slot])
            forest.masses[base + node] += 1
            while node != 0:
                node = np.int64(forest.parents[pairs + (node >> 1)])
                forest.masses[base + node] += 1
    for slot in range(forest.slots):
        origin = np.int64(forest.origins[slots + slot])
        if origin >= 0:
            point_row(walk.row, 0, forest.store, origin, forest.dimensions, 0.0, forest.row)
            rebuild_boxes(forest, walk, tree, np.int64(forest.leaves[slots + slot]))


@kernel
def rebuild_boxes(forest: Forest, walk: Walk, tree: Int, node: Int) -> None:
    """Let the boxes to keep above a leaf hold its point, which is in `walk.row`."""
    width = forest.row.width
    pairs = tree * forest.pairs
    while node != 0:
        pair = node >> 1
        node = np.int64(forest.parents[pairs + pair])
        if forest.masses[2 * pairs + node] <= forest.box_mass:
            continue
        kept = np.int64(forest.box_rows[pairs + pair])
        if kept < 0:
            kept = take_row(forest, tree, pair)
            for i in range(width):
                forest.boxes[kept * width + i] = walk.row[i]
        forest.ranges[kept] = box_union(
            forest.boxes, kept * width, forest.boxes, kept * width, walk.row, 0, forest.row
        )
