"""The kernels agree with the naive forest: tree by tree, node by node, key by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from rcf import Forest
from tests.rcf import blocks, reference
from tests.rcf.blocks import Block, check_block


class Case(NamedTuple):
    """A forest, its stream and the decays it changes to on the way."""

    name: str
    features: int
    shingle_size: int
    trees: int
    sample_size: int
    time_decay: float
    score: str
    fraction: float
    records: int
    data: str
    decays: tuple[tuple[int, float], ...] = ()  # (after this many records, decay)


CASES = (
    Case("plain", 1, 1, 9, 16, 1 / 160, "codisp", 0.125, 1200, "noise"),
    Case("seasonal shingles", 1, 8, 4, 24, 1 / 240, "codisp", 0.125, 1500, "season"),
    Case("few values", 1, 1, 4, 32, 1 / 100, "codisp", 0.5, 1500, "few"),
    Case("few pairs of values", 2, 2, 4, 32, 1 / 100, "disp", 0.125, 1500, "few"),
    Case("constant", 2, 3, 3, 16, 1 / 50, "codisp", 0.125, 800, "constant"),
    Case("several features", 3, 5, 3, 20, 1 / 200, "depth", 0.0, 2000, "noise"),
    Case("wide", 21, 1, 2, 20, 1 / 200, "codisp", 1.0, 1200, "noise"),
    Case("one point a tree", 1, 2, 3, 1, 1 / 10, "depth", 0.125, 500, "noise"),
    Case("two points a tree", 2, 1, 3, 2, 0.3, "codisp", 1.0, 800, "rounded"),
    Case("uniform sample", 1, 1, 3, 8, 0.0, "disp", 1.0, 2500, "rounded"),
    Case("quick decay", 1, 4, 3, 16, 1.0, "depth", 0.125, 1500, "rounded"),
    Case(
        "outliving the ring", 2, 3, 4, 16, 0.5, "codisp", 0.125, 2400, "rounded",
        ((300, 0.0), (900, 1 / 400), (1500, 0.2), (1700, 1e-6)),
    ),
    Case("largest floats", 5, 1, 4, 16, 1 / 160, "codisp", 0.125, 800, "largest"),
    Case("largest floats, depth", 1, 3, 4, 16, 1 / 160, "depth", 0.125, 800, "largest"),
    Case("wide range of scales", 3, 1, 4, 24, 1 / 240, "codisp", 0.125, 2000, "scales"),
)  # fmt: skip


def stream(case: Case, seed: int) -> np.ndarray:
    """float64 records (n, features) whose values are float32."""
    random = np.random.default_rng(seed)
    shape = (case.records, case.features)
    makers: dict[str, Callable[[], np.ndarray]] = {
        "noise": lambda: random.normal(size=shape),
        "season": lambda: (
            10 * np.sin(np.arange(case.records) / 12)[:, None]
            + random.normal(size=shape)
            + 30 * (random.random(shape) < 0.01)
        ),
        "few": lambda: random.choice([-3.0, -0.0, 0.0, 1.0, 1.5], size=shape),
        "constant": lambda: np.where(random.random(shape) < 0.01, 5.0, 2.0),
        "rounded": lambda: np.round(random.normal(size=shape) * 4) / 4,
        "largest": lambda: random.choice([-3.4e38, -1e38, 0.0, 2e38, 3e38, 3.4e38], size=shape),
        "scales": lambda: random.normal(size=shape) * 10.0 ** random.integers(-30, 30, shape),
    }
    return makers[case.data]().astype(np.float32).astype(np.float64)


def same_node(ours: blocks.Node, theirs: reference.Node, points: dict[int, np.ndarray]) -> None:
    assert ours.mass == theirs.mass
    assert ours.is_leaf == theirs.is_leaf
    if ours.is_leaf:
        assert np.array_equal(points[ours.slot], theirs.points[0])
        return
    assert (ours.dimension, ours.cut) == (theirs.dimension, theirs.cut)
    low, high = theirs.box
    assert np.array_equal(ours.low, low) and np.array_equal(ours.high, high)
    assert theirs.left is not None and theirs.right is not None
    same_node(ours.children[0], theirs.left, points)
    same_node(ours.children[1], theirs.right, points)


def same_forest(forest: Forest, naive: reference.NaiveForest) -> None:
    block = Block(forest.block)
    for number, (tree, reservoir) in enumerate(zip(naive.trees, naive.reservoirs, strict=True)):
        ours = block.tree(number)
        assert ours.random == tree.random.state, f"random state of tree {number}"
        kept = sorted((key, ours.points[slot].tobytes()) for slot, key in ours.keys.items())
        assert kept == sorted((key, point.tobytes()) for key, point in reservoir.items)
        if reservoir.items:
            assert ours.due == reservoir.due, f"next acceptance of tree {number}"
        if tree.root is not None:
            assert ours.root is not None
            same_node(ours.root, tree.root, ours.points)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernels_agree_with_the_naive_forest(case: Case) -> None:
    seed = 1 + CASES.index(case)
    rows = stream(case, seed)
    output_after = 3
    forest = Forest(
        case.features,
        shingle_size=case.shingle_size,
        trees=case.trees,
        sample_size=case.sample_size,
        time_decay=case.time_decay,
        score=case.score,
        output_after=output_after,
        initial_accept_fraction=case.fraction,
        seed=seed,
    )
    naive = reference.NaiveForest(
        features=case.features,
        shingle_size=case.shingle_size,
        trees=case.trees,
        sample_size=case.sample_size,
        time_decay=case.time_decay,
        score=case.score,
        output_after=output_after,
        initial_accept_fraction=case.fraction,
        seed=seed,
    )
    room, decays = forest.shape.kept, dict(case.decays)
    for i, row in enumerate(rows):
        if i in decays:
            forest.set_time_decay(decays[i])
            naive.set_time_decay(decays[i])
        ours, theirs = forest.process(row.reshape(1, -1))[0], naive.process(row)
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9, nan_ok=True), (
            f"record {i}, seed {seed}"
        )
        if i < 40 or i % 97 == 0 or i == len(rows) - 1:
            same_forest(forest, naive)
    check_block(forest.block, rows.astype(np.float32))
    if case.decays:
        assert forest.shape.kept > room, "the store has grown"
