"""Verdicts are kept in the log and become factors of the threshold that agree with them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from service.engine.config import StreamConfig
from service.engine.errors import InvalidParameter
from service.engine.feedback import (
    LEAST_GRADE,
    MOST_KEPT,
    Feedback,
    Fired,
    ThresholdFactor,
    bent,
    factor_of,
    fired,
    suggested,
    with_factor,
)
from service.engine.records import Batch, NewRecord, Position
from tests.engine.graded import P0, GradedFactory, pipeline, record
from tests.engine.world import World, ask, run


def said(*verdicts: tuple[str, float]) -> list[Feedback]:
    return [Feedback(verdict, 0, n, "k", ratio) for n, (verdict, ratio) in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdicts", "factor"),
    [
        ([], 1.0),
        ([("false_alarm", 1.5)], pytest.approx(1.5, rel=1e-5)),
        ([("missed", 0.7)], 0.7),
        ([("confirmed", 1.2)], 1.0),
        ([("false_alarm", 1.5), ("confirmed", 2.0)], pytest.approx(1.5, rel=1e-5)),
        ([("false_alarm", 1.5), ("confirmed", 1.2), ("confirmed", 1.3)], 1.0),  # two against one
        ([("missed", 0.7), ("false_alarm", 0.6)], 0.7),
        (
            [("missed", 0.7), ("false_alarm", 1.1), ("false_alarm", 1.2)],
            pytest.approx(1.2, rel=1e-5),
        ),
        ([("false_alarm", 1e9)], 1.0),  # beyond what may be set
    ],
)
def test_the_factor_agrees_with_most_verdicts(verdicts, factor):
    found = suggested(said(*verdicts), "k")
    assert found == factor
    for verdict, ratio in verdicts if len(verdicts) == 1 and verdicts[0][1] < 100 else ():
        assert (ratio >= found) == (verdict != "false_alarm")


def test_a_factor_moves_the_threshold_and_leaves_flat_series_alone():
    assert bent(12.0, 10.0, 0.5, 1.5) == (15.0, 0.0)
    assert bent(12.0, 10.0, 0.5, 1.1) == (11.0, 0.5)
    assert bent(8.0, 10.0, 0.0, 0.8) == (8.0, LEAST_GRADE)
    assert bent(12.0, 10.0, 0.0, 0.8) == (8.0, 0.0)


def test_the_first_factor_that_speaks_of_a_series_counts():
    factors = with_factor((ThresholdFactor("a*", 2.0),), "a[1]*", 1.5)
    assert [factor_of(factors, key) for key in ("a[1]*", "a2", "a[1]x", "b")] == [
        1.5,
        2.0,
        2.0,
        1.0,
    ]
    assert with_factor(factors, "a[1]*", 1.0) == (ThresholdFactor("a*", 2.0),)
    with pytest.raises(InvalidParameter, match=r"0\.01"):
        StreamConfig(name="s", threshold_factors=(ThresholdFactor("a", 0.0),))


def test_what_would_have_fired_is_counted():
    ratios = [None, 0.9, 1.0, 1.2, 0.5, 0.5, 0.5, 1.1, None]
    assert fired(ratios, 1.0, gap=2) == Fired(3, 2)
    assert fired(ratios, 1.0, gap=4) == Fired(3, 1)
    assert fired(ratios, 1.15, gap=2) == Fired(1, 1)
    assert fired(ratios, 9.0, gap=2) == Fired(0, 0)


def test_results_show_the_moved_threshold():
    """The detector's own threshold is 1, the score a hundred times the value."""
    config = StreamConfig(name="s", threshold_factors=(ThresholdFactor("k", 50.0),))
    log = [record(0, 0.4), record(1, 0.6), record(2, 0.4, "other")]
    found = [json.loads(each.value) for each in pipeline(config).process(Batch(P0, log, 3)).results]
    assert [each["anomaly"] for each in found] == [False, True, True]
    assert [each["threshold"] for each in found] == [50.0, 50.0, 1.0]
    assert [each.get("factor") for each in found] == [50.0, 50.0, None]


def test_a_verdict_is_kept_applied_and_survives():
    async def body() -> None:
        world = World(factory=GradedFactory())
        async with world.engine() as engine:
            config = StreamConfig(name="s", features=("x", "y"), shingle_size=2, incident_gap=2)
            await engine.create_stream(config)
            grades = [0.0, 0.3, 0.0, 0.0, 0.5, 0.3, 0.0]
            rows = [NewRecord(b"[%f,1]" % grade, "k", n) for n, grade in enumerate(grades)]
            before = await ask(engine, rows)
            place = Position(before[1]["partition"], before[1]["offset"])
            only = await engine.give_feedback("s", place, "false_alarm", apply=False)
            assert only.factor == pytest.approx(30.0, rel=1e-5) and not only.applied
            assert (only.fired, only.would_have_fired) == (Fired(3, 2), Fired(1, 1))
            again = await ask(engine, rows[1:2])
            assert again[0]["anomaly"]
            applied = await engine.give_feedback("s", place, "false_alarm", apply=True)
            assert applied.applied and len(engine.stream("s").feedback) == 1
            assert [each["anomaly"] for each in await ask(engine, rows)] == [
                grade > 0.4 for grade in grades
            ]
            with pytest.raises(InvalidParameter):  # a control record has no score
                await engine.give_feedback("s", Position(0, 7), "missed", apply=False)
        async with world.engine() as engine:
            assert (await ask(engine, rows[1:2]))[0]["anomaly"] is False
            assert engine.stream("s").feedback[0].verdict == "false_alarm"
            many = replace(
                engine.stream("s"),
                feedback=tuple(Feedback("missed", 0, n, "k", 1.0) for n in range(MOST_KEPT)),
            )
            await engine.update_stream("s", lambda _: many, reset=False)
            await engine.give_feedback("s", place, "confirmed", apply=False)
            kept = engine.stream("s").feedback
            assert len(kept) == MOST_KEPT and kept[-1].verdict == "confirmed"

    run(body)
