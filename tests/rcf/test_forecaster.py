"""Forecasts err less than the last value; bands hold the share they state, whatever the series."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Forecaster, InvalidParameter, SnapshotError
from rcf.forecast import HORIZON

N, WARM = 6000, 300


def series(kind: str, n: int = N) -> np.ndarray:
    """A series (n,) of a kind that no assumption fits them all."""
    random, i = np.random.default_rng(7), np.arange(n)
    noise = random.normal(size=n)
    if kind == "season":
        return np.asarray(np.sin(i / 9) + 0.1 * noise)
    if kind == "walk":
        return np.asarray(noise.cumsum())
    if kind == "heavy tails":
        return np.asarray(random.standard_t(1.5, n))
    if kind == "skewed":
        return np.asarray(random.exponential(size=n) ** 2)
    if kind == "calm and storm":
        return np.asarray(noise * np.where(i // 500 % 2, 5.0, 0.5))
    assert kind == "shifts"
    return np.asarray(noise + 40 * (i // 700 % 2))


KINDS = ("season", "walk", "heavy tails", "skewed", "calm and storm", "shifts")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coverage", [0.9, 0.5])
def test_bands_hold_what_they_state(kind: str, coverage: float) -> None:
    """Within 2 points of 90 and of 50 %, and about as much beyond either side."""
    values = series(kind)
    ahead = Forecaster(coverage=coverage).process(values)
    below = np.mean(values[WARM:] < ahead.lower[WARM:, 0])
    above = np.mean(values[WARM:] > ahead.upper[WARM:, 0])
    assert below + above == pytest.approx(1 - coverage, abs=0.02)
    assert below == pytest.approx((1 - coverage) / 2, abs=0.015)


def inside_ahead(values: np.ndarray) -> float:
    """Share of values inside the band said for leads of 2 to 16, asked every seventh record."""
    forecaster, inside = Forecaster(), []
    for start in range(0, len(values) - HORIZON, 7):
        if start > 1000:
            ahead = forecaster.forecast(HORIZON)
            true = values[start : start + HORIZON, None]
            inside.append((true >= ahead.lower) & (true <= ahead.upper))
        forecaster.process(values[start : start + 7])
    return float(np.mean(np.array(inside)[:, 1:]))


@pytest.mark.parametrize("kind", KINDS)
def test_bands_hold_at_every_lead(kind: str) -> None:
    assert inside_ahead(series(kind)) == pytest.approx(0.9, abs=0.02)


def test_bands_hold_as_they_were_said() -> None:
    """Not as they would be said a moment later, when a jump in between has widened them."""
    random = np.random.default_rng(7)
    size = (4, N)
    jumps = np.where(random.random(size) < 1 / 40, 20 * random.normal(size=size), 0.0)
    streams = jumps.cumsum(axis=1) + 0.1 * random.normal(size=size)
    assert np.mean([inside_ahead(stream) for stream in streams]) == pytest.approx(0.9, abs=0.01)


def test_bands_of_later_leads_are_no_wider_at_first() -> None:
    """White noise, whose 90 % lie within 3.3: asked after 40 records, and after 200."""
    random = np.random.default_rng(5)
    for records in (40, 200):
        widths = []
        for _ in range(40):
            forecaster = Forecaster()
            forecaster.process(random.normal(size=records))
            ahead = forecaster.forecast(HORIZON)
            widths.append((ahead.upper - ahead.lower)[-1, 0])
        assert np.median(widths) == pytest.approx(3.3, abs=0.9)


def test_forecasts_err_less_than_the_last_value() -> None:
    """And hardly more where nothing does better than the last value."""
    share = {}
    for kind in KINDS:
        values = series(kind)
        errors = np.abs(Forecaster().process(values).expected[:, 0] - values)[WARM:]
        share[kind] = errors.mean() / np.abs(np.diff(values))[WARM - 1 :].mean()
    assert share["season"] < 0.85 and share["heavy tails"] < 0.75 and share["skewed"] < 0.75
    assert share["calm and storm"] < 0.8
    assert share["walk"] < 1.03


def test_the_unit_of_a_feature_does_not_matter() -> None:
    values = series("season")[:500]
    one = Forecaster().process(values)
    other = Forecaster().process(1e-6 * values)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(1e6 * b[20:], a[20:], rtol=1e-5, atol=1e-8)


def test_a_series_that_never_moves_is_expected_to_stay() -> None:
    ahead = Forecaster().process(np.full(50, 3.25))
    assert np.isnan(ahead.expected[0, 0])
    for part in ahead:
        assert (part[1:] == 3.25).all()


def test_features_do_not_touch_each_other() -> None:
    values = np.stack([series("season"), series("skewed")], axis=1)[:800]
    both = Forecaster(2).process(values)
    alone = Forecaster().process(values[:, 1])
    assert np.array_equal(both.expected[1:, 1], alone.expected[1:, 0])


def test_the_split_into_calls_and_a_restart_change_no_bit() -> None:
    values = series("calm and storm")[:900]
    whole = Forecaster().process(values)
    forecaster, parts = Forecaster(coverage=0.9), []
    for part in np.split(values, [1, 2, 40, 500]):
        parts.append(forecaster.process(part))
        forecaster.forecast(30)  # asking changes nothing
        forecaster = Forecaster.from_bytes(forecaster.to_bytes())
    for k, wanted in enumerate(whole):
        found = np.concatenate([part[k] for part in parts])
        assert np.array_equal(found, wanted, equal_nan=True)
    with pytest.raises(SnapshotError):
        Forecaster.from_bytes(forecaster.to_bytes()[:-8])


def test_imputed_values_do_not_narrow_the_band() -> None:
    """A gap filled with what was expected is no proof that forecasts are good."""
    values = series("heavy tails")[:600]
    honest, fooled = Forecaster(), Forecaster()
    honest.process(values)
    fooled.process(values)
    for _ in range(200):
        filled = honest.forecast(1).expected
        honest.process(filled, known=np.zeros((1, 1), bool))
        fooled.process(fooled.forecast(1).expected)
    widths = [np.ptp([one.forecast(1).lower, one.forecast(1).upper]) for one in (honest, fooled)]
    assert widths[0] > 5 * widths[1]


def test_what_is_refused() -> None:
    forecaster = Forecaster(2)
    before = forecaster.to_bytes()
    for wrong in ([[1.0, np.nan]], [[np.inf, 1.0]], [[1.0, 1e39]], [[1.0]]):
        with pytest.raises(InvalidParameter):
            forecaster.process(wrong)
    with pytest.raises(InvalidParameter, match="known is"):
        forecaster.process([[1.0, 2.0]], known=[True])
    with pytest.raises(InvalidParameter, match="horizon is 0"):
        forecaster.forecast(0)
    for coverage in (0.0, 1.0, float("nan")):
        with pytest.raises(InvalidParameter, match="coverage"):
            Forecaster(coverage=coverage)
    assert forecaster.to_bytes() == before


@pytest.mark.parametrize("still", [500, 2000, 10_000])
def test_bands_hold_again_soon_after_a_series_stood_still(still: int) -> None:
    random = np.random.default_rng(2)
    before, after = random.normal(size=300), random.normal(size=1500)
    forecaster = Forecaster()
    forecaster.process(np.concatenate([before, np.full(still, before[-1])]))
    ahead = forecaster.process(after)
    held = (ahead.lower[:, 0] <= after) & (after <= ahead.upper[:, 0])
    assert held[200:500].mean() > 0.8
    assert held[700:].mean() == pytest.approx(0.9, abs=0.05)


def test_a_series_that_stood_still_for_long_is_learnt_again() -> None:
    for seed in range(4):
        random = np.random.default_rng(seed)
        before = random.normal(size=300)
        wave = np.sin(np.arange(2500) / 9) + 0.1 * random.normal(size=2500)
        old, new = Forecaster(), Forecaster()
        old.process(np.concatenate([before, np.full(50_000, 5.0)]))
        found, wanted = (np.abs(each.process(wave).expected[:, 0] - wave) for each in (old, new))
        assert found[2000:].mean() < 1.3 * wanted[2000:].mean()
        assert all(np.isfinite(each).all() for each in old._state)
