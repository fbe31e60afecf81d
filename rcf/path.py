"""The way of one query through eight trees at a time: what every fold works on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf.cut import key_of
from rcf.jit import kernel
from rcf.pointer import pointer
from rcf.points import write_row
from rcf.state import F32, F64, I64, U8, U16, Forest, Int
from rcf.vector import LANES, descend


class Query(NamedTuple):
    """One point in the three forms that kernels ask for.

    Attributes:
        values: float32, the point's coordinates start at `at[0]`.
        at: int64 (1,).
        row: float32 (width,), the point as the box ``[x | -x]``, padding 0.
        keys: int64 (dimensions,), order-preserving integers of the coordinates.
    """

    values: F32
    at: I64
    row: F32
    keys: I64


class Walk(NamedTuple):
    """Paths of a query through eight trees, from the root; step s of lane i is at 8 s + i.

    Attributes:
        nodes: uint16, the node; a leaf repeats until the deepest lane has ended.
        masses: float32, its mass.
        ratios: float32, largest mass of a sibling over (mass + 1) on the way to it.
        depths: int64 (8,), depth of each lane's leaf.
        unseen: float32, score of a query that becomes its sibling (x_j in `rcf.score`).
        chances: float32, chance that a cut separates the query from the node s steps above the
            leaf's parent.
        values: float64 (8,), each lane's score.
        tops: int64 (8,), depth of the highest node whose box does not contain the query; one more
            than the leaf's depth where the leaf holds an equal point.
        row, other: float32 (width,), room for points' rows, padding 0.
        edge: float32 (width,), the same with padding 1 (see `box_touches`).
    """

    nodes: U16
    masses: F32
    ratios: F32
    depths: I64
    unseen: F32
    chances: F32
    values: F64
    tops: I64
    row: F32
    other: F32
    edge: F32


@kernel
def room_bytes(forest: Forest) -> Int:
    """Bytes that `make_query` and `make_walk` need together."""
    steps = (forest.pairs + 2) * LANES
    return room_of_query(forest) + 64 + 3 * LANES * 8 + steps * 18 + forest.row.width * 12


@kernel
def room_of_query(forest: Forest) -> Int:
    """Bytes that `make_query` needs."""
    return 128 + forest.dimensions * 8 + forest.row.width * 4


@kernel
def make_query(forest: Forest, values: F32, room: U8) -> Query:
    """A query whose coordinates lie in `values`, in the first bytes of `room`."""
    keys_end = 64 + forest.dimensions * 8
    row = room[keys_end : keys_end + forest.row.width * 4].view(np.float32)
    row[:] = 0.0
    return Query(
        pointer(values),
        pointer(room[:8].view(np.int64)),
        pointer(row),
        pointer(room[64:keys_end].view(np.int64)),
    )


@kernel
def make_walk(forest: Forest, room: U8) -> Walk:
    """The rest of `room` for paths. A path is at most as deep as a tree has points."""
    steps = (forest.pairs + 2) * LANES
    # Wide items first, so that all are aligned.
    depths = (room_of_query(forest) + 63) // 64 * 64
    tops = depths + LANES * 8
    values = tops + LANES * 8
    masses = values + LANES * 8
    ratios = masses + steps * 4
    unseen = ratios + steps * 4
    chances = unseen + steps * 4
    row = chances + steps * 4
    edge = row + forest.row.width * 4
    other = edge + forest.row.width * 4
    nodes = other + forest.row.width * 4
    row_view = room[row:edge].view(np.float32)
    edge_view = room[edge:other].view(np.float32)
    other_view = room[other:nodes].view(np.float32)
    row_view[:] = 0.0
    edge_view[:] = 1.0
    other_view[:] = 0.0
    return Walk(
        pointer(room[nodes : nodes + steps * 2].view(np.uint16)),
        pointer(room[masses:ratios].view(np.float32)),
        pointer(room[ratios:unseen].view(np.float32)),
        pointer(room[depths:tops].view(np.int64)),
        pointer(room[unseen:chances].view(np.float32)),
        pointer(room[chances:row].view(np.float32)),
        pointer(room[values:masses].view(np.float64)),
        pointer(room[tops:values].view(np.int64)),
        pointer(row_view),
        pointer(other_view),
        pointer(edge_view),
    )


@kernel
def set_query(forest: Forest, query: Query, at: Int) -> None:
    """Point the query at the coordinates that start at `query.values[at]`."""
    dimensions = forest.dimensions
    query.at[0] = at
    write_row(query.row, 0, query.values, at, dimensions, forest.row)
    for i in range(dimensions):
        query.keys[i] = key_of(query.values[at + i])


@kernel
def walk_trees(forest: Forest, query: Query, walk: Walk, first: Int, score: Int) -> Int:
    """Walk trees `first` … `first + 7`, none beyond the last, down to their leaves."""
    return descend(
        forest.nodes,
        forest.masses,
        first,
        2 * forest.pairs,
        forest.trees - 1,
        query.keys,
        score,
        walk.nodes,
        walk.masses,
        walk.ratios,
        walk.unseen,
        walk.depths,
    )
