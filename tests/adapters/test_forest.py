"""Detectors of the library, as a stream wants them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rcf import alert
from service.adapters.forest import ForestFactory
from service.engine.config import LEVELS, MULTI_MODES, SCORES, THRESHOLDS, StreamConfig
from service.engine.outcome import HELD_BACK

SMALL = StreamConfig(name="s", trees=5, sample_size=32)


def test_service_and_library_mean_the_same() -> None:
    assert {code: name for code, name in alert.HELD_BACK.items() if code} == HELD_BACK
    assert set(THRESHOLDS) >= set(LEVELS)
    for score in SCORES:
        ForestFactory().create(replace(SMALL, score=score), 1)
    for threshold in THRESHOLDS:
        wanted = replace(
            SMALL,
            threshold=threshold,
            threshold_level=4.0 if threshold == "fixed" else None,
            alert_budget=2,
        )
        detector = ForestFactory().create(wanted, 1).detector
        assert detector.settings.mode == threshold and detector.settings.budget == 2
    assert set(MULTI_MODES) == set(alert.MULTI_MODES)
    for mode in MULTI_MODES:
        series = ForestFactory().create(SMALL, 1)
        ForestFactory().adjust(series, replace(SMALL, multi_mode=mode))
        made = ForestFactory().create(replace(SMALL, multi_mode=mode), 1)
        assert made.detector.settings.multi_mode == mode
        assert made.to_bytes() == series.to_bytes()


def test_two_alerts_a_day_are_kept_and_may_change_while_a_series_runs() -> None:
    """Ten days of minutes with twenty spikes each; from the sixth on, five alerts a day."""
    factory = ForestFactory()
    wanted = replace(SMALL, alert_budget=2)
    series = factory.create(wanted, 1)
    random = np.random.default_rng(1)
    days = []
    for day in range(10):
        if day == 5:
            series = factory.restore(series.to_bytes())
            factory.adjust(series, replace(wanted, alert_budget=5))
        rows = random.normal(size=(1440, 1))
        rows[random.choice(1440, 20, replace=False)] += 30.0 * (1 + random.random((20, 1)))
        times = 86_400.0 * day + 60.0 * np.arange(1440)
        told = series.process(rows, times, explain="none")
        days.append(int(np.sum(told.judgements.grade > 0)))
    assert max(days[:5]) <= 3 and sum(days[:5]) <= 11, "two in any 24 hours"
    assert sum(days[1:5]) >= 6
    assert sum(days[5:]) > sum(days[:5])


def test_adjusting_to_what_is_so_already_changes_no_bit() -> None:
    factory = ForestFactory()
    series = factory.create(SMALL, 1)
    series.process(np.random.default_rng(1).normal(size=(200, 1)), np.arange(200.0), explain="all")
    before = series.to_bytes()
    factory.adjust(series, SMALL)
    assert series.to_bytes() == before
