"""The step of records: into the ring, scored in every tree, learnt by those whose turn it is."""

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
    walk_trees,
)
from rcf.pointer import keep_alive, section
from rcf.points import has_room, hold, is_wide, rebuild_uses, write_record
from rcf.reservoir import (
    change_decay,
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
    GROWTH,
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
from rcf.tile import Tile, fill, is_settled, let_go, look, most_records, query_of, settle
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
    tile: Tile,
    record: Int,
    tree: Int,
    lane: Int,
    sequence: Int,
) -> None:
    """Offer a record's point to a tree whose turn it is; insert it if it is accepted."""
    full = forest.sizes[tree] == forest.sample_size
    if full:
        key, evicted = offer_full(forest, tree)
    else:
        key, evicted = offer_filling(forest, tree)
    if key >= 0.0:
        hold(forest, tree * forest.slots + forest.free_slots[tree], tile.origins[record])
        exchange(forest, query, walk, tree, lane, key, evicted)
        if evicted >= 0:
            let_go(forest, tile, record, tree, evicted)
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
    """Insert the query, which the tree's free slot holds; delete the point of `evicted`, or -1.

    The slot of the evicted point still names it: the caller lets it go.
    """
    slot = forest.free_slots[tree]
    insert_point(forest, query, walk, tree, lane, walk.tops[lane], slot)
    set_key(forest, tree, slot, key)
    if evicted >= 0:
        delete_point(forest, walk, tree, evicted)
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
def visit(forest: Forest, walk: Walk, tile: Tile, count: Int, sequence: Int, learn: bool) -> None:
    """Score the records of a tile in every tree; if `learn`, offer them to those whose turn it is.

    Each tree scores a record before it learns it. The sums over the trees are in the tile.

    Args:
        forest: The sections.
        walk: Room for paths.
        tile: The records.
        count: How many.
        sequence: Number of the first one's point, from 1 on.
        learn: Whether to learn.
    """
    score, is_blend = folded(forest)
    for first in range(0, forest.trees, LANES):
        for record in range(count):
            query = query_of(forest, tile, record)
            walk_trees(forest, query, walk, first, score)
            fold_trees(forest, query, walk, first, score, tile.wide[record] != 0)
            total, depths = tile.totals[record], tile.depths[record]
            for lane in range(min(LANES, forest.trees - first)):
                tree = first + lane
                total += walk.values[lane] * scale_of(forest, score, tree)
                if is_blend:
                    depths += depth_of(forest, walk, tree, lane)
                if learn and forest.due[tree] == sequence + record:
                    forest.reals[GROWTH] = tile.growths[record]
                    accept(forest, query, walk, tile, record, tree, lane, sequence + record)
            tile.totals[record], tile.depths[record] = total, depths
    if learn:
        forest.reals[GROWTH] = tile.growths[count - 1]


@kernel
def folded(forest: Forest) -> tuple[Int, bool]:
    """The score that paths are folded to, and whether the blend with the depth is asked for."""
    score = forest.header[SCORE]
    is_blend = score == BLEND and forest.features > 1
    if score == BLEND:
        score = CODISP if is_blend else DEPTH  # of one feature the blend is the depth alone
    return score, is_blend


@kernel
def mean_score(forest: Forest, tile: Tile, record: Int) -> float:
    """A record's score: the mean over the trees."""
    mean = np.float64(tile.totals[record] / forest.trees)
    if folded(forest)[1]:
        return blended(forest, np.float64(tile.depths[record] / forest.trees), mean)
    return mean


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
def copy_values(window: F32, at: Int, flat: F64, first: Int, last: Int) -> None:
    """Write the values before `last`, from `first` on, to `window[at:]`.

    Minus zero becomes zero: equal numbers have equal bits.
    """
    for i in range(last - first):
        window[at + i] = np.float32(flat[first + i]) + np.float32(0.0)


@kernel
def make_window(forest: Forest, values: F64) -> F32:
    """The records that the shingles of `values` lie in, flat float32: shingle i starts at record i.

    The last ``shingle_size - 1`` records of the stream come first (zeros where it has not had as
    many), then `values`.
    """
    before = (forest.shingle_size - 1) * forest.features
    window = np.empty(before + values.size + OVERHANG, np.float32)
    copy_recent(forest, window)
    copy_values(window, before, values.reshape(-1), 0, values.size)
    window[before + values.size :] = 0.0
    return window


@kernel
def take(
    forest: Forest,
    walk: Walk,
    tile: Tile,
    at: Int,
    seen: Int,
    most: Int,
    scores: F64,
    first: Int,
    learn: bool,
) -> Int:
    """Score the records that end the shingles from `tile.values[at:]` on and, if `learn`, learn.

    Args:
        forest: The sections; if it is to learn, there must be room for a point and for boxes.
        walk: Room for their paths.
        tile: Their values, and room for what is known of them.
        at: Where the first shingle starts.
        seen: Records of the stream up to the first one.
        most: Records that may be taken.
        scores: float64, out, a record each; NaN while warming.
        first: The first one's.
        learn: Whether to learn.

    Returns:
        Records taken, at least one.
    """
    header = forest.header
    sequence, count = header[POINTS] + 1, min(most, most_records(forest, tile, learn))
    if learn:
        count = fill(forest, tile, at, count)
        if sequence == 1 and tile.origins[0] >= 0:
            plant_all(forest, tile.origins[0], sequence)
    else:
        look(forest, tile, at, count)
    is_known = seen >= forest.shingle_size and sequence > 1
    if is_known and (learn or sequence > header[OUTPUT_AFTER]):
        visit(forest, walk, tile, count, sequence, learn)
        if learn and not is_settled(tile):
            settle(forest, tile, count)
    for record in range(count):
        number = sequence + record if learn else sequence
        is_told = is_known and number > header[OUTPUT_AFTER]
        scores[first + record] = mean_score(forest, tile, record) if is_told else np.nan
    return count


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
    record, flat = np.empty(forest.features, np.float32), values.reshape(-1)
    done = len(values)
    for i in range(len(values)):
        if not has_room(forest):
            done = i
            break
        copy_values(record, 0, flat, i * forest.features, (i + 1) * forest.features)
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
