"""Many forests in one call: each as if it were alone, whatever layout, room or order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rcf import Forest, Forests, InvalidParameter, SnapshotError, block, fixed, run, special, state
from tests.rcf.blocks import check_block

#: 2^64 / golden ratio: the step between the seeds of neighbouring trees.
GAMMA = 0x9E3779B97F4A7C15

SHAPES = {
    "narrow": {"features": 1, "shingle_size": 8, "trees": 8, "sample_size": 64},
    "narrow, many boxes": {"features": 4, "trees": 3, "sample_size": 40, "box_mass": 2},
    "narrow, no boxes": {"features": 1, "trees": 9, "sample_size": 20, "box_mass": 20},
    "largest narrow": {"features": 1, "shingle_size": 3, "trees": 2, "sample_size": 127},
    "smallest": {"features": 1, "trees": 1, "sample_size": 1},
    "wide": {"features": 3, "shingle_size": 2, "trees": 5, "sample_size": 200},
    "wide, all boxes": {
        "features": 1,
        "shingle_size": 4,
        "trees": 10,
        "sample_size": 70,
        "box_mass": 1,
    },
}


def stream(records: int, series: int, features: int, seed: int = 0):
    """Records of series in random order; half of the series repeat few values, so leaves fill."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, series, records)
    values = random.normal(size=(records, features)).cumsum(axis=0)
    values[numbers % 2 == 0] = np.round(values[numbers % 2 == 0]) % 4
    values[random.integers(0, records, 3)] = 3e38  # sums of sides overflow float32
    return numbers, values


