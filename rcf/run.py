"""The border: records in segments, each for the forest whose block it names; scores come back.

All forests of a call have one shape but for the room for records, points and boxes: with another
decay a ring is longer, and some have been given more room (`rcf.block.grown`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rcf.arguments import refuse_value
from rcf.box import free_small_rows, short_of_rows
from rcf.jit import entry, kernel
from rcf.layout import PairLayout, fixed_layout
from rcf.path import Walk, make_walk, room_bytes
from rcf.pointer import block_at, call_lines, keep_alive, pointer
from rcf.points import has_room
from rcf.row import RowShape
from rcf.state import F32, F64, HEADER, I64, OVERHANG, RECORDS, SIZE, U8, Forest, Int
from rcf.step import (
    copy_recent,
    copy_values,
    first_invalid,
    header_of,
    open_forest,
    rebuild_forest,
    row_of,
    take,
)
from rcf.tile import Tile, largest_tile, make_tile, room_of_tile

Kernel = Callable[[I64, I64, F64, F64, float, bool], int]

#: How a segment ends: at its end, at the record that stops it, or before a record for which its
#: forest has too few rows for boxes or no room for a point.
ALL, STOPPED, NO_ROWS, NO_ROOM = range(4)

_AHEAD = 1 << 15  # bytes of the next forest that are asked for: the whole of a small one


@kernel
def block_of(address: Int) -> U8:
    """The block that lies at an address."""
    header = header_of(block_at(address, HEADER * 8))
    return block_at(address, header[SIZE])


@kernel
def longest(starts: I64) -> Int:
    """Records of the longest segment."""
    most = np.int64(0)
    for part in range(len(starts) - 1):
        most = max(most, starts[part + 1] - starts[part])
    return most


@kernel
def run_segment(
    forest: Forest,
    walk: Walk,
    tile: Tile,
    window: F32,
    flat: F64,
    scores: F64,
    start: Int,
    end: Int,
    stop: float,
    learn: bool,
) -> tuple[Int, Int]:
    """(record that it has come to, `ALL` or why no further).

    Args:
        forest: The sections.
        walk: Room for paths.
        tile: Room for records, whose values are in `window`.
        window: Room for the segment's values and those before.
        flat: Values of all records, one record after the other.
        scores: See `run_wide`.
        start: First record of the segment.
        end: Record behind the last one.
        stop: See `run_wide`.
        learn: Likewise.
    """
    features = forest.features
    number = forest.header[RECORDS] + 1 - start
    copy_recent(forest, window)
    copy_values(
        window, (forest.shingle_size - 1) * features, flat, start * features, end * features
    )
    at, most = start, 1 if stop < np.inf else end - start
    while at < end:
        if learn and short_of_rows(forest):
            return at, NO_ROWS
        if learn and not has_room(forest):
            return at, NO_ROOM
        place, most = (at - start) * features, min(most, end - at)
        at += take(forest, walk, tile, place, number + at, most, scores, at, learn)
        if scores[at - 1] >= stop:
            return at, STOPPED
    return at, ALL


@kernel
def run(
    blocks: I64,
    starts: I64,
    values: F64,
    scores: F64,
    stop: float,
    learn: bool,
    row: RowShape,
    layout: PairLayout,
) -> Int:
    """`run_wide` for one shape of box rows and one layout, known while compiling or not."""
    bad = first_invalid(values)
    if bad >= 0:
        return -1 - bad
    if len(values) == 0:
        return 0
    first = open_forest(block_of(blocks[0]), row, layout)
    floats = (first.shingle_size - 1 + longest(starts)) * first.features
    window = np.zeros(floats + OVERHANG, np.float32)
    room, most = np.empty(room_bytes(first), np.uint8), largest_tile(first, longest(starts))
    tiled = np.empty(room_of_tile(first, most), np.uint8)
    walk, tile = make_walk(first, room), make_tile(first, window, tiled, most)
    flat, told, recent = pointer(values.reshape(-1)), pointer(scores), pointer(window)
    ahead, done, why = min(first.header[SIZE], _AHEAD), np.int64(0), ALL
    for part in range(len(blocks)):
        if part + 1 < len(blocks):
            # On its way while this forest is asked: saves a fifth where no cache has it.
            call_lines(blocks[part + 1], ahead)
        while done < starts[part + 1]:
            forest = open_forest(block_of(blocks[part]), row, layout)
            end = starts[part + 1]
            done, why = run_segment(forest, walk, tile, recent, flat, told, done, end, stop, learn)
            if why == NO_ROWS and not forest.layout.more_rows:
                free_small_rows(forest)
            elif why != ALL:
                break
        if done < starts[part + 1] or why == STOPPED:
            break
    keep_alive(window)
    keep_alive(room)
    keep_alive(tiled)
    return done


@kernel
def rebuild_all(blocks: I64, row: RowShape, layout: PairLayout) -> None:
    """`rebuild_forest` for all forests at these addresses."""
    room = np.empty(room_bytes(open_forest(block_of(blocks[0]), row, layout)), np.uint8)
    for number in range(len(blocks)):
        rebuild_forest(open_forest(block_of(blocks[number]), row, layout), room)
    keep_alive(room)


@entry
def run_wide(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """Score each record in its forest and, if `learn`, learn it there.

    Args:
        blocks: int64 (segments,), addresses of blocks of the wide layout; changed in place if
            `learn`. A forest may have several segments.
        starts: int64 (segments + 1,), where each segment's records begin, from 0 on, and the number
            of records.
        values: float64 (records, features), C order.
        scores: float64 (records,), out; NaN while warming.
        stop: The record with a score as high as this is the last that is taken; infinite: all are.
        learn: Whether to learn; if not, the records of a segment are scored as a continuation of
            their stream, and nothing changes.

    Returns:
        Records done: fewer than given if there is no room to keep one more point or box, or up to
        the one that stops it. Below 0 where a value is no finite float32: -1 minus its flat index;
        nothing was done then.
    """
    row = row_of(block_of(blocks[0]))
    return run(blocks, starts, values, scores, stop, learn, row, fixed_layout(False))


@entry
def run_narrow(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for the narrow layout."""
    row = row_of(block_of(blocks[0]))
    return run(blocks, starts, values, scores, stop, learn, row, fixed_layout(True))


