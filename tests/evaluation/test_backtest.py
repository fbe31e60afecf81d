"""The figures of a setting are those of its series, taken together."""

import numpy as np
import pytest

from service.evaluation.backtest import Judged, flat, labels_of_windows, measures


def judged(scores: list[float], alerts: list[int]) -> Judged:
    """Rows an hour apart; anomalous where above 5."""
    score = np.array(scores)
    alert = np.zeros(len(score), dtype=bool)
    alert[alerts] = True
    times_ms = np.arange(len(score)) * 3_600_000
    return Judged(times_ms, score, np.full(len(score), 5.0), score / 10, score > 5, alert)


NAN = float("nan")
FIRST = judged([NAN, NAN, 1, 9, 8, 1, 1, 2, 1, 6], [3, 9])
SECOND = judged([NAN, 1, 2, 1, 1, 1, 7, 1, 1, 1], [])
LABELS = [
    np.array([0, 0, 0, 1, 1, 0, 0, 0, 0, 0], dtype=np.int8),
    np.array([-1, -1, 0, 0, 0, 0, 1, 0, 0, 0], dtype=np.int8),
]


def test_series_are_added_up():
    found = flat(measures([FIRST, SECOND], LABELS))
    assert (found["rows"], found["scored"], found["anomalies"]) == (20, 17, 4)
    assert (found["alerts"], found["right"], found["events"], found["found"]) == (2, 1, 2, 1)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["alerts_per_day"] == pytest.approx(2 / (9 / 24 + 7 / 24))
    assert (found["roc_auc"], found["average_precision"]) == (1.0, 1.0)
    assert found["nab_standard"] is not None


def test_rows_that_do_not_count_are_left_out():
    early = judged([1, 9, 1, 1, 1, 1, 1, 1, 1, 1], [1])
    unlabelled = np.array([-1, -1, -1, 0, 0, 0, 1, 0, 0, 0], dtype=np.int8)
    found = measures([early], [unlabelled])
    assert (found.alerts.alerts, found.alerts.events) == (0, 1)


def test_without_labels_or_times_nothing_is_made_up():
    found = flat(measures([FIRST, SECOND], None, timed=False))
    assert (found["alerts"], found["events"], found["recall"]) == (2, 0, None)
    assert {found[name] for name in ("alerts_per_day", "delay_s", "vus_pr", "roc_auc")} == {None}
    assert "nab_standard" not in found


def test_windows_of_times_label_rows_with_both_ends():
    times_ms = np.array([0, 10, 20, 30])
    assert labels_of_windows(times_ms, [(10, 20)]).tolist() == [0, 1, 1, 0]
