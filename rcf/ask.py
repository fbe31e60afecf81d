"""The border for questions: what a forest says of records besides a score. Nothing is learnt.

One walk answers each; records are taken as `rcf.step` takes those that are only scored.
"""

from __future__ import annotations

import numpy as np

from rcf.attribution import attribute
from rcf.cut import leaf_slot
from rcf.density import PARTS, interpolate
from rcf.jit import entry, kernel
from rcf.layout import fixed_layout
from rcf.path import Query, Walk, make_query, make_walk, room_bytes, set_query, walk_trees
from rcf.pointer import keep_alive
from rcf.points import is_wide, newest_point
from rcf.run import block_of
from rcf.score import DEPTH, fold_trees, scale_of
from rcf.state import F64, I64, OUTPUT_AFTER, OVERHANG, POINTS, RECORDS, U8, WIDE, Forest, Int
from rcf.step import (
    copy_recent,
    copy_values,
    first_invalid,
    make_window,
    open_forest,
    row_of,
)
from rcf.vector import LANES

#: Questions: the shares of the score, of chance, mass and length, the leaves that paths end at.
WHY, HOW_CROWDED, WHAT_IS_NEAR = range(3)


@kernel
def answer(
    forest: Forest,
    query: Query,
    walk: Walk,
    question: Int,
    score: Int,
    wide: bool,
    besides: Int,
    shares: F64,
    at: Int,
    slots: I64,
    slots_at: Int,
    own: F64,
) -> float:
    """Answer one question about the query; see `ask_rows`.

    Args:
        forest: The sections.
        query: The point.
        walk: Room for its paths.
        question: WHY, HOW_CROWDED or WHAT_IS_NEAR.
        score: CODISP, DISP or DEPTH.
        wide: See `rcf.score.fold_trees`.
        besides: Trees whose path ends at the point at this place of the store are left out; -1.
        shares: float64, changed: means over the trees are added.
        at: Where they start.
        slots: int64, out.
        slots_at: Where they start.
        own: float64 (6 dimensions,), room.

    Returns:
        Mean score over the trees; NaN where all were left out.
    """
    total, trees = 0.0, 0
    for first in range(0, forest.trees, LANES):
        walk_trees(forest, query, walk, first, score)
        fold_trees(forest, query, walk, first, score, wide)
        for lane in range(min(LANES, forest.trees - first)):
            tree = first + lane
            leaf = np.int64(walk.nodes[LANES * walk.depths[lane] + lane])
            slot = tree * forest.slots + leaf_slot(forest.nodes[leaf])
            if question == WHAT_IS_NEAR:
                slots[slots_at + tree] = slot
            if forest.origins[slot] == besides:
                continue
            trees += 1
            total += walk.values[lane] * scale_of(forest, score, tree)
            if question == WHY:
                attribute(forest, query, walk, tree, lane, score, wide, shares, at, own)
            elif question == HOW_CROWDED:
                interpolate(forest, query, walk, tree, lane, wide, shares, at, own)
    faces = 2 * forest.dimensions * (PARTS if question == HOW_CROWDED else 1)
    if question != WHAT_IS_NEAR and trees > 0:
        for face in range(at, at + faces):
            shares[face] /= trees
    return total / trees if trees > 0 else np.nan


@kernel
def known(forest: Forest, seen: Int) -> bool:
    """Whether the record that would be number `seen` of the stream, from 1 on, has a score."""
    sequence = forest.header[POINTS] + 1
    return seen >= forest.shingle_size and sequence > forest.header[OUTPUT_AFTER]


