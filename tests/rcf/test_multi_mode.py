"""Multi-mode scores: what a record's distance has a say in, and what stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rcf import Detector, Forest, memory
from rcf.alert import HELD_BACK, MULTI_MODES, Policy
from rcf.detector import EXPLAIN
from rcf.flat import Tolerance
from rcf.judge import Judgements, judge_rows
from rcf.memory import Size
from rcf.threshold import MODES, Bar

SMALL: dict[str, Any] = {"trees": 7, "sample_size": 32, "shingle_size": 2, "smoothing": 3}
ON = [mode for mode in MULTI_MODES if mode != "none"]

#: Scores from 4 on reach the threshold; ten ordinary records end an event.
BAR, COOL_DOWN = 4.0, 10
CALM = (1.0, 10.0)  # score and distance of a record that nobody minds


def told(mode: str, records: Sequence[tuple[float, float]]) -> Judgements:
    """What is said of records of these scores and distances, after forty that nobody minds.

    Distances before them have mean 10 and deviation 1; each record has a value of its own.
    """
    teaching = [(1.0, 9.0 + 2.0 * (i % 2)) for i in range(40)]
    return judged(mode, [*teaching, *records], slice(len(teaching), None))


def judged(mode: str, records: Sequence[tuple[float, float]], part: slice) -> Judgements:
    scores, distances = (np.array(column) for column in zip(*records, strict=True))
    count = len(scores)
    size = Size(1, 0, 0, 1, int(mode != "none"))
    bar = Bar(MODES["fixed"], BAR, 0.0, 1.0, 2.5)
    policy = Policy(bar, Tolerance(0.0, 0.0), COOL_DOWN, 0, 1.0, False, MULTI_MODES[mode])
    words = memory.fresh(size, np.ones(1))
    values = np.where(scores + distances > 12.5, 1e6, np.arange(count) % 7)[:, None]
    said = Judgements(
        *(np.full(count, np.nan) for _ in range(4)),
        np.zeros(count, np.int64),
        *(np.full(count, np.nan) for _ in range(4)),
    )
    measured = distances if mode != "none" else np.empty(0)
    judge_rows(
        *(policy, np.array([words.ctypes.data]), size, np.array([0, count]), values),
        *(np.empty(0), np.zeros(1, np.int64), scores[None], measured, said),
    )
    return Judgements(*(each[part] for each in said))


def verdicts(found: Judgements) -> list[str]:
    """Of each record "anomaly", why it was held back, or ""."""
    pairs = zip(found.grade.tolist(), found.held_back.tolist(), strict=True)
    return ["anomaly" if grade > 0.0 else HELD_BACK[held] for grade, held in pairs]


# --- the law, on scores and distances made by hand ------------------------------------------------


def test_the_threshold_of_distances_is_three_deviations_above_their_mean() -> None:
    found = told("precision", [CALM])
    assert found.distance_threshold[0] == pytest.approx(13.0, abs=0.02)
    assert found.distance[0] == 10.0 and found.threshold[0] == BAR


def test_precision_holds_an_ordinary_distance_back_without_an_event() -> None:
    records = [(5.0, 11.0), (5.0, 30.0), (5.0, 11.0), CALM, (5.0, 30.0)]
    found = told("precision", records)
    assert verdicts(found) == ["distance", "anomaly", "cool_down", "", "cool_down"]
    assert np.isnan(found.since[0]) and np.isnan(found.started[0])
    assert found.since[1:3].tolist() == [0.0, 1.0], "the event begins with what is said"
    assert verdicts(told("none", records))[:2] == ["anomaly", "cool_down"]


def test_precision_asks_the_distance_of_a_second_anomaly_of_an_event_too() -> None:
    event = [(5.0, 30.0), CALM]
    near, far = [*event, (8.0, 11.0)], [*event, (8.0, 60.0)]
    assert verdicts(told("precision", near)) == ["anomaly", "", "cool_down"]
    assert verdicts(told("precision", far)) == ["anomaly", "", "anomaly"]
    assert verdicts(told("none", near)) == ["anomaly", "", "anomaly"]


def test_recall_says_what_only_the_distance_finds_and_says_it_once() -> None:
    records = [(1.0, 30.0), (1.0, 60.0), CALM, (1.0, 90.0), (8.0, 10.0), CALM, (5.0, 10.0)]
    found = told("recall", records)
    wanted = ["anomaly", "cool_down", "", "cool_down", "anomaly", "", "cool_down"]
    assert verdicts(found) == wanted
    assert found.since[0] == 0.0 and found.score[0] < found.threshold[0]
    after = [*records[:1], *[CALM] * COOL_DOWN, (1.0, 90.0)]
    assert verdicts(told("recall", after))[-1] == "anomaly"
    assert verdicts(told("recall", [*after[:-2], after[-1]]))[-1] == "cool_down"
    for mode in ("none", "precision"):
        assert verdicts(told(mode, [records[0]])) == [""]


def test_an_anomaly_by_distance_is_graded_by_distance() -> None:
    for distance, grade in ((13.1, 1 / 16), (19.5, 0.5), (27.0, 1.0), (1e9, 1.0)):
        assert told("recall", [(1.0, distance)]).grade.tolist() == [grade]
    assert told("recall", [(1.0, 12.9)]).grade.tolist() == [0.0]
    assert told("recall", [(BAR, 1e9)]).grade.tolist() == [1 / 16], "by its score if it can be"


@pytest.mark.parametrize("mode", ON)
def test_few_distances_say_nothing(mode: str) -> None:
    records = [(1.0, 1.0)] * 5 + [(1.0, 99.0)] + [(1.0, 1.0)] * 3 + [(5.0, 0.5)]
    found = judged(mode, records, slice(None))
    assert np.isnan(found.distance_threshold).all()
    assert verdicts(found) == [*[""] * 9, "anomaly"]


# --- detectors ------------------------------------------------------------------------------------


def rows_of(features: int, count: int = 900) -> np.ndarray:
    """Noise, with spikes of two sizes: the larger ones teach that distances may be large."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(count, features))
    odd = random.random(count)
    rows[odd < 0.02] += 6.0
    rows[odd < 0.004] += 200.0
    return rows


