"""A series with gaps: what stands in their place, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Detector, InvalidParameter, Series, SnapshotError, filled
from rcf.gaps import METHODS

FILL = {"fixed": [7.0, -7.0]}


def detector(seed: int = 1) -> Detector:
    return Detector(2, shingle_size=4, trees=10, sample_size=64, seed=seed)


def series(missing: str, **more: object) -> Series:
    return Series(
        detector(), coverage=0.9, missing=missing, fill=FILL.get(missing), **more
    )  # fmt: skip


def waves(n: int, seed: int = 0) -> np.ndarray:
    i = np.arange(n)
    noise = 0.05 * np.random.default_rng(seed).normal(size=(n, 2))
    return np.stack([np.sin(i / 8), np.cos(i / 8)], axis=1) + noise


def test_without_gaps_it_is_its_detector_and_its_forecaster() -> None:
    rows, plain = waves(400), detector()
    told = series("forest").process(rows)
    for ours, theirs in zip(told.judgements, plain.process(rows), strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)
    assert told.forecast is not None and not told.imputed.any()
    assert Series(detector()).process(rows).forecast is None


@pytest.mark.parametrize("missing", METHODS[1:])
def test_what_stands_in_a_gap(missing: str) -> None:
    """Partial and whole; a learnt method is near the truth of a calm wave."""
    one, rows = series(missing), waves(600)
    one.process(rows[:500])
    holed = rows[500:].copy()
    holed[3, 0] = holed[7] = holed[9, 1] = np.nan
    told = one.process(holed)
    assert np.flatnonzero(told.imputed).tolist() == [3, 7, 9]
    known = ~np.isnan(holed)
    assert np.array_equal(told.values[known], holed[known])
    gaps = told.values[[3, 7, 7, 9], [0, 0, 1, 1]]
    if missing == "previous":
        assert gaps.tolist() == [rows[502, 0], rows[506, 0], rows[506, 1], rows[508, 1]]
    elif missing in ("zero", "fixed"):
        assert gaps.tolist() == ([0.0] * 4 if missing == "zero" else [7.0, 7.0, -7.0, -7.0])
    else:
        assert np.abs(gaps - rows[[503, 507, 507, 509], [0, 0, 1, 1]]).max() < 0.35
    assert np.isfinite(told.judgements.score).all()


@pytest.mark.parametrize("missing", METHODS[1:])
def test_the_split_into_calls_and_a_restart_change_no_bit(missing: str) -> None:
    rows = waves(300)
    rows[np.random.default_rng(3).random(rows.shape) < 0.2] = np.nan
    rows[40:60] = np.nan
    whole = series(missing).process(rows)
    again, parts = series(missing), []
    for part in np.split(rows, [1, 30, 45, 46, 200]):
        parts.append(again.process(part))
        again = Series.from_bytes(again.to_bytes())
    assert whole.forecast is not None
    for find in (
        lambda told: told.judgements.score,
        lambda told: told.judgements.grade,
        lambda told: told.forecast.upper,
        lambda told: told.values,
        lambda told: told.imputed,
    ):
        found = np.concatenate([find(part) for part in parts])
        assert np.array_equal(found, find(whole), equal_nan=True)
    with pytest.raises(SnapshotError):
        Series.from_bytes(again.to_bytes()[:-1])
    sound = again.to_bytes()
    Series.verify(sound)
    for damaged in (sound[:-1], sound[:-9] + bytes([sound[-9] ^ 4]) + sound[-8:], b"", sound[1:]):
        with pytest.raises(SnapshotError):
            Series.verify(damaged)


def test_a_record_of_nothing_is_not_learnt_and_a_pause_learns_nothing() -> None:
    one = series("previous")
    one.process(waves(200))
    before = one.detector.forest.score(waves(20, seed=9))
    one.process(np.full((5, 2), np.nan))
    paused = Series.from_bytes(one.to_bytes())
    paused.adjust(coverage=None, missing="zero", learning=False)
    assert paused.forecaster is None and not paused.learning
    assert not Series.from_bytes(paused.to_bytes()).learning
    rows = waves(300, seed=4) + 5
    scores = paused.process(rows).judgements.score
    assert scores[-100:].mean() > 5 * before.mean()  # another level stays odd to a paused forest
    paused.adjust(coverage=None, missing="zero")
    paused.process(waves(600, seed=5) + 5)
    assert paused.process(waves(100, seed=6) + 5).judgements.score.mean() < scores[-100:].mean() / 3


def test_a_history_is_filled_from_both_sides() -> None:
    nan = np.nan
    rows = np.array([[nan, 1.0], [2.0, nan], [nan, nan], [nan, nan], [8.0, nan]])
    expected = {
        "previous": ([0.0, 2.0, 2.0, 2.0, 8.0], [1.0] * 5),
        "next": ([2.0, 2.0, 8.0, 8.0, 8.0], [1.0] * 5),
        "linear": ([2.0, 2.0, 4.0, 6.0, 8.0], [1.0] * 5),
        "zero": ([0.0, 2.0, 0.0, 0.0, 8.0], [1.0, 0.0, 0.0, 0.0, 0.0]),
        "fixed": ([7.0, 2.0, 7.0, 7.0, 8.0], [1.0, -7.0, -7.0, -7.0, -7.0]),
    }
    for method, columns in expected.items():
        found = filled(rows, 2, method, fill=FILL.get(method))
        assert found.T.tolist() == [list(column) for column in columns], method
    assert filled(np.full((3, 1), nan), 1, "linear").tolist() == [[0.0]] * 3


def test_what_is_refused() -> None:
    one = Series(detector())
    before = one.to_bytes()
    with pytest.raises(InvalidParameter, match=r"values\[1\]\[0\] is nan"):
        one.process([[1.0, 2.0], [np.nan, 2.0]])
    with pytest.raises(InvalidParameter, match="horizon"):
        one.forecast(3)
    assert one.to_bytes() == before
    for wrong, field in (
        ({"missing": "forest "}, "missing"),
        ({"missing": "forecast"}, "missing"),
        ({"missing": "fixed"}, "fill"),
        ({"missing": "fixed", "fill": [1.0]}, "fill"),
        ({"missing": "fixed", "fill": [1.0, np.nan]}, "fill"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            Series(detector(), **wrong)
        assert caught.value.field == field
    with pytest.raises(InvalidParameter, match="method"):
        filled([[1.0]], 1, "forest")


def test_times_are_asked_for_where_they_are_a_coordinate() -> None:
    model = Series(Detector(trees=3, sample_size=16, time_weight=1.0), missing="zero")
    before = model.to_bytes()
    for call in (
        lambda: model.process(np.ones(5)),
        lambda: model.process([1.0, np.nan, 2.0]),
        lambda: Detector.process_together([model.detector], np.array([0, 5]), np.ones((5, 1))),
    ):
        with pytest.raises(InvalidParameter) as caught:
            call()
        assert caught.value.field == "times"
    assert model.to_bytes() == before


def test_of_several_kinds_nothing_is_learnt_whatever_gaps_there_are() -> None:
    both = [Series(Detector(trees=trees, sample_size=16), missing="zero") for trees in (3, 4)]
    before = [each.to_bytes() for each in both]
    with pytest.raises(InvalidParameter, match="several kinds"):
        Series.process_together(both, [0, 3, 4], [1.0, np.nan, 2.0, 3.0])
    assert [each.to_bytes() for each in both] == before
