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
from rcf.score import fold_trees, scale_of
from rcf.state import F64, I64, OUTPUT_AFTER, POINTS, RECORDS, SCORE, U8, WIDE, Forest, Int
from rcf.step import first_invalid, is_wide, make_window, open_forest, row_of
from rcf.vector import LANES

#: Questions: the shares of the score, of chance, mass and length, the leaves that paths end at.
WHY, HOW_CROWDED, WHAT_IS_NEAR = range(3)


@kernel
def answer(
    forest: Forest,
    query: Query,
    walk: Walk,
    question: Int,
    wide: bool,
    shares: F64,
    at: Int,
    slots: I64,
    slots_at: Int,
    own: F64,
) -> float:
    """Answer one question about the query; returns its score. See `ask_rows`."""
    score = forest.header[SCORE]
    total = 0.0
    for first in range(0, forest.trees, LANES):
        walk_trees(forest, query, walk, first, score)
        fold_trees(forest, query, walk, first, score, wide)
        for lane in range(min(LANES, forest.trees - first)):
            tree = first + lane
            total += walk.values[lane] * scale_of(forest, score, tree)
            if question == WHY:
                attribute(forest, query, walk, tree, lane, score, wide, shares, at, own)
            elif question == HOW_CROWDED:
                interpolate(forest, query, walk, tree, lane, wide, shares, at, own)
            else:
                leaf = np.int64(walk.nodes[LANES * walk.depths[lane] + lane])
                slots[slots_at + tree] = tree * forest.slots + leaf_slot(forest.nodes[leaf])
    return total / forest.trees


@kernel
def known(forest: Forest, seen: Int) -> bool:
    """Whether the record that would be number `seen` of the stream, from 1 on, has a score."""
    sequence = forest.header[POINTS] + 1
    return seen >= forest.shingle_size and sequence > forest.header[OUTPUT_AFTER]


@entry
def ask_rows(
    block: U8, values: F64, question: Int, scores: F64, shares: F64, slots: I64
) -> Int:
    """Answer a question about each record, as if it were the next ones of the stream.

    Args:
        block: uint8, a forest's block; not changed.
        values: float64 (records, features), C order.
        question: WHY, HOW_CROWDED or WHAT_IS_NEAR.
        scores: float64 (records,), out; NaN while warming.
        shares: float64, out: 2 x dimensions a record for WHY, six for HOW_CROWDED, sums over the
            trees divided by their number; zeros on entry, NaN while warming. Else not touched.
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
    window = make_window(forest, values)
    room = np.empty(room_bytes(forest), np.uint8)
    own = np.empty(2 * PARTS * forest.dimensions)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    records, trees = len(scores), forest.trees
    faces, places = len(shares) // max(1, records), len(slots) // max(1, records)
    for i in range(records):
        if not known(forest, forest.header[RECORDS] + i + 1):
            scores[i] = np.nan
            shares[i * faces : (i + 1) * faces] = np.nan
            slots[i * places : (i + 1) * places] = -1
            continue
        at = i * forest.features
        wide = forest.header[WIDE] != 0 or is_wide(forest, query.values, at, forest.dimensions)
        set_query(forest, query, at)
        scores[i] = answer(
            forest, query, walk, question, wide, shares, i * faces, slots, i * places, own
        )
        for face in range(i * faces, (i + 1) * faces):
            shares[face] /= trees
    keep_alive(window)
    keep_alive(room)
    return records