@pytest.mark.parametrize(("features", "arguments"), [(1, SMALL), (3, SMALL | {"shingle_size": 1})])
def test_distances_are_those_before_a_record_is_learnt(
    features: int, arguments: dict[str, Any]
) -> None:
    rows = rows_of(features, 300)
    one = Detector(features, seed=2, multi_mode="precision", **arguments)
    twin = Detector(features, seed=2, **arguments)
    found = one.process(rows)
    for row, distance in zip(rows, found.distance, strict=True):
        np.testing.assert_allclose(distance, twin.forest.distance(row[None]).total[0], rtol=1e-12)
        twin.process(row[None])
    known = found.distance[~np.isnan(found.distance)]
    assert len(known) == (~np.isnan(found.score)).sum() > 200
    keep, limits = 1.0 - 1.0 / 4096.0, []
    for count in range(10, len(known)):
        weights = keep ** np.arange(count)[::-1]
        mean = np.average(known[:count], weights=weights)
        spread = np.sqrt(np.average((known[:count] - mean) ** 2, weights=weights))
        limits.append(mean + 3.0 * spread)
    # The first of them, of a weight just below ten, is not told yet.
    limit = found.distance_threshold[~np.isnan(found.distance_threshold)]
    np.testing.assert_allclose(limit, limits[-len(limit) :], rtol=1e-9)
    assert len(limits) - len(limit) <= 1


@pytest.mark.parametrize("mode", ON)
def test_scores_do_not_depend_on_the_mode(mode: str) -> None:
    rows, low = rows_of(2), {"threshold": "percentile", "level": 95.0, "cool_down": 5}
    arguments = SMALL | (low if mode == "precision" else {})
    alone, found = (
        Detector(2, seed=2, multi_mode=each, **arguments).process(rows) for each in ("none", mode)
    )
    for part in ("score", "threshold", "confidence"):
        assert np.array_equal(getattr(alone, part), getattr(found, part), equal_nan=True)
    assert np.isnan(alone.distance).all() and np.isnan(alone.distance_threshold).all()
    over, far = found.score >= found.threshold, found.distance > found.distance_threshold
    said = found.grade > 0
    kept = np.isin(found.held_back, [key for key, name in HELD_BACK.items() if name == "distance"])
    if mode == "precision":
        assert kept.any() and np.all(over[kept] & ~far[kept]) and np.all(over[said])
        assert np.all(far[said] | np.isnan(found.distance_threshold[said])) and said.any()
    else:
        assert not kept.any() and np.any(said & ~over) and np.all((over | far)[said])
    reached = over if mode == "precision" else over | far
    assert np.array_equal(reached, said | (found.held_back > 0))


