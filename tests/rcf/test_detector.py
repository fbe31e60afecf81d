"""One series: what a detector calls an anomaly, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Detector, InvalidParameter


def detector(features: int = 1, **parameters: object) -> Detector:
    defaults = {"trees": 30, "sample_size": 128, "seed": 4}
    return Detector(features, **{**defaults, **parameters})


def anomalies(model: Detector, rows: np.ndarray) -> np.ndarray:
    """Indexes of the records with a grade above 0."""
    return np.flatnonzero(model.process(rows).grade > 0)


# --- judgements -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shingle_size", [1, 4])
@pytest.mark.parametrize("score", ["codisp", "disp", "depth"])
def test_judgements(shingle_size: int, score: str) -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=3000) + 20 * (random.random(3000) < 0.01)
    model = detector(shingle_size=shingle_size, score=score)
    found = model.process(rows)
    warming = 32 + shingle_size - 1
    for part in found:
        assert part.shape == (3000,) and part.dtype == np.float64
        assert np.all(np.isnan(part[:warming])) and np.all(np.isfinite(part[warming:]))
    ready = slice(warming, None)
    assert np.all((found.grade[ready] >= 0) & (found.grade[ready] <= 1))
    assert np.all(found.grade[ready] * 16 % 1 == 0), "grades come in steps of 1/16"
    graded = found.grade[ready] > 0
    assert np.all(found.score[ready][graded] >= found.threshold[ready][graded])
    below = found.score[ready] < found.threshold[ready]
    assert np.all(found.grade[ready][below] == 0)
    assert graded.any() and below.any()
    assert model.values_seen == 3000 and model.nbytes > model.forest.nbytes


def test_scores_are_those_of_the_forest() -> None:
    rows = np.random.default_rng(2).normal(size=(400, 2))
    model, other = detector(2, shingle_size=3), detector(2, shingle_size=3)
    scores = model.process(rows).score
    assert scores.tobytes() == other.forest.process(rows).tobytes()


# --- what is found --------------------------------------------------------------------------------


def with_spikes(rows: np.ndarray, height: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The series with 12 spikes after its first 500 records, and their places."""
    random = np.random.default_rng(seed)
    places = 500 + np.sort(random.choice(len(rows) - 500, 12, replace=False))
    rows[places] += height * random.choice([-1, 1], 12)
    return rows, places


SERIES = {
    "noise": lambda random, i: random.normal(size=len(i)),
    "seasonality": lambda random, i: 5 * np.sin(i / 8) + 0.3 * random.normal(size=len(i)),
}


@pytest.mark.parametrize("score", ["codisp", "depth"])
@pytest.mark.parametrize("shingle_size", [1, 8])
@pytest.mark.parametrize("kind", SERIES)
def test_spikes_are_found(kind: str, shingle_size: int, score: str) -> None:
    """At least 11 of 12 spikes of 20 deviations; of other records at most 1 %."""
    random = np.random.default_rng(3)
    rows, places = with_spikes(SERIES[kind](random, np.arange(6000)), 20.0, 4)
    found = anomalies(detector(shingle_size=shingle_size, score=score), rows)
    near = places[:, None] + np.arange(shingle_size)  # a spike stays in the shingle
    hit = np.isin(near, found).any(axis=1).sum()
    others = np.setdiff1d(found, near)
    assert hit >= 11, f"{hit} of 12 spikes found"
    assert len(others) < 0.01 * len(rows), f"{len(others)} false alarms"


@pytest.mark.parametrize("kind", SERIES)
def test_a_calm_series_has_few_anomalies(kind: str) -> None:
    random = np.random.default_rng(12)
    rows = SERIES[kind](random, np.arange(10_000))
    for score in ("codisp", "disp", "depth"):
        assert len(anomalies(detector(score=score), rows)) < 100, score


def test_a_broken_rhythm_is_found_with_a_shingle() -> None:
    """A season that stands still for a while: no value is new, their order is."""
    i = np.arange(4000)
    rows = 10 * np.sin(i / 6) + 0.1 * np.random.default_rng(5).normal(size=4000)
    rows[3000:3020] = rows[3000]
    found = anomalies(detector(shingle_size=12, trees=50, sample_size=256), rows)
    assert np.any((found >= 3000) & (found < 3032))


# --- flat series ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1.0, -40.0, 1e6, 1e-3])
def test_tiny_changes_of_a_constant_are_no_anomalies(level: float) -> None:
    rows = np.full(1000, level)
    rows[[300, 500, 501, 900]] += 5e-4 * abs(level) if level else 5e-13
    model = detector()
    found = model.process(rows)
    assert not np.any(found.grade > 0)
    if level:
        assert found.score[300] > found.threshold[300], "without the guard it would be one"


@pytest.mark.parametrize("level", [0.0, 1.0, -40.0, 1e6])
def test_real_changes_of_a_constant_are_anomalies(level: float) -> None:
    rows = np.full(1000, level)
    rows[[300, 600]] += 0.1 * abs(level) if level else 0.1
    assert anomalies(detector(), rows).tolist() == [300, 600]


@pytest.mark.parametrize("chance", [0.5, 0.1, 0.02])
def test_a_sensor_that_flickers_between_two_readings(chance: float) -> None:
    """20.0, and sometimes 20.1: the flicker is no anomaly once it is known, 25 is."""
    rows = 20.0 + 0.1 * (np.random.default_rng(6).random(3000) < chance)
    rows[-1] = 25.0
    found = anomalies(detector(), rows).tolist()
    assert found[-1] == 2999
    assert len(found) <= 2, "but for the first flicker, which shows the step"


