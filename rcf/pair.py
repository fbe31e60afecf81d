"""What is written in a pair of nodes, whichever its layout (`rcf.layout`; drawn in `rcf.state`).

`node` is a word's place in `Forest.nodes`; `pair` is that of its left node.
"""

from __future__ import annotations

import numpy as np

from rcf.jit import kernel
from rcf.state import RANGE, Forest, Int


@kernel
def base_of(forest: Forest, tree: Int) -> Int:
    """First word of a tree."""
    return forest.layout.words * tree * forest.pairs


@kernel
def mass_of(forest: Forest, node: Int) -> Int:
    """Points below a node, repeats included."""
    return np.int64(forest.numbers[forest.layout.step * node + forest.layout.mass])


@kernel
def set_mass(forest: Forest, node: Int, mass: Int) -> None:
    """Note the points below a node."""
    forest.numbers[forest.layout.step * node + forest.layout.mass] = mass


@kernel
def parent_of(forest: Forest, pair: Int) -> Int:
    """Number, in its tree, of the branch above a pair; the next free pair's where this is free."""
    return np.int64(forest.numbers[forest.layout.step * pair + forest.layout.parent])


@kernel
def set_parent(forest: Forest, pair: Int, number: Int) -> None:
    """Note the branch above a pair, or the next free pair."""
    forest.numbers[forest.layout.step * pair + forest.layout.parent] = number


@kernel
def row_of(forest: Forest, pair: Int) -> Int:
    """Row of the box of the branch above a pair; 0 if it keeps none."""
    return np.int64(forest.box_rows[forest.layout.row_step * pair + forest.layout.row])


@kernel
def set_row(forest: Forest, pair: Int, row: Int) -> None:
    """Note the row of the box of the branch above a pair."""
    forest.box_rows[forest.layout.row_step * pair + forest.layout.row] = row


@kernel
def set_range(forest: Forest, pair: Int, sides: float) -> None:
    """Note the sum of sides of the box of the branch above a pair, where sums are kept."""
    if forest.layout.keeps_range:
        forest.singles[2 * pair + RANGE] = sides


@kernel
def set_word(forest: Forest, node: Int, word: Int) -> None:
    """Write a node's cut, dimension and left child; its mass and its parent stay."""
    others = np.int64(forest.layout.others)
    forest.nodes[node] = (word & ~others) | (forest.nodes[node] & others)


@kernel
def word_of(forest: Forest, node: Int) -> Int:
    """A node's cut, dimension and left child; see `rcf.cut`."""
    return forest.nodes[node] & ~np.int64(forest.layout.others)
