"""The memory of a forest: one block of bytes, and the table that says what lies where.

A forest is one aligned block, so it is one argument to a kernel, one copy for a snapshot, and many
forests lie side by side in one array. The block starts with a header of int64 words; the header
holds the sizes and the place of every section, and kernels open the sections as typed views.

    header     sizes, counters, places                     int64 (HEADER,)
    reals      time decay, initial acceptance, …           float64 (REALS,)
    rng        random state                                uint64 (trees,)
    due        sequence number of the next acceptance      int64 (trees,)
    sizes      points in the reservoir                     int64 (trees,)
    free_slots reservoir slot that is free                 int64 (trees,)
    free_pairs left node of the first free pair, or 0      int64 (trees,)
    nodes      two nodes and what belongs to them, a pair  int64 (trees, pairs, 4)
    boxes      boxes that are kept, a row each             float32 (rows, width)
    free_rows  numbers of the free rows; if box_mass > 1   int32 (rows,)
    keys       reservoir keys, the largest leaves first    float32 (trees, slots)
    peaks      largest key of 16 slots, as bits            int32 (trees, peaks_stride)
    origins    where a slot's point starts in `store`      int32 (trees, slots)
    leaves     node that holds a slot's point              uint16 (trees, slots)
    ring_uses  reservoir slots that start at a record      uint16 (ring,)
    kept_uses  the same for kept points; or the free list  int32 (kept,)
    store      ring of records, kept and parked points     float32

**Nodes come in pairs** of siblings. A pair takes four words, half a cache line; its nodes are
numbered like the first two, 4p and 4p + 1, so that a branch names one child and the other is next
to it. Node 0 is the root (node 1 is unused). Behind a node's word, in the second next one, lies
what a descent asks for when it has come there:

    word 4p      left node:  cut 32 bits | dimension 16 | left child 16
    word 4p + 1  right node: the same
    word 4p + 2  row of the branch's box, or 0 (32) | branch above, or the next free pair (16) |
                 mass of the left node (16)
    word 4p + 3  sum of sides of that box, float32 (32) | unused (16) | mass of the right node (16)

A mass counts the points below a node, repeats included. The cut is a float32 as an order-preserving
integer. A leaf is a branch to itself that never goes right: its "cut" lies above every finite
number (in the NaNs, whose payload names the reservoir slot) and its child is the leaf's own number.
So a descent needs no test for leaves: it just stays.

**Many small forests** lie narrow, with 8-bit numbers in a third of the memory, if theirs fit
(`fits_narrow`). A pair takes two words, and its nodes are numbered 2p and 2p + 1:

    word 2p      left node:  cut 32 | branch above, or the next free pair 8 | mass 8 |
                             dimension 8 | left child 8
    word 2p + 1  right node: cut 32 | row of the branch's box, or 0 8 | mass 8 | dimension 8 |
                             left child 8

Sums of sides are then summed again, peaks are not kept; origins and kept uses are int16, leaves,
ring uses and free rows uint8.

What belongs to a branch (box, parent) is filed under the pair of its children. When a subtree moves
to another node, because a sibling was spliced in above it or removed beside it, only its word and
mass move; the box stays.

**Boxes** are most of the memory, and most of them belong to branches over a few points. A branch of
at most `box_mass` points keeps none: it is recomputed from its points, with the same bits. Row 0 of
the boxes is nobody's.

**The store** is a ring of the last `ring` records, each `features` floats, with its first
``shingle_size - 1`` records repeated behind its end. A point is where its shingle starts, so
shingles that overlap share their floats and are never copied. A point that is still sampled when
the ring comes round is copied behind the ring, once for all trees, and kept there until no tree
holds it: nothing is lost, whatever the decay. So are points of other streams that are merged.
Behind them there is room for points that are copied before it is their turn (`rcf.tile`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rcf.layout import PairLayout, layout_of
from rcf.row import RowShape, row_for

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I32: TypeAlias = NDArray[np.int32]
I64: TypeAlias = NDArray[np.int64]
U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U64: TypeAlias = NDArray[np.uint64]

#: A machine integer of a kernel: int where Python runs it, any width where it is compiled.
Int: TypeAlias = Any

#: Nodes are numbered with 16 bits, four numbers a pair; dimensions too.
MAX_SAMPLE_SIZE = 16_383
MAX_DIMENSIONS = 65_535

BLOCK = 16  #: slots whose largest key is known
PARKED = 64  #: points that a tile of records may part from the ring (`rcf.tile`)
OVERHANG = 8  #: floats that a vector load may read behind the last point

# Words of the header.
FEATURES, SHINGLE, DIMENSIONS, TREES, SAMPLE, PAIRS, SLOTS, GROUPS, TAIL, WIDTH = range(10)
RING, KEPT, KEPT_USED, KEPT_FREE, RING_FLOATS = range(10, 15)
RECORDS, POINTS, OUTPUT_AFTER, KEY_EPOCH, SCORE, WIDE = range(15, 21)
PEAKS_STRIDE, BOX_MASS, ROWS, ROWS_FREE, IS_NARROW = range(21, 26)
PLACES = 28  #: the places of the sections start here, in bytes
HEADER = 48

#: Words of the header that hold the items of a `Shape`, in their order.
SIZES = (FEATURES, SHINGLE, TREES, SAMPLE, RING, KEPT, BOX_MASS, ROWS, IS_NARROW)

#: Where the sum of sides of the box above a pair is kept: `singles[2 pair + RANGE]`.
RANGE = 7

# Words of `reals`.
# Decay a point; share of the sample that takes every point; e^(decay x age of the keys' epoch);
# 1 - e^-decay.
DECAY, INITIAL_ACCEPT, GROWTH, SHRINKAGE = range(4)
REALS = 8


class Shape(NamedTuple):
    """Sizes that fix the layout of a forest's block.

    Attributes:
        features: Values a record.
        shingle_size: Records a point.
        trees: Trees.
        sample_size: Largest number of points a tree.
        ring: Records that the ring of the store holds.
        kept: Points that fit behind the ring.
        box_mass: Points of the largest branch that keeps no box, at least 1.
        rows: Boxes that fit, and row 0.
        narrow: 1 for the narrow layout of pairs, 0 for the wide one.
    """

    features: int
    shingle_size: int
    trees: int
    sample_size: int
    ring: int
    kept: int
    box_mass: int
    rows: int
    narrow: int

    @property
    def layout(self) -> PairLayout:
        """Layout of pairs of nodes."""
        return layout_of(self.narrow != 0)

    @property
    def dimensions(self) -> int:
        """Dimensions of a point."""
        return self.features * self.shingle_size

    @property
    def pairs(self) -> int:
        """Pairs of nodes a tree: one point more than the sample, because insertion comes first."""
        return self.sample_size + 1

    @property
    def slots(self) -> int:
        """Reservoir slots a tree, one of them free, rounded up to blocks of 16 (narrow: to 8)."""
        if self.narrow:
            return max(BLOCK, -(-(self.sample_size + 1) // 8) * 8)
        return -(-(self.sample_size + 1) // BLOCK) * BLOCK

    @property
    def peaks_stride(self) -> int:
        """Blocks of slots a tree, rounded up likewise; 0 where their peaks are not kept."""
        if not self.layout.keeps_peaks:
            return 0
        return -(-self.slots // BLOCK**2) * BLOCK

    @property
    def row(self) -> RowShape:
        """Shape of a box row."""
        return row_for(self.dimensions)

    @property
    def ring_floats(self) -> int:
        """Floats of the ring with its repeated start."""
        return (self.ring + self.shingle_size - 1) * self.features

    @property
    def parked(self) -> int:
        """Points that fit behind the kept ones, while records are learnt several at a time."""
        return PARKED if self.box_mass == 1 and not self.narrow else 0

    @property
    def store_floats(self) -> int:
        """Floats of the ring, the kept points and the parked ones."""
        return self.ring_floats + (self.kept + self.parked) * self.dimensions


class Forest(NamedTuple):
    """One forest as kernels see it: its sizes by value, its sections (module's table) flat.

    Attributes:
        layout: How pairs of nodes lie in memory.
        numbers: `nodes` as uint16 (narrow: uint8): masses and parents, see `rcf.layout`.
        box_rows: `nodes` as int32 (narrow: uint8): rows of boxes, likewise.
        singles: `nodes` as float32: sums of sides, see `RANGE`.
    """

    features: int
    shingle_size: int
    dimensions: int
    trees: int
    sample_size: int
    pairs: int
    slots: int
    peaks_stride: int
    ring: int
    ring_floats: int
    box_mass: int
    row: RowShape
    layout: PairLayout
    header: I64
    reals: F64
    rng: U64
    due: I64
    sizes: I64
    free_slots: I64
    free_pairs: I64
    nodes: I64
    boxes: F32
    free_rows: I32
    keys: F32
    peaks: I32
    origins: I32
    leaves: U16
    ring_uses: U16
    kept_uses: I32
    store: F32
    numbers: U16
    box_rows: I32
    singles: F32


@lru_cache(maxsize=256)
def sections(shape: Shape) -> tuple[tuple[str, np.dtype[np.generic], int], ...]:
    """(name, dtype, items) of every section, in the order of the block."""
    trees, pairs, slots, layout = shape.trees, shape.pairs, shape.slots, shape.layout
    items: dict[str, tuple[type[np.generic], int]] = {
        "header": (np.int64, HEADER),
        "reals": (np.float64, REALS),
        "rng": (np.uint64, trees),
        "due": (np.int64, trees),
        "sizes": (np.int64, trees),
        "free_slots": (np.int64, trees),
        "free_pairs": (np.int64, trees),
        "nodes": (np.int64, trees * layout.words * pairs),
        "boxes": (np.float32, shape.rows * shape.row.width),
        "free_rows": (layout.box_row, shape.rows if shape.box_mass > 1 else 0),
        "keys": (np.float32, trees * slots),
        "peaks": (np.int32, trees * shape.peaks_stride),
        "origins": (layout.origin, trees * slots),
        "leaves": (layout.number, trees * slots),
        "ring_uses": (layout.number, shape.ring),
        "kept_uses": (layout.origin, shape.kept),
        "store": (np.float32, shape.store_floats + OVERHANG),
    }
    return tuple((name, np.dtype(dtype), n) for name, (dtype, n) in items.items())


@lru_cache(maxsize=256)
def places(shape: Shape) -> tuple[tuple[int, ...], int]:
    """Byte offset of every section, each on a cache line of its own, and the block's size."""
    at, offsets = 0, list[int]()
    for _, dtype, items in sections(shape):
        offsets.append(at)
        at += (items * dtype.itemsize + 63) // 64 * 64
    return tuple(offsets), at


_REALS_AT = (HEADER * 8 + 63) // 64 * 64  # behind the header, see `places`


def empty_block(size: int) -> U8:
    """Zeroed bytes on a cache-line boundary. uint8 (size,).

    Allocated, then zeroed: so NumPy asks the system for large pages where the block is large.
    """
    block = _room_for(size)
    block[:] = 0
    return block


def copy_of(block: U8) -> U8:
    """The same bytes, on a cache-line boundary too."""
    copied = _room_for(len(block))
    copied[:] = block
    return copied


def _room_for(size: int) -> U8:
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def open_block(block: U8) -> Forest:
    """A block with its sections as arrays, for Python; kernels use `rcf.step.open_forest`."""
    shape = shape_of(header_of(block))
    offsets, _ = places(shape)
    arrays = [
        block[at : at + items * dtype.itemsize].view(dtype)
        for (_, dtype, items), at in zip(sections(shape), offsets, strict=True)
    ]
    nodes, layout = arrays[SECTIONS.index("nodes")], shape.layout
    sizes = (
        *(shape.features, shape.shingle_size, shape.dimensions, shape.trees, shape.sample_size),
        *(shape.pairs, shape.slots, shape.peaks_stride, shape.ring, shape.ring_floats),
        *(shape.box_mass, shape.row, layout),
    )
    views = [nodes.view(kind) for kind in (layout.number, layout.box_row, np.float32)]
    return Forest._make([*sizes, *arrays, *views])


def header_of(block: U8) -> I64:
    """The header of a block, without opening the rest: for what is asked with every record."""
    return block[: HEADER * 8].view(np.int64)


def reals_of(block: U8) -> F64:
    """The second section of a block, likewise."""
    return block[_REALS_AT : _REALS_AT + REALS * 8].view(np.float64)


def shape_of(header: I64) -> Shape:
    """The shape that a header describes."""
    return Shape(*(int(header[i]) for i in SIZES))


def allocate(shape: Shape) -> U8:
    """A block for `shape` with its sizes and places filled in and every tree empty."""
    offsets, size = places(shape)
    block = empty_block(size)
    header = block[: HEADER * 8].view(np.int64)
    row = shape.row
    for word, value in (
        (FEATURES, shape.features),
        (SHINGLE, shape.shingle_size),
        (DIMENSIONS, shape.dimensions),
        (TREES, shape.trees),
        (SAMPLE, shape.sample_size),
        (PAIRS, shape.pairs),
        (SLOTS, shape.slots),
        (PEAKS_STRIDE, shape.peaks_stride),
        (GROUPS, row.groups),
        (TAIL, row.tail),
        (WIDTH, row.width),
        (RING, shape.ring),
        (KEPT, shape.kept),
        (KEPT_FREE, -1),
        (RING_FLOATS, shape.ring_floats),
        (BOX_MASS, shape.box_mass),
        (ROWS, shape.rows),
        (ROWS_FREE, shape.rows - 1),
        (IS_NARROW, shape.narrow),
    ):
        header[word] = value
    header[PLACES : PLACES + len(offsets)] = offsets
    header[PLACES + len(offsets)] = size
    forest = open_block(block)
    forest.origins[:] = -1
    forest.free_rows[:] = np.arange(len(forest.free_rows) - 1, -1, -1)
    forest.keys[:] = -1.0  # a free slot is never the largest key
    forest.peaks[:] = np.float32(-1.0).view(np.int32)
    # Every free pair names the next one, and 0 (the root's pair) ends the list.
    words = shape.layout.words
    chain = words * np.arange(1, shape.pairs + 1)
    chain[-1] = 0
    parents_in(forest.nodes, shape.layout).reshape(shape.trees, shape.pairs)[:] = chain
    forest.free_pairs[:] = words if shape.pairs > 1 else 0
    return block


def words_in(nodes: I64, layout: PairLayout) -> I64:
    """The nodes' words, as a view of section `nodes`: int64 (trees x pairs, 2)."""
    return nodes.reshape(-1, layout.words)[:, :2]


def parents_in(nodes: I64, layout: PairLayout) -> U16:
    """The branch above each pair, as such a view: uint16 (narrow: uint8) (trees x pairs,)."""
    numbers: U16 = nodes.view(layout.number)
    return numbers[layout.parent :: layout.step * layout.words]


def fits_narrow(shape: Shape) -> bool:
    """Whether the numbers of a forest fit the narrow layout, whatever its records.

    It has no room for a row of its own for each branch. Where its rows run out, boxes of small
    branches make room.
    """
    floats = shape.ring_floats + (shape.trees * shape.sample_size + 1) * shape.dimensions
    return (
        2 * shape.pairs <= 256
        and shape.rows <= 256
        and shape.box_mass > 1
        and shape.dimensions <= 256
        and shape.trees <= 255
        and floats + OVERHANG < 2**15
    )


#: The sections' names, in the order of the block.
SECTIONS = Forest._fields[Forest._fields.index("header") : Forest._fields.index("numbers")]

#: Word of the header that holds the bytes of the block.
SIZE = PLACES + len(SECTIONS)
