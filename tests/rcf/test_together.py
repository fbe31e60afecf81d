"""Many series in one call say and learn what each would by itself, to the bit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from rcf import (
    Detector,
    Forecaster,
    Forest,
    Forests,
    InvalidParameter,
    Judgements,
    Series,
    detector,
)

SERIES, FEATURES = 7, 2
SMALL: dict[str, Any] = {"trees": 5, "sample_size": 16, "shingle_size": 3, "smoothing": 4}


def make(transform: dict[str, Any] | None = None, **settings: Any) -> list[Series]:
    """Series that differ in their seed."""
    arguments = SMALL | {"budget": 3, "window": 50.0} | (transform or {})
    return [
        Series(Detector(FEATURES, seed=seed, **arguments), **settings) for seed in range(SERIES)
    ]


def batches(gaps: float = 0.0) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """(numbers of series, starts, rows, times); some are left out, most have several rows."""
    random = np.random.default_rng(5)
    found = []
    for batch in range(40):
        numbers = np.sort(random.choice(SERIES, random.integers(1, SERIES + 1), replace=False))
        starts = np.cumsum([0, *random.integers(1, 12, len(numbers))])
        rows = random.normal(size=(starts[-1], FEATURES))
        rows[random.random(len(rows)) < 0.03] += 9.0
        rows[random.random(rows.shape) < gaps] = np.nan
        found.append((numbers, starts, rows, 100.0 * batch + np.arange(len(rows))))
    return found


@pytest.mark.parametrize(
    ("settings", "gaps"),
    [
        ({}, 0.0),
        ({"coverage": 0.9}, 0.0),
        ({"coverage": 0.9, "missing": "forecast"}, 0.1),
        ({"missing": "forest"}, 0.1),
        ({"coverage": 0.5, "learning": False, "missing": "previous"}, 0.02),
        ({"missing": "forest", "transform": {"transform": "normalize", "time_weight": 2.0}}, 0.1),
        ({"transform": {"transform": "normalize_difference", "weights": [1.0, 0.0]}}, 0.0),
        ({"missing": "forest", "transform": {"multi_mode": "precision"}}, 0.1),
        ({"transform": {"multi_mode": "recall"}}, 0.0),
        ({"learning": False, "transform": {"multi_mode": "recall", "time_weight": 2.0}}, 0.0),
    ],
)
@pytest.mark.parametrize("explain", ["none", "anomalies", "all"])
def test_together_is_as_each_alone(settings: dict[str, Any], gaps: float, explain: str) -> None:
    alone, together = make(**settings), make(**settings)
    ordinary = {"coverage": None, "missing": "refuse"} | settings
    ordinary.pop("transform", None)
    for each in (*alone, *together):
        each.adjust(**ordinary | {"learning": True})
        each.process(np.random.default_rng(0).normal(size=(60, FEATURES)), np.arange(-60.0, 0.0))
        each.adjust(**ordinary)
    anomalies = 0
    for numbers, starts, rows, times in batches(gaps):
        chosen = [together[number] for number in numbers]
        told = Series.process_together(chosen, starts, rows, times, explain=explain)
        for place, number in enumerate(numbers):
            span = slice(starts[place], starts[place + 1])
            one = alone[number].process(rows[span], times[span], explain=explain)
            for mine, theirs in zip(told.judgements, one.judgements, strict=True):
                assert np.array_equal(mine[span], theirs, equal_nan=True)
            assert np.array_equal(told.values[span], one.values)
            assert np.array_equal(told.imputed[span], one.imputed)
            if one.forecast is not None:
                assert told.forecast is not None
                for mine, theirs in zip(told.forecast, one.forecast, strict=True):
                    assert np.array_equal(mine[span], theirs, equal_nan=True)
            start = int(starts[place])
            for row, shares in one.reasons.items():
                for mine, theirs in zip(told.reasons[start + row], shares, strict=True):
                    assert np.array_equal(mine, theirs)
            anomalies += int((one.judgements.grade > 0).sum())
        if explain == "none":
            assert not told.reasons
        elif explain == "all":
            assert set(told.reasons) == set(np.flatnonzero(~np.isnan(told.judgements.score)))
    assert anomalies > 3
    for mine, theirs in zip(together, alone, strict=True):
        assert mine.to_bytes() == theirs.to_bytes()


def test_forests_that_outgrow_their_room_do_so_together() -> None:
    arguments: dict[str, Any] = {"trees": 4, "sample_size": 20, "time_decay": 0.01, "smoothing": 1}
    alone, together = ([Detector(seed=seed, **arguments) for seed in range(3)] for _ in range(2))
    for each in (*alone, *together):
        each.set_time_decay(0.0)  # what is sampled stays longer than there is room for
    rows = np.random.default_rng(1).normal(size=(9000, 1))
    before = [each.forest.nbytes for each in together]
    for start in range(0, 9000, 900):
        part = rows[start : start + 900]
        judgements, _ = Detector.process_together(together, np.array([0, 100, 400, 900]), part)
        spans = (part[:100], part[100:400], part[400:])
        found = [each.process(span) for each, span in zip(alone, spans, strict=True)]
        for index, field in enumerate(Judgements._fields):
            joined = np.concatenate([each[index] for each in found])
            assert np.array_equal(judgements[index], joined, equal_nan=True), field
    assert any(each.forest.nbytes > size for each, size in zip(together, before, strict=True))


def test_what_is_invalid_is_refused_before_anything_is_learnt() -> None:
    series = make()
    before = [each.to_bytes() for each in series]
    rows, starts = np.zeros((SERIES, FEATURES)), np.arange(SERIES + 1)
    for bad in (np.nan, 1e39, -np.inf):
        rows[5, 1] = bad
        for explain in ("none", "all"):
            with pytest.raises(InvalidParameter, match=r"values\[5\]\[1\]"):
                Series.process_together(series, starts, rows, explain=explain)
    assert [each.to_bytes() for each in series] == before


def test_series_of_several_kinds_are_refused() -> None:
    ordinary, row = make()[0], np.zeros((2, FEATURES))
    others = [
        make(coverage=0.9)[1],
        make(learning=False)[1],
        Series(Detector(FEATURES, seed=1, budget=3, window=50.0, **SMALL | {"trees": 6})),
        Series(Detector(FEATURES, seed=1, budget=4, window=50.0, **SMALL)),
    ]
    for other in others:
        with pytest.raises(InvalidParameter, match="of one kind"):
            Series.process_together([ordinary, other], np.array([0, 1, 2]), row)
    other.detector.set_threshold(budget=3, window=50.0)
    Series.process_together([ordinary, other], np.array([0, 1, 2]), row)


@pytest.mark.parametrize(
    "starts",
    [[0, 1, 3], [0, 1, 2, 4], [0, 0, 1, 3], [0, 2, 1, 3], [1, 1, 2, 3], [0.0, 1.0, 2.0, 3.0]],
    ids=str,
)
def test_records_that_are_nobodys_are_refused(starts: list[float]) -> None:
    with pytest.raises(InvalidParameter, match="starts"):
        Series.process_together(make()[:3], starts, np.zeros((3, FEATURES)))


def test_a_series_is_given_once() -> None:
    series = make()[:2]
    for chosen in ([], [*series, series[0]]):
        with pytest.raises(InvalidParameter, match="none twice"):
            Series.process_together(chosen, np.arange(len(chosen) + 1), np.zeros((3, FEATURES)))


def test_equal_kinds_are_one_however_many_there_are() -> None:
    one = make()[0]
    detector._the.cache_clear()
    other = make()[1]
    Series.process_together([one, other], np.array([0, 1, 2]), np.zeros((2, FEATURES)))


def test_copies_live_lives_of_their_own() -> None:
    rows = np.random.default_rng(2).normal(size=(90, FEATURES))
    kinds: list[Any] = [Forest(FEATURES), Forecaster(FEATURES), make()[0].detector, make()[0]]
    for original in kinds:
        original.process(rows[:80])
        state = original.to_bytes()
        for copied in (copy.copy(original), copy.deepcopy(original)):
            copied.process(rows[80:])
            assert copied.to_bytes() != state and original.to_bytes() == state
        unpickled = pickle.loads(pickle.dumps(original))
        original.process(rows[80:])
        unpickled.process(rows[80:])
        assert unpickled.to_bytes() == original.to_bytes() == copied.to_bytes()
    with pytest.raises(TypeError, match="save"):
        copy.deepcopy(Forests(2))
