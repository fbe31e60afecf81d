"""What callers may get wrong: each is said by field, value and what is allowed; nothing changes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rcf import (
    Detector,
    Forest,
    Forests,
    InvalidParameter,
    Judgements,
    RcfError,
    Transform,
    filled,
)
from rcf.alert import MULTI_MODES
from rcf.run import run_wide

PARAMETERS = [
    *((name, value) for name in ("features", "shingle_size", "trees", "sample_size", "output_after")
      for value in (0, -1, 2.0, 1.5, "3", True, np.float64(4), [1])),
    *((name, None) for name in ("features", "shingle_size", "trees", "sample_size")),
    ("features", 65_536),
    ("shingle_size", 65_536),
    ("trees", 10_001),
    ("sample_size", 32_767),
    ("output_after", 2**31 + 1),
    ("seed", -1),
    ("seed", 2**64),
    ("seed", 1.0),
    ("seed", None),
    *((name, value) for name in ("time_decay", "initial_accept_fraction")
      for value in (-1e-9, 1.1, float("nan"), float("inf"), "0.5", True, [0.1])),
    ("score", "CODISP"),
    ("score", ""),
    ("score", None),
    ("score", 0),
]  # fmt: skip

RULES = [
    *(("smoothing", value) for value in (0, 1001, 2.0, None)),
    *(("threshold", value) for value in ("sigma3", None, 3.0)),
    *(("level", value) for value in (1.0, "3")),  # the automatic threshold takes none
    *(("cool_down", value) for value in (-1, 1_000_001, 4.0, None)),
    *(("budget", value) for value in (0, 1001, 2.5)),
    *(("window", value) for value in (0.0, -1.0, float("nan"), float("inf"))),
    *(("ignore_relative", value) for value in (-0.1, 1.1, None)),
    *(("ignore_absolute", value) for value in (-1e-12, 2e30, float("nan"))),
    *(("multi_mode", value) for value in ("both", "", None, 1, True)),
]


def says(error: RcfError, field: str) -> None:
    """An InvalidParameter names the field, shows the value and says what is allowed."""
    assert isinstance(error, InvalidParameter) and isinstance(error, ValueError)
    assert error.field == field
    assert error.allowed and str(error).endswith(error.allowed)
    assert str(error).startswith(f"{field} is ") and len(str(error)) < 300


@pytest.mark.parametrize("maker", [Forest, Detector])
@pytest.mark.parametrize(("field", "value"), PARAMETERS, ids=str)
def test_parameters_of_forests(maker: type, field: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as caught:
        maker(**{field: value})
    says(caught.value, field)
    assert caught.value.value is value


@pytest.mark.parametrize(("field", "value"), RULES, ids=str)
def test_parameters_of_detectors(field: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Detector(**{field: value})
    says(caught.value, field)
    assert caught.value.value is value


def test_sizes_are_limited_together() -> None:
    with pytest.raises(InvalidParameter) as caught:
        Forest(300, shingle_size=300)
    says(caught.value, "shingle_size")
    with pytest.raises(InvalidParameter) as caught:
        Forest(1000, trees=10_000, sample_size=1000)
    says(caught.value, "sample_size")


def test_limits_themselves_are_allowed() -> None:
    Forest(65_535, trees=1, sample_size=1)
    Forest(1, shingle_size=65_535, trees=1, sample_size=1)
    Forest(trees=10_000, sample_size=1)
    Forest(trees=1, sample_size=16_383)
    for fraction, decay in ((0, 0), (1, 1), (0.0, 1.0)):
        Forest(trees=1, initial_accept_fraction=fraction, time_decay=decay)
    Forest(trees=np.int32(2), seed=2**64 - 1, time_decay=np.float32(0.5))


BAD_VALUES: list[tuple[int, Any, str]] = [
    *((1, [1.0, value, 2.0], "values[1][0]") for value in (
        float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 3.5e38)),
    (2, [[1.0, 2.0], [3.0, float("nan")]], "values[1][1]"),
    (2, [[1.0, 1e39], [3.0, float("nan")]], "values[0][1]"),
    (2, [1.0, float("nan")], "values[0][1]"),
    *((1, values, "values") for values in (
        "1.0", ["1.0"], [None], None, {}, {"a": 1}, [1 + 2j], [True, False], [object],
        [[1.0], [1.0, 2.0]], [[1.0, 2.0]], [[[1.0]]], np.zeros((2, 2)), b"123",
        np.array(["2020-01-01"], "datetime64[D]"))),
    *((2, values, "values") for values in (
        1.0, [1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]], np.zeros((1, 2, 1)), np.zeros((2, 0)),
        ["a", "b"])),
]  # fmt: skip


@pytest.mark.parametrize("maker", [Forest, Detector])
@pytest.mark.parametrize("call", ["process", "score"])
@pytest.mark.parametrize(("features", "values", "field"), BAD_VALUES, ids=lambda v: str(v)[:30])
def test_bad_values_change_nothing(
    maker: type, call: str, features: int, values: Any, field: str
) -> None:
    model = maker(features, shingle_size=2, trees=3, sample_size=8, seed=1)
    model.process(np.arange(20.0 * features).reshape(-1, features))
    before = model.to_bytes()
    with pytest.raises(InvalidParameter) as caught:
        getattr(model, call)(values)
    says(caught.value, field)
    assert model.to_bytes() == before


@pytest.mark.parametrize("decay", [-0.1, 1.5, float("nan"), "0.1", None, True])
def test_bad_decays_change_nothing(decay: Any) -> None:
    forest = Forest(trees=3, sample_size=8, seed=1)
    forest.update(np.arange(20.0))
    before = forest.to_bytes()
    with pytest.raises(InvalidParameter) as caught:
        forest.set_time_decay(decay)
    says(caught.value, "time_decay")
    assert forest.to_bytes() == before


EMPTY: list[tuple[int, Any]] = [
    (1, []),
    (1, np.empty(0)),
    (1, np.empty((0, 1))),
    (3, np.empty((0, 3))),
    (3, np.empty((0, 3), np.int8)),
]


@pytest.mark.parametrize(("features", "values"), EMPTY, ids=lambda v: str(np.shape(v)))
def test_empty_input_gives_empty_output(features: int, values: Any) -> None:
    forest = Forest(features, trees=3, sample_size=8)
    for _ in range(2):
        before = forest.to_bytes()
        for function in (forest.process, forest.score):
            scores = function(values)
            assert scores.shape == (0,) and scores.dtype == np.float64
        forest.update(values)
        for multi_mode in MULTI_MODES:
            detector = Detector(features, trees=3, sample_size=8, multi_mode=multi_mode)
            for judged in (detector.process(values), detector.score(values)):
                assert [part.shape for part in judged] == [(0,)] * len(Judgements._fields)
        assert forest.to_bytes() == before
        forest.update(np.ones((5, features)))


#: Asks every question about no record, of a forest that has learnt nothing.
NOTHING = """
import numpy as np, rcf
for asked in (rcf.Forest(trees=3, sample_size=8), rcf.Detector(trees=3, sample_size=8)):
    for question in (asked.attribution, asked.density, asked.distance, asked.near_neighbours):
        found = question(np.empty((0, 1)))
        assert len(getattr(found, "total", found)) == 0, question
