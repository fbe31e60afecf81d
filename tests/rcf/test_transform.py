"""Transforms: no unit matters, what comes back is what went in, and one value moves little."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from rcf import Detector, InvalidParameter, Transform
from rcf.transform import MEMORY, METHODS

SCALE_FREE = ("normalize", "normalize_difference", "robust", "log")
FACTORS = np.array([1e-12, 1e-3, 1.0, 37.0, 1e9])


def records(n: int = 600, seed: int = 5) -> np.ndarray:
    """float64 (n, 5): noise about a level, a walk, a season, bursts, a command."""
    random, at = np.random.default_rng(seed), np.arange(n)
    noise = random.normal(size=(n, 5))
    noise[:, 0] += 20.0
    noise[:, 1] = noise[:, 1].cumsum()
    noise[:, 2] = np.sin(at / 9) + 0.1 * noise[:, 2]
    noise[:, 3] = noise[:, 3] ** 5
    noise[:, 4] = at // 50 % 2
    return noise


def times(n: int, seed: int = 6) -> np.ndarray:
    """float64 (n,), gaps between a half and one and a half."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, n).cumsum()


def made(method: str, **other: object) -> Transform:
    """A transform of five features, weighted where the method takes weights."""
    if method != "none":
        other.setdefault("weights", [1.0, 2.0, 0.5, 1.0, 3.0])
    return Transform(5, method=method, **other)  # type: ignore[arg-type]  # any keyword of the class


def test_the_formulas_of_amazon() -> None:
    """MATHS: SUBTRACT_MA, DIFFERENCE, WEIGHTED; and the normalised two, over deviation alone.

    While the mean is that of all values so far, `decay` says nothing.
    """
    rows = records(200)
    w = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    said = {name: made(name, decay=1e-9).process(rows) for name in METHODS}
    np.testing.assert_array_equal(said["none"], rows)
    np.testing.assert_allclose(said["weighted"], w * rows)
    steps = np.diff(rows, axis=0, prepend=rows[:1])
    np.testing.assert_allclose(said["difference"], w * steps)
    for t in (1, 50, 199):
        past, change = rows[:t], steps[1:t]
        np.testing.assert_allclose(said["subtract_ma"][t], w * (rows[t] - past.mean(0)), atol=1e-9)
        if t > 10:
            z = (rows[t] - past.mean(0))[:3] / past.std(0)[:3]
            np.testing.assert_allclose(said["normalize"][t, :3], w[:3] * z, rtol=1e-9)
            z = (steps[t] - change.mean(0))[:3] / change.std(0)[:3]
            np.testing.assert_allclose(said["normalize_difference"][t, :3], w[:3] * z, rtol=1e-9)
    size = np.exp(np.mean(np.log(np.abs(rows[:199, :4])), axis=0))
    logs = np.sign(rows[199, :4]) * np.log1p(np.abs(rows[199, :4]) / size)
    np.testing.assert_allclose(said["log"][199, :4], (w[:4] * logs), rtol=1e-9)


def test_what_is_learnt_fades() -> None:
    """With decay d the mean is Σ (1-d)^age x / Σ (1-d)^age once there were 1 / d records."""
    decay, rows = 0.1, records(400)[:, :1]
    out = Transform(method="subtract_ma", decay=decay).process(rows)
    weights = (1 - decay) ** np.arange(399)
    mean = (weights * rows[398::-1, 0]).sum() / weights.sum()
    assert out[399, 0] == pytest.approx(rows[399, 0] - mean, abs=1e-9)


@pytest.mark.parametrize("method", SCALE_FREE)
def test_no_unit_matters(method: str) -> None:
    rows = records()
    one, other = made(method).process(rows), made(method).process(FACTORS * rows)
    np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)


def test_no_origin_matters_where_a_centre_is_taken_off() -> None:
    rows = records()
    for method in ("normalize", "robust", "normalize_difference"):
        one, other = made(method).process(rows), made(method).process(rows + 1000.0)
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_inverse(method: str) -> None:
    """After any number of records, of the next dozen one after the other; nothing changes."""
    rows, when = records(), times(600)
    for known in (2, 3, 5, 9, 10, 11, 300):
        if method == "normalize_difference" and known == 2:
            continue  # one step has no spread
        transform = made(method, time_weight=2.0)
        transform.process(rows[:known], when[:known])
        policy, state = transform.parts()
        copy = Transform.of_parts(policy, state.copy())
        coming = slice(known, known + 12)
        found = copy.process(rows[coming], when[coming], learn=False)
        back = transform.invert(found)
        # A command that was not given yet has no scale.
        moved = np.ptp(rows[:known], axis=0) > 0
        if method != "log":
            np.testing.assert_allclose(
                back.values[:, moved], rows[coming][:, moved], rtol=1e-9, atol=1e-9
            )
        else:
            np.testing.assert_allclose(back.values[:, :4], rows[coming, :4], rtol=1e-9, atol=1e-9)
        assert back.times is not None
        np.testing.assert_allclose(back.times, when[coming], rtol=1e-9)
        assert transform.parts()[1].tobytes() == state.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_calls_do_not_matter(method: str) -> None:
    """The same bits in one call, record by record, and across a copy of the state."""
    rows, when = records(120), times(120)
    whole, single = made(method, time_weight=1.0), made(method, time_weight=1.0)
    expected = whole.process(rows, when)
    parts = [single.process(rows[:0], when[:0])]
    for at in range(120):
        policy, state = single.parts()
        single = Transform.of_parts(policy, state.copy())
        parts.append(single.process(rows[at], when[at : at + 1]))
    assert np.concatenate(parts).tobytes() == expected.tobytes()
    assert single.parts()[1].tobytes() == whole.parts()[1].tobytes()


