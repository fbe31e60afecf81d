"""The measures agree with figures worked out by hand, with plain twins, and with their laws."""

import math

import numpy as np
import pytest

from service.evaluation import alerts, nab, ranking, vus
from service.evaluation.nab import Windows

SEED = 20


@pytest.fixture
def labelled():
    """A labelled series whose scores help a little; ties among them."""
    rng = np.random.default_rng(SEED)
    labels = np.zeros(600, dtype=bool)
    for first in (0, 150, 320, 335, 590):
        labels[first : first + 10] = True
    return labels, np.round(rng.random(600) + 0.4 * labels, 2)


def plain_roc_auc(labels, scores):
    pairs = [
        (a > b) + (a == b) / 2 for a in scores[labels].tolist() for b in scores[~labels].tolist()
    ]
    return sum(pairs) / len(pairs)


def plain_average_precision(labels, scores):
    area, recall = 0.0, 0.0
    for level in sorted(set(scores.tolist()), reverse=True):
        flagged = scores >= level
        reached = (flagged & labels).sum() / labels.sum()
        area += (reached - recall) * (flagged & labels).sum() / flagged.sum()
        recall = reached
    return area


def plain_vus_pr(labels, scores, window, thresholds):
    """Row by row and threshold by threshold, as the paper defines it."""
    n, areas = len(labels), []
    ranked = np.sort(scores)[::-1]
    levels = [ranked[int(k)] for k in np.linspace(0, n - 1, thresholds)]
    for width in range(window + 1):
        soft = labels.astype(float)
        for first, last in ranking.segments(labels):
            for distance in range(1, width // 2 + 1):
                for row in (first - distance, last + distance):
                    if 0 <= row < n:
                        soft[row] += math.sqrt(1 - distance / width)
        soft = np.minimum(soft, 1)
        area = recall = 0.0
        for level in levels:
            flagged = scores >= level
            hits, border = (labels & flagged).sum(), soft[~labels & flagged].sum()
            runs = ranking.segments(soft > 0)
            found = sum(bool(flagged[a : b + 1].any()) for a, b in runs) / len(runs)
            reached = min((hits + border) / (labels.sum() + border / 2), 1) * found
            area += (reached - recall) * (hits + border) / flagged.sum()
            recall = reached
        areas.append(area)
    return sum(areas) / len(areas)


def test_rankings_agree_with_their_definitions(labelled):
    labels, scores = labelled
    assert ranking.roc_auc(labels, scores) == pytest.approx(plain_roc_auc(labels, scores))
    average = ranking.average_precision(labels, scores)
    assert average == pytest.approx(plain_average_precision(labels, scores))
    levels = np.unique(scores)
    f1 = [2 * (labels & (scores >= t)).sum() / ((scores >= t).sum() + labels.sum()) for t in levels]
    assert ranking.best_f1(labels, scores) == pytest.approx(max(f1))


def test_vus_agrees_with_its_definition(labelled):
    labels, scores = labelled
    found = vus.vus_pr(labels, scores, window=24, thresholds=60)
    assert found == pytest.approx(plain_vus_pr(labels, scores, 24, 60), abs=1e-12)
    assert vus.vus_pr(labels, labels.astype(float), window=0) == pytest.approx(1.0)


def test_without_anomalies_there_is_no_figure():
    nothing, scores = np.zeros(9, dtype=bool), np.arange(9.0)
    for measure in (ranking.roc_auc, ranking.average_precision, ranking.best_f1, vus.vus_pr):
        assert math.isnan(measure(nothing, scores))


#: Two series of 200 rows: probation is 30 rows of each. The second window of the first is short.
SERIES = [Windows(200, [(60, 79), (150, 159)]), Windows(200, [])]


def nab_by_hand(profile, series, raised):
    """The benchmark's rules told once more, detection by detection."""

    def sigmoid(y):
        return -1.0 if y > 3 else 2 / (1 + math.exp(5 * y)) - 1

    total = 0.0
    for labelled, rows in zip(series, raised, strict=True):
        for first, last in labelled.windows:
            inside = [row for row in rows if first <= row <= last and row >= labelled.probation]
            place = -(last - min(inside) + 1) / (last - first + 1) if inside else None
            total += -profile.miss if place is None else sigmoid(place) / sigmoid(-1)
        for row in rows:
            if row < labelled.probation or any(a <= row <= b for a, b in labelled.windows):
                continue
            before = [(a, b) for a, b in labelled.windows if b < row]
            y = (row - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else 4
            total += profile.false_alarm * sigmoid(y)
    windows = sum(len(labelled.windows) for labelled in series)
    return 100 * (total + profile.miss * windows) / (windows * (1 + profile.miss))


@pytest.mark.parametrize(
    "raised", [[[], []], [[60, 150], []], [[10, 70, 71, 83, 158], [5, 31, 120]], [[59, 80], [199]]]
)
def test_nab_of_alerts_agrees_with_the_rules(raised):
    found = nab.nab_of_alerts(SERIES, [np.array(rows, dtype=np.int64) for rows in raised])
    for name, profile in nab.PROFILES.items():
        assert found[name].score == pytest.approx(nab_by_hand(profile, SERIES, raised))


def test_nab_takes_the_best_threshold_for_all_series_together():
    rng = np.random.default_rng(SEED)
    scores = [np.round(rng.random(200) * 4) for _ in SERIES]
    scores[0][[62, 151]] = 3.5
    best = nab.nab_scores(SERIES, scores)
    for name in nab.PROFILES:
        tried = [
            nab.nab_scores(SERIES, scores, dict.fromkeys(nab.PROFILES, level))[name].score
            for level in np.unique(np.concatenate(scores))
        ]
        assert best[name].score == pytest.approx(max(0.0, *tried))
        marked = [np.flatnonzero(each >= best[name].threshold) for each in scores]
        assert nab.nab_of_alerts(SERIES, marked)[name].score == pytest.approx(best[name].score)


def test_silence_is_worth_nothing_and_windows_in_probation_cannot_be_missed():
    early = [Windows(200, [(5, 20), (100, 120)])]
    nothing = nab.nab_of_alerts(early, [np.array([], dtype=np.int64)])
    assert [each.score for each in nothing.values()] == [0.0, 0.0, 0.0]
    found = nab.nab_of_alerts(early, [np.array([6, 100])])["standard"]
    assert (found.score, found.found) == (pytest.approx(100 * 2 / 3), 1)


def test_cooldown_spaces_alerts_and_is_weighed_by_nab():
    scores = np.zeros(200)
    scores[[60, 61, 62, 120, 160]] = [9, 9, 9, 9, 5]
    assert nab.spaced(scores, 9.0, 40).tolist() == [60, 120]
    assert nab.spaced(scores, 5.0, 40).tolist() == [60, 120]  # 160 is not more than 40 behind
    best = nab.best_nab_of_alerts(SERIES[:1], [scores], cooldown=10)
    assert best["standard"].false_rows == 1
    assert 5.0 < best["standard"].threshold <= 9.0  # a quantile between the two


def test_windows_of_times_are_rows_and_unknown_times_are_refused():
    times = np.array([10, 20, 20, 30, 40, 50])
    assert nab.rows_of_windows(times, [(20, 20), (40, 50)]) == [(1, 1), (4, 5)]
    with pytest.raises(ValueError, match="no row has the time 25"):
        nab.rows_of_windows(times, [(25, 30)])
    with pytest.raises(ValueError, match="finite"):
        nab.nab_scores(SERIES[:1], [np.full(200, np.nan)])


def test_alerts_count_for_who_reads_them():
    labels = np.zeros(100, dtype=bool)
    labels[[20, 21, 22, 60, 61, 90]] = True
    times_ms = np.arange(100) * 3_600_000
    found = alerts.report([alerts.tally(labels, [5, 22, 24, 62, 75], times_ms, late=2)])
    assert (found.alerts, found.right, found.events, found.found) == (5, 3, 3, 2)
    assert found.precision == pytest.approx(3 / 5)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 * 0.6 * (2 / 3) / (0.6 + 2 / 3))
    assert found.delay_rows == 2.0
    assert found.delay_s == 7200.0
    assert found.alerts_per_day == pytest.approx(5 / (99 / 24))


def test_an_alert_tells_of_the_event_that_has_begun():
    labels = np.array([0, 1, 0, 1, 0], dtype=bool)
    found = alerts.report([alerts.tally(labels, [3], late=5)])
    assert (found.found, found.delay_rows) == (1, 0.0)
    silent = alerts.report([alerts.tally(labels, [])])
    both = alerts.report([alerts.tally(labels, [3], late=5), alerts.tally(labels, [0])])
    assert (both.alerts, both.events, both.found, both.precision) == (2, 4, 1, 0.5)
    assert (silent.precision, silent.recall, silent.f1, silent.delay_s) == (None, 0.0, None, None)
