"""Scoring is pure; one seed, one result; split and restored equal never split and never stopped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rcf import Detector, Forest
from tests.rcf.blocks import check_block

SHAPES = [(1, 1), (1, 8), (3, 2)]


def records(n: int, features: int, seed: int = 1) -> np.ndarray:
    """A seasonal stream with noise, repeated values and spikes."""
    random = np.random.default_rng(seed)
    rows = np.sin(np.arange(n) / 10)[:, None] * 5 + random.normal(size=(n, features))
    rows[random.random(n) < 0.3] = 2.0
    return rows + 30.0 * (random.random((n, features)) < 0.01)


def make(features: int, shingle_size: int, score: str = "codisp", seed: int = 9) -> Forest:
    return Forest(
        features,
        shingle_size=shingle_size,
        trees=11,
        sample_size=24,
        score=score,
        time_decay=1 / 30,
        seed=seed,
    )


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


# --- scoring --------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["codisp", "disp", "depth"])
@pytest.mark.parametrize(("features", "shingle_size"), SHAPES)
def test_scoring_changes_nothing(features: int, shingle_size: int, score: str) -> None:
    forest = make(features, shingle_size, score)
    for learnt in (0, shingle_size - 1, 1, 3, 40, 500):
        forest.update(records(learnt, features, learnt))
        before, block = forest.to_bytes(), forest.block.tobytes()
        queries = np.concatenate([records(30, features, 2), np.full((1, features), -3.4e38)])
        first = forest.score(queries)
        assert same(forest.score(queries), first)
        assert forest.block.tobytes() == block and forest.to_bytes() == before


def test_judging_changes_nothing() -> None:
    detector = Detector(2, shingle_size=3, trees=5, sample_size=16)
    for learnt in (0, 5, 300):
        detector.process(records(learnt, 2, learnt))
        before = detector.to_bytes()
        judged = detector.score(records(50, 2, 4))
        again = detector.score(records(50, 2, 4))
        assert all(same(a, b) for a, b in zip(judged, again, strict=True))
        assert detector.to_bytes() == before


@pytest.mark.parametrize(("features", "shingle_size"), SHAPES)
def test_records_are_scored_before_they_are_learnt(features: int, shingle_size: int) -> None:
    forest = make(features, shingle_size)
    for row in records(300, features):
        expected = forest.score(row.reshape(1, -1))
        assert same(forest.process(row.reshape(1, -1)), expected)


@pytest.mark.parametrize(("features", "shingle_size"), SHAPES)
def test_several_scores_continue_the_stream(features: int, shingle_size: int) -> None:
    """Row i is scored behind the rows before it, as a point of the forest that learnt none."""
    learnt, queries = records(200, features), records(12, features, 5)
    forest = make(features, shingle_size)
    forest.update(learnt)
    external = make(features * shingle_size, 1)
    whole = np.concatenate([learnt, queries])
    shingles = np.stack(
        [whole[i : i + shingle_size].ravel() for i in range(len(whole) - shingle_size + 1)]
    )
    external.update(shingles[: -len(queries)])
    expected = [external.score(s.reshape(1, -1))[0] for s in shingles[-len(queries) :]]
    assert same(forest.score(queries), np.array(expected))


@pytest.mark.parametrize("shingle_size", [2, 5, 8])
def test_shingles_made_inside_and_outside_agree(shingle_size: int) -> None:
    rows = records(600, 2)
    inside = make(2, shingle_size).process(rows)
    shingles = np.stack(
        [rows[i : i + shingle_size].ravel() for i in range(len(rows) - shingle_size + 1)]
    )
    outside = make(2 * shingle_size, 1).process(shingles)
    assert np.all(np.isnan(inside[: shingle_size - 1]))
    assert same(inside[shingle_size - 1 :], outside)


def test_warming_is_nan_until_the_points_asked_for_are_learnt() -> None:
    for output_after, shingle_size in ((1, 1), (7, 1), (3, 4), (50, 2)):
        forest = Forest(
            1, shingle_size=shingle_size, trees=3, sample_size=8, output_after=output_after
        )
        scores = forest.process(records(100, 1))
        warming = output_after + shingle_size - 1
        assert np.all(np.isnan(scores[:warming])) and np.all(np.isfinite(scores[warming:]))


def test_default_warming_is_a_quarter_of_the_sample_within_1_and_64() -> None:
    for sample_size, warming in ((1, 1), (3, 1), (16, 4), (256, 64), (1000, 64)):
        scores = Forest(trees=2, sample_size=sample_size).process(records(100, 1))
        assert np.isnan(scores).sum() == warming


# --- one seed, one result -------------------------------------------------------------------------


@pytest.mark.parametrize(("features", "shingle_size"), SHAPES)
def test_same_seed_same_bits(features: int, shingle_size: int) -> None:
    rows = records(700, features)
    forests = [make(features, shingle_size, seed=seed) for seed in (5, 5, 6)]
    scores = [forest.process(rows) for forest in forests]
    assert same(scores[0], scores[1]) and not same(scores[0], scores[2])
    assert forests[0].to_bytes() == forests[1].to_bytes()


@pytest.mark.parametrize("kind", [Forest, Detector])
def test_default_seed_is_fixed(kind: type) -> None:
    models = [kind(trees=3, sample_size=16) for _ in range(2)]
    for model in models:
        model.process(records(200, 1))
    assert models[0].to_bytes() == models[1].to_bytes()


@pytest.mark.parametrize("power", [-40, 12])
def test_scores_do_not_depend_on_the_unit(power: int) -> None:
    """A common factor that floats hold exactly changes no bit of a score."""
    rows = records(600, 3).astype(np.float32).astype(np.float64)
    scores = [make(3, 2).process(rows * factor) for factor in (1.0, 2.0**power)]
    assert same(scores[0], scores[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("features", "shingle_size"), SHAPES)
def test_batches_split_anywhere(features: int, shingle_size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = records(500, features, seed)
    whole, parts = make(features, shingle_size), make(features, shingle_size)
    expected = whole.process(rows)
    cuts = np.sort(random.integers(0, len(rows) + 1, random.integers(1, 60)))
    scores = [parts.process(part) for part in np.split(rows, cuts)]
    assert same(np.concatenate(scores), expected), f"seed {seed}"
    assert parts.to_bytes() == whole.to_bytes()


def test_updating_learns_what_processing_learns() -> None:
    processed, updated = make(2, 3), make(2, 3)
    processed.process(records(400, 2))
    updated.update(records(400, 2))
    assert processed.to_bytes() == updated.to_bytes()


def test_detectors_split_anywhere() -> None:
    rows = records(600, 2)
    whole, parts = (Detector(2, shingle_size=3, trees=5, sample_size=32) for _ in range(2))
    expected = whole.process(rows)
    judged = [parts.process(part) for part in np.split(rows, [0, 1, 2, 17, 17, 300, 599])]
    for i, part in enumerate(expected):
        assert same(np.concatenate([j[i] for j in judged]), part)
    assert whole.to_bytes() == parts.to_bytes()


# --- restored equals never stopped ----------------------------------------------------------------


def outliving(forest: Forest) -> None:
    """Make points outlive the ring, so that the store grows."""
    forest.set_time_decay(0.0)


@pytest.mark.parametrize("change", [None, outliving], ids=["steady", "points outlive the ring"])
@pytest.mark.parametrize(("features", "shingle_size"), [*SHAPES, (21, 1)])
def test_restored_forest_goes_on_bit_for_bit(
    features: int, shingle_size: int, change: Callable[[Forest], None] | None
) -> None:
    rows = records(1500, features)
    never_stopped, stopped = make(features, shingle_size), make(features, shingle_size)
    random = np.random.default_rng(features)
    # Early ones too: nothing learnt, half a shingle, trees that are filling.
    stops = [0, 1, shingle_size, 5, 20, 60, *random.integers(60, 1500, 12).tolist()]
    at = 0
    for stop in sorted(stops):
        expected = never_stopped.process(rows[at:stop])
        assert same(stopped.process(rows[at:stop]), expected), f"records {at} to {stop}"
        at = stop
        if change and stop > 300:
            change(never_stopped)
            change(stopped)
        data = stopped.to_bytes()
        restored = Forest.from_bytes(data)
        assert restored.to_bytes() == data == never_stopped.to_bytes()
        check_block(restored.block, rows[:stop].astype(np.float32))
        assert same(restored.score(rows[stop : stop + 5]), stopped.score(rows[stop : stop + 5]))
        assert restored.shape == stopped.shape and restored.time_decay == stopped.time_decay
        stopped = restored
    assert same(stopped.process(rows[at:]), never_stopped.process(rows[at:]))
    if change:
        assert stopped.shape.kept > make(features, shingle_size).shape.kept, "the store has grown"


def test_restored_detector_goes_on_bit_for_bit() -> None:
    rows = records(1200, 2)
    never_stopped = Detector(2, shingle_size=3, trees=5, sample_size=32, budget=3, seed=3)
    stopped = Detector(2, shingle_size=3, trees=5, sample_size=32, budget=3, seed=3)
    for part in np.split(rows, [0, 1, 2, 9, 40, 300, 301, 900]):
        expected, judged = never_stopped.process(part), stopped.process(part)
        assert all(same(a, b) for a, b in zip(judged, expected, strict=True))
        data = stopped.to_bytes()
        assert data == never_stopped.to_bytes()
        stopped = Detector.from_bytes(data)
        assert stopped.to_bytes() == data


def test_snapshots_do_not_share_memory_with_the_forest() -> None:
    forest = make(1, 2)
    forest.update(records(100, 1))
    data = forest.to_bytes()
    restored = Forest.from_bytes(data)
    forest.update(records(100, 1, 2))
    assert restored.to_bytes() == data


def test_snapshots_are_compact() -> None:
    """The state at 50 trees of 256 is at most 0.4 MB, whatever the shingle (PERFORMANCE.md)."""
    for shingle_size in (1, 8, 48):
        forest = Forest(1, shingle_size=shingle_size, trees=50, sample_size=256)
        forest.update(records(6000, 1))
        assert len(forest.to_bytes()) <= 450_000