def test_rare_ones_among_zeros_are_anomalies() -> None:
    rows = np.zeros(5000)
    ones = np.array([1000, 1700, 2600, 3500, 4300])
    rows[ones] = 1.0
    assert anomalies(detector(), rows).tolist() == ones.tolist()


def test_frequent_ones_among_zeros_are_none() -> None:
    rows = (np.random.default_rng(7).random(4000) < 0.3).astype(float)
    assert len(anomalies(detector(), rows)) < 40


def test_one_flat_feature_does_not_silence_the_other() -> None:
    random = np.random.default_rng(8)
    rows = np.stack([np.full(2000, 3.0), random.normal(size=2000)], axis=1)
    rows[1500, 1] = 30.0
    assert 1500 in anomalies(detector(2), rows)
    rows[:, 1] = 7.0
    rows[1800] = [3.0, 9.0]
    assert anomalies(detector(2), rows).tolist() == [1800]


# --- parameters -----------------------------------------------------------------------------------


def test_parameters_do_what_they_say() -> None:
    random = np.random.default_rng(9)
    rows = random.normal(size=4000) + 4 * (random.random(4000) < 0.02)
    counts = [len(anomalies(detector(z_factor=z), rows)) for z in (2.0, 3.0, 5.0, 100.0)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[3]
    rates = [len(anomalies(detector(anomaly_rate=r), rows)) for r in (0.05, 0.005, 0.0005)]
    assert rates == sorted(rates, reverse=True) and rates[0] > rates[2]
    # No inverse depth reaches 10 with a sample of 128.
    assert len(anomalies(detector(score="depth", lower_threshold=10.0), rows)) == 0
    flat = np.full(500, 10.0)
    flat[[300, 400]] = 11.0
    assert anomalies(detector(), flat).tolist() == [300, 400]
    assert len(anomalies(detector(ignore_relative=0.2), flat)) == 0
    assert len(anomalies(detector(ignore_absolute=1.5), flat)) == 0


def test_a_change_of_decay_reaches_the_threshold() -> None:
    model = detector()
    model.process(np.random.default_rng(10).normal(size=200))
    model.forest.set_time_decay(0.01)
    restored = Detector.from_bytes(model.to_bytes())
    rows = np.random.default_rng(11).normal(size=200)
    ours, theirs = model.process(rows), restored.process(rows)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


def explained_in_parts(rows: np.ndarray, size: int, *, every: bool) -> tuple[list[bytes], bytes]:
    """Judgements and reasons of `process_explained` in calls of `size` records, and the state."""
    detector = Detector(2, shingle_size=3, trees=15, sample_size=64, seed=3)
    judged, reasons = [], {}
    for start in range(0, len(rows), size):
        judgements, why = detector.process_explained(rows[start : start + size], every=every)
        judged.append(np.stack(judgements))
        reasons |= {start + row: shares for row, shares in why.items()}
    whole = [np.hstack(judged).tobytes()]
    for row, shares in reasons.items():
        whole += [str(row).encode(), shares.high.tobytes(), shares.low.tobytes()]
    return whole, detector.to_bytes()


@pytest.mark.parametrize("every", [False, True])
def test_reasons_change_no_judgement_and_do_not_depend_on_the_calls(every: bool) -> None:
    random = np.random.default_rng(8)
    rows = random.normal(size=(700, 2))
    rows[[300, 500, 650], [0, 1, 0]] += [40.0, -40.0, 40.0]
    rows[350:450] = [1.0, 2.0]  # flat, so that the guard has something to do
    rows[420] = [1.0005, 2.0]
    plain = Detector(2, shingle_size=3, trees=15, sample_size=64, seed=3)
    judgements = np.stack(plain.process(rows))
    whole, state = explained_in_parts(rows, len(rows), every=every)
    assert whole[0] == judgements.tobytes() and state == plain.to_bytes()
    named = {int(row) for row in whole[1::3]}
    wanted = ~np.isnan(judgements[0]) if every else judgements[2] > 0
    assert named == set(np.flatnonzero(wanted).tolist()) and {300, 500, 650} <= named
    for size in (1, 7):
        assert explained_in_parts(rows, size, every=every)[1] == state
        again = explained_in_parts(rows, size, every=every)[0]
        assert again[1:] == whole[1:]


def test_reasons_name_feature_lag_and_direction() -> None:
    random = np.random.default_rng(9)
    rows = random.normal(size=(600, 2))
    rows[590, 1] = -40.0
    detector = Detector(2, shingle_size=3, seed=1)
    judgements, why = detector.process_explained(rows)
    for lag in range(3):
        shares = why[590 + lag]
        assert shares.total.item() == judgements.score[590 + lag]
        assert shares.low[0, 2 - lag, 1] > 0.8 * shares.total.item()


@pytest.mark.parametrize("every", [False, True])
def test_an_invalid_value_is_refused_before_anything_is_learnt(every: bool) -> None:
    model = detector(2)
    rows = np.zeros((50, 2))
    rows[40, 1] = np.nan
    with pytest.raises(InvalidParameter, match=r"values\[40\]\[1\]"):
        model.process_explained(rows, every=every)
    assert model.values_seen == 0
