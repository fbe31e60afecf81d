"""The kernels' block read into plain objects, and every redundancy in it counted again.

The only place in these tests that knows the layout drawn in `rcf.state`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from rcf import state
from rcf.cut import LEAF_CUT
from rcf.vector import box_union_plain
from tests.rcf.reference import settled


def float_of_key(key: int) -> np.float32:
    """The float32 behind an order-preserving integer."""
    bits = key ^ 0x7FFFFFFF if key < 0 else key
    return np.int32(bits).view(np.float32)


@dataclass
class Node:
    """A node of the block; a branch has two children, a leaf the slots that hold its point."""

    number: int
    mass: int
    dimension: int = -1
    cut: np.float32 | None = None
    children: tuple[Node, ...] = ()
    low: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    high: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    slot: int = -1

    @property
    def is_leaf(self) -> bool:
        return not self.children


@dataclass
class Tree:
    """One tree with its reservoir; `points` maps slots to points, `keys` to float32 keys."""

    root: Node | None
    points: dict[int, np.ndarray]
    keys: dict[int, np.float32]
    due: int
    random: int


class Block:
    """A forest's block, opened; arrays per tree are two-dimensional."""

    def __init__(self, block: np.ndarray) -> None:
        self.forest = state.open_block(block)
        self.shape = shape = state.shape_of(self.forest.header)
        by_tree = {
            name: getattr(self.forest, name).reshape(shape.trees, -1)
            for name in ("nodes", "numbers", "keys", "peaks", "origins", "leaves")
        }
        self.nodes = by_tree["nodes"]
        self.layout = layout = shape.layout
        # The mass of node n is at n, though a wide pair's last two words are no nodes.
        self.masses = by_tree["numbers"][:, layout.mass :: layout.step]
        self.parents = by_tree["numbers"][:, layout.parent :: layout.step * layout.words]
        self.keys, self.peaks = by_tree["keys"], by_tree["peaks"]
        self.origins, self.leaves = by_tree["origins"], by_tree["leaves"]
        self.ranges = self.forest.singles.reshape(shape.trees, -1)[:, state.RANGE :: 8]
        step = layout.row_step * layout.words
        self.rows = self.forest.box_rows[layout.row :: step].reshape(shape.trees, -1)
        self.boxes = self.forest.boxes.reshape(shape.rows, shape.row.width)

    def count(self, word: int) -> int:
        return int(self.forest.header[word])

    @property
    def sequence(self) -> int:
        """Points learnt."""
        return self.count(state.POINTS)

    def used(self, tree: int) -> np.ndarray:
        """Slots that hold a point."""
        return np.flatnonzero(self.origins[tree] >= 0)

    def point(self, tree: int, slot: int) -> np.ndarray:
        at = int(self.origins[tree, slot])
        return self.forest.store[at : at + self.shape.dimensions].copy()

    def sampled(self) -> np.ndarray:
        """First coordinate of all sampled points, (trees, sizes); all trees equally full."""
        held = self.origins >= 0
        size = int(held[0].sum())
        return self.forest.store[self.origins[held]].reshape(self.shape.trees, size)

    def box(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Low and high sides of a box row."""
        groups, tail = self.shape.row.groups, self.shape.row.tail
        low, high = [], []
        for start, n in [*((16 * g, 8) for g in range(groups)), (16 * groups, tail)]:
            low.append(row[start : start + n])
            high.append(-row[start + n : start + 2 * n])
        dimensions = self.shape.dimensions
        return np.concatenate(low)[:dimensions], np.concatenate(high)[:dimensions]

    def tree(self, tree: int) -> Tree:
        used = self.used(tree)
        return Tree(
            root=self._node(tree, 0) if len(used) else None,
            points={int(slot): self.point(tree, slot) for slot in used},
            keys={int(slot): self.keys[tree, slot] for slot in used},
            due=int(self.forest.due[tree]),
            random=int(self.forest.rng[tree]),
        )

    def _node(self, tree: int, number: int, above: int = 0) -> Node:
        assert above <= 2 * self.shape.pairs, "a cycle of nodes"
        assert number % self.layout.words < 2, "the two words behind a wide pair are no nodes"
        word, bits = int(self.nodes[tree, number]), self.layout.bits
        largest = (1 << bits) - 1
        cut, dimension, left = word >> 32, (word >> bits) & largest, word & largest
        mass = int(self.masses[tree, number])
        if left == number:
            return Node(number, mass, slot=cut - LEAF_CUT)
        children = tuple(self._node(tree, n, above + 1) for n in (left, left + 1))
        node = Node(number, mass, dimension, settled(float_of_key(cut)), children)
        row = int(self.rows[tree, left // self.layout.words])
        if row:
            node.low, node.high = self.box(self.boxes[row])
        return node

    def paths(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth and true collusive displacement of the leaf of `slots[t]` in every tree t."""
        trees = np.arange(self.shape.trees)
        node = self.leaves[trees, slots].astype(np.int64)
        depth, codisp = np.zeros(len(trees), np.int64), np.zeros(len(trees))
        while np.any(node != 0):
            below = node != 0
            mass = self.masses[trees, node].astype(np.float64)
            ratio = self.masses[trees, node ^ 1] / np.maximum(mass, 1)
            codisp = np.where(below, np.maximum(codisp, ratio), codisp)
            depth += below
            node = np.where(
                below, self.parents[trees, node // self.layout.words].astype(np.int64), 0
            )
        return depth, codisp

    def evict_next(self, slots: np.ndarray) -> None:
        """Make every tree accept the next record in the place of the point in `slots[t]`."""
        trees = np.arange(self.shape.trees)
        self.keys[trees, slots] = 1e30
        self.reset_peaks()
        self.forest.due[:] = self.sequence + 1

    def reset_peaks(self) -> None:
        groups = self.keys.view(np.int32).reshape(self.shape.trees, -1, 16)
        self.peaks[:, : groups.shape[1]] = groups.max(axis=2)


def newest_slots(block: Block) -> np.ndarray:
    """Slot of the newest record's point in every tree, all of which must hold it."""
    header = block.forest.header
    start = (int(header[state.RECORDS]) - block.shape.shingle_size) % block.shape.ring
    held = block.origins == start * block.shape.features
    assert np.all(held.sum(axis=1) == 1)
    return held.argmax(axis=1)


# --- the laws of the state ------------------------------------------------------------------------


def check_block(raw: np.ndarray, records: np.ndarray, *merged: np.ndarray) -> None:
    """Count everything again; AssertionError says what does not hold.

    Args:
        raw: A forest's block.
        records: float32 (n, features), all records learnt.
        merged: The same of each forest that was merged into it.
    """
    block = Block(raw)
    shape = block.shape
    records = records + np.float32(0)  # no minus zero
    assert block.count(state.RECORDS) == len(records)
    points: list[bytes] = []
    for stream in (records, *(other + np.float32(0) for other in merged)):
        starts = range(max(0, len(stream) - shape.shingle_size + 1))
        points += [stream[i : i + shape.shingle_size].tobytes() for i in starts]
    assert block.sequence == len(points)
    for tree in range(shape.trees):
        _check_tree(block, tree)
        _check_reservoir(block, tree, set(points))
    _check_store(block, records)
    _check_rows(block)


def _check_rows(block: Block) -> None:
    if block.shape.box_mass == 1:
        own = 1 + np.arange(block.rows.size).reshape(block.rows.shape)
        assert np.all((block.rows == 0) | (block.rows == own)), "each pair has a row of its own"
        return
    free = block.forest.free_rows[: block.count(state.ROWS_FREE)].tolist()
    used = block.rows[block.rows > 0].tolist()
    assert sorted([*free, *used]) == list(range(1, block.shape.rows)), "rows lost or used twice"


def _check_tree(block: Block, number: int) -> None:
    tree = block.tree(number)
    size = int(block.forest.sizes[number])
    assert len(tree.points) == size <= block.shape.sample_size
    count = _Count(block, number, tree)
    if tree.root is None:
        assert block.sequence == 0
    else:
        assert tree.root.number == 0
        _, _, mass = count.check(tree.root)
        assert mass == size, "mass of the root and size of the reservoir"
        assert not count.slots_of, "a slot names a node that is no leaf"
    words = block.layout.words
    pairs = {_pair(block, b): b.number for b in count.branches}
    assert len(pairs) == len(count.branches), "two branches share their children"
    for pair, above in pairs.items():
        assert block.parents[number, pair] == above, "parent of a pair"
    free, pair = [], int(block.forest.free_pairs[number])
    while pair != 0:
        assert pair % words == 0, "a pair is named by its left node"
        free.append(pair // words)
        assert len(free) <= block.shape.pairs, "the list of free pairs is a ring"
        pair = int(block.parents[number, pair // words])
    assert sorted([*free, *pairs]) == list(range(1, block.shape.pairs)), "pairs lost or used twice"


def _pair(block: Block, branch: Node) -> int:
    return branch.children[0].number // block.layout.words


class _Count:
    """One walk over a tree that counts it again."""

    def __init__(self, block: Block, number: int, tree: Tree) -> None:
        self.block, self.number, self.tree = block, number, tree
        self.branches: list[Node] = []
        self.slots_of = Counter(int(block.leaves[number, slot]) for slot in tree.points)

    def check(self, node: Node) -> tuple[np.ndarray, np.ndarray, int]:
        """(low, high, mass) of a node, counted again."""
        if node.is_leaf:
            return self._check_leaf(node)
        self.branches.append(node)
        low_left, high_left, mass_left = self.check(node.children[0])
        low_right, high_right, mass_right = self.check(node.children[1])
        i = node.dimension
        assert high_left[i] <= node.cut < low_right[i], "left <= cut < right"
        low, high = np.minimum(low_left, low_right), np.maximum(high_left, high_right)
        assert node.mass == mass_left + mass_right, "mass of a branch"
        kept = int(self.block.rows[self.number, _pair(self.block, node)])
        assert (kept > 0) == (node.mass > self.block.shape.box_mass), "which boxes are kept"
        if kept:
            assert np.array_equal(node.low, low), "hull of the children"
            assert np.array_equal(node.high, high), "hull of the children"
            _check_range(self.block, self.number, _pair(self.block, node), low, high)
        return low, high, node.mass

    def _check_leaf(self, node: Node) -> tuple[np.ndarray, np.ndarray, int]:
        leaves = self.block.leaves[self.number]
        point = self.tree.points[node.slot]
        assert leaves[node.slot] == node.number, "a leaf and its slot"
        for slot, other in self.tree.points.items():
            same = leaves[slot] == node.number
            assert same == np.array_equal(other, point), "equal points share one leaf"
        assert node.mass == self.slots_of.pop(node.number), "mass of a leaf"
        return point, point, node.mass


def _check_range(block: Block, tree: int, pair: int, low: np.ndarray, high: np.ndarray) -> None:
    row = block.boxes[block.rows[tree, pair]]
    with np.errstate(over="ignore"):
        again = box_union_plain(row.copy(), 0, row, 0, row, 0, block.shape.row)
    stored = block.ranges[tree, pair] if block.layout.keeps_range else again
    assert stored == again, "range of a box"
    exact = float((high.astype(np.float64) - low).sum())
    if exact < 3e38:
        # One rounding for each group that a lane adds up, and those of folding the lanes.
        error = 2.0**-24 * (len(low) / 8 + 8)
        assert abs(float(stored) - exact) <= error * exact + 1e-44 * len(low), "sum of sides"


def _check_reservoir(block: Block, tree: int, points: set[bytes]) -> None:
    shape, used = block.shape, block.used(tree)
    free = int(block.forest.free_slots[tree])
    assert block.origins[tree, free] == -1, "the free slot is free"
    taken = np.zeros(shape.slots, bool)
    taken[used] = True
    assert np.all(block.keys[tree, taken] >= 0) and np.all(block.keys[tree, ~taken] == -1)
    if block.layout.keeps_peaks:
        peaks = block.keys[tree].reshape(-1, 16).max(axis=1).view(np.int32)
        assert np.array_equal(block.peaks[tree, : len(peaks)], peaks), "largest key of each block"
    if block.sequence:
        full = len(used) == shape.sample_size
        due = int(block.forest.due[tree])
        assert due > block.sequence if full else due == block.sequence + 1
    # Every point is a shingle of the stream.
    assert all(block.point(tree, slot).tobytes() in points for slot in used)


def _check_store(block: Block, records: np.ndarray) -> None:
    shape, forest = block.shape, block.forest
    recent = records[-shape.ring :]
    for i, record in enumerate(recent, len(records) - len(recent)):
        at = i % shape.ring * shape.features
        assert np.array_equal(forest.store[at : at + shape.features], record), "record in the ring"
    behind = shape.ring * shape.features
    again = (shape.shingle_size - 1) * shape.features
    assert np.array_equal(forest.store[behind : behind + again], forest.store[:again])

    origins = Counter(int(o) for o in block.origins.ravel() if o >= 0)
    ring_uses = np.zeros(shape.ring, np.int64)
    used = block.count(state.KEPT_USED)
    kept_uses = np.zeros(used, np.int64)
    for origin, uses in origins.items():
        if origin < shape.ring_floats:
            start, rest = divmod(origin, shape.features)
            ring_uses[start] = uses
        else:
            entry, rest = divmod(origin - shape.ring_floats, shape.dimensions)
            kept_uses[entry] = uses
        assert rest == 0
    assert np.array_equal(forest.ring_uses, ring_uses), "uses of the ring's records"
    free, entry = [], block.count(state.KEPT_FREE)
    while entry >= 0:
        free.append(entry)
        assert len(free) <= used, "the list of free kept points is a ring"
        entry = -2 - int(forest.kept_uses[entry])
    assert entry == -1
    assert sorted(free) == np.flatnonzero(kept_uses == 0).tolist(), "kept points nobody holds"
    held = kept_uses > 0
    assert np.array_equal(forest.kept_uses[:used][held], kept_uses[held]), "uses of kept points"
