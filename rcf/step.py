"""One record's step: into the ring, scored in every tree, learnt by those whose turn it is."""

from __future__ import annotations

import numpy as np

from rcf.arguments import LARGEST
from rcf.box import free_all_rows
from rcf.jit import entry, kernel
from rcf.layout import PairLayout, fixed_layout
from rcf.path import (
    Query,
    Walk,
    make_walk,
    set_query,
    walk_trees,
)
from rcf.pointer import keep_alive, section
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
from rcf.score import BLEND, CODISP, DEPTH, blended, depth_of, fold_trees, scale_of
from rcf.state import (
    BOX_MASS,
    DIMENSIONS,
    F32,
    F64,
    FEATURES,
    GROUPS,
    HEADER,
    I64,
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


@kernel
def header_of(block: U8) -> I64:
    """The header of a block."""
    return section(block, 0, HEADER * 8, np.int64)


@kernel
def row_of(block: U8) -> RowShape:
    """Shape of a block's box rows, known while running."""
    header = header_of(block)
    return RowShape(header[GROUPS], header[TAIL], header[WIDTH])


@kernel
def open_forest(block: U8, row: RowShape, layout: PairLayout) -> Forest:
    """A block as kernels see it (table in `rcf.state`); the block must stay alive."""
    header = header_of(block)
    p = section(block, PLACES * 8, HEADER * 8, np.int64)
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
        layout,
        header,
        section(block, p[1], p[2], np.float64),
        section(block, p[2], p[3], np.uint64),
        section(block, p[3], p[4], np.int64),
        section(block, p[4], p[5], np.int64),
        section(block, p[5], p[6], np.int64),
        section(block, p[6], p[7], np.int64),
        section(block, p[7], p[8], np.int64),
        section(block, p[8], p[9], np.float32),
        section(block, p[9], p[10], layout.box_row),
        section(block, p[10], p[11], np.float32),
        section(block, p[11], p[12], np.int32),
        section(block, p[12], p[13], layout.origin),
        section(block, p[13], p[14], layout.number),
        section(block, p[14], p[15], layout.number),
        section(block, p[15], p[16], layout.origin),
        section(block, p[16], p[17], np.float32),
        section(block, p[7], p[8], layout.number),
        section(block, p[7], p[8], layout.box_row),
        section(block, p[7], p[8], np.float32),
    )