@entry
def ask_rows(
    block: U8,
    values: F64,
    question: Int,
    score: Int,
    scores: F64,
    shares: F64,
    slots: I64,
) -> Int:
    """Answer a question about each record, as if it were the next ones of the stream.

    Or, without records, WHY of the one learnt last. Its answer is that of the trees that did not
    take it, which are still what they were when it was scored; where all have taken it, of all.

    Args:
        block: uint8, a forest's block; not changed.
        values: float64 (records, features), C order; records may be 0.
        question: WHY, HOW_CROWDED or WHAT_IS_NEAR.
        score: Which score WHY is asked of: CODISP, DISP or DEPTH.
        scores: float64 (records, or 1,), out; NaN while warming.
        shares: float64, out: 2 x dimensions a record for WHY, six for HOW_CROWDED, means over the
            trees; zeros on entry, NaN while warming. Else not touched.
        slots: int64, out: for WHAT_IS_NEAR the slot that each tree's path ends at, `trees` a
            record; -1 while warming. Else not touched.

    Returns:
        Records done. Below 0 where a value is no finite float32: -1 minus its flat index; nothing
        was done then.
    """
    bad = first_invalid(values)
    if bad >= 0:
        return -1 - bad
    forest = open_forest(block, row_of(block), fixed_layout(False))
    records, newest = len(values), len(values) == 0
    window = make_window(forest, values)
    besides = np.int64(-1)
    if newest:
        besides = newest_point(forest)
        window = np.zeros(forest.dimensions + OVERHANG, np.float32)
        for i in range(forest.dimensions):
            window[i] = forest.store[besides + i]
    room = np.empty(room_bytes(forest), np.uint8)
    own = np.empty(2 * PARTS * forest.dimensions)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    faces, places = len(shares) // len(scores), len(slots) // len(scores)
    for i in range(len(scores)):
        at, to = i * forest.features, i * faces
        if not newest and not known(forest, forest.header[RECORDS] + i + 1):
            scores[i] = np.nan
            shares[to : to + faces] = np.nan
            slots[i * places : (i + 1) * places] = -1
            continue
        wide = forest.header[WIDE] != 0 or is_wide(forest, query.values, at, forest.dimensions)
        set_query(forest, query, at)
        while True:
            scores[i] = answer(
                forest,
                query,
                walk,
                question,
                score,
                wide,
                besides,
                shares,
                to,
                slots,
                i * places,
                own,
            )
            if besides < 0 or not np.isnan(scores[i]):
                break
            besides = np.int64(-1)
    keep_alive(window)
    keep_alive(room)
    return records


@kernel
def measure(forest: Forest, query: Query, walk: Walk, at: Int, parts: F64, own: F64) -> float:
    """AWS's distance of the shingle at `query.values[at:]`, and in `parts` what it is made of.

    Args:
        forest: The sections.
        query: Room for the point.
        walk: Room for its paths.
        at: Where the shingle starts.
        parts: float64 (6 dimensions,), out: means of P, F and L (`rcf.density`).
        own: float64 (6 dimensions,), room.
    """
    wide = forest.header[WIDE] != 0 or is_wide(forest, query.values, at, forest.dimensions)
    set_query(forest, query, at)
    parts[:] = 0.0
    none, besides = np.empty(0, np.int64), np.int64(-1)
    answer(forest, query, walk, HOW_CROWDED, DEPTH, wide, besides, parts, 0, none, 0, own)
    total = 0.0
    for face in range(4 * forest.dimensions, 6 * forest.dimensions):
        total += parts[face]
    return total


@entry
def measure_rows(
    blocks: I64, starts: I64, stops: I64, values: F64, distances: F64, high: F64, low: F64
) -> None:
    """AWS's distance of records, as if those of a segment were the next ones of its stream.

    Args:
        blocks: int64 (segments,), addresses of blocks of one shape, of the wide layout; not
            changed.
        starts: int64 (segments,), where the records of each begin.
        stops: int64 (segments,), and where they end; others are left out.
        values: float64 (records, features), C order, each a finite float32.
        distances: float64 (records,), out; NaN while warming.
        high: float64 (records, shingle size, features), out: how much of it lies above, NaN while
            warming; without items, nobody asks.
        low: The same below.
    """
    first = open_forest(block_of(blocks[0]), row_of(block_of(blocks[0])), fixed_layout(False))
    before, faces = (first.shingle_size - 1) * first.features, 2 * first.dimensions
    most = np.max(stops - starts) * first.features
    window = np.zeros(before + most + OVERHANG, np.float32)
    room = np.empty(room_bytes(first), np.uint8)
    query, walk = make_query(first, window, room), make_walk(first, room)
    parts, own = np.empty(PARTS * faces), np.empty(PARTS * faces)
    flat = values.reshape(-1)
    for part in range(len(blocks)):
        forest = open_forest(block_of(blocks[part]), first.row, fixed_layout(False))
        start = starts[part]
        copy_recent(forest, window)
        copy_values(window, before, flat, start * first.features, stops[part] * first.features)
        for row in range(start, stops[part]):
            number = row - start
            if known(forest, forest.header[RECORDS] + number + 1):
                distances[row] = measure(forest, query, walk, number * forest.features, parts, own)
            else:
                distances[row] = parts[:] = np.nan
            if len(high) > 0:
                lengths = parts[2 * faces :].reshape(2, forest.shingle_size, forest.features)
                high[row], low[row] = lengths[0], lengths[1]
    keep_alive(window)
    keep_alive(room)
