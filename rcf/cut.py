"""Cuts: floats as integers that sort alike, words of nodes, and the draw of a separating cut."""

from __future__ import annotations

import numpy as np

from rcf.jit import kernel
from rcf.rng import uniform
from rcf.row import RowShape
from rcf.state import F32, U64
from rcf.vector import float_bits

#: Cuts from here up are leaves: the order-preserving key of +infinity.
LEAF_CUT = 0x7F800000


@kernel
def sort_key(bits: int) -> int:
    """Order-preserving integer of a float32 given by its bits as int32; its own inverse.

    Negative floats sort backwards as integers; flipping all but their sign mends that.
    """
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@kernel
def key_of(value: np.float32) -> int:
    """Order-preserving integer of a finite float32."""
    return sort_key(float_bits(value))


@kernel
def branch_word(cut: int, dimension: int, left: int) -> int:
    """Word of a branch: points with key(x[dimension]) <= cut go to node `left`, others beside."""
    return (np.int64(cut) << 32) | (np.int64(dimension) << 16) | np.int64(left)


@kernel
def leaf_word(slot: int, node: int) -> int:
    """Word of the leaf at `node` that holds the point of reservoir slot `slot`."""
    return (np.int64(LEAF_CUT + slot) << 32) | np.int64(node)


@kernel
def leaf_slot(word: int) -> int:
    """Reservoir slot of a leaf's word."""
    return (word >> 32) - LEAF_CUT


@kernel
def left_child(word: int) -> int:
    """Left child of a branch; a leaf's own node."""
    return word & 0xFFFF


@kernel
def side_of(index: int, row: RowShape) -> tuple[int, int, bool]:
    """(dimension, place of its opposite side, whether it is a low side) of a row's float."""
    if index < 16 * row.groups:
        group, lane = index >> 4, index & 15
        low = lane < 8
        return group * 8 + (lane & 7), index + (8 if low else -8), low
    lane = index - 16 * row.groups
    low = lane < row.tail
    return (
        row.groups * 8 + (lane if low else lane - row.tail),
        index + (row.tail if low else -row.tail),
        low,
    )


@kernel
def separation_wide(boxes: F32, at: int, query: F32, width: int) -> float:
    """Delta / (range + Delta) in float64: for boxes whose float32 sums overflow."""
    gap, sides = 0.0, 0.0
    for i in range(width):
        low = np.float64(boxes[at + i])
        sides -= low
        beyond = low - np.float64(query[i])
        if beyond > 0.0:
            gap += beyond
    return gap / (sides + gap)


@kernel
def draw_separating_cut(
    boxes: F32, at: int, query: F32, row: RowShape, rng: U64, tree: int
) -> tuple[int, int, bool]:
    """Draw a cut of the box grown to hold the query, given that it separates the two.

    A cut is uniform over the sides laid end to end (Guha et al. 2016, Definition 1); given that it
    separates, it is uniform over the stretches between box and query. One uniform number picks the
    stretch and the place in it.

    Args:
        boxes: float32 rows. at: Where the box's row starts.
        query: float32 row of the query, outside the box.
        row: Shape of a row.
        rng: uint64 (trees,); one draw of `tree` is used.

    Returns:
        (dimension, sort key of the cut, whether the query goes left). The cut lies in
        [lower, upper), so that the lower of the two goes left.
    """
    width = row.width
    total = 0.0
    for i in range(width):
        beyond = np.float64(boxes[at + i]) - np.float64(query[i])
        if beyond > 0.0:
            total += beyond
    place = uniform(rng, tree) * total
    side = -1
    for i in range(width):
        beyond = np.float64(boxes[at + i]) - np.float64(query[i])
        if beyond > 0.0:
            side = i
            if place < beyond:
                break
            place -= beyond
    dimension, _, query_left = side_of(side, row)
    # A low side: query < low, so the cut lies in [query, low). A high side is stored with its sign
    # turned: high < query, so the cut lies in [high, query).
    if query_left:
        lower, upper = np.float64(query[side]), np.float64(boxes[at + side])
    else:
        lower, upper = -np.float64(boxes[at + side]), -np.float64(query[side])
    value = lower + place
    highest = key_of(np.float32(upper)) - 1
    key = min(key_of(np.float32(min(value, upper))), highest)
    return dimension, max(key, key_of(np.float32(lower))), query_left
