"""A naive random cut forest: plain Python written from the papers, for the kernels to agree with.

Every node lists the points below it; mass and box follow from that list and nothing is packed, kept
up to date or skipped. Points are whole vectors, reservoirs are lists of (key, point). Only the
source of randomness and the order of its use are those of the kernels, so that both grow the same
trees:

    insertion   one number for each node, from the root down, that does not contain the point and
                is no leaf, until one separates; then one number for the cut
    reservoir   one number for a key, or the pairs of the rejection below a bound; one for the coin
                of the initial acceptance; after an acceptance one for the time of the next

Sources: Guha, Mishra, Roy and Schrijvers 2016 (cuts, insertion, deletion, displacement); Efraimidis
and Spirakis 2006 (reservoir); AWS random-cut-forest-by-aws (initial acceptance, inverse depth).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

_MASK = (1 << 64) - 1


class SplitMix:
    """splitmix64 on Python integers."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next_u64(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """Uniform on [0, 1), 53 bits."""
        return (self.next_u64() >> 11) / 2**53

    def exponential(self) -> float:
        return -math.log1p(-self.uniform())

    def exponential_below(self, bound: float) -> float:
        """Exponential variable given that it is below `bound`."""
        if bound > 2.0:
            return -math.log1p(-self.uniform() * -math.expm1(-bound))
        while True:
            value, chance = self.uniform() * bound, self.uniform()
            if chance < math.exp(-value):
                return value


# --- trees ----------------------------------------------------------------------------------------


def next_below(value: np.float32) -> np.float32:
    return np.nextafter(value, np.float32(-np.inf))


def settled(cut: np.float32) -> np.float32:
    """A cut of minus zero lies below zero: it separates 0 from everything smaller."""
    return next_below(np.float32(0)) if cut == 0 and np.signbit(cut) else cut


class Node:
    """A leaf, or a branch with a cut and two children; `points` are all points below it."""

    def __init__(self, points: list[np.ndarray]) -> None:
        self.points = points
        self.parent: Node | None = None
        self.dimension = -1
        self.cut = np.float32(0)
        self.left: Node | None = None
        self.right: Node | None = None

    @property
    def is_leaf(self) -> bool:
        return self.left is None

    @property
    def mass(self) -> int:
        return len(self.points)

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        points = np.stack(self.points)
        return points.min(axis=0), points.max(axis=0)

    def side(self, point: np.ndarray) -> Node:
        """The child on whose side of the cut the point lies."""
        assert self.left is not None and self.right is not None
        return self.left if point[self.dimension] <= self.cut else self.right

    def sibling(self) -> Node:
        assert self.parent is not None and self.parent.left is not None
        assert self.parent.right is not None
        return self.parent.right if self.parent.left is self else self.parent.left

    def separation(self, point: np.ndarray) -> float:
        """Chance that a random cut of the box grown to hold the point isolates the point."""
        low, high = (side.astype(np.float64) for side in self.box)
        gap = float(np.maximum(low - point, 0).sum() + np.maximum(point - high, 0).sum())
        return gap / (float((high - low).sum()) + gap) if gap > 0 else 0.0

    def holds(self, point: np.ndarray) -> bool:
        return self.is_leaf and bool(np.all(self.points[0] == point))


def separating_stretches(
    low: np.ndarray, high: np.ndarray, point: np.ndarray
) -> Iterator[tuple[int, np.float32, np.float32, bool]]:
    """(dimension, from, to, point below the box) of each stretch between box and point."""
    for i in range(len(point)):
        if point[i] < low[i]:
            yield i, point[i], low[i], True
        elif point[i] > high[i]:
            yield i, high[i], point[i], False


def gaps(box: tuple[np.ndarray, np.ndarray], point: np.ndarray) -> np.ndarray:
    """How far the point lies above and below a box, (2, dimensions)."""
    low, high = (side.astype(np.float64) for side in box)
    return np.stack([np.maximum(point - high, 0), np.maximum(low - point, 0)])


def parting(group: Node, point: np.ndarray) -> np.ndarray:
    """How far a node with the point lies above and below the node's sibling, (2, dimensions)."""
    own = np.stack([*group.points, point]).astype(np.float64)
    low, high = (side.astype(np.float64) for side in group.sibling().box)
    return np.stack([np.maximum(own.min(axis=0) - high, 0), np.maximum(low - own.max(axis=0), 0)])