def test_a_record_is_transformed_by_those_before_it() -> None:
    """What comes later changes nothing of what was said."""
    rows = records()
    for method in METHODS:
        long, short = made(method).process(rows), made(method).process(rows[:300])
        assert long[:300].tobytes() == short.tobytes()


def test_a_spike_moves_what_is_robust_by_little() -> None:
    """One value a million deviations away: "robust" hardly notices, "normalize" is blind after."""
    rows = np.random.default_rng(8).normal(size=(1000, 1))
    spiked = rows.copy()
    spiked[500] = 1e6
    after = slice(501, None)
    ratio = {}
    for method in ("robust", "normalize"):
        calm = Transform(method=method).process(rows)
        after_spike = Transform(method=method).process(spiked)
        ratio[method] = np.ptp(after_spike[after]) / np.ptp(calm[after])
        assert after_spike[500, 0] > 20.0, "the spike itself is seen"
    assert 0.95 < ratio["robust"] < 1.0
    assert ratio["normalize"] < 0.01


def test_spikes_stay_bounded_and_in_order() -> None:
    """Beyond four scales distances grow with their logarithm, so no value hides the others."""
    rows = np.random.default_rng(8).normal(size=(500, 1))
    found = []
    for far in (5.0, 1e2, 1e4, 1e8, 3e38):
        transform = Transform()
        transform.process(rows)
        found.append(float(transform.process([[far]])[0, 0]))
    assert found == sorted(found) and len(set(found)) == 5
    assert found[0] > 4.0 and found[-1] < 400.0 and found[2] < 40.0


@pytest.mark.parametrize("level", [0.0, 5.0, -1e6, 1e30])
@pytest.mark.parametrize("method", ["normalize", "robust"])
def test_flat_features(method: str, level: float) -> None:
    """Flat is 0; the first step counts as four scales, whatever its size, and either way."""
    for share in (1e-3, 1.0, 1e4):
        step = share * (abs(level) or 1.0)
        transform = Transform(2, method=method)
        flat = np.full((1000, 2), level)
        assert not transform.process(flat).any()
        moved = transform.process([[level + step, level - step]])[0]
        np.testing.assert_array_equal(moved, [4.0, -4.0])
        assert not np.isnan(transform.process(flat)).any()
        # A command that is given again lies four scales from rest, not the deviation's thirty.
        again = transform.process([[level + step, level]])[0]
        assert again[0] == pytest.approx(4.0, abs=0.02) and abs(again[1]) < 0.02


def test_noise_that_no_float32_holds_is_no_movement() -> None:
    """A level with a jitter of a billionth of it: its scale is not the jitter's."""
    random = np.random.default_rng(9)
    rows = 1000.0 + 1e-6 * random.normal(size=(500, 1))
    assert np.abs(Transform().process(rows)[10:]).max() < 0.01


def test_the_first_records_are_near() -> None:
    """However alike the first two are, the third is within the square root of their number."""
    for third in (2.0, 1e6, -1e30):
        out = Transform().process([[1.0], [1.0 + 1e-6], [third]])[:, 0]
        assert out[0] == 0.0 and abs(out[1]) <= 4.0
        assert abs(out[2]) <= np.sqrt(3.0)


