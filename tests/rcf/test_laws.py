"""What the forest draws follows the papers' laws.

Statistics of many independent trees are held against what theory says, or against a simulation
written from the definition. Seeds are fixed. Each test is passed by right code with probability
above 1 - 1e-6 over seeds: bounds on normal statistics are 5.5 deviations (4e-8 each), on
Kolmogorov's statistic 2.9 / sqrt(n) (1e-7), on chi-squared the same in its normal approximation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from rcf import Forest, state
from tests.rcf.blocks import Block, newest_slots
from tests.rcf.blocks import Node as BlockNode

SIGMAS = 5.5
TREES = 10_000


def assert_normal(statistic: float, what: str) -> None:
    assert abs(statistic) < SIGMAS, f"{what}: {statistic:.1f} deviations"


def assert_same_mean(a: np.ndarray, b: np.ndarray, what: str) -> None:
    """Two samples of independent values have one mean (Welch)."""
    spread = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    if spread == 0:
        assert a[0] == b[0], what
        return
    assert_normal((a.mean() - b.mean()) / spread, what)


def assert_mean(a: np.ndarray, expected: float, what: str) -> None:
    assert_normal((a.mean() - expected) / (a.std(ddof=1) / math.sqrt(len(a))), what)


def assert_uniform(values: np.ndarray, what: str) -> None:
    """Independent values are uniform on [0, 1] (Kolmogorov)."""
    ordered, n = np.sort(values), len(values)
    above = np.max(np.arange(1, n + 1) / n - ordered)
    below = np.max(ordered - np.arange(n) / n)
    assert max(above, below) < 2.9 / math.sqrt(n), f"{what}: {max(above, below) * math.sqrt(n):.2f}"


def assert_shares(counts: np.ndarray, shares: np.ndarray, what: str) -> None:
    """Counts of independent draws follow `shares` (each as a binomial)."""
    n = counts.sum()
    for i, (count, share) in enumerate(zip(counts, shares, strict=True)):
        assert_normal((count - n * share) / math.sqrt(n * share * (1 - share)), f"{what}, {i}")


def filled(points: np.ndarray, seed: int, sample_size: int | None = None) -> Forest:
    """10,000 trees that each took every one of `points`."""
    forest = Forest(
        points.shape[1],
        trees=TREES,
        sample_size=sample_size or len(points),
        initial_accept_fraction=1.0,
        time_decay=0.0,
        seed=seed,
    )
    forest.update(points)
    return forest


def exchanged(points: np.ndarray, out: int, seed: int) -> Forest:
    """`filled` with all but the last of `points`, where the last then takes the place of `out`."""
    forest = filled(points[:-1], seed)
    Block(forest.block).evict_next(np.full(TREES, out))
    forest.update(points[-1:])
    return forest


# --- cuts -----------------------------------------------------------------------------------------


def root_cuts(forest: Forest) -> tuple[np.ndarray, np.ndarray]:
    """(dimension, cut) at the root of every tree."""
    block = Block(forest.block)
    roots = [block.tree(t).root for t in range(TREES)]
    assert all(root is not None for root in roots)
    return (
        np.array([root.dimension for root in roots if root]),
        np.array([root.cut for root in roots if root], np.float64),
    )


CLOUD = np.random.default_rng(11).normal(size=(7, 3)) * [1, 2, 5]


@pytest.mark.parametrize(
    ("make", "points"),
    [
        (lambda p: filled(p, 1), np.array([[0.0, 0, 0], [1, 2, 5]])),
        (lambda p: filled(p, 2), np.array([[1.0, 2, 5], [0, 0, 0]])),
        (lambda p: filled(p, 3), np.array([[1.0, -2, 0], [0, 1, 0], [0, 0, 0.1]])),
        (lambda p: filled(p, 4), CLOUD),
        (lambda p: filled(p, 5), CLOUD[::-1]),
        # The corner of the box leaves, another point comes: the root's box shrinks and grows.
        (lambda p: exchanged(np.concatenate([[[-9.0, 9, 20]], p]), 0, 6), CLOUD),
    ],
    ids=["two", "two, turned round", "three", "seven", "seven, turned round", "after a deletion"],
)
def test_root_cuts_in_proportion_to_side_length(
    make: Callable[[np.ndarray], Forest], points: np.ndarray
) -> None:
    """Dimension in proportion to the sides, value uniform in its side (Guha et al., Definition 1).

    False alarms: below 3e-7.
    """
    dimension, cut = root_cuts(make(points))
    low, sides = points.min(axis=0), np.ptp(points, axis=0)
    assert_shares(np.bincount(dimension, minlength=3), sides / sides.sum(), "dimension")
    for i in range(3):
        chosen = cut[dimension == i]
        assert_uniform((chosen - low[i]) / sides[i], f"cut of dimension {i}")


def places_of_cuts(node: BlockNode, out: list[float]) -> None:
    """Where each branch's cut lies on the sides of its box laid end to end, from 0 to 1."""
    if node.is_leaf or node.cut is None:
        return
    sides = node.high.astype(np.float64) - node.low
    within = float(node.cut) - float(node.low[node.dimension])
    out.append((sides[: node.dimension].sum() + within) / sides.sum())
    for child in node.children:
        places_of_cuts(child, out)


