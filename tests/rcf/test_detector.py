"""One series: what a detector calls an anomaly, what it holds back, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rcf import Detector, Forest, InvalidParameter
from rcf.alert import HELD_BACK
from rcf.judge import Judgements


def judged(rows: np.ndarray, **parameters: object) -> Judgements:
    """What a detector of the default says of a series."""
    features = rows.shape[1] if rows.ndim > 1 else 1
    return Detector(features, **{"seed": 4, **parameters}).process(rows)


def anomalies(rows: np.ndarray, **parameters: object) -> list[int]:
    """Indexes of the records with a grade above 0."""
    return np.flatnonzero(judged(rows, **parameters).grade > 0).tolist()


def held(found: Judgements, reason: str) -> list[int]:
    """Indexes of the records that were held back for a reason."""
    code = next(code for code, name in HELD_BACK.items() if name == reason)
    return np.flatnonzero(found.held_back == code).tolist()


def noise(count: int, seed: int = 1, features: int = 1) -> np.ndarray:
    shape = (count, features) if features > 1 else count
    return np.random.default_rng(seed).normal(size=shape)


def season(count: int, seed: int = 2) -> np.ndarray:
    return 100 + 40 * np.sin(np.arange(count) / 40) + 3 * noise(count, seed)


def between(places: list[int], first: int, last: int) -> list[int]:
    return [place for place in places if first <= place <= last]


# --- judgements -----------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["blend", "codisp", "disp", "depth"])
@pytest.mark.parametrize(("shingle_size", "smoothing"), [(1, 12), (4, 1)])
def test_judgements(shingle_size: int, smoothing: int, score: str) -> None:
    rows = noise(1500) + 20 * (np.random.default_rng(3).random(1500) < 0.01)
    found = judged(
        rows, trees=20, sample_size=128, shingle_size=shingle_size, smoothing=smoothing, score=score
    )
    warming, ready = slice(0, 32 + shingle_size - 1), slice(32 + shingle_size - 1, None)
    for part in (found.score, found.threshold, found.grade, found.confidence):
        assert part.shape == (1500,) and part.dtype == np.float64
        assert np.all(np.isnan(part[warming])) and np.all(np.isfinite(part[ready]))
    assert np.all(found.held_back[warming] == 0) and np.all(np.isnan(found.since[warming]))
    assert np.all((found.grade[ready] >= 0) & (found.grade[ready] <= 1))
    assert np.all((found.confidence[ready] > 0) & (found.confidence[ready] < 1))
    over = found.score >= found.threshold
    said = found.grade > 0
    # A record at or above the threshold is said or held back for a reason; others are neither.
    assert np.array_equal(over, said | (found.held_back > 0))
    assert not np.any(said & (found.held_back > 0))
    assert said.any() and np.array_equal(np.isfinite(found.since), over)


def test_the_score_is_the_larger_of_two_forests() -> None:
    rows = noise(700, features=2)
    model, twin = Detector(2, seed=4), Detector(2, seed=4)
    scores = model.process(rows).score
    means = np.array([rows[max(0, i - 11) : i + 1].mean(axis=0) for i in range(len(rows))])
    points, smooth = (
        view.process(part) for view, part in zip(twin.views, (rows, means), strict=True)
    )
    np.testing.assert_allclose(scores, np.maximum(points, smooth), rtol=1e-6)
    assert np.any(points > smooth) and np.any(points < smooth)


@pytest.mark.parametrize("box_mass", [1, 8])
@pytest.mark.parametrize("features", [1, 2, 5])
def test_the_blend_goes_from_depth_towards_displacement(features: int, box_mass: int) -> None:
    rows = np.random.default_rng(5).integers(0, 40, size=(900, features)).astype(float)
    rows[::97] += 100
    depth, codisp, blend = (
        Forest(
            features,
            trees=11,
            sample_size=64,
            score=score,
            box_mass=box_mass,
            initial_accept_fraction=1.0,
        ).process(rows)
        for score in ("depth", "codisp", "blend")
    )
    full = slice(400, None)  # the trees hold 64 points
    expected = depth * (codisp / (0.15 * 64)) ** (0.5 - 0.5 / features)
    np.testing.assert_allclose(blend[full], expected[full], rtol=1e-5)


def test_confidence_is_calibrated() -> None:
    """Of ordinary records a share 1 - c has a confidence above c, whatever the distribution."""
    random = np.random.default_rng(6)
    for rows in (noise(6000), random.lognormal(0, 2, 6000), np.cumsum(noise(6000))):
        confidence = judged(rows).confidence[3000:]
        for level in (0.5, 0.9, 0.99):
            above = np.mean(confidence > level)
            assert 0.4 * (1 - level) < above < 1.7 * (1 - level), (level, above)


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [noise, season])
def test_spikes_are_found_and_little_else(kind: Callable[[int], np.ndarray]) -> None:
    """Every spike of 20 deviations, at once, most with a grade of 1; of other records 0.5 %."""
    rows = kind(6000)
    places = 500 + 450 * np.arange(12) + np.random.default_rng(4).integers(0, 300, 12)
    rows[places] += 20 * np.std(rows) * np.random.default_rng(5).choice([-1, 1], 12)
    found = judged(rows)
    said = np.flatnonzero(found.grade > 0)
    assert set(places.tolist()) <= set(said.tolist())
    assert np.all(found.grade[places] > 0.5) and np.median(found.grade[places]) == 1.0
    assert len(said) - len(places) < 0.005 * len(rows)


def test_a_broken_rhythm_is_found_with_a_shingle() -> None:
    """A season that stands still for a while: no value is new, their order is."""
    rows = 10 * np.sin(np.arange(4000) / 6) + 0.1 * noise(4000, 5)
    rows[3000:3020] = rows[3000]
    assert between(anomalies(rows, shingle_size=4), 3000, 3024)


@pytest.mark.parametrize("kind", [noise, season])
def test_a_fall_to_zero_is_found_at_once(kind: Callable[[int], np.ndarray]) -> None:
    rows = kind(4000)
    rows = rows - rows.min() + 0.3 * np.ptp(rows)
    rows[3000:3030] = 0.0
    said = anomalies(rows)
    assert 3000 in said
    assert not between(said, 3001, 3060), "an outage is one event"


def test_a_second_anomaly_right_after_a_first_is_found() -> None:
    for gap in (2, 5, 13, 30):
        rows = noise(2000)
        rows[[1500, 1500 + gap]] += 20.0
        assert between(anomalies(rows), 1500, 1560) == [1500, 1500 + gap], gap


@pytest.mark.parametrize("height", [6.0, 30.0])
def test_a_level_shift_is_said_once(height: float) -> None:
    rows = noise(4000)
    rows[3000:] += height
    found = judged(rows)
    said = np.flatnonzero(found.grade > 0).tolist()
    assert between(said, 3000, 3200) == [3000]
    echoes = between(held(found, "cool_down") + held(found, "drift"), 3001, 3400)
    assert echoes, "without cool-down there would be more"
    assert np.all(found.since[between(held(found, "cool_down"), 3001, 3040)] > 0)


@pytest.mark.parametrize("at", [60, 62])
def test_a_change_before_the_first_judgement_is_said_once(at: int) -> None:
    for seed in range(3):
        rows = noise(200, seed)
        rows[at:] += 30.0
        found = judged(rows)
        first = int(np.argmax(~np.isnan(found.score)))
        assert np.flatnonzero(found.grade > 0).tolist() == [first]
        assert found.since[first] == first - at and found.started[first] == at


def test_a_slow_change_is_said_with_its_start() -> None:
    """A shift that no single record shows: the trailing mean finds it, and says since when."""
    late = []
    for seed in range(5):
        rows = noise(3000, seed)
        rows[2500:] += 2.0
        found = judged(rows)
        said = between(np.flatnonzero(found.grade > 0).tolist(), 2500, 2600)
        late += [place - found.since[place] for place in said if found.since[place] > 0]
    assert len(late) >= 3
    assert np.median(np.abs(np.array(late) - 2500)) <= 10


@pytest.mark.parametrize(("spread", "most"), [(0.1, 3), (1.0, 18)])
def test_drift_is_learnt(spread: float, most: int) -> None:
    """Each of 3,000 records is higher than what was known; the noise alone makes six anomalies."""
    rows = np.random.default_rng(1).normal(size=5000)
    rows[2000:] = spread * rows[2000:] + 0.01 * np.arange(3000)
    found = judged(rows)
    said = between(np.flatnonzero(found.grade > 0).tolist(), 2000, 4999)
    assert len(said) <= most
    assert held(found, "drift"), "some are held back"


def test_an_anomaly_of_one_feature_of_many_is_found() -> None:
    rows = noise(3000, features=20)
    rows[2000, 7] += 12.0
    rows[2500:2520, 3] = 8.0
    said = anomalies(rows)
    assert 2000 in said and between(said, 2500, 2512)


# --- flat series ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1.0, -40.0, 1e6, 1e-3])
def test_tiny_changes_of_a_constant_are_no_anomalies(level: float) -> None:
    rows = np.full(1000, level)
    tiny = [300, 500, 501, 900]
    rows[tiny] += 5e-4 * abs(level) if level else 5e-13
    found = judged(rows)
    assert not np.any(found.grade > 0)
    if level:
        assert 300 in held(found, "flat"), "without the guard it would be one"


@pytest.mark.parametrize("level", [0.0, 1.0, -40.0, 1e6])
def test_real_changes_of_a_constant_are_anomalies(level: float) -> None:
    rows = np.full(1000, level)
    rows[[300, 600]] += 0.1 * abs(level) if level else 0.1
    assert anomalies(rows) == [300, 600]


@pytest.mark.parametrize("chance", [0.5, 0.1, 0.02])
def test_a_sensor_that_flickers_between_two_readings(chance: float) -> None:
    """20.0, and sometimes 20.1: the flicker is no anomaly once it is known, 25 is."""
    rows = 20.0 + 0.1 * (np.random.default_rng(6).random(3000) < chance)
    rows[-1] = 25.0
    found = anomalies(rows)
    assert found[-1] == 2999
    assert len(found) <= 2, "but for the first flicker, which shows the step"


def test_nearly_flat_series_do_not_panic() -> None:
    rows = 5.0 + 1e-6 * noise(3000)
    rows[2500] = 5.5
    assert anomalies(rows) == [2500]


def test_rare_ones_among_zeros_are_anomalies() -> None:
    rows = np.zeros(5000)
    ones = [1000, 1700, 2600, 3500, 4300]
    rows[ones] = 1.0
    assert anomalies(rows) == ones


def test_frequent_ones_among_zeros_are_none() -> None:
    rows = (np.random.default_rng(7).random(4000) < 0.3).astype(float)
    assert len(anomalies(rows)) < 12


def test_one_flat_feature_does_not_silence_the_other() -> None:
    rows = np.stack([np.full(2000, 3.0), noise(2000, 8)], axis=1)
    rows[1500, 1] = 30.0
    assert 1500 in anomalies(rows)
    rows[:, 1] = 7.0
    rows[1800] = [3.0, 9.0]
    assert anomalies(rows) == [1800]


# --- thresholds that people set -------------------------------------------------------------------


def test_a_budget_is_kept_in_any_window_of_records() -> None:
    rows = noise(6000) + 15 * (np.random.default_rng(3).random(6000) < 0.01)
    for mode, budget in (("automatic", 1), ("budget", 3)):
        found = judged(rows, threshold=mode, budget=budget, window=500)
        said = np.flatnonzero(found.grade > 0)
        assert np.all(said[budget:] - said[:-budget] >= 500)
        assert len(said) >= 0.6 * budget * 6000 / 500, "it is spent, too"
        assert held(found, "budget")


def test_a_budget_in_time_follows_the_times() -> None:
    """Two a day, of records every ten minutes and later every minute."""
    times = np.cumsum(np.where(np.arange(8000) < 3000, 600.0, 60.0))
    rows = noise(8000) + 15 * (np.random.default_rng(3).random(8000) < 0.01)
    model = Detector(seed=4, budget=2, window=86_400.0)
    said = times[np.flatnonzero(model.process(rows, times).grade > 0)]
    assert np.all(said[2:] - said[:-2] >= 86_400)
    assert np.sum(said < times[3000]) > 5


def test_a_larger_budget_says_more_and_a_smaller_one_the_larger() -> None:
    rows = noise(6000) + np.where(np.random.default_rng(3).random(6000) < 0.004, 12.0, 0.0)
    counts = []
    for budget in (1, 4, 16):
        found = judged(rows, threshold="budget", budget=budget, window=1000)
        counts.append(int(np.sum(found.grade > 0)))
    assert counts == sorted(counts) and counts[0] < counts[2]


def test_thresholds_of_percentile_sigma_and_score() -> None:
    rows = noise(5000)
    for level in (95.0, 99.0):
        found = judged(rows, threshold="percentile", level=level)
        share = np.mean((found.score >= found.threshold)[2000:])
        assert 0.4 * (1 - level / 100) < share < 1.7 * (1 - level / 100)
    found = judged(rows, threshold="sigma", level=3.0)
    mean, deviation = np.nanmean(found.score), np.nanstd(found.score)
    assert found.threshold[-1] == pytest.approx(mean + 3 * deviation, rel=0.05)
    found = judged(rows, threshold="fixed", level=4.25)
    assert np.all(found.threshold[64:] == pytest.approx(4.25))
    found = judged(rows, threshold="fixed", level=30.0, score="codisp")
    assert np.all(found.threshold[64:] == pytest.approx(30.0))


def test_a_threshold_that_needs_a_number_says_so() -> None:
    for parameters, field in (
        ({"threshold": "fixed"}, "level"),
        ({"threshold": "budget"}, "budget"),
        ({"threshold": "percentile", "level": 100.0}, "level"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            Detector(**parameters)
        assert caught.value.field == field


def test_a_threshold_set_while_running_is_that_of_a_detector_made_with_it() -> None:
    rows = noise(1500, 12) + 15 * (np.random.default_rng(3).random(1500) < 0.01)
    model = Detector(seed=4)
    model.process(rows[:1000])
    model.set_threshold("percentile", level=90.0, cool_down=0)
    model = Detector.from_bytes(model.to_bytes())
    other = Detector(seed=4, threshold="percentile", level=90.0, cool_down=0)
    other.process(rows[:1000])
    ours, theirs = model.process(rows[1000:]), other.process(rows[1000:])
    assert np.array_equal(ours.threshold, theirs.threshold)
    assert np.sum(ours.grade > 0) > 5


def test_cool_down_spaces_events() -> None:
    rows = noise(4000)
    counts = [len(anomalies(rows, cool_down=length)) for length in (0, 40, 1000)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[2]


def test_tolerances_of_flat_series() -> None:
    flat = np.full(500, 10.0)
    flat[[300, 400]] = 11.0
    assert anomalies(flat) == [300, 400]
    assert anomalies(flat, ignore_relative=0.2) == []
    assert anomalies(flat, ignore_absolute=1.5) == []


def test_a_change_of_decay_reaches_every_forest_and_the_snapshot() -> None:
    model = Detector()
    model.process(noise(200))
    model.set_time_decay(0.01)
    restored = Detector.from_bytes(model.to_bytes())
    assert [view.time_decay for view in restored.views] == [0.01, 0.01]
    ours, theirs = model.process(noise(200, 3)), restored.process(noise(200, 3))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


def test_the_largest_floats_are_learnt_by_both_forests() -> None:
    """Their mean may round to more than the largest."""
    for sign in (1.0, -1.0):
        model = Detector(smoothing=19, trees=3, sample_size=16)
        model.process(np.full((40, 1), sign * np.finfo(np.float32).max))
        assert [view.records_seen for view in model.views] == [40, 40]


def test_bad_times_are_refused_and_nothing_is_learnt() -> None:
    model = Detector(trees=3, sample_size=8)
    before = model.to_bytes()
    for times in ([1.0], [1.0, float("nan")], ["a", "b"], [[1.0, 2.0]]):
        with pytest.raises(InvalidParameter) as caught:
            model.process([1.0, 2.0], times)
        assert caught.value.field == "times"
    assert model.to_bytes() == before


def explained_in_parts(rows: np.ndarray, size: int, *, every: bool) -> tuple[list[bytes], bytes]:
    """Judgements and reasons of `process_explained` in calls of `size` records, and the state."""
    detector = Detector(2, shingle_size=3, trees=15, sample_size=64, seed=3)
    found, reasons = [], {}
    for start in range(0, len(rows), size):
        judgements, why = detector.process_explained(rows[start : start + size], every=every)
        found.append(np.stack(judgements))
        reasons |= {start + row: shares for row, shares in why.items()}
    whole = [np.hstack(found).tobytes()]
    for row, shares in reasons.items():
        assert shares.high.sum() + shares.low.sum() == pytest.approx(shares.total.item(), rel=1e-9)
        whole += [str(row).encode(), shares.high.tobytes(), shares.low.tobytes()]
    return whole, detector.to_bytes()


@pytest.mark.parametrize("every", [False, True])
def test_reasons_change_no_judgement_and_do_not_depend_on_the_calls(every: bool) -> None:
    rows = noise(700, 8, 2)
    rows[[300, 500, 650], [0, 1, 0]] += [40.0, -40.0, 40.0]
    rows[560:620] += 20.0
    plain = Detector(2, shingle_size=3, trees=15, sample_size=64, seed=3)
    judgements = plain.process(rows)
    whole, state = explained_in_parts(rows, len(rows), every=every)
    assert whole[0] == np.stack(judgements).tobytes() and state == plain.to_bytes()
    named = {int(row) for row in whole[1::3]}
    wanted = ~np.isnan(judgements.score) if every else judgements.grade > 0
    assert named == set(np.flatnonzero(wanted).tolist()) and {300, 500} <= named
    for size in (1, 7):
        again = explained_in_parts(rows, size, every=every)
        assert again[1] == state and again[0][1:] == whole[1:]


@pytest.mark.parametrize("threshold", ["automatic", "sigma"])
def test_reasons_name_feature_and_direction(threshold: str) -> None:
    rows = noise(600, 9, 2)
    rows[590, 1] = -40.0
    detector = Detector(2, shingle_size=3, seed=1, threshold=threshold)
    judgements, why = detector.process_explained(rows)
    assert set(why) == set(np.flatnonzero(judgements.grade > 0).tolist()) and 590 in why
    shares = why[590]
    assert shares.total.item() == judgements.score[590]
    assert shares.low[0, -1, 1] > 0.8 * shares.total.item()


@pytest.mark.parametrize("every", [False, True])
def test_an_invalid_value_is_refused_before_anything_is_learnt(every: bool) -> None:
    model = Detector(2, seed=4)
    rows = np.zeros((50, 2))
    rows[40, 1] = np.nan
    with pytest.raises(InvalidParameter, match=r"values\[40\]\[1\]"):
        model.process_explained(rows, every=every)
    assert model.values_seen == 0


def test_a_score_at_a_level_that_rounding_moves_has_its_reason() -> None:
    rows = np.zeros(80)
    rows[31] = 100.0
    for level in (7.0, 31.0):
        model = Detector(
            trees=1,
            sample_size=256,
            smoothing=1,
            score="codisp",
            threshold="fixed",
            level=level,
            output_after=1,
            time_decay=0.0,
        )
        judgements, why = model.process_explained(rows)
        said = np.flatnonzero(judgements.grade > 0).tolist()
        assert 31 in said
        for row in said:
            assert why[row].total.tolist() == [pytest.approx(judgements.score[row])]
