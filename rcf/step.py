"""The border: Python hands over a block of state and rows of records; scores come back."""

from __future__ import annotations

import numpy as np

from rcf.box import free_all_rows
from rcf.jit import entry, kernel
from rcf.path import (
    Query,
    Walk,
    make_query,
    make_walk,
    room_bytes,
    set_query,
    walk_trees,
)
from rcf.pointer import keep_alive, pointer
from rcf.points import has_room, hold, newest_point, rebuild_uses, release, write_record
from rcf.reservoir import (
    change_decay,
    keep_epoch,
    offer_filling,
    offer_full,
    schedule,
    set_key,
    set_peaks,
)
from rcf.row import RowShape
from rcf.score import fold_trees, scale_of
from rcf.state import (
    BOX_MASS,
    DIMENSIONS,
    F32,
    F64,
    FEATURES,
    GROUPS,
    HEADER,
    OUTPUT_AFTER,
    OVERHANG,
    PAIRS,
    PEAKS_STRIDE,
    PLACES,
    POINTS,
    RECORDS,
    RING,
    RING_FLOATS,
    SAMPLE,
    SCORE,
    SHINGLE,
    SLOTS,
    TAIL,
    TREES,
    U8,
    WIDE,
    WIDTH,
    Forest,
    Int,
)
from rcf.tree import delete_point, insert_point, plant, rebuild_tree
from rcf.vector import LANES

#: Largest magnitude a value may have: the largest finite float32.
LARGEST = float(np.finfo(np.float32).max)


@kernel
def row_of(block: U8) -> RowShape:
    """Shape of a block's box rows, known while running."""
    header = block[: HEADER * 8].view(np.int64)
    return RowShape(header[GROUPS], header[TAIL], header[WIDTH])


@kernel
def open_forest(block: U8, row: RowShape) -> Forest:
    """A block as kernels see it (table in `rcf.state`); the block must stay alive."""
    header = block[: HEADER * 8].view(np.int64)
    p = block[PLACES * 8 : HEADER * 8].view(np.int64)
    return Forest(
        header[FEATURES],
        header[SHINGLE],
        header[DIMENSIONS],
        header[TREES],
        header[SAMPLE],
        header[PAIRS],
        header[SLOTS],
        header[PEAKS_STRIDE],
        header[RING],
        header[RING_FLOATS],
        header[BOX_MASS],
        row,
        pointer(header),
        pointer(block[p[1] : p[2]].view(np.float64)),
        pointer(block[p[2] : p[3]].view(np.uint64)),
        pointer(block[p[3] : p[4]].view(np.int64)),
        pointer(block[p[4] : p[5]].view(np.int64)),
        pointer(block[p[5] : p[6]].view(np.int64)),
        pointer(block[p[6] : p[7]].view(np.int64)),
        pointer(block[p[7] : p[8]].view(np.int64)),
        pointer(block[p[8] : p[9]].view(np.float32)),
        pointer(block[p[9] : p[10]].view(np.int32)),
        pointer(block[p[10] : p[11]].view(np.float32)),
        pointer(block[p[11] : p[12]].view(np.int32)),
        pointer(block[p[12] : p[13]].view(np.int32)),
        pointer(block[p[13] : p[14]].view(np.uint16)),
        pointer(block[p[14] : p[15]].view(np.uint16)),
        pointer(block[p[15] : p[16]].view(np.int32)),
        pointer(block[p[16] : p[17]].view(np.float32)),
        pointer(block[p[7] : p[8]].view(np.uint16)),
        pointer(block[p[7] : p[8]].view(np.int32)),
        pointer(block[p[7] : p[8]].view(np.float32)),
    )


@kernel
def accept(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    top: Int,
    origin: Int,
    sequence: Int,
) -> None:
    """Offer the newest point to a tree whose turn it is; insert it if it is accepted."""
    full = forest.sizes[tree] == forest.sample_size
    if full:
        key, evicted = offer_full(forest, tree)
    else:
        key, evicted = offer_filling(forest, tree)
    if key >= 0.0:
        slot = forest.free_slots[tree]
        slots = tree * forest.slots
        hold(forest, slots + slot, origin)
        insert_point(forest, query, walk, tree, lane, top, slot)
        set_key(forest, tree, slot, key)
        if evicted >= 0:
            delete_point(forest, walk, tree, evicted)
            release(forest, slots + evicted)
            set_key(forest, tree, evicted, -1.0)
            forest.free_slots[tree] = evicted
        else:
            forest.sizes[tree] += 1
            forest.free_slots[tree] = forest.sizes[tree]
    if forest.sizes[tree] == forest.sample_size:
        schedule(forest, tree, sequence)
    else:
        forest.due[tree] = sequence + 1


@kernel
def plant_all(forest: Forest, origin: Int, sequence: Int) -> None:
    """Give every tree its first point, with a key of the reservoir's law."""
    for tree in range(forest.trees):
        key, _ = offer_filling(forest, tree)
        hold(forest, tree * forest.slots, origin)
        plant(forest, tree, 0)
        set_key(forest, tree, 0, key)
        forest.sizes[tree] = 1
        forest.free_slots[tree] = 1
        forest.due[tree] = sequence + 1
        if forest.sizes[tree] == forest.sample_size:
            schedule(forest, tree, sequence)