@pytest.mark.parametrize("score", ["codisp", "disp", "depth"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_series_among_many_has_the_bits_of_a_forest_alone(name: str, score: str) -> None:
    arguments = SHAPES[name]
    forests = Forests(4, score=score, seed=11, time_decay=0.02, **arguments)
    assert (forests.shape.narrow == 1) == (not name.startswith("wide"))
    numbers, values = stream(900, 4, arguments["features"])
    expected = np.empty(len(numbers))
    learnt = forests.process(numbers[:700], values[:700])
    scored = forests.score(numbers[700:730], values[700:730])
    again = forests.process(numbers[700:], values[700:])
    for series in range(4):
        mine = numbers == series
        seed = (11 + series * arguments["trees"] * GAMMA) % 2**64
        rest = {key: value for key, value in arguments.items() if key != "box_mass"}
        alone = Forest(score=score, seed=seed, time_decay=0.02, **rest)
        before, after = mine & (np.arange(900) < 700), mine & (np.arange(900) >= 700)
        expected[before] = alone.process(values[before])
        # A record that is scored is the next one of its series, whatever else is scored.
        for i in 700 + np.flatnonzero(mine[700:730]):
            assert alone.score(values[i : i + 1])[0] == scored[i - 700]
        expected[after] = alone.process(values[after])
        if score == "codisp":
            check_block(forests.block(series), values[mine].astype(np.float32))
    assert np.array_equal(np.concatenate([learnt, again]), expected, equal_nan=True)
    assert np.nanmax(expected) > 0


@pytest.mark.slow
@pytest.mark.parametrize("key", [(0, 2, 1), (1, 0, 1)])
def test_kernels_of_one_shape_give_the_same_bits(key: special.Key) -> None:
    dimensions = 8 * key[0] + key[1]
    both = [Forests(3, dimensions, trees=5, sample_size=30, seed=2) for _ in range(2)]
    numbers, values = stream(900, 3, dimensions)
    found = []
    for forests, kernel in zip(both, (run.run_narrow, fixed.KERNELS[key]), strict=True):
        scores = np.empty(len(numbers))

        def grow(record: int, forests: Forests = forests) -> int:
            forests.make_room(int(numbers[record]))
            return int(forests.table[numbers[record]])

        blocks, starts = forests.table[numbers], np.arange(len(numbers) + 1)
        run.run_all(kernel, blocks, starts, values, scores, np.inf, True, grow)
        found.append((scores.tobytes(), [forests.block(i).tobytes() for i in range(3)]))
    assert found[0] == found[1]


CHAIN = 4.0 ** (np.arange(60) - 30)
"""One far point after the other: every cut parts the newest, so trees are chains."""


@pytest.mark.parametrize("sample_size", [64, 200])
def test_a_series_of_chains_keeps_fewer_boxes_or_gets_more_room(sample_size: int) -> None:
    arguments = {"trees": 8, "sample_size": sample_size, "initial_accept_fraction": 1.0}
    forests = Forests(3, seed=3, **arguments)
    scores = forests.process(np.ones(60, int), CHAIN)
    check_block(forests.block(1), CHAIN.astype(np.float32).reshape(-1, 1))
    check_block(forests.block(2), np.empty((0, 1), np.float32))
    alone = Forest(seed=(3 + 8 * GAMMA) % 2**64, time_decay=1 / (4 * sample_size), **arguments)
    assert np.array_equal(alone.process(CHAIN), scores, equal_nan=True)
    masses = [state.shape_of(state.open_block(forests.block(i)).header).box_mass for i in (0, 1)]
    if forests.shape.narrow:
        assert masses[0] == 16 < masses[1] and not forests.grown
    else:
        assert masses == [16, 16] and list(forests.grown) == [1]


def test_points_that_outlive_the_ring_get_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made on purpose, by a block with room for their mean number alone: else one in millions."""
    monkeypatch.setattr(block, "_SMALL_KEPT_DEVIATIONS", 0.0)
    forests = Forests(2, trees=8, sample_size=64, seed=3)
    numbers = np.zeros(5000, int)
    values = np.random.default_rng(0).normal(size=5000)
    forests.process(numbers, values)
    assert list(forests.grown) == [0]
    check_block(forests.block(0), values.astype(np.float32).reshape(-1, 1))


def test_series_can_be_added_and_are_those_that_were_there_from_the_start() -> None:
    at_once = Forests(7, shingle_size=2, seed=5)
    added = Forests(0, shingle_size=2, seed=5)
    assert len(added) == 0 and len(added.process(np.empty(0, int), np.empty(0))) == 0
    for count in (3, 0, 4):
        added.add(count)
    assert len(added) == len(at_once) == 7
    numbers, values = stream(700, 7, 1)
    expected = at_once.process(numbers, values)
    assert np.array_equal(added.process(numbers, values), expected, equal_nan=True)
    assert not np.array_equal(at_once.block(0), at_once.block(1)), "seeds of their own"


def test_scoring_changes_nothing() -> None:
    forests = Forests(3, shingle_size=4, seed=1)
    numbers, values = stream(900, 3, 1)
    forests.process(numbers, values)
    before = [forests.block(i).tobytes() for i in range(3)]
    once = forests.score(numbers, values)
    assert np.array_equal(once, forests.score(numbers, values))
    assert before == [forests.block(i).tobytes() for i in range(3)]


@pytest.mark.parametrize(
    ("series", "values", "field"),
    [
        ([0, 3], [1.0, 2.0], "series[1]"),
        ([-1], [1.0], "series[0]"),
        ([0.0], [1.0], "series"),
        ([True], [1.0], "series"),
        ([[0]], [1.0], "series"),
        ([0], [1.0, 2.0], "series"),
        (["a"], [1.0], "series"),
        ([0, 1], [1.0, np.nan], "values[1][0]"),
        ([0, 1], [np.inf, 1.0], "values[0][0]"),
        ([0], [1e39], "values[0][0]"),
        ([0], ["x"], "values"),
        ([0], [[1.0, 2.0]], "values"),
    ],
)
def test_what_is_no_record_of_a_series_is_refused_and_nothing_is_learnt(series, values, field):
    forests = Forests(3)
    with pytest.raises(InvalidParameter) as caught:
        forests.process(series, values)
    assert caught.value.field == field
    header = [state.open_block(forests.block(i)).header[state.RECORDS] for i in range(3)]
    assert header == [0, 0, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("series", -1), ("series", 1.5), ("trees", 0), ("sample_size", 16_384), ("box_mass", 0)],
)
def test_parameters_that_are_none_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Forests(**{"series": 1, field: value})
    assert caught.value.field == field
    with pytest.raises(InvalidParameter):
        Forests(1).add(-1)
    with pytest.raises(InvalidParameter):
        Forests(1).block(1)


def test_a_million_series_fit_in_22_gb() -> None:
    forests = Forests(10, shingle_size=8)
    assert (forests.shape.trees, forests.shape.sample_size) == (8, 64)
    assert len(forests.template) <= 22_000


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["narrow", "wide"])
def test_a_saved_archive_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    arguments = SHAPES[name]
    forests = Forests(3, seed=9, initial_accept_fraction=1.0, **arguments)
    forests.add(2)
    numbers, values = stream(2000, 5, arguments["features"], seed=4)
    forests.process(numbers[:1500], values[:1500])
    chain = np.repeat(CHAIN, arguments["features"]).reshape(60, -1)
    forests.process(np.ones(60, int), chain)
    steps: list[tuple[int, int]] = []
    forests.save(tmp_path / "all.rcfa", lambda *done: steps.append(done))
    assert steps == [(3, 5), (5, 5)]
    restored = Forests.load(str(tmp_path / "all.rcfa"))
    assert len(restored) == 5 and restored.nbytes == forests.nbytes
    for series in range(5):
        mine = [values[:1500][numbers[:1500] == series].astype(np.float32)]
        mine += [chain] if series == 1 else []
        check_block(restored.block(series), np.concatenate(mine).astype(np.float32))
    expected = forests.process(numbers[1500:], values[1500:])
    assert np.array_equal(restored.process(numbers[1500:], values[1500:]), expected)
    restored.add(1)
    forests.add(1)
    assert np.array_equal(restored.block(5), forests.block(5)), "seeds of series to come"


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    forests = Forests(3, trees=2, sample_size=8)
    forests.process(*stream(100, 3, 1))
    path = tmp_path / "all.rcfa"
    forests.save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    for at in random.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << random.integers(0, 8)
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError):
            Forests.load(path)
    for length in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError):
            Forests.load(path)
    path.write_bytes(whole)
    assert len(Forests.load(path)) == 3


def test_a_file_stays_as_it_was_until_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "all.rcfa"
    Forests(2).save(path)
    before = path.read_bytes()

    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Forests(3).save(path, fail)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "what was begun is gone"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is full")
def test_a_full_disk_is_an_error_that_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "all.rcfa"
    Forests(1).save(path)
    before = path.read_bytes()
    path.with_name("all.rcfa.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        Forests(2).save(path)
    assert path.read_bytes() == before