@kernel
def accept(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
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
        hold(forest, tree * forest.slots + forest.free_slots[tree], origin)
        exchange(forest, query, walk, tree, lane, key, evicted)
    if forest.sizes[tree] == forest.sample_size:
        schedule(forest, tree, sequence)
    else:
        forest.due[tree] = sequence + 1


@kernel
def exchange(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    key: float,
    evicted: Int,
) -> None:
    """Insert the query, which the tree's free slot holds; delete the point of `evicted`, or -1."""
    slot, slots = forest.free_slots[tree], tree * forest.slots
    insert_point(forest, query, walk, tree, lane, walk.tops[lane], slot)
    set_key(forest, tree, slot, key)
    if evicted >= 0:
        delete_point(forest, walk, tree, evicted)
        release(forest, slots + evicted)
        set_key(forest, tree, evicted, -1.0)
        forest.free_slots[tree] = evicted
    else:
        forest.sizes[tree] += 1
        forest.free_slots[tree] = forest.sizes[tree]


@kernel
def plant_first(forest: Forest, tree: Int, key: float) -> None:
    """Make the point that slot 0 holds the only one of an empty tree."""
    plant(forest, tree, 0)
    set_key(forest, tree, 0, key)
    forest.sizes[tree] = 1
    forest.free_slots[tree] = 1


@kernel
def plant_all(forest: Forest, origin: Int, sequence: Int) -> None:
    """Give every tree its first point, with a key of the reservoir's law."""
    for tree in range(forest.trees):
        key, _ = offer_filling(forest, tree)
        hold(forest, tree * forest.slots, origin)
        plant_first(forest, tree, key)
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
    is_blend = score == BLEND and forest.features > 1
    if score == BLEND:
        score = CODISP if is_blend else DEPTH  # of one feature the blend is the depth alone
    total = depths = 0.0
    for first in range(0, forest.trees, LANES):
        walk_trees(forest, query, walk, first, score)
        fold_trees(forest, query, walk, first, score, wide)
        for lane in range(min(LANES, forest.trees - first)):
            tree = first + lane
            total += walk.values[lane] * scale_of(forest, score, tree)
            if is_blend:
                depths += depth_of(forest, walk, tree, lane)
            if learn and forest.due[tree] == sequence:
                accept(forest, query, walk, tree, lane, origin, sequence)
    if is_blend:
        return blended(forest, depths / forest.trees, total / forest.trees)
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
def copy_recent(forest: Forest, window: F32) -> None:
    """Write the last ``shingle_size - 1`` records to the front of `window`; they lie end to end."""
    before = forest.shingle_size - 1
    start = (forest.header[RECORDS] - before) % forest.ring * forest.features
    for i in range(before * forest.features):
        window[i] = forest.store[start + i]


@kernel
def copy_values(window: F32, at: Int, values: F64) -> None:
    """Write records to `window[at:]`. Minus zero becomes zero: equal numbers have equal bits."""
    flat = values.reshape(-1)
    for i in range(len(flat)):
        window[at + i] = np.float32(flat[i]) + np.float32(0.0)


@kernel
def make_window(forest: Forest, values: F64) -> F32:
    """The records that the shingles of `values` lie in, flat float32: shingle i starts at record i.

    The last ``shingle_size - 1`` records of the stream come first (zeros where it has not had as
    many), then `values`.
    """
    before = (forest.shingle_size - 1) * forest.features
    window = np.empty(before + values.size + OVERHANG, np.float32)
    copy_recent(forest, window)
    copy_values(window, before, values)
    window[before + values.size :] = 0.0
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
def take(forest: Forest, query: Query, walk: Walk, at: Int, seen: Int, learn: bool) -> float:
    """Score the record that ends the shingle at `query.values[at:]` and, if `learn`, learn it.

    Args:
        forest: The sections; if it is to learn, there must be room for a point and for boxes.
        query: Room for the point.
        walk: Room for its paths.
        at: Where the shingle starts.
        seen: Records of the stream up to this one.
        learn: Whether to learn.

    Returns:
        The score; NaN while warming.
    """
    header = forest.header
    origin, sequence = np.int64(-1), header[POINTS] + 1
    if learn:
        origin = learn_record(forest, query, at + (forest.shingle_size - 1) * forest.features)
        if origin >= 0 and sequence == 1:
            plant_all(forest, origin, sequence)
    if seen < forest.shingle_size or sequence == 1:
        return np.nan
    if not learn and sequence <= header[OUTPUT_AFTER]:
        return np.nan
    wide = header[WIDE] != 0
    if not learn and not wide:
        wide = is_wide(forest, query.values, at, forest.dimensions)
    set_query(forest, query, at)
    value = visit(forest, query, walk, learn, wide, origin, sequence)
    return value if sequence > header[OUTPUT_AFTER] else np.nan


@entry
def follow_rows(block: U8, values: F64) -> Int:
    """Let records become part of the shingles to come without learning them.

    Args:
        block: uint8, a forest's block; changed in place.
        values: float64 (records, features), each a finite float32.

    Returns:
        Records done: fewer than given if there is no room to keep a point that one overwrites.
    """
    forest = open_forest(block, row_of(block), fixed_layout(False))
    record = np.empty(forest.features, np.float32)
    done = len(values)
    for i in range(len(values)):
        if not has_room(forest):
            done = i
            break
        copy_values(record, 0, values[i])
        write_record(forest, record, 0)
        if is_wide(forest, record, 0, forest.features):
            forest.header[WIDE] = 1
    keep_alive(block)
    return done


@entry
def set_decay(block: U8, decay: float) -> None:
    """`rcf.reservoir.change_decay` for a block."""
    change_decay(open_forest(block, row_of(block), fixed_layout(False)), decay)
    keep_alive(block)


@kernel
def rebuild_forest(forest: Forest, room: U8) -> None:
    """Recompute what follows from the rest of the state, after a restore.

    Masses, boxes, peaks, the ring's repeated start and the uses of ring records are a function of
    node words, parents, leaves, keys, origins and the store; exactly so, because a box is a minimum
    and its range a sum over its row, whatever the order of insertion.
    """
    walk = make_walk(forest, room)
    rebuild_uses(forest)
    free_all_rows(forest)
    set_peaks(forest)
    for tree in range(forest.trees):
        rebuild_tree(forest, walk, tree)