def ratio(node: Node) -> float:
    return node.sibling().mass / (node.mass + 1)


class Tree:
    """A random cut tree of the points inserted and not deleted."""

    def __init__(self, random: SplitMix) -> None:
        self.random = random
        self.root: Node | None = None

    def path(self, point: np.ndarray) -> list[Node]:
        """Nodes from the root to the leaf that existing cuts lead the point to."""
        assert self.root is not None
        nodes = [self.root]
        while not nodes[-1].is_leaf:
            nodes.append(nodes[-1].side(point))
        return nodes

    def insert(self, point: np.ndarray) -> None:
        if self.root is None:
            self.root = Node([point])
            return
        path = self.path(point)
        if path[-1].holds(point):
            for node in path:
                node.points.append(point)
            return
        for node in path:
            chance = node.separation(point)
            if node.is_leaf or (chance > 0 and self.random.uniform() < chance):
                self._splice(node, point)
                return
            node.points.append(point)

    def _splice(self, node: Node, point: np.ndarray) -> None:
        """Put a branch in the place of `node`, with it and a leaf of the point as children."""
        stretches = list(separating_stretches(*node.box, point))
        lengths = [float(to) - float(start) for _, start, to, _ in stretches]
        place = self.random.uniform() * sum(lengths)
        for stretch, length in zip(stretches, lengths, strict=True):
            chosen = stretch
            if place < length:
                break
            place -= length
        dimension, lower, upper, below = chosen
        cut = np.float32(min(float(lower) + place, float(upper)))
        if cut >= upper:
            cut = next_below(upper)
        branch, leaf = Node([*node.points, point]), Node([point])
        branch.dimension, branch.cut = dimension, settled(max(cut, lower))
        branch.left, branch.right = (leaf, node) if below else (node, leaf)
        self._replace(node, branch)
        node.parent = leaf.parent = branch

    def _replace(self, old: Node, new: Node) -> None:
        new.parent = old.parent
        if old.parent is None:
            self.root = new
        elif old.parent.left is old:
            old.parent.left = new
        else:
            old.parent.right = new

    def delete(self, point: np.ndarray) -> None:
        path = self.path(point)
        assert path[-1].holds(point), "only points of the tree can be deleted"
        for node in path:
            which = next(i for i, p in enumerate(node.points) if np.array_equal(p, point))
            del node.points[which]
        if path[-1].mass > 0:
            return
        if len(path) == 1:
            self.root = None
        else:
            self._replace(path[-2], path[-1].sibling())

    def score(self, point: np.ndarray, kind: str) -> float:
        """Expected score of the point after its insertion, from the definition."""
        path = self.path(point)
        whole, depth, leaf = path[0].mass, len(path) - 1, path[-1]
        if leaf.holds(point):
            ratios = [n.sibling().mass / (n.mass + 1) for n in path[1:]]
            if kind == "codisp":
                return max(ratios, default=0.0)
            if kind == "disp":
                return leaf.sibling().mass if depth else 0.0
            value = (1 - leaf.mass / (2 * whole)) / (depth + math.log2(leaf.mass + 1))
            return value * math.log2(whole + 1)
        chances = [1.0 if n.is_leaf else n.separation(point) for n in path]
        total, reached, ratio = 0.0, 1.0, 0.0
        for d, (node, chance) in enumerate(zip(path, chances, strict=True)):
            if d:
                ratio = max(ratio, node.sibling().mass / (node.mass + 1))
            value = {
                "codisp": max(node.mass, ratio),
                "disp": node.mass,
                "depth": math.log2(whole + 1) / (d + 1),
            }[kind]
            total += reached * chance * value
            reached *= 1 - chance
        return total

    def steps(self, point: np.ndarray) -> list[tuple[Node, float, float]]:
        """(node, chance to be isolated beside it, chance that a cut isolates) of a path."""
        reached, found = 1.0, []
        for node in self.path(point):
            chance = 1.0 if node.is_leaf else node.separation(point)
            found.append((node, reached * chance, chance))
            reached *= 1 - chance
        return found

    def attribution(self, point: np.ndarray, kind: str) -> np.ndarray:
        """Shares of the score, (2, dimensions) above and below, from the definition."""
        path, value = self.path(point), self.score(point, kind)
        shares = np.zeros((2, len(point)))
        if path[-1].holds(point):
            if kind == "depth":
                return self._thought_away(point, value)
            groups = path[1:] if kind == "codisp" else path[-1:] if len(path) > 1 else []
            if groups:
                apart = parting(max(groups, key=ratio), point)
                shares += value * apart / apart.sum()
            return shares
        for d, (node, weight, _) in enumerate(self.steps(point)):
            apart, due = gaps(node.box, point), float(node.mass)
            if kind == "depth":
                due = math.log2(path[0].mass + 1) / (d + 1)
            above = max(path[1 : d + 1], key=ratio, default=None)
            if kind == "codisp" and above is not None and ratio(above) > node.mass:
                apart, due = parting(above, point), ratio(above)
            if weight > 0:
                shares += weight * due * apart / apart.sum()
        return shares

    def shadows(self, point: np.ndarray) -> Iterator[tuple[int, Node, np.ndarray, np.ndarray]]:
        """(depth, node, gaps, sides) of a path's boxes without its leaf, from the bottom up."""
        path = self.path(point)
        others: list[np.ndarray] = []
        for d in range(len(path) - 2, -1, -1):
            others += path[d + 1].sibling().points
            box = np.min(others, axis=0), np.max(others, axis=0)
            apart = gaps(box, point)
            if apart.sum() == 0:
                return
            yield d, path[d], apart, (box[1].astype(np.float64) - box[0])

    def _thought_away(self, point: np.ndarray, value: float) -> np.ndarray:
        shares = np.full((2, len(point)), value / (2 * len(point)))
        assert self.root is not None
        scale = math.log2(self.root.mass + 1)
        for d, _, apart, sides in self.shadows(point):
            chances = apart / (apart.sum() + sides.sum())
            shares = chances * scale / (d + 1) + (1 - chances.sum()) * shares
        return shares * value / shares.sum()

    def interpolation(self, point: np.ndarray) -> np.ndarray:
        """P, F and L of MATHS.md, section 9: (3, 2, dimensions)."""
        leaf = self.path(point)[-1]
        if leaf.holds(point):
            faces, own = 2 * len(point), leaf.mass + 1
            parts = np.zeros((3, 2, len(point)))
            parts[0], parts[1] = 1 / faces, own / faces
            for _, node, apart, sides in self.shadows(point):
                chances = apart / (apart.sum() + sides.sum())
                added = np.stack([chances, chances * (node.mass + own), chances * (apart + sides)])
                parts = added + (1 - chances.sum()) * parts
            return parts
        parts = np.zeros((3, 2, len(point)))
        for node, weight, _ in self.steps(point):
            low, high = (side.astype(np.float64) for side in node.box)
            apart = gaps(node.box, point)
            if weight > 0:
                shares = weight * apart / apart.sum()
                parts += [shares, shares * (node.mass + 1), shares * (apart + high - low)]
        return parts


