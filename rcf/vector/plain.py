"""The plain twins: what each vector kernel means, in NumPy and loops, of the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from rcf.layout import PairLayout
from rcf.row import RowShape
from rcf.state import F32, F64, I32, I64, RANGE

LANES = 8  #: trees that one descent follows at a time


def parts(row: RowShape) -> list[tuple[int, int]]:
    """(start, dimensions) of each group of a row."""
    parts = [(16 * group, 8) for group in range(row.groups)]
    return [*parts, (16 * row.groups, row.tail)] if row.tail else parts


def _fold(lanes: Any) -> Any:
    """Sum of the lanes as the processor adds them: halves onto halves."""
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return lanes[0]


def _sides(rows: F32, at: int, row: RowShape) -> F32:
    total = np.zeros(8, np.float32)
    for start, n in parts(row):
        low = rows[at + start : at + start + n]
        total[:n] += low + rows[at + start + n : at + start + 2 * n]
    return total


def point_row_plain(
    out: F32, to: int, values: F32, at: int, dimensions: int, padding: float, row: RowShape
) -> None:
    """Write the point at `values[at:]` to `out[to:]` as the box ``[x | -x]``.

    Args:
        out: float32 rows.
        to: Where the row starts.
        values: float32; the vector kernel may read `rcf.state.OVERHANG` items behind the point.
        at: Where the point starts.
        dimensions: Coordinates.
        padding: What fills the places of no dimension.
        row: Shape of a row.
    """
    for start, n in parts(row):
        here = values[at + start // 2 : at + min(start // 2 + n, dimensions)]
        out[to + start : to + start + 2 * n] = padding
        out[to + start : to + start + len(here)] = here
        out[to + start + n : to + start + n + len(here)] = -here


def point_union_plain(
    out: F32, to: int, values: F32, at: int, dimensions: int, row: RowShape
) -> None:
    """Unite the row `out[to:]` with the point at `values[at:]`; see `point_row_plain`."""
    point = np.empty(row.width, np.float32)
    point_row_plain(point, 0, values, at, dimensions, 0.0, row)
    here = out[to : to + row.width]
    np.minimum(here, point, out=here)


def box_gap_plain(boxes: F32, at: int, query: F32, row: RowShape) -> np.float32:
    """Sum over dimensions of how far `query` lies outside the box at `boxes[at:]`.

    Args:
        boxes: float32, rows one after the other.
        at: Where the row starts.
        query: float32 row ``[x | -x]`` of the point.
        row: Shape of a row.

    Returns:
        Delta of Guha et al. 2016, Definition 1, in float32; 0 exactly if the point is inside.
    """
    total = np.zeros(8, np.float32)
    for start, n in parts(row):
        gap = np.maximum(boxes[at + start : at + start + 2 * n] - query[start : start + 2 * n], 0)
        total[:n] += gap[:n] + gap[n:]
    return np.float32(_fold(total))


def group_gap_plain(boxes: F32, at: int, query: F32, begin: int, dimensions: int) -> float:
    """Sum over one group of how far `query[begin:]` lies outside the box at `boxes[at + begin:]`.

    Args:
        boxes: float32, rows one after the other.
        at: Where the row starts.
        query: float32 row of the point.
        begin: Where the group starts in both rows.
        dimensions: Dimensions of the group: 1, 2, 4 or 8.

    Returns:
        The sum in float64, which no float32 can make overflow.
    """
    n = dimensions
    box = boxes[at + begin : at + begin + 2 * n].astype(np.float64)
    gap = np.maximum(box - query[begin : begin + 2 * n], 0)
    return float(_fold(gap[:n] + gap[n:]))


def box_union_plain(
    out: F32, to: int, a: F32, at_a: int, b: F32, at_b: int, row: RowShape
) -> np.float32:
    """Write the union of rows `a[at_a:]` and `b[at_b:]` to `out[to:]`; return its sum of sides.

    `out` may be either of the two. float32; may overflow to infinity.
    """
    width = row.width
    out[to : to + width] = np.minimum(a[at_a : at_a + width], b[at_b : at_b + width])
    return np.float32(-_fold(_sides(out, to, row)))


def box_touches_plain(boxes: F32, at: int, point: F32, row: RowShape) -> bool:
    """Whether the row of `point` reaches a face of the box at `boxes[at:]`.

    The padding of `point` must be 1: padding of boxes is 0, and 0 >= 1 never holds.
    """
    return bool(np.any(boxes[at : at + row.width] >= point[: row.width]))


def _mass(nodes: I64, at: int, layout: PairLayout) -> np.float32:
    return np.float32(nodes.view(layout.number)[layout.step * at + layout.mass])


def descend_plain(
    nodes: I64,
    first: int,
    stride: int,
    last: int,
    keys: I64,
    kind: int,
    path: I32,
    path_value: F32,
    ratios: F32,
    depths: I64,
    row: RowShape,
    layout: PairLayout,
) -> int:
    """Follow the existing cuts of trees `first` … `first + 7` from the root to a leaf.

    Args:
        nodes: int64, pairs of nodes (see `rcf.state`), trees one after the other.
        first: First tree; a lane beyond tree `last` follows tree `last`.
        stride: Words a tree.
        last: Last tree of the forest.
        keys: int64 (dimensions,) order-preserving keys of the query's coordinates.
        kind: Score, a number of `rcf.score`.
        path: int32, out: word of the node at step s of lane i at [8 s + i]; a leaf repeats.
        path_value: float32, out: score of a query that becomes that node's sibling: max(mass,
            ratio), mass, or 1 / (step + 1), where ratio is the largest one of a sibling's mass to
            (mass + 1) met on the way down to that node; 0 at the root.
        ratios: float32 (8,), out: that ratio at the leaf.
        depths: int64 (8,), out: depth of each lane's leaf.
        row: Shape of a box row.
        layout: How pairs of nodes lie in memory.

    Returns:
        Steps written, one more than the deepest leaf's depth at least.
    """
    deepest, one, largest = 0, np.float32(1), (1 << layout.bits) - 1
    walks = []
    for lane in range(LANES):
        base = min(first + lane, last) * stride
        node, walk = base, [base]
        while True:
            word = int(nodes[node])
            right = int(keys[(word >> layout.bits) & largest]) > (word >> 32)
            child = base + (word & largest) + right
            if child == node:
                break
            node = child
            walk.append(node)
        depths[lane] = len(walk) - 1
        deepest = max(deepest, len(walk))
        walks.append(walk)
    for lane, walk in enumerate(walks):
        ratio, mass = np.float32(0), _mass(nodes, walk[0], layout)
        for step in range(deepest):
            node = walk[min(step, len(walk) - 1)]
            below = _mass(nodes, node, layout)
            ratio = max(ratio, (mass - below) / (below + one))
            mass = below
            path[8 * step + lane] = node
            path_value[8 * step + lane] = (
                max(mass, ratio),
                mass,
                one / np.float32(step + 1),
            )[kind]
        ratios[lane] = ratio
    return deepest


def fold_plain(
    nodes: I64,
    box_rows: I32,
    boxes: F32,
    query: F32,
    path: I32,
    path_value: F32,
    starts: I64,
    chances: F32,
    values: F64,
    tops: I64,
    row: RowShape,
    layout: PairLayout,
) -> None:
    """Fold the paths of eight trees from their starts up, each to the first box with the query.

    Args:
        nodes: int64, pairs of nodes (see `rcf.state`), trees one after the other.
        box_rows: `nodes` seen as `layout.box_row`.
        boxes: float32 rows.
        query: float32 row of the query.
        path: What `descend` wrote.
        path_value: Likewise.
        starts: int64 (8,), depth of the node below the first branch to fold.
        chances: float32, out: chance that a cut separates the query from the node s steps above
            that branch of lane i at [8 s + i], for nodes whose box does not contain it.
        values: float64 (8,), in: score at the start; out: folded score.
        tops: int64 (8,), in: the start, or more where nothing is to be folded; out: depth of the
            highest node whose box does not contain the query.
        row: Shape of a row.
        layout: How pairs of nodes lie in memory.
    """
    for lane in range(LANES):
        start = int(starts[lane])
        for step in range(start - 1, -1, -1):
            if tops[lane] > start:
                break
            # Siblings share a pair, and a branch's box is filed under its children's.
            pair = int(path[8 * (step + 1) + lane]) & ~1
            at = int(box_rows[layout.row_step * pair + layout.row]) * row.width
            gap = box_gap_plain(boxes, at, query, row)
            if gap == 0:
                break
            sides = np.float32(-_fold(_sides(boxes, at, row)))
            if layout.keeps_range:
                sides = nodes.view(np.float32)[2 * pair + RANGE]
            chance = gap / (sides + gap)
            chances[8 * (start - 1 - step) + lane] = chance
            tops[lane] = step
            folded = np.float64(chance) * np.float64(path_value[8 * step + lane])
            values[lane] = folded + (1.0 - np.float64(chance)) * values[lane]


def find_equal_plain(values: I32, start: int, stop: int, wanted: int) -> int:
    """First index in [start, stop) whose bits are `wanted`, or -1.

    Args:
        values: int16, int32 or float32.
        start: First index; `stop - start` is a multiple of 16.
        stop: Behind the last.
        wanted: int32.
    """
    bits = values if values.dtype == np.int16 else values.view(np.int32)
    hits = np.flatnonzero(bits[start:stop] == wanted)
    return start + int(hits[0]) if len(hits) else -1


def largest_bits_plain(values: I32, start: int, stop: int) -> int:
    """Largest of `values[start:stop]` by its bits as int32.

    Args:
        values: int32, or float32, whose bits sort like the floats where those are not negative.
        start: First index; `stop - start` is a multiple of 16.
        stop: Behind the last.
    """
    return int(values[start:stop].view(np.int32).max())


def float_bits_plain(value: np.float32) -> int:
    """Bits of a float32 as a signed 32-bit integer."""
    return int(np.float32(value).view(np.int32))
