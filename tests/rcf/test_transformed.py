"""Detectors whose forests see records transformed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rcf import Detector, InvalidParameter, Series

SMALL: dict[str, Any] = {"trees": 20, "sample_size": 128, "seed": 3}


def mixed(records: int = 1500) -> np.ndarray:
    """A share around a half beside bytes by the billion; neither says anything of the other."""
    random = np.random.default_rng(4)
    share = 0.5 + 0.05 * random.normal(size=records)
    size = 4e9 + 5e8 * random.normal(size=records)
    return np.column_stack([share, size])


def test_an_oddity_in_a_small_unit_is_found_beside_a_large_one() -> None:
    rows = mixed()
    rows[1200, 0] = 0.95
    found = {}
    for transform in ("none", "normalize", "robust", "normalize_difference"):
        judged = Detector(2, transform=transform, **SMALL).process(rows)
        found[transform] = set(np.flatnonzero(judged.grade[300:] > 0) + 300)
    assert 1200 not in found.pop("none")
    assert all(1200 in records for records in found.values()), found


@pytest.mark.parametrize("transform", ["normalize", "robust", "normalize_difference"])
def test_the_unit_of_a_feature_changes_nothing(transform: str) -> None:
    rows = mixed()
    rows[1200, 0] = 0.95
    one, other = (Detector(2, transform=transform, **SMALL) for _ in range(2))
    scores = one.process(rows).score[300:]
    scaled = other.process(rows * np.array([2.0**30, 2.0**-20])).score[300:]
    np.testing.assert_allclose(scaled, scores, rtol=1e-6)


def test_weights_say_what_counts() -> None:
    rows = mixed()
    rows[1200, 0] = 0.95
    weights = {"both": [1.0, 1.0], "one": [0.0, 1.0]}
    scores = {
        name: Detector(2, transform="normalize", weights=each, **SMALL).process(rows).score
        for name, each in weights.items()
    }
    assert scores["both"][1200] > 2.0 * scores["one"][1200]
    alone = Detector(1, transform="weighted", weights=[3.0], **SMALL).process(rows[:, :1])
    plain = Detector(1, **SMALL).process(rows[:, :1])
    assert np.argmax(alone.score[300:]) == np.argmax(plain.score[300:])


def test_a_gap_in_time_is_odd_where_time_is_a_coordinate() -> None:
    rows, times = mixed(), 60.0 * np.arange(1500.0)
    times[1200:] += 3600.0
    timed = Detector(2, transform="normalize", time_weight=1.0, **SMALL)
    grades = timed.process(rows, times).grade
    untimed = Detector(2, transform="normalize", **SMALL).process(rows, times).grade
    assert grades[1200] > 0.0 and not untimed[1200] > 0.0
    before = timed.to_bytes()
    with pytest.raises(InvalidParameter, match="times"):
        timed.process(rows[:1])
    assert timed.to_bytes() == before
    assert timed.attribution(rows[-1:])[0].high.shape == (1, 1, 3)


def test_what_is_asked_is_asked_of_what_the_forest_sees() -> None:
    rows = mixed()
    detector = Detector(2, transform="normalize", **SMALL)
    detector.process(rows)
    before = detector.to_bytes()
    odd, usual = np.array([[0.95, 4e9]]), np.array([[0.5, 4e9]])
    assert detector.distance(odd).total[0] > 5.0 * detector.distance(usual).total[0]
    assert detector.density(odd).total[0] < 0.2 * detector.density(usual).total[0]
    (shares,) = detector.attribution(odd)
    assert shares.high[0, :, 0].sum() > 0.8 * shares.total[0]
    assert shares.total[0] == pytest.approx(detector.score(odd).score[0], rel=1e-9)
    (near,) = detector.near_neighbours(usual, 0.5)
    assert near and all(np.all(np.abs(each.point) < 4.0) for each in near)
    assert detector.hotspots(200, 1.0, 5)
    assert detector.to_bytes() == before


def test_gaps_are_filled_by_what_the_other_features_say_whatever_their_units() -> None:
    random = np.random.default_rng(6)
    cause = random.normal(size=2000)
    rows = np.column_stack([cause, 1e7 + 1e6 * cause + 1e4 * random.normal(size=2000)])
    gappy = rows[1900:].copy()
    gappy[::4, 1] = np.nan
    errors = {}
    for transform in ("none", "normalize", "robust", "normalize_difference"):
        series = Series(Detector(2, transform=transform, **SMALL), missing="forest")
        series.process(rows[:1900])
        filled = series.process(gappy).values
        assert np.array_equal(filled[:, 0], rows[1900:, 0])
        errors[transform] = np.abs(filled[::4, 1] - rows[1900::4, 1]).mean() / 1e6
    assert errors.pop("none") > 0.5
    assert all(error < 0.1 for error in errors.values()), errors


def test_what_transforms_records_is_kept() -> None:
    rows, times = mixed(600), 60.0 * np.arange(600.0)
    arguments: dict[str, Any] = {"transform": "robust", "weights": [2.0, 1.0], "time_weight": 0.5}
    whole = Detector(2, **arguments, **SMALL)
    parts = Detector(2, **arguments, **SMALL)
    expected = whole.process(rows, times).score
    found = []
    for start in range(0, 600, 77):
        found.append(parts.process(rows[start : start + 77], times[start : start + 77]).score)
        parts = Detector.from_bytes(parts.to_bytes())
    assert np.array_equal(np.concatenate(found), expected, equal_nan=True)
    assert parts.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("transform", {"transform": "z-score"}),
        ("transform", {"transform": None}),
        ("weights", {"weights": [1.0, 1.0]}),
        ("weights", {"transform": "weighted", "weights": [1.0]}),
        (r"weights\[1\]", {"transform": "weighted", "weights": [1.0, -1.0]}),
        ("time_weight", {"time_weight": float("nan")}),
    ],
)
def test_bad_arguments_are_named(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match=field):
        Detector(2, **arguments)
