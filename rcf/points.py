"""The point store: a ring of records, and the points kept when the ring comes round.

`rcf.state` describes the layout. A point is the offset of its first float in `store`.
"""

from __future__ import annotations

import numpy as np

from rcf.arguments import LARGEST
from rcf.jit import kernel
from rcf.state import F32, KEPT, KEPT_FREE, KEPT_USED, RECORDS, Forest, Int
from rcf.vector import find_equal


@kernel
def has_room(forest: Forest) -> bool:
    """Whether one more record can be learnt: the point it overwrites is unused or finds room."""
    header = forest.header
    start = header[RECORDS] % forest.ring
    if forest.ring_uses[start] == 0:
        return True
    return header[KEPT_FREE] >= 0 or header[KEPT_USED] < header[KEPT]


@kernel
def write_record(forest: Forest, values: F32, at: Int) -> None:
    """Write the record at `values[at:]` to the ring; keep the point that it overwrites, if used.

    `has_room` must hold. Counts the record.
    """
    header = forest.header
    features = forest.features
    place = header[RECORDS] % forest.ring
    if forest.ring_uses[place] > 0:
        keep_point(forest, place)
    for i in range(features):
        forest.store[place * features + i] = values[at + i]
    if place < forest.shingle_size - 1:
        behind = (forest.ring + place) * features
        for i in range(features):
            forest.store[behind + i] = values[at + i]
    header[RECORDS] += 1


@kernel
def keep_copy(forest: Forest, values: F32, at: Int) -> tuple[Int, Int]:
    """Copy the point at `values[at:]` behind the ring, where there must be room.

    Returns:
        Its entry in `kept_uses`, which the caller sets, and its place in `store`.
    """
    header = forest.header
    entry = header[KEPT_FREE]
    if entry >= 0:
        header[KEPT_FREE] = -2 - np.int64(forest.kept_uses[entry])
    else:
        entry = header[KEPT_USED]
        header[KEPT_USED] += 1
    new = forest.ring_floats + entry * forest.dimensions
    for i in range(forest.dimensions):
        forest.store[new + i] = values[at + i]
    return entry, new


@kernel
def keep_point(forest: Forest, place: Int) -> None:
    """Copy the point that starts at ring record `place` behind the ring, for every tree."""
    old = place * forest.features
    entry, new = keep_copy(forest, forest.store, old)
    uses = np.int64(forest.ring_uses[place])
    forest.kept_uses[entry] = uses
    forest.ring_uses[place] = 0
    move_origins(forest, old, new, uses)


@kernel
def move_origins(forest: Forest, old: Int, new: Int, uses: Int) -> None:
    """Let the `uses` slots whose point starts at `old` find it at `new`."""
    at, stop = np.int64(0), forest.trees * forest.slots
    while uses > 0:
        at = find_equal(forest.origins, at, stop, old)
        forest.origins[at] = new
        at = at // 16 * 16  # a block may hold several
        uses -= 1


@kernel
def newest_point(forest: Forest) -> Int:
    """Where the shingle that ends with the newest record starts in `store`."""
    header = forest.header
    start = (header[RECORDS] - forest.shingle_size) % forest.ring
    return start * forest.features


@kernel
def hold(forest: Forest, slot: Int, origin: Int) -> None:
    """Let reservoir slot `slot` (counted over all trees) hold the ring's point at `origin`."""
    forest.origins[slot] = origin
    forest.ring_uses[origin // forest.features] += 1


@kernel
def release(forest: Forest, slot: Int) -> None:
    """Let a slot go of its point; a kept point that nobody holds makes room."""
    origin = np.int64(forest.origins[slot])
    forest.origins[slot] = -1
    if origin < forest.ring_floats:
        forest.ring_uses[origin // forest.features] -= 1
    else:
        release_kept(forest, (origin - forest.ring_floats) // forest.dimensions)


@kernel
def release_kept(forest: Forest, entry: Int) -> None:
    """Take one off the uses of a kept point, whose room becomes free with the last one."""
    header = forest.header
    forest.kept_uses[entry] -= 1
    if forest.kept_uses[entry] == 0:
        forest.kept_uses[entry] = -2 - header[KEPT_FREE]
        header[KEPT_FREE] = entry


@kernel
def is_wide(forest: Forest, values: F32, at: Int, count: Int) -> bool:
    """Whether values are so large that a float32 sum of sides may overflow."""
    limit = np.float32(LARGEST / (4.0 * forest.dimensions))
    for i in range(count):
        if abs(values[at + i]) > limit:
            return True
    return False


@kernel
def same_point(a: F32, at_a: Int, b: F32, at_b: Int, dimensions: Int) -> bool:
    """Whether two points are equal in every coordinate."""
    for i in range(dimensions):
        if a[at_a + i] != b[at_b + i]:
            return False
    return True


@kernel
def rebuild_uses(forest: Forest) -> None:
    """Recount the uses of the ring's records, and repeat its start behind its end."""
    for i in range(forest.ring):
        forest.ring_uses[i] = 0
    for slot in range(forest.trees * forest.slots):
        origin = np.int64(forest.origins[slot])
        if 0 <= origin < forest.ring_floats:
            forest.ring_uses[origin // forest.features] += 1
    behind = forest.ring * forest.features
    for i in range((forest.shingle_size - 1) * forest.features):
        forest.store[behind + i] = forest.store[i]