def test_weights() -> None:
    rows = records()
    plain = Transform(5, method="robust").process(rows)
    weighted = Transform(5, method="robust", weights=[0, 1, 2, 0.5, 0])
    out = weighted.process(rows)
    np.testing.assert_allclose(out, plain * [0, 1, 2, 0.5, 0])
    back = weighted.invert(out[-1:]).values[0]
    assert back[0] == pytest.approx(20.0, abs=0.2), "of weight 0: the centre comes back"


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_time_is_a_coordinate(unit: float) -> None:
    """Regular records have 0, a pause its length in mean gaps; no unit of time matters."""
    when = unit * np.arange(100.0)
    when[60:] += 4.0 * unit
    out = Transform(method="none", time_weight=3.0).process(np.ones((100, 1)), when)
    assert out.shape == (100, 2)
    np.testing.assert_allclose(out[:60, 1], 0.0, atol=1e-6)
    assert out[60, 1] == pytest.approx(12.0, rel=1e-6)
    assert np.abs(out[61:, 1]).max() < 0.3
    late = Transform(method="none", time_weight=1.0)
    late.process(np.ones((50, 1)), unit * np.arange(50.0))
    assert late.process([[1.0]], [0.0])[0, 1] < -4.0, "a late record is seen"
    assert abs(late.process([[1.0]], [50.0 * unit])[0, 1]) < 0.1, "the latest time counts"


def test_without_learning_scales_stay() -> None:
    rows = records()
    for method in METHODS:
        transform = made(method)
        transform.process(rows[:300])
        policy, state = transform.parts()
        copy = Transform.of_parts(policy, state.copy())
        copy.process(np.concatenate([1e3 * rows[300:], rows[-1:]]), learn=False)
        transform.process(rows[-1], learn=False)
        again = [one.process(rows[:9], learn=False).tobytes() for one in (copy, transform)]
        assert again[0] == again[1]


def test_mixed_units_are_seen_by_a_detector() -> None:
    """A percentage that runs away beside bytes: the bytes drown it unless they are transformed."""
    random = np.random.default_rng(11)
    rows = np.column_stack([random.normal(50, 1, 2000), random.normal(1e9, 1e8, 2000)])
    rows[1500, 0] += 15.0
    places = {}
    for method in ("none", "normalize", "robust"):
        found = Transform(2, method=method).process(rows)
        scores = Detector(2, smoothing=1, seed=1).process(found).score[500:]
        places[method] = int((scores > scores[1000]).sum())
    assert places["normalize"] == places["robust"] == 0
    assert places["none"] > 50


def test_extremes_stay_finite_float32() -> None:
    rows = np.array([[3e38], [-3e38], [3e38], [0.0], [1e-40], [-1e-40], [3e38]] * 4)
    for method in METHODS:
        weights = None if method == "none" else [1e6]
        out = Transform(method=method, weights=weights).process(rows)
        assert np.isfinite(out.astype(np.float32)).all()


BAD = [
    ({"features": 0}, "features"),
    ({"features": 2.0}, "features"),
    ({"method": "NORMALIZE"}, "method"),
    ({"method": None}, "method"),
    ({"weights": [1.0, 2.0]}, "weights"),
    ({"weights": "1"}, "weights"),
    ({"weights": [-0.1]}, "weights[0]"),
    ({"weights": [float("nan")]}, "weights[0]"),
    ({"weights": [1.0], "method": "none"}, "weights"),
    ({"time_weight": -1.0}, "time_weight"),
    ({"time_weight": float("inf")}, "time_weight"),
    ({"decay": 0.0}, "decay"),
    ({"decay": 1.1}, "decay"),
]


@pytest.mark.parametrize(("parameters", "field"), BAD, ids=str)
def test_bad_parameters(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Transform(**parameters)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.field == field and str(caught.value).startswith(f"{field} is ")


def test_bad_values() -> None:
    """Each is told of by its place, and nothing is learnt."""
    transform = Transform(2, time_weight=1.0)
    transform.process(np.ones((3, 2)), [1.0, 2.0, 3.0])
    before = transform.parts()[1].tobytes()
    good = np.ones((2, 2))
    for values, when, field in (
        ([[1.0, 2.0], [3.0, np.nan]], [4.0, 5.0], "values[1][1]"),
        ([[np.inf, 2.0], [3.0, 1.0]], [4.0, 5.0], "values[0][0]"),
        (np.ones((2, 3)), [4.0, 5.0], "values"),
        (good, [4.0], "times"),
        (good, [4.0, np.nan], "times"),
        (good, None, "times"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            transform.process(values, when)
        assert caught.value.field == field
        assert transform.parts()[1].tobytes() == before
    with pytest.raises(InvalidParameter):
        transform.invert(good)


def test_the_default_remembers_long() -> None:
    """Points that a forest keeps for weeks stay comparable with those of today."""
    assert Transform().parts()[0].decay == 1.0 / MEMORY


def test_a_copy_is_a_transform_of_its_own() -> None:
    one = Transform(2)
    one.process([[1.0, 2.0], [2.0, 3.0]])
    other = copy.copy(one)
    wanted = one.peek([[5.0, 5.0]])
    other.process(np.arange(20.0).reshape(-1, 2))
    assert np.array_equal(one.peek([[5.0, 5.0]]), wanted)