# --- reservoirs -----------------------------------------------------------------------------------

#: Keys are moved to a later epoch once decay times its age is larger.
EPOCH_SPAN = 16.0


class Reservoir:
    """The items with the smallest keys E exp(-decay age), E exponential; (key, point) as they come.

    Keys are float32 relative to an epoch, as the kernels' are: that rounding decides ties.
    """

    def __init__(self, random: SplitMix, size: int, fraction: float) -> None:
        self.random, self.size, self.fraction = random, size, fraction
        self.items: list[tuple[np.float32, np.ndarray]] = []
        self.due = 1

    def largest(self) -> int:
        return max(range(len(self.items)), key=lambda i: self.items[i][0])

    def offer(
        self, point: np.ndarray, now: int, decay: float, epoch: int
    ) -> tuple[bool, np.ndarray | None]:
        """(whether the point is accepted, the point it drives out)."""
        scale = math.exp(decay * (now - epoch))
        if len(self.items) == self.size:
            bound = float(self.items[self.largest()][0]) * scale
            return True, self._take(self.random.exponential_below(bound) / scale, point, True)
        key = self.random.exponential() / scale
        filled = len(self.items) / self.size
        if filled < self.fraction or (
            self.fraction < 1
            and self.random.uniform() < 1 - (filled - self.fraction) / (1 - self.fraction)
        ):
            return True, self._take(key, point, False)
        if np.float32(key) < self.items[self.largest()][0]:
            return True, self._take(key, point, True)
        return False, None

    def _take(self, key: float, point: np.ndarray, evict: bool) -> np.ndarray | None:
        evicted = self.items.pop(self.largest())[1] if evict else None
        self.items.append((np.float32(key), point))
        return evicted

    def schedule(self, now: int, decay: float, epoch: int) -> None:
        """When to offer an item next: the following one, or what a full reservoir draws.

        Item t is accepted if E_t < h_t = L exp(decay (t - epoch)); so none of the next n is with
        probability exp(-(h_1 + … + h_n)).
        """
        if len(self.items) < self.size:
            self.due = now + 1
            return
        first = float(self.items[self.largest()][0]) * math.exp(decay * (now + 1 - epoch))
        total = self.random.exponential()
        steps = math.log1p(total * math.expm1(decay) / first) / decay if decay else total / first
        self.due = now + max(1, math.ceil(steps))

    def move_epoch(self, scale: float) -> None:
        self.items = [(np.float32(float(key) * scale), point) for key, point in self.items]


