"""Insertion and deletion of a point, with the law of a tree that was built with or without it.

Source: Guha et al. 2016, Theorem 2, Algorithms 1 and 2. After insertion of q into a random cut tree
of S the tree is distributed as one of S and q; after deletion as one of S without q.

`base` is a tree's first word in `forest.nodes`; a pair is named by its left node.
"""

from __future__ import annotations

import numpy as np

from rcf.box import find_box, free_row, keep_box, take_row
from rcf.cut import branch_word, draw_separating_cut, leaf_slot, leaf_word, left_child
from rcf.jit import kernel
from rcf.pair import (
    base_of,
    mass_of,
    parent_of,
    row_of,
    set_mass,
    set_parent,
    set_range,
    set_word,
    word_of,
)
from rcf.path import Query, Walk
from rcf.rng import uniform
from rcf.score import chance_at
from rcf.state import Forest, Int
from rcf.vector import LANES, box_touches, box_union, point_row


@kernel
def plant(forest: Forest, tree: Int, slot: Int) -> None:
    """Make the point of `slot` the root of an empty tree."""
    base = base_of(forest, tree)
    set_word(forest, base, leaf_word(slot, 0))
    set_mass(forest, base, 1)
    forest.leaves[tree * forest.slots + slot] = 0


@kernel
def insert_point(
    forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int, top: Int, slot: Int
) -> None:
    """Insert the query, whose path and chances the walk holds, as the point of `slot`.

    From the highest node whose box does not contain the query (`top`, see `fold_trees`) downwards,
    the query separates from a node with its chance, and there becomes its sibling.
    """
    depth = walk.depths[lane]
    if top > depth:
        join_leaf(forest, walk, tree, lane, slot)
        return
    level = top
    while level < depth and uniform(forest.rng, tree) >= chance_at(walk, lane, level):
        level += 1
    splice(forest, query, walk, tree, np.int64(walk.nodes[LANES * level + lane]), slot)
    for above in range(level):
        ancestor = np.int64(walk.nodes[LANES * above + lane])
        if gain_point(forest, ancestor):
            keep_box(forest, walk, tree, ancestor)
        elif above >= top:
            grow_box(forest, query, tree, ancestor)


@kernel
def gain_point(forest: Forest, node: Int) -> bool:
    """Add one to a node's mass; whether it becomes the mass of a branch that keeps its box."""
    mass = mass_of(forest, node) + 1
    set_mass(forest, node, mass)
    return mass == forest.box_mass + 1


@kernel
def join_leaf(forest: Forest, walk: Walk, tree: Int, lane: Int, slot: Int) -> None:
    """Add the point of `slot` to the leaf of the path, which holds an equal one.

    The leaf then names the newest slot, because that is expected to stay longest.
    """
    depth = walk.depths[lane]
    leaf = np.int64(walk.nodes[LANES * depth + lane])
    number = leaf - base_of(forest, tree)
    gain_point(forest, leaf)
    set_word(forest, leaf, leaf_word(slot, number))
    forest.leaves[tree * forest.slots + slot] = number
    for level in range(depth):
        node = np.int64(walk.nodes[LANES * level + lane])
        if gain_point(forest, node):
            keep_box(forest, walk, tree, node)


@kernel
def splice(forest: Forest, query: Query, walk: Walk, tree: Int, node: Int, slot: Int) -> None:
    """Put a branch in the place of the node at word `node`, with it and the query below."""
    base = base_of(forest, tree)
    box, at = find_box(forest, walk, tree, node, walk.row)
    dimension, cut, query_left = draw_separating_cut(
        box, at, query.row, forest.row, forest.rng, tree
    )
    left = forest.free_pairs[tree]
    pair = base + left
    forest.free_pairs[tree] = parent_of(forest, pair)
    mass = mass_of(forest, node)
    if mass >= forest.box_mass:
        to = take_row(forest, pair) * forest.row.width
        set_range(forest, pair, box_union(forest.boxes, to, box, at, query.row, 0, forest.row))
    leaf, subtree = (left, left + 1) if query_left else (left + 1, left)
    move_node(forest, tree, node - base, subtree)
    set_word(forest, base + leaf, leaf_word(slot, leaf))
    set_mass(forest, base + leaf, 1)
    forest.leaves[tree * forest.slots + slot] = leaf
    set_word(forest, node, branch_word(forest.layout, cut, dimension, left))
    set_mass(forest, node, mass + 1)
    set_parent(forest, pair, node - base)


@kernel
def move_node(forest: Forest, tree: Int, source: Int, target: Int) -> None:
    """Move a node's word and mass to another number, and tell those who point to it."""
    base = base_of(forest, tree)
    word = word_of(forest, base + source)
    mass = mass_of(forest, base + source)
    set_mass(forest, base + target, mass)
    if left_child(forest.layout, word) != source:
        set_word(forest, base + target, word)
        set_parent(forest, base + left_child(forest.layout, word), target)
        return
    slots = tree * forest.slots
    slot = leaf_slot(word)
    set_word(forest, base + target, leaf_word(slot, target))
    if mass == 1:
        forest.leaves[slots + slot] = target
        return
    for other in range(forest.slots):
        if forest.leaves[slots + other] == source and forest.origins[slots + other] >= 0:
            forest.leaves[slots + other] = target


