"""Periods are found where they are, and not where there are none."""

import numpy as np
import pytest

from service.evaluation.period import period_of

ROWS = np.arange(600)


def with_noise(values, level=0.3):
    return (values + level * np.random.default_rng(4).normal(size=len(values)))[:, None]


@pytest.mark.parametrize("rows", [7, 24, 100])
def test_a_period_under_noise_and_trend(rows):
    found = period_of(with_noise(np.sin(2 * np.pi * ROWS / rows) + ROWS / 100))
    assert abs(found.rows - rows) <= max(1, rows // 30)
    assert found.strength > 0.5
    assert found.shingle_size == min(found.rows // 2, 64)


def test_a_short_pulse_counts_and_the_strongest_feature_wins():
    pulses = with_noise((ROWS % 50 < 3) * 5.0)[:, 0]
    weak = with_noise(np.sin(2 * np.pi * ROWS / 9), 2.0)[:, 0]
    assert period_of(np.column_stack([weak, pulses])).rows == 50


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).normal(size=600),
        np.full(600, 7.0),
        ROWS * 0.5,
        np.cumsum(np.random.default_rng(2).normal(size=600)) * 0 + np.nan,
        np.sin(ROWS[:20]),
        np.sin(2 * np.pi * ROWS / 400),  # not three times in it
    ],
)
def test_where_there_is_none(values):
    assert period_of(np.asarray(values, dtype=float)[:, None]) is None


def test_missing_values_hide_no_period():
    values = with_noise(np.sin(2 * np.pi * ROWS / 24))
    values[::5] = np.nan
    assert period_of(values).rows == 24
