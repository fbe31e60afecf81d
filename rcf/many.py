"""The border for many forests: a table of blocks, and records that name one each.

`table` holds the address of each forest's block; all have one shape but for the room that some have
been given in addition (`rcf.block.grown`).
"""

from __future__ import annotations

import numpy as np

from rcf.box import free_small_rows, short_of_rows
from rcf.jit import entry, kernel
from rcf.layout import PairLayout, fixed_layout
from rcf.path import make_query, make_walk, room_bytes
from rcf.pointer import block_at, call_lines, keep_alive
from rcf.points import has_room
from rcf.row import RowShape
from rcf.state import F64, HEADER, I64, OVERHANG, RECORDS, SIZE, U8, Int
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


@kernel
def block_of(table: I64, number: Int) -> U8:
    """The block of forest `number`."""
    header = header_of(block_at(table[number], HEADER * 8))
    return block_at(table[number], header[SIZE])


@kernel
def run_many(
    table: I64,
    series: I64,
    values: F64,
    scores: F64,
    learn: bool,
    row: RowShape,
    layout: PairLayout,
) -> Int:
    """`run_wide` for one shape of box rows and one layout, known while compiling or not."""
    bad = first_invalid(values)
    if bad >= 0:
        return -1 - bad
    if len(series) == 0:
        return 0
    first = open_forest(block_of(table, series[0]), row, layout)
    before = (first.shingle_size - 1) * first.features
    window = np.zeros(first.dimensions + OVERHANG, np.float32)
    room = np.empty(room_bytes(first), np.uint8)
    query, walk = make_query(first, window, room), make_walk(first, room)
    done = len(series)
    size = first.header[SIZE]
    for i in range(len(series)):
        if i + 1 < len(series):
            # On its way while this record is scored: saves a fifth where no cache has it.
            call_lines(table[series[i + 1]], size)
        forest = open_forest(block_of(table, series[i]), row, layout)
        if learn and short_of_rows(forest):
            if forest.layout.more_rows:
                done = i
                break
            free_small_rows(forest)
            forest = open_forest(block_of(table, series[i]), row, layout)
        if learn and not has_room(forest):
            done = i
            break
        copy_recent(forest, window)
        copy_values(window, before, values[i])
        scores[i] = take(forest, query, walk, 0, forest.header[RECORDS] + 1, learn)
    keep_alive(window)
    keep_alive(room)
    return done


@kernel
def rebuild_many(table: I64, row: RowShape, layout: PairLayout) -> None:
    """`rebuild_forest` for every forest of a table that is not empty."""
    room = np.empty(room_bytes(open_forest(block_of(table, 0), row, layout)), np.uint8)
    for number in range(len(table)):
        rebuild_forest(open_forest(block_of(table, number), row, layout), room)
    keep_alive(room)


@entry
def run_wide(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """Score each record in its forest and, if `learn`, learn it there.

    Args:
        table: int64 (forests,), addresses of blocks of the wide layout; changed in place if
            `learn`.
        series: int64 (records,), forest of each record, an index into `table`.
        values: float64 (records, features), C order.
        scores: float64 (records,), out; NaN while warming.
        learn: Whether to learn; if not, each record is scored as the next one of its forest, and
            nothing changes.

    Returns:
        Records done: fewer than given if the next one's forest has no room to keep one more point
        or box. Below 0 where a value is no finite float32: -1 minus its flat index; nothing was
        done then.
    """
    row = row_of(block_of(table, 0))
    return run_many(table, series, values, scores, learn, row, fixed_layout(False))


@entry
def run_narrow(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """`run_wide` for the narrow layout."""
    row = row_of(block_of(table, 0))
    return run_many(table, series, values, scores, learn, row, fixed_layout(True))


@entry
def rebuild_wide(table: I64) -> None:
    """`rebuild_forest` for forests of the wide layout. int64 (forests,), at least one."""
    rebuild_many(table, row_of(block_of(table, 0)), fixed_layout(False))


@entry
def rebuild_narrow(table: I64) -> None:
    """`rebuild_wide` for the narrow layout."""
    rebuild_many(table, row_of(block_of(table, 0)), fixed_layout(True))