@kernel
def grow_box(forest: Forest, query: Query, tree: Int, node: Int) -> None:
    """Grow the box of a branch, where it keeps one, to hold the query."""
    pair = base_of(forest, tree) + left_child(forest.layout, forest.nodes[node])
    kept = row_of(forest, pair)
    if kept > 0:
        at = kept * forest.row.width
        set_range(
            forest, pair, box_union(forest.boxes, at, forest.boxes, at, query.row, 0, forest.row)
        )


@kernel
def delete_point(forest: Forest, walk: Walk, tree: Int, slot: Int) -> None:
    """Take the point of `slot` out of its tree; the slot must not be the tree's only one."""
    slots = tree * forest.slots
    base = base_of(forest, tree)
    leaf = np.int64(forest.leaves[slots + slot])
    if mass_of(forest, base + leaf) > 1:
        leave_leaf(forest, tree, leaf, slot)
        return
    origin = np.int64(forest.origins[slots + slot])
    # Padding 1: see `box_touches`.
    point_row(walk.edge, 0, forest.store, origin, forest.dimensions, 1.0, forest.row)
    pair = base + (leaf & -2)
    node = parent_of(forest, pair)
    free_row(forest, pair)
    move_node(forest, tree, leaf ^ 1, node)
    set_parent(forest, pair, forest.free_pairs[tree])
    forest.free_pairs[tree] = leaf & -2
    touching = True
    while node != 0:
        pair = base + (node & -2)
        node = parent_of(forest, pair)
        lose_point(forest, tree, node, pair)
        if touching:
            touching = shrink_box(forest, walk, tree, pair)


@kernel
def lose_point(forest: Forest, tree: Int, node: Int, pair: Int) -> None:
    """Take one off the mass of the branch above `pair`, which may become too small for a box."""
    mass = mass_of(forest, base_of(forest, tree) + node) - 1
    set_mass(forest, base_of(forest, tree) + node, mass)
    if mass == forest.box_mass:
        free_row(forest, pair)


@kernel
def leave_leaf(forest: Forest, tree: Int, leaf: Int, slot: Int) -> None:
    """Take one of several equal points from a leaf, which must name a slot that stays."""
    slots = tree * forest.slots
    base = base_of(forest, tree)
    if leaf_slot(forest.nodes[base + leaf]) == slot:
        for other in range(forest.slots):
            held = forest.leaves[slots + other] == leaf and forest.origins[slots + other] >= 0
            if held and other != slot:
                set_word(forest, base + leaf, leaf_word(other, leaf))
    set_mass(forest, base + leaf, mass_of(forest, base + leaf) - 1)
    node = leaf
    while node != 0:
        pair = base + (node & -2)
        node = parent_of(forest, pair)
        lose_point(forest, tree, node, pair)


@kernel
def shrink_box(forest: Forest, walk: Walk, tree: Int, pair: Int) -> bool:
    """Recompute the kept box of the branch above `pair` if the deleted point reaches it.

    `walk.edge` is the deleted point.

    Returns:
        False if the box holds the point strictly inside; boxes above it then do so too.
    """
    kept = row_of(forest, pair)
    if kept == 0:
        return True
    at = kept * forest.row.width
    if not box_touches(forest.boxes, at, walk.edge, forest.row):
        return False
    a, at_a = find_box(forest, walk, tree, pair, walk.row)
    b, at_b = find_box(forest, walk, tree, pair + 1, walk.other)
    set_range(forest, pair, box_union(forest.boxes, at, a, at_a, b, at_b, forest.row))
    return True


@kernel
def rebuild_tree(forest: Forest, walk: Walk, tree: Int) -> None:
    """Recompute masses and kept boxes of a tree from its words, parents and points.

    No branch of the tree may keep a box yet.
    """
    base, slots = base_of(forest, tree), tree * forest.slots
    for pair in range(base, base + forest.layout.words * forest.pairs, forest.layout.words):
        set_mass(forest, pair, 0)
        set_mass(forest, pair + 1, 0)
    for slot in range(forest.slots):
        if forest.origins[slots + slot] >= 0:
            node = np.int64(forest.leaves[slots + slot])
            set_mass(forest, base + node, mass_of(forest, base + node) + 1)
            while node != 0:
                node = parent_of(forest, base + (node & -2))
                set_mass(forest, base + node, mass_of(forest, base + node) + 1)
    for slot in range(forest.slots):
        origin = np.int64(forest.origins[slots + slot])
        if origin >= 0:
            point_row(walk.row, 0, forest.store, origin, forest.dimensions, 0.0, forest.row)
            rebuild_boxes(forest, walk, tree, np.int64(forest.leaves[slots + slot]))


@kernel
def rebuild_boxes(forest: Forest, walk: Walk, tree: Int, node: Int) -> None:
    """Let the boxes to keep above a leaf hold its point, which is in `walk.row`."""
    width = forest.row.width
    base = base_of(forest, tree)
    while node != 0:
        pair = base + (node & -2)
        node = parent_of(forest, pair)
        if mass_of(forest, base + node) <= forest.box_mass:
            continue
        at = row_of(forest, pair) * width
        if at == 0:
            at = take_row(forest, pair) * width
            for i in range(width):
                forest.boxes[at + i] = walk.row[i]
        set_range(
            forest, pair, box_union(forest.boxes, at, forest.boxes, at, walk.row, 0, forest.row)
        )
