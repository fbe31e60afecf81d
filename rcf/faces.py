"""Faces of boxes: how far a point or another box lies beyond each, and weights spread over that.

A box has two faces a dimension, above and below. Shares of faces are float64: `dimensions` above,
then as many below. Rows of boxes are those of `rcf.vector`.
"""

from __future__ import annotations

import numpy as np

from rcf.jit import kernel
from rcf.row import RowShape
from rcf.state import F32, F64, Int


@kernel
def face_places(dimension: Int, row: RowShape) -> tuple[Int, Int]:
    """Places in a row of a dimension's low and of its negative high."""
    group = dimension // 8
    if group < row.groups:
        low = 16 * group + dimension % 8
        return low, low + 8
    low = 16 * row.groups + dimension - 8 * row.groups
    return low, low + row.tail


@kernel
def beyond(a: F32, at_a: Int, b: F32, at_b: Int) -> float:
    """How far ``a[at_a]`` lies above ``b[at_b]``; 0 below it."""
    return max(0.0, np.float64(a[at_a]) - np.float64(b[at_b]))


@kernel
def apart(low: F32, at_low: Int, minus_high: F32, at_high: Int) -> float:
    """How far a low side lies above a high one, whose sign is turned; 0 below it."""
    return max(0.0, np.float64(low[at_low]) + np.float64(minus_high[at_high]))


@kernel
def box_gap_wide(boxes: F32, at: Int, query: F32, width: Int) -> float:
    """How far the query's row lies beyond the faces of the box at `boxes[at:]`, summed."""
    gap = 0.0
    for i in range(width):
        gap += beyond(boxes, at + i, query, i)
    return gap


@kernel
def box_sides_wide(boxes: F32, at: Int, width: Int) -> float:
    """Sum of sides of the box at `boxes[at:]`, in float64."""
    sides = 0.0
    for i in range(width):
        sides -= np.float64(boxes[at + i])
    return sides


@kernel
def spread_gaps(
    boxes: F32,
    at: Int,
    query: F32,
    dimensions: Int,
    row: RowShape,
    weight: float,
    shares: F64,
    to: Int,
) -> None:
    """Add `weight` to the shares of faces in proportion to how far the query lies beyond each.

    Args:
        boxes: float32 rows.
        at: Where the box's row starts.
        query: float32 row of a point that lies outside the box.
        dimensions: Dimensions.
        row: Shape of a row.
        weight: What is spread, wholly.
        shares: float64, changed.
        to: Where the shares start.
    """
    each = weight / box_gap_wide(boxes, at, query, row.width)
    for i in range(dimensions):
        low, high = face_places(i, row)
        shares[to + i] += each * beyond(boxes, at + high, query, high)
        shares[to + dimensions + i] += each * beyond(boxes, at + low, query, low)


@kernel
def spread_parting(
    group: F32,
    boxes: F32,
    at: Int,
    dimensions: Int,
    row: RowShape,
    weight: float,
    shares: F64,
    to: Int,
) -> None:
    """Add `weight` to the shares of faces in proportion to the gaps between two boxes.

    Args:
        group: float32 row of one box.
        boxes: float32 rows; the other box, which a cut parts from the first.
        at: Where the other box's row starts.
        dimensions: Dimensions.
        row: Shape of a row.
        weight: What is spread: to the face above where the first box lies above the other.
        shares: float64, changed.
        to: Where the shares start.
    """
    total = 0.0
    for i in range(dimensions):
        low, high = face_places(i, row)
        total += apart(group, low, boxes, at + high) + apart(boxes, at + low, group, high)
    each = weight / total
    for i in range(dimensions):
        low, high = face_places(i, row)
        shares[to + i] += each * apart(group, low, boxes, at + high)
        shares[to + dimensions + i] += each * apart(boxes, at + low, group, high)