"""


def test_questions_about_no_record_have_no_answer() -> None:
    subprocess.run([sys.executable, "-c", NOTHING], check=True, timeout=300)
    forest, detector = Forest(2, trees=3, sample_size=8), Detector(2, trees=3, sample_size=8)
    for asked in (forest, detector):
        asked.process(np.random.default_rng(1).normal(size=(20, 2)))
        for question in (asked.attribution, asked.density, asked.distance, asked.near_neighbours):
            found: Any = question(np.empty((0, 2)))
            assert len(getattr(found, "total", found)) == 0


def test_what_cannot_be_written_is_compiled_for_no_second_time() -> None:
    rows = np.random.default_rng(1).normal(size=(50, 2))
    wanted = scores_of(2, rows)
    before = len(run_wide.signatures)
    kept = rows.copy()
    kept.flags.writeable = False
    assert scores_of(2, kept)[2:] == wanted[2:]
    shifted = np.frombuffer(b"x" + rows.tobytes(), np.uint8)[1:].view(np.float64).reshape(-1, 2)
    assert scores_of(2, shifted)[2:] == wanted[2:]
    assert len(run_wide.signatures) == before


def test_errors_pass_from_process_to_process() -> None:
    with pytest.raises(InvalidParameter) as caught:
        Forest(trees=0)
    for copied in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (copied.field, copied.value) == ("trees", 0)
        assert copied.allowed == caught.value.allowed and str(copied) == str(caught.value)


def test_a_seed_of_any_whole_type() -> None:
    for seed in (7, 2**64 - 1):
        given = np.uint64(seed)
        assert Detector(trees=2, seed=given).to_bytes() == Detector(trees=2, seed=seed).to_bytes()
    assert Detector(trees=2, seed=np.int64(7)).to_bytes() == Detector(trees=2, seed=7).to_bytes()


def test_errors_name_what_the_caller_gave() -> None:
    cases: list[tuple[str, Callable[[], object]]] = [
        ("fill", lambda: filled([1.0, np.nan], 1, "fixed", fill=[1.0, 2.0])),
        ("fill", lambda: filled([1.0, np.nan], 1, "fixed", fill=[np.inf])),
        ("fill[0][0]", lambda: filled([1.0, np.nan], 1, "fixed", fill=[1e39])),
        ("found", lambda: Transform(2).invert([[1.0, 2.0, 3.0]])),
        ("found[0][1]", lambda: Transform(2).invert([[1.0, np.inf]])),
        ("points", lambda: Forest(1, shingle_size=2).completions([[1.0, 2.0, 3.0]])),
    ]
    for field, call in cases:
        with pytest.raises(InvalidParameter) as caught:
            call()
        assert caught.value.field == field
    assert Forests(2).process([], []).shape == (0,)


def scores_of(features: int, values: Any) -> list[float]:
    forest = Forest(features, trees=5, sample_size=16, output_after=2, seed=4)
    return list(forest.process(values))


@pytest.mark.parametrize(
    "shape",
    [
        lambda rows: rows,
        lambda rows: rows.tolist(),
        lambda rows: [tuple(row) for row in rows],
        lambda rows: rows.astype(np.float32),
        lambda rows: rows.astype(np.int16),
        lambda rows: rows.astype(np.int64).tolist(),
        lambda rows: rows.astype(">f8"),
        np.asfortranarray,
        lambda rows: np.repeat(rows, 2, axis=0)[::2],
        lambda rows: memoryview(np.ascontiguousarray(rows)),
    ],
)
@pytest.mark.parametrize("features", [1, 2])
def test_values_of_any_number_type(features: int, shape: Callable[[np.ndarray], Any]) -> None:
    rows = np.random.default_rng(1).integers(-9, 9, (60, features)).astype(np.float64)
    assert scores_of(features, shape(rows))[2:] == scores_of(features, rows)[2:]


def test_one_dimension_is_records_of_one_feature_or_one_record_of_several() -> None:
    rows = np.random.default_rng(2).normal(size=60)
    assert scores_of(1, rows)[2:] == scores_of(1, rows.reshape(-1, 1))[2:]
    one_by_one = Forest(3, trees=5, sample_size=16, output_after=2, seed=4)
    parts = [one_by_one.process(row) for row in rows.reshape(-1, 3)]
    assert {part.shape for part in parts} == {(1,)}
    assert np.concatenate(parts)[2:].tolist() == scores_of(3, rows.reshape(-1, 3))[2:]


def test_minus_zero_is_zero() -> None:
    rows = np.random.default_rng(3).integers(-2, 3, 200).astype(float)
    assert scores_of(1, np.where(rows == 0, -0.0, rows))[2:] == scores_of(1, rows)[2:]


def test_input_is_not_changed() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 2))
    before = rows.copy()
    Detector(2, trees=3, sample_size=16).process(rows)
    assert np.array_equal(rows, before)