@kernel
def visit(
    forest: Forest,
    query: Query,
    walk: Walk,
    learn: bool,
    wide: bool,
    origin: Int,
    sequence: Int,
) -> float:
    """Score the query in every tree and, if `learn`, offer it to the trees whose turn it is.

    Returns:
        Mean score over the trees. Each tree scores before it learns.
    """
    score = forest.header[SCORE]
    total = 0.0
    for first in range(0, forest.trees, LANES):
        walk_trees(forest, query, walk, first, score)
        fold_trees(forest, query, walk, first, score, wide)
        for lane in range(min(LANES, forest.trees - first)):
            tree = first + lane
            total += walk.values[lane] * scale_of(forest, score, tree)
            if learn and forest.due[tree] == sequence:
                accept(forest, query, walk, tree, lane, walk.tops[lane], origin, sequence)
    return total / forest.trees


@kernel
def is_wide(forest: Forest, values: F32, at: Int, count: Int) -> bool:
    """Whether values are so large that a float32 sum of sides may overflow."""
    limit = np.float32(LARGEST / (4.0 * forest.dimensions))
    for i in range(count):
        if abs(values[at + i]) > limit:
            return True
    return False


@kernel
def first_invalid(values: F64) -> Int:
    """Flat index of the first value that is no finite float32, or -1. float64 (n, features)."""
    flat = values.reshape(-1)
    for i in range(len(flat)):
        if not abs(flat[i]) <= LARGEST:
            return i
    return -1


@kernel
def make_window(forest: Forest, values: F64) -> F32:
    """The records that the shingles of `values` lie in, flat float32: shingle i starts at record i.

    The last ``shingle_size - 1`` records of the stream come first (zeros where it has not had as
    many), then `values`. Minus zero becomes zero, so that equal numbers have equal bits.
    """
    header = forest.header
    features, before = forest.features, forest.shingle_size - 1
    window = np.zeros((before + values.shape[0]) * features + OVERHANG, np.float32)
    for i in range(max(0, before - header[RECORDS]), before):
        place = (header[RECORDS] - before + i) % forest.ring * features
        for j in range(features):
            window[i * features + j] = forest.store[place + j]
    flat = values.reshape(-1)
    for i in range(len(flat)):
        window[before * features + i] = np.float32(flat[i]) + np.float32(0.0)
    return window


@kernel
def learn_record(forest: Forest, query: Query, newest: Int) -> Int:
    """Take the record at `query.values[newest:]` into the ring; return where its point starts."""
    write_record(forest, query.values, newest)
    if is_wide(forest, query.values, newest, forest.features):
        forest.header[WIDE] = 1
    if forest.header[RECORDS] < forest.shingle_size:
        return -1
    forest.header[POINTS] += 1
    keep_epoch(forest, forest.header[POINTS])
    return newest_point(forest)


@kernel
def run(block: U8, values: F64, scores: F64, learn: bool, row: RowShape) -> Int:
    """`run_rows` for one shape of box rows, known while compiling or not."""
    bad = first_invalid(values)
    if bad >= 0:
        return -1 - bad
    forest = open_forest(block, row)
    header = forest.header
    window = make_window(forest, values)
    room = np.empty(room_bytes(forest), np.uint8)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    done, origin, sequence = len(scores), np.int64(-1), header[POINTS] + 1
    wide = header[WIDE] != 0
    seen = header[RECORDS]
    for i in range(len(scores)):
        at = i * forest.features
        scores[i] = np.nan
        if learn:
            if not has_room(forest):
                done = i
                break
            origin = learn_record(forest, query, at + (forest.shingle_size - 1) * forest.features)
            sequence, wide = header[POINTS], header[WIDE] != 0
            if origin >= 0 and sequence == 1:
                plant_all(forest, origin, sequence)
                continue
        elif sequence > header[OUTPUT_AFTER]:
            wide = header[WIDE] != 0 or is_wide(forest, query.values, at, forest.dimensions)
        if seen + i + 1 < forest.shingle_size or sequence == 1:
            continue
        if not learn and sequence <= header[OUTPUT_AFTER]:
            continue
        set_query(forest, query, at)
        value = visit(forest, query, walk, learn, wide, origin, sequence)
        if sequence > header[OUTPUT_AFTER]:
            scores[i] = value
    keep_alive(window)
    keep_alive(room)
    return done


@entry
def run_rows(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """Score each record and, if `learn`, learn it.

    Args:
        block: uint8, a forest's block; changed in place if `learn`.
        values: float64 (records, features), C order.
        scores: float64 (records,), out; NaN while warming.
        learn: Whether to learn; if not, records are scored as a continuation of the stream, and
            nothing changes.

    Returns:
        Records done: fewer than given if the store has no room to keep one more point. Below 0
        where a value is no finite float32: -1 minus its flat index; nothing was done then.
    """
    return run(block, values, scores, learn, row_of(block))


@entry
def set_decay(block: U8, decay: float) -> None:
    """`rcf.reservoir.change_decay` for a block."""
    change_decay(open_forest(block, row_of(block)), decay)
    keep_alive(block)


@entry
def rebuild(block: U8) -> None:
    """Recompute what follows from the rest of the state, after a restore.

    Masses, boxes, peaks, the ring's repeated start and the uses of ring records are a function of
    node words, parents, leaves, keys, origins and the store; exactly so, because a box is a minimum
    and its range a sum over its row, whatever the order of insertion.
    """
    forest = open_forest(block, row_of(block))
    room = np.empty(room_bytes(forest), np.uint8)
    walk = make_walk(forest, room)
    rebuild_uses(forest)
    free_all_rows(forest)
    set_peaks(forest)
    for tree in range(forest.trees):
        rebuild_tree(forest, walk, tree)
    keep_alive(room)
    keep_alive(block)