# --- the forest -----------------------------------------------------------------------------------


class NaiveForest:
    """`rcf.Forest`, record by record."""

    def __init__(
        self,
        *,
        features: int,
        shingle_size: int,
        trees: int,
        sample_size: int,
        time_decay: float,
        score: str,
        output_after: int,
        initial_accept_fraction: float,
        seed: int,
    ) -> None:
        seeds = SplitMix(seed)
        randoms = [SplitMix(seeds.next_u64()) for _ in range(trees)]
        self.trees = [Tree(random) for random in randoms]
        self.reservoirs = [Reservoir(r, sample_size, initial_accept_fraction) for r in randoms]
        self.features, self.shingle_size = features, shingle_size
        self.decay, self.kind, self.output_after = time_decay, score, output_after
        self.records: list[np.ndarray] = []
        self.now = self.epoch = 0

    def process(self, record: np.ndarray) -> float:
        """Score one record, then learn it; NaN while warming."""
        self.records.append(np.asarray(record, np.float32) + np.float32(0))
        if len(self.records) < self.shingle_size:
            return math.nan
        point = np.concatenate(self.records[-self.shingle_size :])
        self.now += 1
        if self.decay * (self.now - self.epoch) > EPOCH_SPAN:
            self._move_epoch()
        score = self.score_point(point) if self.now > self.output_after else math.nan
        for tree, reservoir in zip(self.trees, self.reservoirs, strict=True):
            if reservoir.due != self.now:
                continue
            accepted, evicted = reservoir.offer(point, self.now, self.decay, self.epoch)
            if accepted:
                tree.insert(point)
            if evicted is not None:
                tree.delete(evicted)
            reservoir.schedule(self.now, self.decay, self.epoch)
        return score

    def score_point(self, point: np.ndarray) -> float:
        return sum(tree.score(point, self.kind) for tree in self.trees) / len(self.trees)

    def set_time_decay(self, decay: float) -> None:
        self._move_epoch()
        self.decay = decay
        for reservoir in self.reservoirs:
            reservoir.schedule(self.now, decay, self.epoch)

    def _move_epoch(self) -> None:
        scale = math.exp(self.decay * (self.now - self.epoch))
        for reservoir in self.reservoirs:
            reservoir.move_epoch(scale)
        self.epoch = self.now
