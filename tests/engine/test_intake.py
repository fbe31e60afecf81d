"""Late and repeated records, counters that reset, clocks that change: a stream made for each."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.engine.alerting import Alerting
from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import InvalidParameter
from service.engine.intake import REMEMBERED, Intake, IntakeState
from service.engine.pipeline import Pipeline
from service.engine.records import Batch, Record
from service.engine.times import format_ms, parse_time
from tests.engine.graded import P0, pipeline

CONFIG = StreamConfig(name="s", features=("x", "total"))


def feed(config: StreamConfig, *rows: tuple, line: Pipeline | None = None) -> list[dict]:
    """Results of (key, seconds, value…) rows."""
    line = line or pipeline(config)
    first = line.position
    log = [
        Record(first + n, int(1000 * at), key, msgspec.json.encode(values))
        for n, (key, at, *values) in enumerate(rows)
    ]
    return [
        json.loads(each.value) for each in line.process(Batch(P0, log, first + len(log))).results
    ]


def statuses(found: list[dict]) -> list[str]:
    return [each["status"] for each in found]


def test_late_records_are_passed_over_and_learnt_by_nobody():
    config = replace(CONFIG, late_after_s=10)
    found = feed(config, ("a", 100, 0, 0), ("a", 90, 1, 0), ("a", 89.9, 1, 0), ("b", 5, 0, 0))
    assert statuses(found) == ["scored", "scored", "late", "scored"]
    assert found[2]["values"] == [1, 0] and found[2]["score"] is None
    assert not found[2]["anomaly"] and "error" not in found[2]
    assert statuses(feed(CONFIG, ("a", 100, 0, 0), ("a", 1, 0, 0))) == ["scored", "scored"]


def test_one_late_record_does_not_move_the_newest_time():
    config = replace(CONFIG, late_after_s=10)
    found = feed(config, ("a", 100, 0, 0), ("a", 95, 0, 0), ("a", 89, 0, 0))
    assert statuses(found) == ["scored", "scored", "late"]


def test_repetitions_are_passed_over():
    config = replace(CONFIG, skip_duplicates=True)
    found = feed(
        config, ("a", 1, 0, 0), ("a", 1, 0, 0), ("a", 1, 0, 1), ("b", 1, 0, 0), ("a", 2, 0, 0),
        ("a", 1, 0, 0),
    )  # fmt: skip
    assert statuses(found) == ["scored", "duplicate", "scored", "scored", "scored", "duplicate"]


def test_repetitions_are_remembered_within_a_bound():
    intake, config = Intake(), replace(CONFIG, skip_duplicates=True)
    for n in range(REMEMBERED + 1):
        assert intake.take(config, "a", n, [0.0]) != "duplicate"
    assert len(intake.state().digests) == 8 * REMEMBERED
    assert intake.take(config, "a", 1, [0.0]) == "duplicate"
    assert intake.take(config, "a", 0, [0.0]) != "duplicate"


def test_a_counter_is_judged_by_its_rate_and_a_reset_is_no_fall():
    config = replace(CONFIG, counters=("total",))
    found = feed(
        config, ("a", 0, 0, 100), ("a", 10, 0, 150), ("a", 30, 0, 150), ("a", 40, 0, 20),
        ("a", 40, 0, 30), ("a", 50, 0, 30),
    )  # fmt: skip
    assert statuses(found) == ["warming", "scored", "scored", "scored", "late", "scored"]
    assert [each.get("rates") for each in found] == [None, [0, 5], [0, 0], [0, 2], None, [0, 1]]
    assert found[3]["values"] == [0, 20]


def test_a_gap_in_a_counter_is_bridged_from_where_it_stood():
    """Not by the whole of what it stands at, which would be an anomaly each time."""
    config = StreamConfig(name="s", features=("x", "total"), counters=("total",), missing="zero")
    line = pipeline(config)
    found = feed(
        config, ("a", 0, 0, 1e9), ("a", 10, 0, 1e9 + 50), ("a", 20, 0, None), ("a", 30, 0, None),
        ("b", 30, 0, None), ("b", 35, 0, None), ("a", 40, 0, 1e9 + 110), ("b", 40, 0, 7),
        ("b", 50, 0, 17), line=line,
    )  # fmt: skip
    rates = [each["rates"][1] if "rates" in each else None for each in found]
    assert rates == [None, 5, None, None, None, None, 2, None, 1]
    assert statuses(found)[4] == "warming"
    state = line.intake.state()
    assert msgspec.json.decode(msgspec.json.encode(state), type=IntakeState) == state
    after = msgspec.json.decode(msgspec.json.encode(state), type=IntakeState)
    assert Intake(after).take(config, "a", 50_000, [0.0, 1e9 + 140]) == [0.0, 3.0]


def test_a_gap_is_part_of_what_a_snapshot_keeps():
    config = StreamConfig(name="s", features=("x", "total"), counters=("total",), missing="zero")
    intake = Intake()
    for time_ms, total in ((0, math.nan), (1000, 5.0), (2000, math.nan)):
        intake.take(config, "a", time_ms, [0.0, total])
    kept = msgspec.json.decode(msgspec.json.encode(intake.state()), type=IntakeState)
    assert kept == intake.state()
    assert Intake(kept).take(config, "a", 3000, [0.0, 9.0]) == [0.0, 2.0]


def test_a_rate_is_waited_for_where_gaps_are_refused_since():
    config = StreamConfig(name="s", features=("x", "total"), counters=("total",), missing="zero")
    line = pipeline(config)
    feed(config, ("a", 0, 0, None), line=line)
    changed = encode_config(replace(config, missing="refuse"))
    line.process(Batch(P0, [Record(line.position, 500, None, changed, True)], line.position + 1))
    found = feed(config, ("a", 1, 0, 7), ("a", 2, 0, 9), line=line)
    assert statuses(found) == ["warming", "scored"] and found[1]["rates"] == [0, 2]


def test_a_rate_outside_of_float32_is_refused_and_leaves_no_trace():
    config = replace(CONFIG, counters=("total",))
    found = feed(
        config, ("a", 0, 0, 0), ("a", 0.001, 0, 1e38), ("a", 1, 0, 4), ("a", 2, 0, 9)
    )  # fmt: skip
    assert statuses(found) == ["warming", "error", "scored", "scored"]
    assert "values.total" in json.dumps(found[1]["error"]) and found[2]["rates"] == [0, 4]


def test_forests_see_a_counter_as_its_rate():
    """A counter that resets now and then scores as the series of its rates does."""
    rng = random.Random(5)
    config = StreamConfig(name="s", trees=5, sample_size=32, shingle_size=2, seed=1)
    rates = [rng.random() for _ in range(300)]
    total, rows = 0.0, [("k", 0, 0.0)]
    for n, rate in enumerate(rates):
        total = rate if n % 50 == 49 else total + rate
        rows.append(("k", n + 1, total))

    def line(config: StreamConfig) -> Pipeline:
        return Pipeline(P0, config, SeriesDetectors(ForestFactory()), decoder_for)

    counted = replace(config, counters=("value",))
    scores = [each["score"] for each in feed(counted, *rows, line=line(counted))[1:]]
    plain = [("k", n + 1, rate) for n, rate in enumerate(rates)]
    expected = [each["score"] for each in feed(config, *plain, line=line(config))]
    known = [n for n, score in enumerate(expected) if score is not None]
    assert len(known) > 200
    np.testing.assert_allclose(
        [scores[n] for n in known], [expected[n] for n in known], rtol=0.2, atol=0.5
    )


@pytest.mark.parametrize("seed", range(5))
def test_batches_and_snapshots_change_nothing(seed):
    rng = random.Random(seed)
    config = replace(CONFIG, counters=("total",), late_after_s=20, skip_duplicates=True)
    log, at = [], 0
    for offset in range(400):
        at += rng.choice((0, 1000, 2000, -30_000 if rng.random() < 0.1 else 1000))
        if log and rng.random() < 0.1:
            again = rng.choice(log[-5:])
            log.append(Record(offset, again.timestamp_ms, again.key, again.value))
        else:
            value = msgspec.json.encode([rng.choice((0, 0.5)), rng.randint(0, 99)])
            log.append(Record(offset, at, rng.choice("ab"), value))
    control = encode_config(replace(config, skip_duplicates=False))
    log[200] = Record(200, 0, None, control, True)
    whole = pipeline(config).process(Batch(P0, log, 400)).results
    line, cut = pipeline(config), []
    while line.position < 400:
        end = min(line.position + rng.randint(1, 30), 400)
        cut += line.process(Batch(P0, log[line.position : end], end)).results
        kept = msgspec.json.encode(line.intake.state())
        line.intake = Intake(msgspec.json.decode(kept, type=IntakeState))
        line.alerting = Alerting(P0, line.alerting.state())
    assert cut == whole
    assert {"late", "duplicate", "scored", "warming"} <= {
        json.loads(each.value)["status"] for each in whole
    }


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T12:00:00", "2026-01-31T11:00:00.000Z"),
        ("2026-07-31T12:00:00", "2026-07-31T10:00:00.000Z"),
        ("2026-03-29T01:59:59", "2026-03-29T00:59:59.000Z"),
        ("2026-03-29T03:00:00", "2026-03-29T01:00:00.000Z"),  # the next second
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00.000Z"),  # the first of the two
        ("2026-10-25T03:00:00", "2026-10-25T02:00:00.000Z"),
        ("2026-07-31T12:00:00Z", "2026-07-31T12:00:00.000Z"),
        ("2026-07-31T12:00:00+05:00", "2026-07-31T07:00:00.000Z"),
    ],
)
def test_times_without_an_offset_are_what_the_clocks_of_the_zone_show(text, utc):
    config = StreamConfig(name="s", zone="Europe/Berlin")
    read = decoder_for(config)(msgspec.json.encode({"values": [1], "timestamp": text}))
    assert format_ms(read.timestamp_ms) == utc
    assert parse_time("2026-07-31T12:00:00") == parse_time("2026-07-31T12:00:00Z")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("counters", ("y",)),
        ("counters", ("x", "x")),
        ("late_after_s", -1),
        ("late_after_s", True),
        ("skip_duplicates", 1),
        ("zone", "Mars/Base"),
        ("zone", ""),
    ],
)
def test_what_is_not_allowed(field, value):
    with pytest.raises(InvalidParameter) as raised:
        replace(CONFIG, **{field: value})
    assert raised.value.field == field
