"""Records that go through eight trees before the next eight are asked: a tile of them.

Eight trees fit a processor's cache, a hundred do not, and a record visits all. So records are taken
into the ring several at a time, and each eight trees score and learn all of them in their order.
Trees know nothing of each other: every score and every bit of the block is what it is when records
come one by one. What trees share is the store. What would happen to it on the way waits for the end
of the tile, and then happens in the order of the records (`settle`):

    A place of the ring that is written anew while a tree holds its point: the point is parked
    behind the kept ones, and kept if a tree still holds it when it would have been kept.

    A kept point that a tree lets go of: the last to do so makes room for those to come.

A tile ends before a record that would do more: move the keys' epoch, or perhaps find no room. It is
one record where trees are no more than eight, where not all are full, and where rows of boxes are
given to branches in the order in which these ask.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf.jit import kernel
from rcf.path import Query, query_in, room_of_query, set_query
from rcf.pointer import pointer, section
from rcf.points import (
    is_wide,
    keep_copy,
    move_origins,
    newest_point,
    release,
    release_kept,
    write_record,
)
from rcf.reservoir import is_far, keep_epoch
from rcf.state import (
    F32,
    F64,
    GROWTH,
    I64,
    KEPT,
    KEPT_USED,
    PARKED,
    POINTS,
    RECORDS,
    U8,
    WIDE,
    Forest,
    Int,
)
from rcf.vector import LANES

_MOST = 256  #: records a tile
_QUERIES = 1 << 18  #: bytes of their queries, which stay in the cache beside eight trees
_NOTES = 32768  #: releases of kept points that are noted, at most one a record and tree
_RECORD, _TREE = 48, 32  #: a note's bits from here on are the record's number and the tree's

_IN_PARK, _NOTED = range(2)  #: words of `Tile.counts`


class Tile(NamedTuple):
    """What is known of each record of a tile, and what waits for its end.

    Attributes:
        records: Most records it may have.
        values: float32, their values; shingles overlap.
        queries: uint8, a query each.
        origins: int64 (records,), where the record's point starts in the store; -1 while warming.
        growths: float64 (records,), the reservoirs' growth.
        wide: int64 (records,), 1 where float32 sums of sides may overflow.
        totals: float64 (records,), the score, summed over the trees so far.
        depths: float64 (records,), the depth likewise, for the blend.
        parked: int64 (records,), the parked point that its place in the ring held, or -1.
        uses: int64 (PARKED,), slots that hold a parked point.
        entries: int64 (PARKED,), its entry among the kept points, or -1.
        counts: int64 (2,), points in the park, releases noted.
        notes: int64, a release each: record << 48 | tree << 32 | the point's place in the store.
    """

    records: int
    values: F32
    queries: U8
    origins: I64
    growths: F64
    wide: I64
    totals: F64
    depths: F64
    parked: I64
    uses: I64
    entries: I64
    counts: I64
    notes: I64


@kernel
def largest_tile(forest: Forest, records: Int) -> Int:
    """Most records that a tile of the forest may have, of so many."""
    most = min(_QUERIES // room_of_query(forest), _NOTES // forest.trees)
    return max(1, min(records, _MOST, most)) if is_tiled(forest) else 1


@kernel
def room_of_tile(forest: Forest, records: Int) -> Int:
    """Bytes that `make_tile` needs."""
    words = 6 * records + 2 * PARKED + 2 + records * forest.trees
    return records * room_of_query(forest) + 8 * words


@kernel
def make_tile(forest: Forest, values: F32, room: U8, records: Int) -> Tile:
    """A tile of so many of the records `values`, in `room`."""
    word, each = records * room_of_query(forest), 8 * records
    uses = word + 6 * each
    entries = uses + 8 * PARKED
    counts = entries + 8 * PARKED
    notes = counts + 16
    return Tile(
        records,
        pointer(values),
        section(room, 0, word, np.uint8),
        section(room, word, word + each, np.int64),
        section(room, word + each, word + 2 * each, np.float64),
        section(room, word + 2 * each, word + 3 * each, np.int64),
        section(room, word + 3 * each, word + 4 * each, np.float64),
        section(room, word + 4 * each, word + 5 * each, np.float64),
        section(room, word + 5 * each, uses, np.int64),
        section(room, uses, entries, np.int64),
        section(room, entries, counts, np.int64),
        section(room, counts, notes, np.int64),
        section(room, notes, notes + each * forest.trees, np.int64),
    )


@kernel
def query_of(forest: Forest, tile: Tile, record: Int) -> Query:
    """The query of one of the records."""
    return query_in(forest, tile.values, tile.queries, record * room_of_query(forest))


@kernel
def is_tiled(forest: Forest) -> bool:
    """Whether tiles of the forest may have several records; rows of boxes are given in order."""
    return forest.trees > LANES and forest.box_mass == 1


@kernel
def most_records(forest: Forest, tile: Tile, learn: bool) -> Int:
    """Records that the tile may have the next time."""
    header = forest.header
    if tile.records == 1 or header[POINTS] == 0 or header[RECORDS] + 1 < forest.shingle_size:
        return 1
    if not learn:
        return tile.records
    for tree in range(forest.trees):
        if forest.sizes[tree] < forest.sample_size:
            return 1
    return max(1, min(tile.records, forest.ring - forest.shingle_size))


@kernel
def enter(forest: Forest, tile: Tile, record: Int, at: Int) -> None:
    """Make the record whose shingle starts at `at` one of the tile."""
    set_query(forest, query_of(forest, tile, record), at)
    tile.totals[record] = tile.depths[record] = 0.0


@kernel
def look(forest: Forest, tile: Tile, at: Int, count: Int) -> None:
    """Make a tile of records that are scored and not learnt; their shingles start at `at`."""
    for record in range(count):
        start = at + record * forest.features
        wide = forest.header[WIDE] != 0 or is_wide(forest, tile.values, start, forest.dimensions)
        tile.wide[record] = 1 if wide else 0
        enter(forest, tile, record, start)


@kernel
def fill(forest: Forest, tile: Tile, at: Int, most: Int) -> Int:
    """Take records into the ring, one at least, for which there must be room (`has_room`).

    Args:
        forest: The sections.
        tile: Is made of its values.
        at: Where the first one's shingle starts.
        most: Records that it may have.

    Returns:
        Records that it has.
    """
    tile.counts[_IN_PARK] = tile.counts[_NOTED] = 0
    tile.parked[0] = -1
    count, start = np.int64(0), at
    while True:
        learn_record(forest, tile, count, start)
        count, start = count + 1, start + forest.features
        if count >= most or not fits(forest, tile):
            return count
        tile.parked[count] = park(forest, tile)


@kernel
def fits(forest: Forest, tile: Tile) -> bool:
    """Whether one more record may be learnt in this tile."""
    header = forest.header
    if is_far(forest, header[POINTS] + 1):
        return False
    if forest.ring_uses[header[RECORDS] % forest.ring] == 0:
        return True
    parked = tile.counts[_IN_PARK]
    return bool(parked < PARKED and parked < header[KEPT] - header[KEPT_USED])


@kernel
def learn_record(forest: Forest, tile: Tile, record: Int, at: Int) -> None:
    """Take the record that ends the shingle at `at` into the ring, and into the tile."""
    header, newest = forest.header, at + (forest.shingle_size - 1) * forest.features
    write_record(forest, tile.values, newest)
    if is_wide(forest, tile.values, newest, forest.features):
        header[WIDE] = 1
    tile.wide[record] = header[WIDE]
    tile.origins[record] = -1
    if header[RECORDS] >= forest.shingle_size:
        header[POINTS] += 1
        keep_epoch(forest, header[POINTS])
        tile.origins[record] = newest_point(forest)
    tile.growths[record] = forest.reals[GROWTH]
    enter(forest, tile, record, at)


@kernel
def parked_at(forest: Forest, number: Int) -> Int:
    """Where a parked point starts in the store."""
    return forest.ring_floats + (forest.header[KEPT] + number) * forest.dimensions


@kernel
def park(forest: Forest, tile: Tile) -> Int:
    """Copy the point that the next record overwrites behind the kept ones, if a tree holds it.

    Returns:
        Its number there, or -1.
    """
    place = forest.header[RECORDS] % forest.ring
    if forest.ring_uses[place] == 0:
        return -1
    number = tile.counts[_IN_PARK]
    tile.counts[_IN_PARK] += 1
    old, new = place * forest.features, parked_at(forest, number)
    for i in range(forest.dimensions):
        forest.store[new + i] = forest.store[old + i]
    uses = np.int64(forest.ring_uses[place])
    move_origins(forest, old, new, uses)
    forest.ring_uses[place] = 0
    tile.uses[number] = uses
    tile.entries[number] = -1
    return number


@kernel
def let_go(forest: Forest, tile: Tile, record: Int, tree: Int, slot: Int) -> None:
    """Let a slot of a tree go of its point, whose uses are counted at the end of the tile."""
    at = tree * forest.slots + slot
    origin = np.int64(forest.origins[at])
    if origin < forest.ring_floats:
        release(forest, at)
        return
    forest.origins[at] = -1
    noted = tile.counts[_NOTED]
    tile.notes[noted] = record << _RECORD | tree << _TREE | origin
    tile.counts[_NOTED] += 1


@kernel
def sort_notes(tile: Tile) -> None:
    """Bring the releases into the order of records and trees: few, and of one record in order."""
    for end in range(1, tile.counts[_NOTED]):
        note, at = tile.notes[end], end
        while at > 0 and tile.notes[at - 1] > note:
            tile.notes[at] = tile.notes[at - 1]
            at -= 1
        tile.notes[at] = note


@kernel
def is_settled(tile: Tile) -> bool:
    """Whether nothing waits for the end of the tile."""
    return bool(tile.counts[_NOTED] == 0 and tile.counts[_IN_PARK] == 0)


@kernel
def settle(forest: Forest, tile: Tile, count: Int) -> None:
    """End a tile of so many records that were learnt: keep and free points in their order."""
    sort_notes(tile)
    noted, done = tile.counts[_NOTED], 0
    for record in range(count):
        number = tile.parked[record]
        if number >= 0 and tile.uses[number] > 0:
            entry, _ = keep_copy(forest, forest.store, parked_at(forest, number))
            forest.kept_uses[entry] = tile.uses[number]
            tile.entries[number] = entry
        while done < noted and tile.notes[done] >> _RECORD == record:
            release_noted(forest, tile, tile.notes[done] & ((1 << _TREE) - 1))
            done += 1
    for number in range(tile.counts[_IN_PARK]):
        if tile.uses[number] > 0:
            new = forest.ring_floats + tile.entries[number] * forest.dimensions
            move_origins(forest, parked_at(forest, number), new, tile.uses[number])


@kernel
def release_noted(forest: Forest, tile: Tile, origin: Int) -> None:
    """Take one off the uses of the point that was at this place of the store."""
    entry = (origin - forest.ring_floats) // forest.dimensions
    number = entry - forest.header[KEPT]
    if number >= 0:
        tile.uses[number] -= 1
        entry = tile.entries[number]
    if entry >= 0:
        release_kept(forest, entry)