@entry
def rebuild_wide(blocks: I64) -> None:
    """`rebuild_forest` for blocks of the wide layout. int64 (forests,), at least one address."""
    rebuild_all(blocks, row_of(block_of(blocks[0])), fixed_layout(False))


@entry
def rebuild_narrow(blocks: I64) -> None:
    """`rebuild_wide` for the narrow layout."""
    rebuild_all(blocks, row_of(block_of(blocks[0])), fixed_layout(True))


def run_all(
    kernel: Kernel,
    blocks: I64,
    starts: I64,
    values: F64,
    scores: F64,
    stop: float,
    learn: bool,
    grow: Callable[[int], int],
) -> int:
    """`run_wide` by a kernel like it, with larger blocks where they are needed.

    Args:
        kernel: `run_wide`, or a faster one for the same forests.
        blocks: As for `run_wide`; addresses of blocks that were replaced are.
        starts: As for `run_wide`.
        values: As for `run_wide`.
        scores: As for `run_wide`.
        stop: As for `run_wide`.
        learn: As for `run_wide`.
        grow: Gives the forest of a segment more room, and returns the address of its block.

    Returns:
        Records done: all, or up to the one that stops it.

    Raises:
        InvalidParameter: A value is no finite float32; nothing was done.
    """
    done = kernel(blocks, starts, values, scores, stop, learn)
    if done < 0:
        refuse_value(values, -1 - done)
    while done < len(values) and not (done > 0 and scores[done - 1] >= stop):
        part = int(np.searchsorted(starts, done, side="right")) - 1
        blocks[blocks == blocks[part]] = grow(part)
        rest = np.maximum(starts[part:] - done, 0)
        done += kernel(blocks[part:], rest, values[done:], scores[done:], stop, learn)
    return done
