"""Records learnt several at a time leave every bit as those that come one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rcf import Forest, block, state
from rcf.state import KEPT, KEPT_USED, RECORDS, SECTIONS

#: Rings that come round soon, so that places are written anew while trees hold their points.
PARAMETERS: dict[str, dict[str, Any]] = {
    "usual": {"shingle_size": 8, "time_decay": None},
    "several features": {"features": 3, "shingle_size": 2, "time_decay": None},
    "no decay": {"shingle_size": 1, "time_decay": 0.0},
    "fast decay": {"shingle_size": 3, "time_decay": 0.3},
    "slow decay": {"features": 2, "shingle_size": 1, "time_decay": 1e-6},
    "few records in the ring": {"shingle_size": 40, "time_decay": 0.5},
    "few, and points that stay": {"shingle_size": 40, "time_decay": 0.0, "sample_size": 2},
    "blended": {"features": 4, "shingle_size": 1, "time_decay": None, "score": "blend"},
    "late": {"shingle_size": 2, "time_decay": None, "output_after": 700},
    "boxes of small branches left out": {"box_mass": 4, "time_decay": None},
}


def make(**parameters: Any) -> Forest:
    return Forest(**{"features": 1, "trees": 19, "sample_size": 16, "seed": 3, **parameters})


def records(features: int, n: int = 3000) -> np.ndarray:
    """Repeats, a season, spikes; so large from the middle on that sums of sides are wide."""
    random = np.random.default_rng(4)
    rows = np.sin(np.arange(n) / 9)[:, None] * 5 + random.normal(size=(n, features))
    rows[random.random(n) < 0.2] = 2.0
    rows[n // 2 + 7] = 2e38
    return rows


def sections(forest: Forest) -> dict[str, bytes]:
    """Every bit of the state; behind the kept points of the store there is none."""
    opened = state.open_block(forest.block)
    found = {name: getattr(opened, name).tobytes() for name in SECTIONS if name != "store"}
    shape = state.shape_of(opened.header)
    end = shape.ring_floats + int(opened.header[KEPT_USED]) * shape.dimensions
    return {**found, "store": opened.store[:end].tobytes()}


def in_pieces(forest: Forest, rows: np.ndarray, longest: int) -> np.ndarray:
    """The scores of records that come in pieces of random lengths."""
    random, at, scores = np.random.default_rng(5), 0, []
    while at < len(rows):
        step = int(random.integers(1, longest + 1))
        scores.append(forest.process(rows[at : at + step]))
        at += step
    return np.concatenate(scores)


@pytest.mark.parametrize("longest", [3, 30, 5000])
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_tiles_leave_every_bit(parameters: dict[str, Any], longest: int) -> None:
    rows = records(parameters.get("features", 1))
    alone, tiled = make(**parameters), make(**parameters)
    expected = np.concatenate([alone.process(row[None]) for row in rows])
    assert in_pieces(tiled, rows, longest).tobytes() == expected.tobytes()
    assert sections(tiled) == sections(alone)


def test_points_outlive_the_ring_in_these_streams() -> None:
    """Else nothing would be parked, and the streams above show little."""
    forest = make(**PARAMETERS["no decay"])
    forest.process(records(1))
    header = state.header_of(forest.block)
    assert header[KEPT_USED] > 20 and header[RECORDS] > 4 * state.shape_of(header).ring


def test_a_forest_that_outgrows_its_room_grows_at_the_same_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block, "_outliving", lambda *_: 1)
    rows = records(1)
    alone, tiled = make(**PARAMETERS["no decay"]), make(**PARAMETERS["no decay"])
    for start in range(0, len(rows), 100):
        piece = rows[start : start + 100]
        expected = np.concatenate([alone.process(row[None]) for row in piece])
        assert tiled.process(piece).tobytes() == expected.tobytes()
        assert sections(tiled) == sections(alone)
    assert state.header_of(tiled.block)[KEPT] > 20


def test_points_of_others_are_let_go_of_in_order() -> None:
    """After a merge half of the sample is kept behind the ring, and leaves it soon."""
    rows = records(1)[:1000]
    one, other = make(time_decay=None), make(time_decay=None)
    one.process(rows)
    other.process(rows[::-1] + 0.5)
    one.merge(other)
    alone, tiled = Forest.from_bytes(one.to_bytes()), Forest.from_bytes(one.to_bytes())
    expected = np.concatenate([alone.process(row[None]) for row in rows])
    assert tiled.process(rows).tobytes() == expected.tobytes()
    assert sections(tiled) == sections(alone)


@pytest.mark.parametrize("trees", [9, 300, 9000])
def test_tiles_of_any_number_of_trees(trees: int) -> None:
    rows = records(1, 300 if trees > 1000 else 600)
    parameters: dict[str, Any] = {"trees": trees, "sample_size": 2}
    alone, tiled = make(**parameters), make(**parameters)
    expected = np.concatenate([alone.process(row[None]) for row in rows])
    assert tiled.process(rows).tobytes() == expected.tobytes()
    assert sections(tiled) == sections(alone)


def test_records_that_are_scored_alone_are_a_tile_too() -> None:
    forest = make(features=2, shingle_size=2)
    forest.process(records(2)[:500])
    rows = records(2)[1450:1600]  # one of them is wide
    expected = [forest.score(rows[: n + 1])[n] for n in range(len(rows))]
    before = sections(forest)
    assert forest.score(rows).tolist() == expected
    assert sections(forest) == before
