"""A rehearsal says what serving would have said, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import replace

import numpy as np

from service.adapters.codec import decoder_for
from service.engine import engine as engine_module
from service.engine.config import StreamConfig
from service.engine.records import NewRecord
from service.engine.rehearsal import PastRecord, merged, rehearse
from service.engine.rules import Rule
from tests.engine.graded import GradedFactory
from tests.engine.world import CONFIG, World, ask, run, until

SPREAD = replace(CONFIG, features=("x",), partitions=3, output_after=2)


def test_it_is_what_was_served():
    """Over three partitions: a series' judgements do not depend on the partition it is in."""

    async def body() -> None:
        rng = random.Random(3)
        async with World().engine() as engine:
            await engine.create_stream(SPREAD)
            rows = [
                NewRecord(b"%d" % rng.randint(0, 99), f"k{n % 5}", 1000 * n) for n in range(400)
            ]
            served = await ask(engine, rows)
            digests = engine.state_digests()
            past = await engine.past("s", 1000)
            assert [each.timestamp_ms for each in past] == [1000 * n for n in range(400)]
            found = await engine.rehearse(SPREAD, past)
            assert engine.state_digests() == digests
            for key, judged in found.series.items():
                of_key = [each for each in served if each["key"] == key]
                for name in ("score", "threshold", "grade"):
                    expected = [np.nan if each[name] is None else each[name] for each in of_key]
                    np.testing.assert_array_equal(getattr(judged, name), expected)
            assert len(await engine.past("s", 7)) == 7

    run(body)


def test_the_past_is_judged_as_it_came():
    """One partition, times that fall: by their order all but the first are late."""
    config = replace(SPREAD, partitions=1, late_after_s=0.5)

    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(config)
            rows = [NewRecord(b"%d" % n, "k", 1000 * (50 - n)) for n in range(50)]
            served = await ask(engine, rows)
            past = await engine.past("s", 1000)
            assert [each.values for each in past] == [each["values"] for each in served]
            found = await engine.rehearse(config, past)
            scored = [each["score"] is not None for each in served]
            assert (~np.isnan(found.series["k"].score)).tolist() == scored

    run(body)


def test_partitions_meet_by_the_latest_time_each_has_reached():
    def records(key: str, *times_ms: int) -> list[PastRecord]:
        return [PastRecord(key, time_ms, [0]) for time_ms in times_ms]

    found = merged([records("a", 3, 1, 5, 4), records("b", 2, 4, 0, 6)])
    assert [(each.key, each.timestamp_ms) for each in found] == [
        *(("b", 2), ("a", 3), ("a", 1), ("b", 4), ("b", 0)),
        *(("a", 5), ("a", 4), ("b", 6)),
    ]
    assert merged([]) == merged([[], []]) == []


def test_snapshots_do_not_wait_for_rehearsals(monkeypatch):
    """Two at a time would hold the threads that restore partitions, for minutes."""
    begun, over = threading.Event(), threading.Event()

    def slow(*_):
        begun.set()
        assert over.wait(10)

    monkeypatch.setattr(engine_module, "rehearse", slow)

    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(SPREAD)
            asked = [asyncio.create_task(engine.rehearse(SPREAD, [])) for _ in range(3)]
            await until(begun.is_set)
            await asyncio.wait_for(engine.delete_stream(SPREAD.name), 5)  # deletes its snapshots
            over.set()
            await asyncio.gather(*asked)

    run(body)


def test_rules_and_incidents_take_part_and_other_settings_show():
    records = [
        PastRecord("k", 1000 * n, [grade]) for n, grade in enumerate([0, 0.4, 0.9, 0, 0, 0.9])
    ]
    plain = StreamConfig(name="s", shingle_size=2)
    strict = replace(plain, rules=(Rule(name="faint", grade_below=0.5),))
    for config, anomalies, alerts in ((plain, [1, 2, 5], [1, 5]), (strict, [2, 5], [2, 5])):
        found = rehearse(config, records, decoder_for, GradedFactory())
        assert np.flatnonzero(found.series["k"].anomaly).tolist() == anomalies
        assert np.flatnonzero(found.series["k"].alert).tolist() == alerts
        assert found.incidents[0].event == "open"


def test_records_that_cannot_be_judged_halt_nothing():
    config = StreamConfig(name="s", dead_letter_run=2, decoder="csv")
    records = [PastRecord("k", n, [1e39 if n < 5 else 0.5]) for n in range(10)]
    found = rehearse(config, records, decoder_for, GradedFactory())
    assert np.isnan(found.series["k"].score).tolist() == [True] * 5 + [False] * 5
