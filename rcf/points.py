"""The point store: a ring of records, and the points kept when the ring comes round.

`rcf.state` describes the layout. A point is the offset of its first float in `store`.
"""

from __future__ import annotations

import numpy as np

from rcf.jit import kernel
from rcf.state import (
    DIMENSIONS,
    F32,
    FEATURES,
    KEPT,
    KEPT_FREE,
    KEPT_USED,
    RECORDS,
    RING,
    RING_FLOATS,
    SHINGLE,
    SLOTS,
    TREES,
    Forest,
)
from rcf.vector import find_equal


@kernel
def has_room(forest: Forest) -> bool:
    """Whether one more record can be written: the point it overwrites is unused or can be kept."""
    header = forest.header
    start = header[RECORDS] % header[RING]
    if forest.ring_uses[start] == 0:
        return True
    return header[KEPT_FREE] >= 0 or header[KEPT_USED] < header[KEPT]


@kernel
def write_record(forest: Forest, values: F32, at: int) -> None:
    """Write the record at `values[at:]` to the ring; keep the point that it overwrites, if used.

    `has_room` must hold. Counts the record.
    """
    header = forest.header
    features = header[FEATURES]
    place = header[RECORDS] % header[RING]
    if forest.ring_uses[place] > 0:
        keep_point(forest, place)
    for i in range(features):
        forest.store[place * features + i] = values[at + i]
    if place < header[SHINGLE] - 1:
        behind = (header[RING] + place) * features
        for i in range(features):
            forest.store[behind + i] = values[at + i]
    header[RECORDS] += 1


@kernel
def keep_point(forest: Forest, place: int) -> None:
    """Copy the point that starts at ring record `place` behind the ring, for every tree."""
    header = forest.header
    dimensions = header[DIMENSIONS]
    entry = header[KEPT_FREE]
    if entry >= 0:
        header[KEPT_FREE] = -2 - np.int64(forest.kept_uses[entry])
    else:
        entry = header[KEPT_USED]
        header[KEPT_USED] += 1
    old = place * header[FEATURES]
    new = header[RING_FLOATS] + entry * dimensions
    for i in range(dimensions):
        forest.store[new + i] = forest.store[old + i]
    left = np.int64(forest.ring_uses[place])
    forest.kept_uses[entry] = left
    forest.ring_uses[place] = 0
    at, stop = np.int64(0), header[TREES] * header[SLOTS]
    while left > 0:
        at = find_equal(forest.origins, at, stop, old)
        forest.origins[at] = new
        at = at // 16 * 16  # a block may hold several
        left -= 1


@kernel
def newest_point(forest: Forest) -> int:
    """Where the shingle that ends with the newest record starts in `store`."""
    header = forest.header
    start = (header[RECORDS] - header[SHINGLE]) % header[RING]
    return start * header[FEATURES]


@kernel
def hold(forest: Forest, slot: int, origin: int) -> None:
    """Let reservoir slot `slot` (counted over all trees) hold the ring's point at `origin`."""
    forest.origins[slot] = origin
    forest.ring_uses[origin // forest.header[FEATURES]] += 1


@kernel
def release(forest: Forest, slot: int) -> None:
    """Let a slot go of its point; a kept point that nobody holds makes room."""
    header = forest.header
    origin = np.int64(forest.origins[slot])
    forest.origins[slot] = -1
    if origin < header[RING_FLOATS]:
        forest.ring_uses[origin // header[FEATURES]] -= 1
        return
    entry = (origin - header[RING_FLOATS]) // header[DIMENSIONS]
    forest.kept_uses[entry] -= 1
    if forest.kept_uses[entry] == 0:
        forest.kept_uses[entry] = -2 - header[KEPT_FREE]
        header[KEPT_FREE] = entry


@kernel
def write_row(
    row: F32, to: int, values: F32, at: int, groups: int, tail: int, dimensions: int
) -> None:
    """Write the point at `values[at:]` to `row[to:]` as the box ``[x | -x]``; padding stays."""
    for i in range(dimensions):
        group = i >> 3
        if group < groups:
            place, n = 16 * group + (i & 7), 8
        else:
            place, n = 16 * groups + i - 8 * groups, tail
        row[to + place] = values[at + i]
        row[to + place + n] = -values[at + i]


@kernel
def same_point(a: F32, at_a: int, b: F32, at_b: int, dimensions: int) -> bool:
    """Whether two points are equal in every coordinate."""
    for i in range(dimensions):
        if a[at_a + i] != b[at_b + i]:
            return False
    return True


@kernel
def rebuild_uses(forest: Forest) -> None:
    """Recount the uses of the ring's records, and repeat its start behind its end."""
    header = forest.header
    for i in range(header[RING]):
        forest.ring_uses[i] = 0
    for slot in range(header[TREES] * header[SLOTS]):
        origin = np.int64(forest.origins[slot])
        if 0 <= origin < header[RING_FLOATS]:
            forest.ring_uses[origin // header[FEATURES]] += 1
    behind = header[RING] * header[FEATURES]
    for i in range((header[SHINGLE] - 1) * header[FEATURES]):
        forest.store[behind + i] = forest.store[i]
