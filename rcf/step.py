"""The border: Python hands over a block of state and rows of records; scores come back."""

from __future__ import annotations

import numpy as np

from rcf.jit import kernel
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
from rcf.row import RowShape, fixed_row
from rcf.score import fold_trees, scale_of
from rcf.state import (
    DIMENSIONS,
    F32,
    F64,
    FEATURES,
    GROUPS,
    HEADER,
    OUTPUT_AFTER,
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
        pointer(block[p[9] : p[10]].view(np.float32)),
        pointer(block[p[10] : p[11]].view(np.uint16)),
        pointer(block[p[11] : p[12]].view(np.uint16)),
        pointer(block[p[12] : p[13]].view(np.float32)),
        pointer(block[p[13] : p[14]].view(np.int32)),
        pointer(block[p[14] : p[15]].view(np.int32)),
        pointer(block[p[15] : p[16]].view(np.uint16)),
        pointer(block[p[16] : p[17]].view(np.uint16)),
        pointer(block[p[17] : p[18]].view(np.int32)),
        pointer(block[p[18] : p[19]].view(np.float32)),
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
        key, evicted = offer_full(forest, tree, sequence)
    else:
        key, evicted = offer_filling(forest, tree, sequence)
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
        key, _ = offer_filling(forest, tree, sequence)
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
            total += walk.values[lane] * scale_of(score, np.float64(walk.masses[lane]))
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
    window = np.zeros((before + values.shape[0]) * features, np.float32)
    for i in range(max(0, before - header[RECORDS]), before):
        place = (header[RECORDS] - before + i) % forest.ring * features
        for j in range(features):
            window[i * features + j] = forest.store[place + j]
    flat = values.reshape(-1)
    for i in range(len(flat)):
        window[before * features + i] = np.float32(flat[i]) + np.float32(0.0)
    return window


@kernel
def process(block: U8, values: F64, scores: F64, row: RowShape) -> Int:
    """`process_rows` for one shape of box rows."""
    forest = open_forest(block, row)
    header = forest.header
    window = make_window(forest, values)
    room = np.empty(room_bytes(forest), np.uint8)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    done = len(scores)
    for i in range(len(scores)):
        if not has_room(forest):
            done = i
            break
        scores[i] = np.nan
        newest = (i + forest.shingle_size - 1) * forest.features
        write_record(forest, query.values, newest)
        if is_wide(forest, query.values, newest, forest.features):
            header[WIDE] = 1
        if header[RECORDS] < forest.shingle_size:
            continue
        header[POINTS] += 1
        sequence = header[POINTS]
        keep_epoch(forest, sequence)
        origin = newest_point(forest)
        if sequence == 1:
            plant_all(forest, origin, sequence)
            continue
        set_query(forest, query, i * forest.features)
        value = visit(forest, query, walk, True, header[WIDE] != 0, origin, sequence)
        if sequence > header[OUTPUT_AFTER]:
            scores[i] = value
    keep_alive(window)
    keep_alive(room)
    return done


@kernel
def process_rows(block: U8, values: F64, scores: F64) -> Int:
    """Score each record, then learn it.

    Args:
        block: uint8, a forest's block; changed in place.
        values: float64 (records, features), C order, every value a finite float32.
        scores: float64 (records,), out; NaN while warming.

    Returns:
        Records done: fewer than given if the store has no room to keep one more point.
    """
    return process(block, values, scores, row_of(block))


@kernel
def process_rows_8(block: U8, values: F64, scores: F64) -> Int:
    """`process_rows` for 5 to 8 dimensions."""
    return process(block, values, scores, fixed_row(1, 0))


@kernel
def process_rows_1(block: U8, values: F64, scores: F64) -> Int:
    """`process_rows` for 5 to 8 dimensions."""
    return process(block, values, scores, fixed_row(0, 1))


@kernel
def process_rows_48(block: U8, values: F64, scores: F64) -> Int:
    """`process_rows` for 5 to 8 dimensions."""
    return process(block, values, scores, fixed_row(6, 0))


@kernel
def score_rows(block: U8, values: F64, scores: F64) -> None:
    """Score records as a continuation of the stream, changing nothing; arguments as above."""
    forest = open_forest(block, row_of(block))
    header = forest.header
    window = make_window(forest, values)
    room = np.empty(room_bytes(forest), np.uint8)
    query, walk = make_query(forest, window, room), make_walk(forest, room)
    for i in range(len(scores)):
        if header[POINTS] < header[OUTPUT_AFTER] or header[RECORDS] + i + 1 < forest.shingle_size:
            scores[i] = np.nan
            continue
        at = i * forest.features
        set_query(forest, query, at)
        wide = header[WIDE] != 0 or is_wide(forest, query.values, at, forest.dimensions)
        scores[i] = visit(forest, query, walk, False, wide, 0, 0)
    keep_alive(window)
    keep_alive(room)


@kernel
def set_decay(block: U8, decay: float) -> None:
    """`rcf.reservoir.change_decay` for a block."""
    change_decay(open_forest(block, row_of(block)), decay)
    keep_alive(block)


@kernel
def rebuild(block: U8) -> None:
    """Recompute what follows from the rest of the state, after a restore.

    Masses, boxes, ranges, parents, peaks, the ring's repeated start and the uses of ring records
    are a function of node words, leaves, keys, origins and the store; exactly so, because a box is
    a minimum and its range a sum over its row, whatever the order of insertion.
    """
    forest = open_forest(block, row_of(block))
    room = np.empty(room_bytes(forest), np.uint8)
    walk = make_walk(forest, room)
    rebuild_uses(forest)
    set_peaks(forest)
    for tree in range(forest.trees):
        rebuild_tree(forest, walk, tree)
    keep_alive(room)
    keep_alive(block)