@pytest.mark.parametrize("explain", EXPLAIN)
@pytest.mark.parametrize("mode", ON)
def test_how_a_stream_is_cut_changes_nothing(mode: str, explain: str) -> None:
    arguments = SMALL | {"multi_mode": mode, "transform": "robust", "time_weight": 0.5}
    rows, times = rows_of(2, 400), np.cumsum(np.random.default_rng(4).exponential(size=400))
    whole = Detector(2, seed=2, **arguments)
    starts = np.array([0, len(rows)])
    found, why = Detector.process_together([whole], starts, rows, times, explain=explain)
    cut, parts, reasons = Detector(2, seed=2, **arguments), [], {}
    for start, stop in ((0, 1), (1, 2), (2, 150), (150, 151), (151, 400)):
        span = slice(start, stop)
        part, told_of = Detector.process_together(
            [cut], np.array([0, stop - start]), rows[span], times[span], explain=explain
        )
        parts.append(part)
        reasons |= {start + row: shares for row, shares in told_of.items()}
        cut = Detector.from_bytes(cut.to_bytes())
    for field, each in zip(Judgements._fields, zip(*parts, strict=True), strict=True):
        assert np.array_equal(np.concatenate(each), getattr(found, field), equal_nan=True), field
    assert cut.to_bytes() == whole.to_bytes() and cut.settings.multi_mode == mode
    assert reasons.keys() == why.keys()
    for row, shares in why.items():
        for mine, theirs in zip(reasons[row], shares, strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("explain", ["anomalies", "all"])
def test_reasons_sum_to_the_distance_where_that_alone_decides(explain: str) -> None:
    model = Detector(2, seed=2, multi_mode="recall", **SMALL)
    found, why = model.process_explained(rows_of(2), every=explain == "all")
    by_distance = (found.grade > 0) & (found.score < found.threshold)
    assert by_distance.any() and set(np.flatnonzero(found.grade > 0)) <= why.keys()
    for row, shares in why.items():
        total = (found.distance if by_distance[row] else found.score)[row]
        assert shares.total[0] == total
        assert shares.high.sum() + shares.low.sum() == pytest.approx(total, rel=1e-6)
        assert shares.high.shape[1:] == (2, 2) or not by_distance[row]


@pytest.mark.parametrize("mode", ON)
def test_records_that_are_not_learnt_are_judged_likewise(mode: str) -> None:
    rows = rows_of(2)
    model = Detector(2, seed=2, multi_mode=mode, **SMALL)
    model.process(rows[:600])
    before = model.to_bytes()
    asked = model.score(rows[600:])
    assert model.to_bytes() == before
    np.testing.assert_allclose(asked.distance, model.distance(rows[600:]).total, rtol=1e-12)
    frozen = model.process(rows[600:], learn=False)
    for mine, theirs in zip(frozen, asked, strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


def test_a_mode_may_be_set_and_left_while_a_series_runs() -> None:
    rows = rows_of(2)
    model, twin = (Detector(2, seed=2, budget=3, **SMALL) for _ in range(2))
    for each in (model, twin):
        each.process(rows[:300])
    before = model.to_bytes()
    model.set_threshold(budget=3, multi_mode="recall")
    restored = Detector.from_bytes(model.to_bytes())
    assert len(model.to_bytes()) > len(before) and restored.to_bytes() == model.to_bytes()
    for mode in ("precision", "none"):
        model.set_threshold(budget=3, multi_mode=mode)
    assert model.to_bytes() == before and twin.to_bytes() == before
    restored.set_threshold(budget=3, multi_mode="precision")
    found, alone = restored.process(rows[300:]), twin.process(rows[300:])
    assert np.array_equal(found.score, alone.score)
    assert np.isnan(found.distance_threshold[:10]).all()
    assert np.isfinite(found.distance_threshold[11:]).all()


def test_merging_leaves_a_detector_its_mode() -> None:
    old, new = Detector(2, seed=1, **SMALL), Detector(2, seed=2, multi_mode="recall", **SMALL)
    old.process(rows_of(2))
    new.merge(old)
    found = new.process(rows_of(2, 50))
    assert new.settings.multi_mode == "recall" and np.isfinite(found.distance).any()


def test_forests_are_not_changed_by_being_measured() -> None:
    plain, model = Detector(2, seed=2, **SMALL), Detector(2, seed=2, multi_mode="recall", **SMALL)
    for each in (plain, model):
        each.process(rows_of(2))
    for mine, theirs in zip(plain.views, model.views, strict=True):
        assert isinstance(mine, Forest) and mine.to_bytes() == theirs.to_bytes()
