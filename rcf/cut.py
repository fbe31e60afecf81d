"""Cuts: floats as integers that sort alike, words of nodes, and the draw of a separating cut."""

from __future__ import annotations

import numpy as np

from rcf.jit import kernel
from rcf.layout import PairLayout
from rcf.rng import uniform
from rcf.row import RowShape
from rcf.state import F32, U64, Int
from rcf.vector import float_bits, group_gap

#: Cuts from here up are leaves: the order-preserving key of +infinity.
LEAF_CUT = 0x7F800000


@kernel
def sort_key(bits: Int) -> Int:
    """Order-preserving integer of a float32 given by its bits as int32; its own inverse.

    Negative floats sort backwards as integers; flipping all but their sign mends that.
    """
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@kernel
def key_of(value: np.float32) -> Int:
    """Order-preserving integer of a finite float32."""
    return sort_key(float_bits(value))


@kernel
def branch_word(layout: PairLayout, cut: Int, dimension: Int, left: Int) -> Int:
    """Word of a branch: points with key(x[dimension]) <= cut go to node `left`, others beside."""
    return (np.int64(cut) << 32) | (np.int64(dimension) << layout.bits) | np.int64(left)


@kernel
def leaf_word(slot: Int, node: Int) -> Int:
    """Word of the leaf at `node` that holds the point of reservoir slot `slot`."""
    return (np.int64(LEAF_CUT + slot) << 32) | np.int64(node)


@kernel
def leaf_slot(word: Int) -> Int:
    """Reservoir slot of a leaf's word."""
    return (word >> 32) - LEAF_CUT


@kernel
def left_child(layout: PairLayout, word: Int) -> Int:
    """Left child of a branch; a leaf's own node."""
    return word & ((1 << layout.bits) - 1)


@kernel
def separation_wide(boxes: F32, at: Int, query: F32, width: Int) -> float:
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
def group_at(group: Int, row: RowShape) -> tuple[Int, Int]:
    """(start in the row, dimensions) of a group, the tail being the last."""
    return 16 * group, 8 if group < row.groups else row.tail


@kernel
def draw_separating_cut(
    boxes: F32, at: Int, query: F32, row: RowShape, rng: U64, tree: Int
) -> tuple[Int, Int, bool]:
    """Draw a cut of the box grown to hold the query, given that it separates the two.

    A cut is uniform over the sides laid end to end (Guha et al. 2016, Definition 1); given that it
    separates, it is uniform over the stretches between box and query. One uniform number picks the
    stretch and the place in it.

    Args:
        boxes: float32 rows.
        at: Where the box's row starts.
        query: float32 row of the query, outside the box.
        row: Shape of a row.
        rng: uint64 (trees,); one draw of `tree` is used.
        tree: Index of the tree.

    Returns:
        (dimension, sort key of the cut, whether the query goes left). The cut lies in
        [lower, upper), so that the lower of the two goes left.
    """
    parts = row.groups + (1 if row.tail > 0 else 0)
    total = 0.0
    for group in range(parts):
        begin, count = group_at(group, row)
        total += group_gap(boxes, at, query, begin, count)
    place = uniform(rng, tree) * total
    chosen, ahead = 0, 0.0
    for group in range(parts):
        begin, count = group_at(group, row)
        gap = group_gap(boxes, at, query, begin, count)
        if gap > 0.0:
            chosen, ahead = group, place
            if place < gap:
                break
            place -= gap
    begin, count = group_at(chosen, row)
    lane, offset = stretch_of(boxes, at + begin, query, begin, count, ahead)
    low = at + begin + lane
    query_left = boxes[low] > query[begin + lane]
    # A low side: query < low, so the cut lies in [query, low). A high side is stored with its sign
    # turned: high < query, so the cut lies in [high, query).
    if query_left:
        lower, upper = np.float64(query[begin + lane]), np.float64(boxes[low])
    else:
        lower = -np.float64(boxes[low + count])
        upper = -np.float64(query[begin + count + lane])
    highest = key_of(np.float32(upper)) - 1
    key = min(key_of(np.float32(min(lower + offset, upper))), highest)
    return 8 * chosen + lane, max(key, key_of(np.float32(lower))), query_left


@kernel
def stretch_of(
    boxes: F32, at: Int, query: F32, begin: Int, count: Int, place: float
) -> tuple[Int, float]:
    """(dimension within a group, place in its stretch) of a place on the group's stretches.

    Counts the stretches that end before the place instead of stopping at one that does not: half
    of the sides have no stretch, which no branch predictor foresees.
    """
    end, start, lane, last, last_start = 0.0, 0.0, 0, 0, 0.0
    for i in range(count):
        below = np.float64(boxes[at + i]) - np.float64(query[begin + i])
        above = np.float64(boxes[at + count + i]) - np.float64(query[begin + count + i])
        gap = max(below, above, 0.0)
        if gap > 0.0:
            last, last_start = i, end
        end += gap
        if end <= place:
            lane, start = i + 1, end
    if lane < count:
        return lane, place - start
    # Rounding let the place fall behind the last stretch.
    return last, place - last_start
