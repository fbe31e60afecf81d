"""Forests become one that has the sample of all.

A reservoir keeps the smallest keys, and a key is drawn for its item alone. So of the keys of some
reservoirs, told at one moment, the smallest are those that one reservoir over all streams would
have kept, each item with the weight of its age in its own stream (Efraimidis and Spirakis 2006).
Insertion and deletion leave a tree's law as it is, whichever points they are of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rcf import state
from rcf.block import grown, resized
from rcf.jit import entry, kernel
from rcf.layout import fixed_layout
from rcf.path import Query, Walk, make_query, make_walk, room_bytes, set_query, walk_trees
from rcf.pointer import keep_alive
from rcf.points import keep_copy, release
from rcf.reservoir import largest_slot, move_epoch, schedule
from rcf.score import DEPTH, fold_trees
from rcf.state import F32, F64, I64, OVERHANG, POINTS, ROWS_FREE, U8, WIDE, Forest, Int
from rcf.step import exchange, open_forest, plant_first, row_of
from rcf.vector import LANES

_PLANTED = -1.0  # the key of an item that a tree has begun with


class Sample(NamedTuple):
    """What trees are to be offered, point by point.

    Attributes:
        points: float32 (points x dimensions + OVERHANG,), end to end.
        starts: int64 (points + 1,), where a point's items start in what follows.
        trees: int64 (items,), a tree that holds the point; ascending for each point.
        keys: float64 (items,), its key there, as of the newest point of the stream.
    """

    points: F32
    starts: I64
    trees: I64
    keys: F64


class Items(NamedTuple):
    """What the trees of a forest hold, item by item.

    Attributes:
        points: float32 (points, dimensions), one for each place of the store that is held.
        own: int64 (items,), which of the points.
        trees: int64 (items,), the tree that holds it.
        keys: float64 (items,), its key there, as of the newest point of the stream.
    """

    points: F32
    own: I64
    trees: I64
    keys: F64


def items_of(block: U8) -> Items:
    """All that a forest has sampled."""
    forest = state.open_block(block)
    slots = np.flatnonzero(forest.origins >= 0)
    origins, own = np.unique(forest.origins[slots].astype(np.int64), return_inverse=True)
    coordinates = origins[:, None] + np.arange(forest.dimensions)
    age = int(forest.header[POINTS] - forest.header[state.KEY_EPOCH])
    keys = forest.keys[slots].astype(np.float64) * math.exp(forest.reals[state.DECAY] * age)
    return Items(forest.store[coordinates], own, slots // forest.slots, keys)


def sample_of(blocks: Sequence[U8], size: int) -> Sample:
    """The sample of such a size that one reservoir over the streams of all these would hold."""
    parts = [items_of(block) for block in blocks]
    before = np.cumsum([0, *(len(part.points) for part in parts)])
    points = np.concatenate([part.points for part in parts])
    own = np.concatenate([part.own + start for part, start in zip(parts, before, strict=False)])
    trees = np.concatenate([part.trees for part in parts])
    keys = np.concatenate([part.keys for part in parts])
    by_key = np.lexsort((keys, trees))
    rank = np.arange(len(by_key)) - np.searchsorted(trees[by_key], trees[by_key])
    kept = by_key[rank < size]
    used, own = np.unique(own[kept], return_inverse=True)
    order = np.lexsort((trees[kept], own))
    return Sample(
        np.concatenate([points[used].ravel(), np.zeros(OVERHANG, np.float32)]),
        np.searchsorted(own[order], np.arange(len(used) + 1)),
        trees[kept][order],
        keys[kept][order],
    )


@kernel
def has_rows(forest: Forest) -> bool:
    """Whether every tree may take a point: see `rcf.box.rows_needed`."""
    return forest.box_mass == 1 or forest.header[ROWS_FREE] >= forest.trees


@kernel
def own_copy(forest: Forest, values: F32, at: Int, kept: I64) -> Int:
    """Where the store has the point at `values[at:]`: `kept`, (entry, place), or a copy made."""
    if kept[0] < 0:
        kept[0], kept[1] = keep_copy(forest, values, at)
        forest.kept_uses[kept[0]] = 0
    forest.kept_uses[kept[0]] += 1
    return kept[1]


@kernel
def plant_empty(forest: Forest, sample: Sample) -> None:
    """Give every tree the first point that the sample has for it; the trees must be empty."""
    kept = np.empty(2, np.int64)
    for point in range(len(sample.starts) - 1):
        kept[0] = -1
        for item in range(sample.starts[point], sample.starts[point + 1]):
            tree = sample.trees[item]
            if forest.sizes[tree] == 0:
                at = point * forest.dimensions
                forest.origins[tree * forest.slots] = own_copy(forest, sample.points, at, kept)
                plant_first(forest, tree, sample.keys[item])
                sample.keys[item] = _PLANTED


@kernel
def merge_point(forest: Forest, query: Query, walk: Walk, sample: Sample, point: Int) -> None:
    """Offer one point of the sample to the trees that are to have it."""
    at = point * forest.dimensions
    kept, walked = np.array([-1, -1]), np.int64(-1)
    set_query(forest, query, at)
    for item in range(sample.starts[point], sample.starts[point + 1]):
        tree, key, evicted = sample.trees[item], sample.keys[item], np.int64(-1)
        if key == _PLANTED:
            continue
        if forest.sizes[tree] == forest.sample_size:
            evicted = largest_slot(forest, tree)
            if not np.float32(key) < forest.keys[tree * forest.slots + evicted]:
                continue
        lane = tree % LANES
        if walked != tree - lane:
            walked = tree - lane
            walk_trees(forest, query, walk, walked, DEPTH)
            fold_trees(forest, query, walk, walked, DEPTH, forest.header[WIDE] != 0)
        slot = tree * forest.slots + forest.free_slots[tree]
        forest.origins[slot] = own_copy(forest, query.values, at, kept)
        exchange(forest, query, walk, tree, lane, key, evicted)
        if evicted >= 0:
            release(forest, tree * forest.slots + evicted)


@entry
def merge_points(block: U8, sample: Sample, first: Int) -> Int:
    """Offer the sample's points to the trees, those from `first` on.

    Args:
        block: uint8, a forest's block, changed in place; its keys are as of its newest point, and
            there is room to keep every point of the sample.
        sample: As `sample_of` gives it; keys of items that were planted are struck out.
        first: Points done before.

    Returns:
        Points done: fewer than there are where boxes need more rows.
    """
    forest = open_forest(block, row_of(block), fixed_layout(False))
    room = np.empty(room_bytes(forest), np.uint8)
    query, walk = make_query(forest, sample.points, room), make_walk(forest, room)
    if forest.sizes[0] == 0:
        plant_empty(forest, sample)
    done = first
    while done < len(sample.starts) - 1 and has_rows(forest):
        merge_point(forest, query, walk, sample, done)
        done += 1
    keep_alive(room)
    return done


@entry
def settle(block: U8, points: Int) -> None:
    """Tell keys as of the newest point, and draw when trees accept next, after so many more."""
    forest = open_forest(block, row_of(block), fixed_layout(False))
    move_epoch(forest, forest.header[POINTS])
    forest.header[POINTS] += points
    forest.header[state.KEY_EPOCH] = forest.header[POINTS]
    for tree in range(forest.trees):
        if forest.sizes[tree] == forest.sample_size:
            schedule(forest, tree, forest.header[POINTS])
        else:
            forest.due[tree] = forest.header[POINTS] + 1
    keep_alive(block)


def merged(mine: U8, *others: U8) -> U8:
    """A block with the stream of the first forest and the sample of all.

    Args:
        mine: Of the wide layout.
        others: Of as many features, records a point and trees; at least one.
    """
    forest, headers = state.open_block(mine), [state.header_of(block) for block in others]
    shape = state.shape_of(forest.header)
    sample = sample_of(others, shape.sample_size)
    points = len(sample.starts) - 1
    # Those that plant a tree may be kept twice; one that all trees have evicted makes room.
    wanted, most = shape.kept + points + shape.trees, shape.trees * shape.pairs + 1
    block = resized(forest, shape._replace(kept=max(shape.kept, min(wanted, most))))
    settle(block, sum(int(header[POINTS]) for header in headers))
    state.header_of(block)[WIDE] |= max(header[WIDE] for header in headers)
    done = merge_points(block, sample, 0)
    while done < points:
        block = grown(block)
        done = merge_points(block, sample, done)
    settle(block, 0)
    return block