@pytest.mark.parametrize("decay", [0.3 / 24, 1.0 / 24, 0.2])
def test_all_cuts_are_uniform_after_thousands_of_insertions_and_deletions(decay: float) -> None:
    """A random cut tree's cut is uniform on the laid-out sides of its box, at every branch.

    So the normalised places of all cuts are independent and uniform, whatever the boxes: also after
    the reservoir has exchanged its points many times. False alarms: 1e-7 for each decay.
    """
    random = np.random.default_rng(12)
    forest = Forest(3, trees=1500, sample_size=24, time_decay=decay, seed=12)
    forest.update(random.normal(size=(900, 3)) * [1, 2, 5] + [0, 100, 0])
    block = Block(forest.block)
    places: list[float] = []
    for number in range(forest.shape.trees):
        root = block.tree(number).root
        assert root is not None
        places_of_cuts(root, places)
    assert len(places) == 1500 * 23
    assert_uniform(np.array(places), f"decay {decay}")


# --- insertion and deletion -----------------------------------------------------------------------


def depth_and_codisp(forest: Forest, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E[1 / depth] and true collusive displacement of the points in `slots`, tree by tree."""
    depth, codisp = Block(forest.block).paths(slots)
    return 1.0 / depth, codisp


def points_with_query(seed: int, far: bool) -> np.ndarray:
    """40 points, the last of them the query."""
    points = np.random.default_rng(seed).normal(size=(40, 3)) * [1, 1, 3]
    if far:
        points[-1] = [4, 0, -9]
    return points


@pytest.mark.parametrize("far", [False, True])
def test_insertion_law(far: bool) -> None:
    """Trees that got q last are distributed as trees that got it first, or in the middle.

    Held against each other: mean 1/depth and collusive displacement of q (Guha et al., Theorem 2).
    False alarms: 2e-7.
    """
    points = points_with_query(21, far)
    results = []
    for i, place in enumerate((39, 0, 20)):
        order = np.insert(np.delete(np.arange(40), 39), place, 39)
        results.append(depth_and_codisp(filled(points[order], 30 + i), np.full(TREES, place)))
    for other in results[1:]:
        assert_same_mean(results[0][0], other[0], "1/depth")
        assert_same_mean(results[0][1], other[1], "codisp")


@pytest.mark.parametrize("out", [0, 17])
def test_deletion_law(out: int) -> None:
    """Trees from which a point was deleted are distributed as trees that never had it.

    `out` 0 is a corner of the box. Held against each other: mean 1/depth and collusive displacement
    of two other points. False alarms: 2e-7.
    """
    points = np.concatenate([points_with_query(22, False), [[0.5, 0.5, 0.5]]])
    points[0] = [-6, 5, 20]
    deleted = exchanged(points, out, 40)
    never = filled(np.delete(points, out, axis=0), 41)
    newest = newest_slots(Block(deleted.block))
    for slots, others in (
        (newest, np.full(TREES, 39)),
        (np.full(TREES, 30), np.full(TREES, 29)),  # one place further down without `out`
    ):
        ours, theirs = depth_and_codisp(deleted, slots), depth_and_codisp(never, others)
        assert_same_mean(ours[0], theirs[0], "1/depth")
        assert_same_mean(ours[1], theirs[1], "codisp")


@pytest.mark.parametrize("seed", [23, 24])
def test_scores_are_what_insertion_would_give(seed: int) -> None:
    """The forest's expected scores equal the means over true insertions.

    1/depth and collusive displacement of a query before it is learnt, against the same measured on
    its leaf after. False alarms: 2e-7.
    """
    points = np.random.default_rng(seed).normal(size=(31, 2))
    for query in ([0.1, 0.2], [2.5, -2.0], [9.0, 0.0]):
        points[-1] = query
        truth = depth_and_codisp(filled(points, seed + 30), np.full(TREES, 30))
        for score, measured in (("depth", truth[0]), ("codisp", truth[1])):
            forest = Forest(
                2,
                trees=TREES,
                sample_size=30,
                output_after=1,
                initial_accept_fraction=1.0,
                score=score,
                seed=seed + 60,
            )
            forest.update(points[:-1])
            expected = forest.score([query])[0]
            if score == "depth":
                expected /= math.log2(31)
            # The expected score is itself a mean over trees of at most the same variance.
            error = measured.std() * math.sqrt(2 / TREES)
            assert_normal((expected - measured.mean()) / error, f"{score} of {query}")


# --- reservoirs -----------------------------------------------------------------------------------


def reference_samples(
    trees: int, size: int, decays: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Indexes sampled after len(decays) items, (trees, size), from the definition: every key drawn.

    Item t has key ln E_t - sum of the decays up to t; the smallest keys stay. While the sample
    fills, a coin of the initial acceptance adds an item whatever its key.
    """
    random = np.random.default_rng(seed)
    keys = np.full((trees, size), -np.inf)
    items = np.full((trees, size), -1)
    sizes = np.zeros(trees, np.int64)
    row = np.arange(trees)
    for t, weight in enumerate(np.cumsum(decays)):
        key = np.log(random.exponential(size=trees)) - weight
        share = sizes / size
        falling = 1 - (share - fraction) / (1 - fraction) if fraction < 1 else 0.0 * share
        chance = np.where(share < fraction, 1.0, falling)
        add = (sizes < size) & (random.random(trees) < chance)
        largest = np.where(items < 0, -np.inf, keys).argmax(axis=1)
        replace = ~add & (sizes > 0) & (key < keys[row, largest])
        place = np.where(add, np.minimum(sizes, size - 1), largest)
        taken = add | replace
        keys[row[taken], place[taken]] = key[taken]
        items[row[taken], place[taken]] = t
        sizes += add
    return items


def kernel_samples(
    trees: int, size: int, decays: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """The same from the forest: records are their own indexes."""
    forest = Forest(
        1,
        trees=trees,
        sample_size=size,
        time_decay=float(decays[0]),
        initial_accept_fraction=fraction,
        seed=seed,
    )
    start = 0
    for stop in [*(np.flatnonzero(np.diff(decays)) + 1), len(decays)]:
        forest.set_time_decay(float(decays[start]))
        forest.update(np.arange(start, stop, dtype=np.float64))
        start = stop
    block = Block(forest.block)
    out = np.full((trees, size), -1)
    for tree in range(trees):
        values = [block.point(tree, slot)[0] for slot in block.used(tree)]
        out[tree, : len(values)] = values
    return out


def assert_same_samples(ours: np.ndarray, theirs: np.ndarray, n: int) -> None:
    """Sizes, and shares of items in twelve stretches of the stream, have one mean."""
    edges = np.linspace(0, n, 13)
    assert_same_mean((ours >= 0).sum(axis=1), (theirs >= 0).sum(axis=1), "size")
    for low, high in pairwise(edges):
        counts = [((s >= low) & (s < high)).sum(axis=1) for s in (ours, theirs)]
        assert_same_mean(counts[0], counts[1], f"items {low:.0f} to {high:.0f}")


@pytest.mark.parametrize(
    ("size", "fraction", "decays"),
    [
        (16, 1.0, np.full(600, 0.1 / 16)),
        (16, 0.125, np.full(600, 0.1 / 16)),
        (16, 0.125, np.full(400, 1.0 / 16)),
        (5, 0.5, np.full(200, 0.3)),
        (16, 0.125, np.repeat([0.01, 0.0, 0.05], [200, 200, 100])),
        (16, 0.125, np.repeat([0.1, 0.001], [200, 400])),
        (16, 0.0, np.repeat([0.0, 0.2], [300, 30])),
        (16, 0.125, np.full(12, 0.01)),
        (16, 0.0, np.full(40, 0.0)),
    ],
    ids=lambda value: None if isinstance(value, np.ndarray) else str(value),
)
def test_samples_follow_the_definition(size: int, fraction: float, decays: np.ndarray) -> None:
    """Skipping ahead samples as drawing every key does, over changes of decay and while filling.

    2,000 trees each; counts in twelve stretches of the stream compared. False alarms: 5e-7.
    """
    ours = kernel_samples(2000, size, decays, fraction, seed=51)
    theirs = reference_samples(2000, size, decays, fraction, seed=52)
    assert_same_samples(ours, theirs, len(decays))


def steady_state(filling: float) -> tuple[float, float]:
    """(chance to accept the newest, mean age x decay) of a large sample with decay x size.

    Of age a, a share 1 - exp(-tau exp(-a decay)) is kept; tau makes the shares sum to the size.
    """
    ages = np.linspace(0, 60, 600_001)
    step = ages[1] - ages[0]

    def kept(tau: float) -> np.ndarray:
        return -np.expm1(-tau * np.exp(-ages))

    low, high = 1e-9, 1e9
    for _ in range(200):
        tau = math.sqrt(low * high)
        low, high = (tau, high) if kept(tau).sum() * step < filling else (low, tau)
    shares = kept(tau)
    return float(shares[0]), float((ages * shares).sum() / shares.sum())


@pytest.mark.parametrize(("filling", "quoted"), [(0.1, 0.0975), (1.0, 0.739)])
def test_acceptance_and_age_in_the_long_run(filling: float, quoted: float) -> None:
    """9.75 % of points enter a tree at decay x sample size 0.1; ages have the mean of theory.

    A sample of 256 differs from the limit of a large one by about 1/256, allowed for with 1 %.
    False alarms: 1e-7.
    """
    accepted, age = steady_state(filling)
    assert accepted == pytest.approx(quoted, abs=5e-4)
    size, trees, decay = 256, 200, filling / 256
    forest = Forest(1, trees=trees, sample_size=size, time_decay=decay, seed=53)
    n = math.ceil(12 / decay)
    forest.update(np.zeros(n))
    block, counts = Block(forest.block), np.zeros(trees)
    watched = 1000
    due = block.forest.due.copy()
    for i in range(n, n + watched):
        forest.update([float(i)])
        counts += block.forest.due != due
        due = block.forest.due.copy()
        assert block.sequence == i + 1, "the block has moved"
    error = counts.std(ddof=1) / math.sqrt(trees)
    slack = 0.01 * accepted * watched
    assert abs(counts.mean() - accepted * watched) < SIGMAS * error + slack

    follow = Forest(1, trees=trees, sample_size=size, time_decay=decay, seed=54)
    follow.update(np.arange(n, dtype=np.float64))
    ages = n - 1 - Block(follow.block).sampled()
    error = ages.mean(axis=1).std(ddof=1) / math.sqrt(trees)
    assert abs(ages.mean() - age / decay) < SIGMAS * error + 0.01 / decay
    if filling < 0.5:  # nearly exponential: mean 1/decay, median ln 2 / decay
        assert ages.mean() == pytest.approx(1 / decay, rel=0.05)
        assert np.median(ages) == pytest.approx(math.log(2) / decay, rel=0.08)


def test_without_decay_the_sample_is_uniform() -> None:
    """Every record of the stream is sampled alike, those included that outlive the ring.

    False alarms: 4e-7.
    """
    size, trees, n = 16, 2000, 4000
    forest = Forest(
        1, trees=trees, sample_size=size, time_decay=0.0, initial_accept_fraction=1.0, seed=55
    )
    assert forest.shape.ring < n / 4
    forest.update(np.arange(n, dtype=np.float64))
    sampled = Block(forest.block).sampled()
    assert all(len(set(row)) == size for row in sampled)
    for low in range(0, n, 400):
        counts = ((sampled >= low) & (sampled < low + 400)).sum(axis=1)
        assert_mean(counts.astype(float), size / 10, f"records from {low}")


def test_record_times_without_decay() -> None:
    """Item n of a uniform sample of k enters with chance k/n, independently of the others.

    Counts over trees, and their spread. False alarms: 2e-7.
    """
    size, trees, n = 8, 3000, 1500
    forest = Forest(
        1, trees=trees, sample_size=size, time_decay=0.0, initial_accept_fraction=1.0, seed=56
    )
    forest.update(np.zeros(size))
    counts, statistic = np.zeros(trees), []
    due = Block(forest.block).forest.due.copy()
    for i in range(size + 1, n + 1):
        forest.update([float(i)])
        now = Block(forest.block).forest.due
        accepted = now != due
        due = now.copy()
        counts += accepted
        share = size / i
        statistic.append((accepted.sum() - trees * share) / math.sqrt(trees * share * (1 - share)))
    squares = np.array(statistic) ** 2
    assert_normal((squares.sum() - len(squares)) / math.sqrt(2 * len(squares)), "counts by item")
    shares = size / np.arange(size + 1, n + 1)
    assert_mean(counts, shares.sum(), "counts by tree")
    variance = (shares * (1 - shares)).sum()
    assert_mean((counts - shares.sum()) ** 2, variance, "spread of the counts by tree")


@pytest.mark.parametrize(("decay", "largest"), [(0.0, 0.02), (0.01, 0.005), (0.3, 1e-4), (1.0, 3)])
def test_time_to_the_next_acceptance(decay: float, largest: float) -> None:
    """After sequence number s, none of n items is accepted with chance exp(-(h_1 + … + h_n)).

    h_i = largest key x exp(decay i), the key taken at s. False alarms: 1e-7.
    """
    forest = filled(np.arange(8.0).reshape(-1, 1), 57)
    block = Block(forest.block)
    used = block.keys >= 0
    block.keys[used] = largest / 2
    block.keys[:, 3] = largest
    block.reset_peaks()
    forest.set_time_decay(decay)
    steps = block.forest.due - block.sequence
    n = np.arange(0, 3000)
    with np.errstate(over="ignore"):
        survival = np.exp(-np.cumsum(np.where(n > 0, largest * np.exp(decay * n), 0.0)))
    observed = np.array([(steps > i).mean() for i in n[: steps.max() + 2]])
    distance = np.max(np.abs(observed - survival[: len(observed)]))
    assert steps.min() >= 1 and distance < 2.9 / math.sqrt(TREES)


def test_initial_acceptance() -> None:
    """Sizes while filling: every item up to the fraction, then with a chance that falls to 0.

    Mean sizes against the exact chain of sizes. False alarms: 4e-7.
    """
    size, fraction = 32, 0.25
    shares = np.zeros(size + 1)
    shares[0] = 1.0
    forest = Forest(
        1, trees=TREES, sample_size=size, initial_accept_fraction=fraction, time_decay=0.0, seed=58
    )
    grown = np.arange(size + 1) / size
    chance = np.where(grown < fraction, 1.0, 1 - (grown - fraction) / (1 - fraction))
    for i in range(1, 121):
        forest.update([float(i)])
        shares = shares * (1 - chance) + np.append(0, (shares * chance)[:-1])
        sizes = Block(forest.block).forest.sizes
        if i <= fraction * size:
            assert np.all(sizes == i)
        elif i % 15 == 0:
            assert_mean(sizes.astype(float), shares @ np.arange(size + 1), f"size after {i}")


def test_the_fastest_decay_keeps_the_last_points_and_no_other() -> None:
    """Keys stay finite, so no slot is held for ever."""
    for settings in ({"half_life": 1.0}, {"window": 3.0}, {"time_decay": 1.0}):
        forest = Forest(trees=2, sample_size=256, **settings)
        forest.process(np.arange(3000.0))
        changed = Forest(trees=2, sample_size=256)
        changed.process(np.arange(500.0))
        changed.set_time_decay(**settings)
        assert changed.time_decay == forest.time_decay == 64 / 256
        changed.process(np.arange(2500.0))
        for each in (forest, changed):
            opened = state.open_block(each.block)
            assert np.isfinite(opened.keys).all()
            points = opened.store[opened.origins[opened.origins >= 0]]
            assert points.min() > opened.store.max() - 2 * 256
