"""The way of one query through eight trees at a time: what every fold works on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf.cut import key_of
from rcf.jit import kernel
from rcf.pointer import pointer, section
from rcf.state import F32, F64, I32, I64, U8, Forest, Int
from rcf.vector import LANES, descend, point_row


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
        nodes: int32, the node's word in `Forest.nodes`; a leaf repeats until the deepest lane has
            ended.
        unseen: float32, score of a query that becomes its sibling (x_j in `rcf.score`).
        chances: float32, chance that a cut separates the query from the node s steps above the
            lane's start.
        small: float32, the same for the node s steps above the leaf's parent, below the start.
        ratios: float32 (8,), largest mass of a sibling over (mass + 1) on the way to the leaf.
        depths: int64 (8,), depth of each lane's leaf.
        starts: int64 (8,), depth of the node below the lowest branch that keeps its box; the branch
            itself or one below it where the fold has ended before.
        tops: int64 (8,), depth of the highest node whose box does not contain the query; one more
            than the leaf's depth where the leaf holds an equal point.
        values: float64 (8,), each lane's score.
        stack: int64, nodes to be visited.
        row, other, edge: float32 (width,), room for points' rows.
    """

    nodes: I32
    unseen: F32
    chances: F32
    small: F32
    ratios: F32
    depths: I64
    starts: I64
    tops: I64
    values: F64
    stack: I64
    row: F32
    other: F32
    edge: F32


@kernel
def room_bytes(forest: Forest) -> Int:
    """Bytes that `make_query` and `make_walk` need together."""
    steps = (forest.pairs + 2) * LANES
    eights = 5 * LANES * 8 + levels_without_box(forest) * (8 + LANES * 4)
    return room_of_query(forest) + 128 + eights + steps * 12 + forest.row.width * 12


@kernel
def levels_without_box(forest: Forest) -> Int:
    """Most branches of a path that keep no box; where rows are fixed, that may become all."""
    return forest.box_mass if forest.layout.more_rows else forest.pairs


@kernel
def room_of_query(forest: Forest) -> Int:
    """Bytes of a query, whole cache lines."""
    return (127 + forest.dimensions * 8) // 64 * 64 + (63 + forest.row.width * 4) // 64 * 64


@kernel
def query_in(forest: Forest, values: F32, room: U8, start: Int) -> Query:
    """A query whose coordinates lie in `values`, in the bytes of `room` from `start` on."""
    keys, end = start + 64, start + room_of_query(forest)
    row = end - (63 + forest.row.width * 4) // 64 * 64
    return Query(
        values,
        section(room, start, start + 8, np.int64),
        section(room, row, row + forest.row.width * 4, np.float32),
        section(room, keys, keys + forest.dimensions * 8, np.int64),
    )


@kernel
def make_query(forest: Forest, values: F32, room: U8) -> Query:
    """A query whose coordinates lie in `values`, in the first bytes of `room`."""
    return query_in(forest, pointer(values), room, 0)


@kernel
def make_walk(forest: Forest, room: U8) -> Walk:
    """The rest of `room` for paths. A path is at most as deep as a tree has points."""
    steps, width = (forest.pairs + 2) * LANES * 4, forest.row.width * 4
    eights = LANES * 8
    # Wide items first, so that all are aligned.
    depths = room_of_query(forest)
    stack = depths + 4 * eights
    unseen = stack + (levels_without_box(forest) + 2) * 8
    small = unseen + 2 * steps
    ratios = small + levels_without_box(forest) * LANES * 4
    row = ratios + LANES * 4
    nodes = row + 3 * width
    return Walk(
        section(room, nodes, nodes + steps, np.int32),
        section(room, unseen, unseen + steps, np.float32),
        section(room, unseen + steps, small, np.float32),
        section(room, small, ratios, np.float32),
        section(room, ratios, row, np.float32),
        section(room, depths, depths + eights, np.int64),
        section(room, depths + eights, depths + 2 * eights, np.int64),
        section(room, depths + 2 * eights, depths + 3 * eights, np.int64),
        section(room, depths + 3 * eights, stack, np.float64),
        section(room, stack, unseen, np.int64),
        section(room, row, row + width, np.float32),
        section(room, row + width, row + 2 * width, np.float32),
        section(room, row + 2 * width, nodes, np.float32),
    )


@kernel
def set_query(forest: Forest, query: Query, at: Int) -> None:
    """Point the query at the coordinates that start at `query.values[at]`."""
    dimensions = forest.dimensions
    query.at[0] = at
    point_row(query.row, 0, query.values, at, dimensions, 0.0, forest.row)
    for i in range(dimensions):
        query.keys[i] = key_of(query.values[at + i])


@kernel
def walk_trees(forest: Forest, query: Query, walk: Walk, first: Int, score: Int) -> Int:
    """Walk trees `first` … `first + 7`, none beyond the last, down to their leaves."""
    return descend(
        forest.nodes,
        first,
        forest.layout.words * forest.pairs,
        forest.trees - 1,
        query.keys,
        score,
        walk.nodes,
        walk.unseen,
        walk.ratios,
        walk.depths,
        forest.row,
        forest.layout,
    )
